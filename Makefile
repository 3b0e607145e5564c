# Set-up goes into .venv; `make help` tells what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.DEFAULT_GOAL := help
.PHONY: help setup redis proxy demo test check chaos bench format lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'
	@echo
	@echo "  make demo ARGS=--once   plays the story once, prints what happened and exits"
	@echo "  make test ARGS='-k lanes'   hands ARGS to pytest"

setup: $(READY) redis ## Make .venv with the exact versions of requirements.lock, and see that a redis-server is there

demo: $(READY) $(if $(REDIS_URL),,redis) ## Play a day at a small company: Redis, sandbox, receiver, two workers and beat, all local
	$(BIN)/kommo demo $(ARGS)

test: setup proxy ## Run all tests
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: setup ## Lint, check types, check that imports point down
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

chaos: setup ## Kill everything at any moment and count what became of each delivery; ARGS='--long --seed 1'
	$(BIN)/python -m tests.chaos $(ARGS)

bench: setup ## Measure ours beside what else would be built, the limit, bulk, …; ARGS='answering bulk' runs some of it
	$(BIN)/python -m bench $(ARGS)

format: setup ## Format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup ## Resolve the ranges of setup.cfg into the lock files anew
	$(BIN)/python -m pip install --quiet uv
	sh deploy/lock.sh $(BIN)/uv

clean: ## Remove .venv and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info

$(READY): requirements.lock setup.cfg pyproject.toml
	@PYTHON="$(PYTHON)" sh deploy/venv.sh $(VENV)
	@touch $@

proxy:
	@sh deploy/nginx.sh

redis: $(READY)
	@sh deploy/redis-server.sh $(BIN)
