"""`kommo replay`: what is asked for, what is told, and what a dry run shows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
from click.testing import CliRunner
from redis import Redis

from kommo.errors import KommoError
from kommo.store.fleet import Fleet
from kommo.store.keys import Keys
from kommo.store.replays import Replays
from kommo.store.server import PrivateServer
from sandbox import Sandbox
from tests.integration.workers.flushing import made, sent
from tests.integration.workers.logs import logging_restored
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker, lead_added, lead_updated
from workers.cli.replay import replay
from workers.drain import drain

FIRST, SECOND, THIRD = "019aa0000001-a", "019aa0000002-b", "019aa0000003-c"


@dataclass
class Ended:
    """How a command ended, and all that it printed, its error with it."""

    status: int
    text: str


Run = Callable[..., Ended]


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNT) as box:
        yield box


@pytest.fixture
def environ(
    redis_server: PrivateServer, redis: Redis, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    for name, value in {
        "REDIS_URL": redis_server.url,
        "KOMMO_HANDLERS": "tests.integration.workers.replayed_handlers",
        "KOMMO_ACCOUNT_ID": str(ACCOUNT),
        "KOMMO_ACCESS_TOKEN": box.token,
        "KOMMO_API_BASE": box.url,
        "KOMMO_RATE_LIMITS": "integration=100,account=100,ip=100",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def run(environ: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run `kommo replay …`; `typed` is what a person answers."""

    def kommo(*arguments: str, typed: str = "") -> Ended:
        result = CliRunner().invoke(replay, arguments, input=typed)
        if result.exception and not isinstance(result.exception, SystemExit | KommoError):
            raise result.exception
        return Ended(result.exit_code, result.output + (str(result.exception) if result.exit_code == 1 else ""))

    with logging_restored():
        yield kommo


@pytest.fixture
def past(worker: MakeWorker) -> Worker:
    """A worker without handlers, and three deliveries that it drained."""
    here = worker()
    here.deliver(lead_added(31), id_=FIRST)
    here.deliver(lead_updated(31, at=500), id_=SECOND)
    here.deliver(b"contacts[add][0][id]=9&contacts[add][0][type]=contact", id_=THIRD)
    drain(here.runtime)
    return here


def waiting(worker: Worker) -> list[str]:
    """The handlers whose steps wait in lanes."""
    leases = worker.runtime.lanes.take(ACCOUNT, "t", limit=50).leases
    return sorted(lease.chain.rpartition(":")[2] for lease in leases)


class TestReplay:
    def test_it_tells_what_it_is_about_and_asks(self, run: Run, past: Worker) -> None:
        ended = run("--since", "1h", typed="n\n")
        assert (ended.status, waiting(past)) == (1, [])
        assert "3 deliveries, 3 events that a handler wants:" in ended.text
        assert "      1  greets" in ended.text
        ended = run("--since", "1h", typed="y\n")
        assert "6 steps put into their lanes" in ended.text
        assert waiting(past) == ["asks", "changes", "fails", "greets", "idle", "rejects"]

    def test_a_delivery_is_named_by_its_id_or_how_it_begins(self, run: Run, past: Worker) -> None:
        assert run(FIRST, THIRD[:12], "--yes").status == 0
        assert waiting(past) == ["asks", "greets", "idle"]

    def test_handlers_and_types_choose(self, run: Run, past: Worker) -> None:
        run("--since", "1h", "--handler", "fails", "--handler", "greets", "--type", "lead.updated", "--yes")
        assert waiting(past) == ["fails"]

    @pytest.mark.usefixtures("past")
    def test_hints_go_to_the_run_loops(self, run: Run, redis: Redis) -> None:
        run(FIRST, "--yes")
        assert redis.llen("run") == 1

    @pytest.mark.usefixtures("past")
    def test_it_is_said_when_no_living_worker_knows_a_handler(self, run: Run, redis: Redis) -> None:
        Fleet(redis).announce("p1", {}, ["greets"], sweep_ms=1)
        text = run(FIRST, "--yes").text
        assert "No living worker knows the handler asks" in text
        assert "knows the handler greets" not in text

    @pytest.mark.usefixtures("past")
    def test_where_there_is_nothing_to_do_nobody_is_asked(self, run: Run, redis: Redis) -> None:
        ended = run("--until", "2h ago")
        assert (ended.status, ended.text.splitlines()[-1]) == (0, "Nothing to do.")
        assert list(redis.scan_iter("*replay*")) == []

    def test_it_is_gone_on_with_by_its_name(self, run: Run, past: Worker, redis: Redis) -> None:
        name = run(FIRST, "--yes").text.rpartition("--resume ")[2].split()[0]
        assert waiting(past) == ["asks", "greets"]
        assert Replays(redis, Keys()).asked(name) is not None
        assert "Done: 0 steps" in run("--resume", name).text


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ((), "Say which deliveries"),
            (("--handler", "greets"), "Say which deliveries"),
            ((FIRST, "--since", "1h"), "not both"),
            ((FIRST, "--with-reads"), "--with-reads is for --dry-run"),
            (("--resume", "x", "--dry-run"), "it takes no other options"),
            (("--resume", "x", FIRST), "it takes no other options"),
            (("--resume", "x", "--handler", "greets"), "it takes no other options"),
            (("--since", "soon"), "is no time"),
        ],
    )
    def test_what_makes_no_sense_is_told(
        self, run: Run, past: Worker, arguments: tuple[str, ...], sentence: str
    ) -> None:
        ended = run(*arguments)
        assert (ended.status, sentence in ended.text, waiting(past)) == (2, True, [])

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ((FIRST, "--handler", "greet"), "there is no handler greet; there are: greets, asks"),
            ((FIRST, "--type", "lead.add"), "did you mean 'lead.added'"),
            (("019aa000000f",), "no delivery that retention has kept begins with 019aa000000f"),
            (("019aa000",), "several deliveries begin with 019aa000"),
            (("--resume", "20990101-0"), "no replay 20990101-0 is known"),
        ],
    )
    def test_what_is_not_there_is_told(self, run: Run, past: Worker, arguments: tuple[str, ...], sentence: str) -> None:
        ended = run(*arguments, "--yes")
        assert (ended.status, sentence in ended.text, waiting(past)) == (1, True, [])

    def test_without_handlers_there_is_nobody_to_replay_for(self, run: Run, environ: pytest.MonkeyPatch) -> None:
        environ.delenv("KOMMO_HANDLERS")
        assert "KOMMO_HANDLERS names no handlers" in run("--since", "1h").text


class TestDryRun:
    def lines(self, ended: Ended) -> list[str]:
        assert ended.status == 0
        return ended.text.splitlines()

    def test_it_shows_the_calls_and_sends_nothing(self, run: Run, past: Worker, box: Sandbox) -> None:
        lines = self.lines(run("--since", "1h", "--dry-run"))
        assert lines[0].startswith("The handlers run here")
        text = "\n".join(lines)
        assert '    later  POST /api/v4/leads [{"name": "Tiles"}]' in lines
        assert "    later  POST /api/v4/leads/<id of " in text
        assert '    now    PATCH /api/v4/leads/31 {"price": 5}' in lines
        assert (box.requests(), waiting(past)) == ([], [])

    @pytest.mark.usefixtures("past")
    def test_a_read_ends_a_handler_unless_it_is_let(self, run: Run, box: Sandbox) -> None:
        lines = self.lines(run(FIRST, "--handler", "asks", "--dry-run"))
        follows = dict(pairwise(lines))
        assert follows["    read   GET /api/v4/leads/31"] == (
            "    not seen to its end: it asks Kommo; --with-reads lets it"
        )
        assert box.requests() == []

    def test_with_reads_kommo_answers_them(self, run: Run, worker: MakeWorker, box: Sandbox) -> None:
        here = worker()
        lead = made(box, "leads", name="Bathroom", price=400)
        here.deliver(lead_added(lead), id_=FIRST)
        drain(here.runtime)
        lines = self.lines(run(FIRST, "--handler", "asks", "--dry-run", "--with-reads"))
        assert f'    later  PATCH /api/v4/leads/{lead} {{"price": 401}}' in lines
        assert len(sent(box, "GET", f"/api/v4/leads/{lead}")) == len(box.requests()) == 1

    @pytest.mark.usefixtures("past")
    def test_errors_and_verdicts_are_shown_and_the_next_event_follows(self, run: Run) -> None:
        text = run("--since", "1h", "--dry-run").text
        assert "raised, and would be tried again; what it asked for later is not kept: LookupError: no plan" in text
        assert "gives up, which makes a dead letter: not ours" in text
        assert "asks for nothing" in text.partition("contact.added")[2]

    @pytest.mark.usefixtures("past")
    def test_it_ends_with_a_summary(self, run: Run) -> None:
        text = run("--since", "1h", "--dry-run").text.partition("Nothing was sent that changes anything.")[2]
        assert "1  greets: ran to its end" in text
        assert "1  asks: not seen to its end" in text
        assert "1  fails: raised" in text
        assert "Calls: 2 for later, 1 at once, 1 that read." in text

    @pytest.mark.usefixtures("past")
    def test_each_event_is_told_by_type_time_entity_and_delivery(self, run: Run) -> None:
        lines = self.lines(run(FIRST, "--dry-run"))
        (headline,) = (line for line in lines if line.startswith("lead.added"))
        assert f"of 2026-11-18T11:07:11Z: lead 31, account {ACCOUNT}, delivery {FIRST}, event " in headline

    def test_what_cannot_be_read_is_told(self, run: Run, worker: MakeWorker) -> None:
        here = worker()
        here.deliver(b"account[id]=5", id_=FIRST)
        drain(here.runtime)
        lines = self.lines(run(FIRST, "--dry-run"))
        assert lines[1].startswith(f"delivery {FIRST} cannot be read: AccountMismatch")
        assert lines[-1] == "Nothing to do."
