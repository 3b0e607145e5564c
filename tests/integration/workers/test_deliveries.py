"""`kommo deliveries`: what a delivery's way through the real parts looks like afterwards."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis

from kommo import Reject, Retry, Router
from kommo.errors import KommoError
from kommo.store.keys import Keys
from kommo.store.parking import Parking
from kommo.store.server import PrivateServer
from kommo.variables import Secret
from sandbox import Sandbox
from tests.integration.workers.flushing import FAST, flush_out, listen, made, problem
from tests.integration.workers.logs import logging_restored
from tests.integration.workers.working import ACCOUNT, FORM, MakeWorker, Worker, lead_added, lead_updated
from workers.chores import trim_inboxes
from workers.cli.deliveries import deliveries
from workers.drain import drain
from workers.flush import flush
from workers.run import run

OTHER = 27_182_818
ID = "0199e4a1b2c3" + "5e" * 10


@dataclass
class Desk:
    """The command line, over the Redis of the workers."""

    runner: CliRunner = field(default_factory=CliRunner)

    def text(self, *args: str) -> str:
        result = self.runner.invoke(deliveries, args, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    def json(self, *args: str) -> Any:
        return json.loads(self.text(*args, "--json"))

    def rows(self, *args: str) -> list[Any]:
        """What a list prints for programs: an object a line."""
        return [json.loads(line) for line in self.text("list", *args, "--json").splitlines()]

    def refusal(self, *args: str) -> str:
        """What is said of a command that cannot be done."""
        result = self.runner.invoke(deliveries, args)
        assert result.exit_code != 0
        return str(result.exception) if isinstance(result.exception, KommoError) else result.output

    def event(self, *args: str) -> Any:
        """The only event of a delivery."""
        (event,) = self.json("show", *args)["events"]
        return event

    def step(self, *args: str) -> Any:
        (step,) = self.event(*args)["steps"]
        return step


@pytest.fixture
def desk(redis_server: PrivateServer, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    for name in ("KOMMO_HANDLERS", "KOMMO_SHARDS", "KOMMO_RETENTION", "KOMMO_RETENTION_BYTES"):
        monkeypatch.delenv(name, raising=False)
    with logging_restored():
        yield Desk()


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT, rate=10_000) as box:
        yield box


def _handler(act: Callable[[Any, Any], object], types: str = "lead.*", **options: Any) -> Router:
    router = Router()
    router.on(types, handler="shop.won", **options)(act)
    return router


def _raise(error: BaseException) -> Callable[[Any, Any], object]:
    def handler(event: object, kommo: object) -> None:
        raise error

    return handler


def _nothing(event: object, kommo: object) -> None:
    """Ask for nothing."""


def _run(worker: Worker) -> None:
    drain(worker.runtime)
    run(worker.runtime)


class TestShow:
    def test_a_delivery_that_waits_to_be_drained(self, worker: MakeWorker, desk: Desk) -> None:
        worker().deliver(lead_added(5), id_=ID)
        story = desk.json("show", ID)
        assert (story["state"], story["account_id"], story["bytes"]) == ("waiting", ACCOUNT, len(lead_added(5)))
        assert story["received_at"] == "2026-11-18T11:06:40Z"
        assert desk.event(ID)["why"] == "waits to be drained"

    def test_a_delivery_that_is_handled(self, worker: MakeWorker, desk: Desk) -> None:
        here = worker(_handler(_nothing))
        here.deliver(lead_added(5), id_=ID)
        _run(here)
        assert desk.json("show", ID)["state"] == "handled"
        event = desk.event(ID)
        assert (event["type"], event["entity_id"], event["why"]) == ("lead.added", 5, "")
        step = desk.step(ID)
        assert (step["handler"], step["state"], step["attempt"], step["writes"]) == ("shop.won", "done", 1, [])
        assert step["took_ms"] >= 0

    def test_a_step_that_waits_is_found_though_nobody_here_knows_its_handler(
        self, worker: MakeWorker, desk: Desk
    ) -> None:
        here = worker(_handler(_nothing))
        here.deliver(lead_added(5), id_=ID)
        drain(here.runtime)
        assert (desk.step(ID)["state"], desk.step(ID)["note"]) == ("waiting", "due now")
        run(worker().runtime)
        assert desk.step(ID)["state"] == "not known here"

    def test_a_step_that_runs_now(self, worker: MakeWorker, desk: Desk) -> None:
        seen: list[Any] = []
        here = worker(_handler(lambda _event, _kommo: seen.append(desk.step(ID))))
        here.deliver(lead_added(5), id_=ID)
        _run(here)
        assert [(step["state"], step["attempt"]) for step in seen] == [("running", 1)]

    def test_a_step_that_waits_behind_others_of_its_lane(self, worker: MakeWorker, desk: Desk) -> None:
        here = worker(_handler(_nothing))
        for number in range(3):
            here.deliver(lead_updated(5, at=number), id_=f"0199e4a1b2c{number}{ID[12:]}")
        drain(here.runtime)
        assert desk.step(f"0199e4a1b2c2{ID[12:]}")["note"] == "behind 2 in its lane"

    @pytest.mark.parametrize(
        ("error", "note"), [(KeyError("phone"), "KeyError: 'phone'"), (Retry("too early", after=60), "too early")]
    )
    def test_a_step_that_comes_again_tells_the_last_error(
        self, worker: MakeWorker, desk: Desk, error: Exception, note: str
    ) -> None:
        here = worker(_handler(_raise(error)))
        here.deliver(lead_added(5), id_=ID)
        _run(here)
        step = desk.step(ID)
        assert (step["state"], step["attempt"]) == ("retrying", 1)
        assert step["note"].startswith("due in ")
        assert step["note"].endswith(note)

    def test_a_step_that_was_given_up(self, worker: MakeWorker, desk: Desk) -> None:
        here = worker(_handler(_raise(Reject("no phone"))))
        here.deliver(lead_added(5), id_=ID)
        _run(here)
        (letter,) = here.dead()
        assert desk.json("show", ID)["state"] == "dead"
        assert desk.step(ID)["state"] == "dead"
        assert desk.step(ID)["note"] == f"rejected: no phone; kommo dead show {letter.id}"

    def test_an_event_that_no_handler_wants(
        self, worker: MakeWorker, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = worker()
        here.deliver(lead_added(5), id_=ID)
        drain(here.runtime)
        assert "not known without KOMMO_HANDLERS" in desk.event(ID)["why"]
        (tmp_path / "wanting_none_of_it.py").write_text("from kommo import Router\nrouter = Router()\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("KOMMO_HANDLERS", "wanting_none_of_it")
        assert desk.event(ID)["why"] == "no handler wants it"

    def test_handlers_that_cannot_be_loaded_do_not_hide_the_story(
        self, worker: MakeWorker, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker().deliver(lead_added(5), id_=ID)
        monkeypatch.setenv("KOMMO_HANDLERS", "no_such_module_anywhere")
        told = desk.text("show", ID)
        assert "no_such_module_anywhere" in told
        assert "lead.added" in told

    def test_a_repeated_event_names_the_delivery_that_brought_it(self, worker: MakeWorker, desk: Desk) -> None:
        here = worker(_handler(_nothing))
        here.deliver(lead_added(5), id_=ID)
        here.deliver(lead_added(5), id_="0299e4a1b2c3" + "77" * 10)
        _run(here)
        event = desk.event("0299e4a1")
        assert event["why"].startswith(f"repeated: delivery {ID} of ")
        assert event["steps"] == []
        assert desk.step(ID)["state"] == "done"

    def test_an_echo_of_our_own_write(self, worker: MakeWorker, desk: Desk) -> None:
        here = worker(_handler(_nothing))
        runtime = here.runtime
        runtime.echoes.expect(ACCOUNT, "PATCH", "/api/v4/leads", [{"id": 5, "price": 100}])
        now = int(runtime.redis.time()[0])
        body = f"leads[update][0][id]=5&leads[update][0][price]=100&leads[update][0][last_modified]={now}"
        here.deliver(body.encode(), id_=ID)
        runtime.redis.xtrim(runtime.keys.of_account(ACCOUNT, "inbox", "stream"), maxlen=0)
        key = runtime.keys.of_account(ACCOUNT, "inbox", "stream")
        runtime.redis.xadd(key, {"id": ID, "type": FORM, "at": now * 1000, "body": body})
        _run(here)
        event = desk.event(ID)
        assert (event["is_echo"], event["why"], event["steps"]) == (True, "an echo of our own write", [])

    def test_a_delivery_that_cannot_be_decoded(self, worker: MakeWorker, desk: Desk) -> None:
        here = worker()
        here.deliver(b"{", id_=ID, content_type="application/json")
        drain(here.runtime)
        story = desk.json("show", ID)
        assert (story["state"], story["events"]) == ("dead", [])
        assert story["problem"].startswith("cannot be decoded (undecodable)")
        assert story["problem"].endswith(f"kommo dead show {ID}")

    def test_the_bytes_are_shown_only_when_asked_for(self, worker: MakeWorker, desk: Desk) -> None:
        worker().deliver(b"leads[add][0][id]=5&leads[add][0][name]=\xd0\x9f\xff\x1b[2J", id_=ID)
        assert "[name]" not in desk.text("show", ID)
        told = desk.text("show", ID, "--body")
        assert "leads[add][0][name]=П\\xff" in told
        assert "\x1b" not in told
        assert desk.json("show", ID, "--body")["body"].startswith("leads[add][0][id]=5")

    def test_a_tree_is_readable(self, worker: MakeWorker, desk: Desk) -> None:
        here = worker(_handler(_raise(KeyError("phone"))))
        here.deliver(lead_added(5), id_=ID)
        _run(here)
        told = desk.text("show", ID)
        assert f"delivery {ID} of account {ACCOUNT}: waiting" in told
        assert "lead.added lead 5 of 2026-11-18T11:06:45Z, event " in told
        assert "shop.won: retrying, attempt 1, at 20" in told


class TestWrites:
    def _asked(self, worker: MakeWorker, box: Sandbox, act: Callable[[Any, Any], object], **options: Any) -> Worker:
        settings = {"access_token": Secret(box.token), "api_base": box.url, "rate_limits": FAST}
        here = worker(_handler(act, **options), **settings)
        here.deliver(lead_added(5), id_=ID)
        _run(here)
        return here

    def _writes(self, desk: Desk) -> list[Any]:
        return list(desk.step(ID)["writes"])

    def test_writes_wait_and_then_tell_what_they_made(self, worker: MakeWorker, desk: Desk, box: Sandbox) -> None:
        def act(event: object, kommo: Any) -> None:
            lead = kommo.later.leads.create(name="Oven")
            kommo.later.leads.update(lead, price=70)

        here = self._asked(worker, box, act)
        assert [(one["what"], one["state"]) for one in self._writes(desk)] == [
            ("leads:create", "waiting"),
            ("leads:update", "waiting"),
        ]
        flush_out(here)
        created, updated = self._writes(desk)
        assert [(one["what"], one["state"]) for one in (created, updated)] == [
            ("leads:create", "done"),
            ("leads:update", "done"),
        ]
        assert created["entity"] == updated["entity"] != ""

    def test_a_write_that_kommo_refuses_tells_its_answer(self, worker: MakeWorker, desk: Desk, box: Sandbox) -> None:
        here = self._asked(worker, box, lambda _event, kommo: kommo.later.leads.update(404_404, price=1))
        flush_out(here)
        (write,) = self._writes(desk)
        (letter,) = here.dead()
        assert (write["state"], write["entity"]) == ("dead", "404404")
        assert write["note"].startswith("refused: ")
        assert write["note"].endswith(f"kommo dead show {letter.id}")
        assert desk.json("show", ID)["state"] == "dead"

    def test_a_write_that_kommo_could_not_do_tells_its_answer_and_waits(
        self, worker: MakeWorker, desk: Desk, box: Sandbox
    ) -> None:
        lead = made(box, "leads", name="Oven")
        here = self._asked(worker, box, lambda _event, kommo: kommo.later.leads.update(lead, price=1))
        transport = listen(here, lambda _request: problem(503))
        flush(here.runtime)
        assert transport.sent
        (write,) = self._writes(desk)
        assert (write["state"], write["entity"]) == ("retrying", str(lead))
        assert "503" in write["note"]

    def test_writes_of_a_parked_account_say_so(self, worker: MakeWorker, desk: Desk, box: Sandbox) -> None:
        here = self._asked(worker, box, lambda _event, kommo: kommo.later.leads.create(name="Oven"))
        Parking(here.runtime.redis, here.runtime.keys).park(ACCOUNT, "payment")
        (write,) = self._writes(desk)
        assert write["note"].endswith("the account is parked: payment")


class TestFinding:
    def test_the_beginning_of_an_id_is_enough_in_either_case(self, worker: MakeWorker, desk: Desk) -> None:
        worker().deliver(lead_added(5), id_=ID)
        assert desk.json("show", ID[:8].upper())["id"] == ID

    def test_one_that_may_be_several_is_refused_with_their_ids(self, worker: MakeWorker, desk: Desk) -> None:
        here = worker()
        here.deliver(lead_added(5), id_=ID)
        here.deliver(lead_added(6), id_=ID[:-1] + "0", account=OTHER)
        said = desk.refusal("show", ID[:9])
        assert f"may be any of 2: {ID[:-1]}0 (account {OTHER}), {ID} (account {ACCOUNT})" in said
        assert desk.json("show", ID[:9], "--account", str(OTHER))["account_id"] == OTHER

    def test_an_id_that_others_begin_with_is_meant_itself(self, worker: MakeWorker, desk: Desk) -> None:
        here = worker()
        here.deliver(lead_added(5), id_=ID)
        here.deliver(lead_added(6), id_=ID + "00")
        assert desk.json("show", ID)["id"] == ID

    def test_one_that_is_not_there_says_when_it_came_and_how_long_they_are_kept(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KOMMO_RETENTION", "36h")
        said = desk.refusal("show", "019cf2d1c400")
        assert "by its id came at 2026-03-15T" in said
        assert "for 1.5 days or 256 MB" in said

    def test_a_few_digits_are_too_few(self, desk: Desk) -> None:
        assert "at least 8 digits" in desk.refusal("show", "0199e4a")

    def test_one_that_retention_has_dropped_is_gone_with_its_story(
        self, worker: MakeWorker, desk: Desk, redis: Redis
    ) -> None:
        here = worker(_handler(_nothing), retention_bytes=0)
        here.deliver(lead_added(5), id_=ID)
        _run(here)
        assert trim_inboxes(here.runtime) == 1
        assert "there is no delivery" in desk.refusal("show", ID)
        assert list(redis.scan_iter("*story*")) == []


class TestList:
    @pytest.fixture
    def three(self, worker: MakeWorker) -> Worker:
        """One delivery that is handled, one that is dead, one that waits."""
        here = worker(_handler(_raise(Reject("no")), types="lead.updated"))
        here.deliver(lead_added(1), id_="01" * 16)
        here.deliver(lead_updated(2, at=1), id_="02" * 16)
        _run(here)
        here.deliver(
            lead_added(3) + lead_added(4).replace(b"[0]", b"[1]").replace(b"leads", b"&leads", 1), id_="03" * 16
        )
        return here

    @pytest.mark.usefixtures("three")
    def test_the_newest_come_first(self, desk: Desk) -> None:
        rows = desk.rows()
        assert [(row["id"][:2], row["state"]) for row in rows] == [("03", "waiting"), ("02", "dead"), ("01", "handled")]
        assert rows[1] == {
            "id": "02" * 16,
            "account_id": ACCOUNT,
            "received_at": "2026-11-18T11:06:40Z",
            "bytes": len(lead_updated(2, at=1)),
            "content_type": FORM,
            "events": ["lead.updated"],
            "state": "dead",
        }

    @pytest.mark.usefixtures("three")
    @pytest.mark.parametrize("state", ["waiting", "handled", "dead"])
    def test_only_those_in_a_state(self, desk: Desk, state: str) -> None:
        assert [row["state"] for row in desk.rows("--state", state)] == [state]

    @pytest.mark.usefixtures("three")
    def test_at_most_so_many(self, desk: Desk) -> None:
        assert [row["id"][:2] for row in desk.rows("--limit", "2")] == ["03", "02"]

    @pytest.mark.usefixtures("three")
    def test_those_of_a_time(self, desk: Desk) -> None:
        assert len(desk.rows("--since", "5m")) == 3
        assert desk.rows("--until", "5m ago") == []

    def test_accounts_are_put_in_one_row_and_told_apart(self, redis: Redis, keys: Keys, desk: Desk) -> None:
        for place in range(70):
            account = ACCOUNT if place % 7 == 0 else OTHER
            entry = {"id": f"{place:032x}", "type": FORM, "at": place, "body": lead_added(place)}
            redis.xadd(keys.of_account(account, "inbox", "stream"), entry, id=f"{1_795_000_000_000 + place}-0")
            redis.sadd(keys.of_shard(0, "accounts"), account)
        ids = [int(row["id"], 16) for row in desk.rows("--limit", "60")]
        assert ids == list(range(69, 9, -1))
        own = [int(row["id"], 16) for row in desk.rows("--account", str(ACCOUNT))]
        assert own == list(range(63, -1, -7))

    @pytest.mark.usefixtures("three")
    def test_a_table_shows_ids_in_full_and_counts_events(self, desk: Desk) -> None:
        told = desk.text("list")
        assert "03" * 16 in told
        assert "lead.added x2" in told

    def test_none_are_no_table(self, desk: Desk) -> None:
        assert desk.text("list") == "No deliveries.\n"
        assert desk.rows() == []

    @pytest.mark.usefixtures("three")
    def test_another_number_of_shards_is_refused(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        desk.text("list")
        monkeypatch.setenv("KOMMO_SHARDS", "4")
        assert "set KOMMO_SHARDS=1" in desk.refusal("list")
