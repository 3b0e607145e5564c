"""`kommo dead`: what is shown of dead letters, and that the right ones go back or away."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from redis import Redis

from kommo.api.later import Later, Step
from kommo.cli.moments import milliseconds
from kommo.errors import KommoError
from kommo.hooks.normalise import normalise
from kommo.store.dead import DeadLetter, DeadLetters
from kommo.store.fleet import Fleet
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.lanes import Lanes
from kommo.store.outbox import Outbox
from kommo.store.server import PrivateServer
from tests.integration.workers.logs import logging_restored
from tests.integration.workers.working import lead_added
from workers.cli import dead as dead_commands
from workers.cli.dead import dead

HOUR = timedelta(hours=1)


@dataclass
class Ended:
    """How a command ended, and all that it printed, its error with it."""

    status: int
    text: str


Run = Callable[..., Ended]
Bury = Callable[..., DeadLetter]


@pytest.fixture
def run(redis_server: PrivateServer, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run `kommo dead …`; `typed` is what a person answers."""
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setenv("COLUMNS", "400")

    def kommo(*arguments: str, typed: str = "") -> Ended:
        result = CliRunner().invoke(dead, arguments, input=typed)
        if result.exception and not isinstance(result.exception, SystemExit | KommoError):
            raise result.exception
        return Ended(result.exit_code, result.output + (str(result.exception) if result.exit_code == 1 else ""))

    with logging_restored():
        yield kommo


@pytest.fixture
def bury(redis: Redis, keys: Keys) -> Bury:
    """Put a letter of an hour ago, or of whenever, where the scripts put it."""

    def bury(letter: DeadLetter, *, ago: timedelta = HOUR) -> DeadLetter:
        at_ms = milliseconds(datetime.now(UTC) - ago)
        records, index = keys.dead(letter.account_id)
        redis.hset(records, letter.id, letter.to_json())
        redis.zadd(index, {f"{letter.account_id}:{letter.id}": at_ms})
        redis.sadd(keys.of_shard(0, "accounts"), letter.account_id)
        return letter

    return bury


def a_step(number: int = 1, handler: str = "shop.won", account: int = 7, **given: Any) -> DeadLetter:
    (event,) = normalise(lead_added(number), content_type=None, account_id=account, delivery_id=f"d{number}")
    item = {"lane": f"lead:{number}:{handler}", "handler": handler, "stream": "1-0", "event": event.to_record()}
    letter = DeadLetter(
        id=f"e{number}.{handler}",
        kind="step",
        account_id=account,
        reason="attempts_exhausted",
        error=f"ValueError: no plan for {number}\nsecond line",
        at_ms=1,
        delivery_id=f"d{number}",
        traceback="Traceback …\nValueError: no plan",
        handler=handler,
        attempt=8,
        item=item,
    )
    return replace(letter, **given)


def a_write(account: int = 7, **given: Any) -> DeadLetter:
    later = Later(Step(account, "e5", "shop.won", "d5"))
    later.leads.update(31, price=700)
    (write,) = later.writes
    letter = DeadLetter(write.id, "write", account, "refused", "BadRequest: no", 1, "d5", handler="shop.won")
    return replace(letter, item=write.to_record(), **given)


def a_delivery(body: bytes = b"account[id]=8", account: int = 7) -> DeadLetter:
    sentence = "AccountMismatch: The body names account 8"
    return DeadLetter("d9", "delivery", account, "account_mismatch", sentence, 1, "d9", body=body, content_type="x/y")


def left(redis: Redis) -> list[str]:
    return sorted(key.id for key in DeadLetters(redis, Keys()).newest())


class TestList:
    def test_without_any_it_says_so(self, run: Run) -> None:
        assert run("list") == Ended(0, "No dead letters.\n")

    def test_it_shows_what_each_was_about_and_what_all_weigh(self, run: Run, bury: Bury) -> None:
        bury(a_step())
        bury(a_delivery(), ago=timedelta(minutes=1))
        text = run("list").text
        newer, older = (line for line in text.splitlines() if line.startswith("│"))
        for cell in ("e1.shop.won", "step", " 7 ", "lead.added", "attempts_exhausted", "ValueError: no plan for 1"):
            assert cell in older
        assert "second line" not in text
        assert "account_mismatch" in newer
        assert text.splitlines()[-1].startswith("2 dead letters in all, about ")
        assert "stay until they are retried or dropped" in text

    @pytest.mark.parametrize(
        ("options", "found"),
        [
            ((), ["d9", "e1.shop.won", "e2.shop.lost", "e3.shop.won"]),
            (("--handler", "shop.won"), ["e1.shop.won", "e3.shop.won"]),
            (("--kind", "delivery"), ["d9"]),
            (("--reason", "crashed"), ["e2.shop.lost"]),
            (("--account", "8"), ["e3.shop.won"]),
            (("--since", "2h", "--handler", "shop.won"), ["e1.shop.won"]),
            (("--until", "2h ago"), ["e3.shop.won"]),
        ],
    )
    def test_it_can_be_asked_for_less(self, run: Run, bury: Bury, options: tuple[str, ...], found: list[str]) -> None:
        bury(a_step(1))
        bury(a_step(2, "shop.lost", reason="crashed"))
        bury(a_step(3, account=8), ago=3 * HOUR)
        bury(a_delivery())
        lines = run("list", "--json", *options).text.splitlines()
        assert sorted(json.loads(line)["id"] for line in lines) == found

    def test_of_many_it_shows_some_and_says_that_there_are_more(self, run: Run, bury: Bury) -> None:
        for number in range(3):
            bury(a_step(number), ago=number * HOUR)
        text = run("list", "--limit", "2").text
        assert ("e0." in text, "e1." in text, "e2." in text) == (True, True, False)
        assert "more than these 2" in text
        assert "3 dead letters" in text

    def test_an_error_that_utf_8_has_no_bytes_for_comes_out_as_json_writes_it(self, run: Run, bury: Bury) -> None:
        bury(a_step(error="half a pair: \ud83d"))
        assert json.loads(run("list", "--json").text)["error"] == "half a pair: \ud83d"
        assert json.loads(run("show", "e1", "--json").text)["error"] == "half a pair: \ud83d"

    def test_in_a_pipe_the_lines_are_wide_enough_for_an_id(
        self, run: Run, bury: Bury, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("COLUMNS")
        letter = bury(a_step(id=f"{'5f' * 16}.shop.won"))
        (row,) = (line for line in run("list").text.splitlines() if letter.id in line)
        assert "attempts_exhausted" in row

    def test_json_is_printed_while_it_is_read(self, run: Run, bury: Bury, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(250):
            bury(a_step(number))
        read: list[int] = []
        records = DeadLetters._records

        def noted(self: DeadLetters, keys: Any) -> Any:
            read.append(len(printed))
            return records(self, keys)

        printed: list[object] = []
        echo = dead_commands.echo_json
        monkeypatch.setattr(DeadLetters, "_records", noted)
        monkeypatch.setattr(dead_commands, "echo_json", lambda what: printed.append(what) or echo(what))
        assert len(run("list", "--json", "--limit", "1000").text.splitlines()) == 250
        assert read == [0, 100, 200]

    @pytest.mark.parametrize("command", [("list",), ("list", "--json"), ("retry", "--yes"), ("drop", "--yes")])
    def test_a_handler_that_nobody_knows_is_a_mistake(
        self, run: Run, bury: Bury, redis: Redis, command: tuple[str, ...]
    ) -> None:
        bury(a_step())
        ended = run(*command, "--handler", "shop.wonn")
        assert ended.status == 1
        assert "no dead letter is of a handler shop.wonn" in ended.text
        assert left(redis) == ["e1.shop.won"]

    def test_one_that_a_worker_knows_or_that_has_letters_of_another_time_is_none(
        self, run: Run, bury: Bury, redis: Redis
    ) -> None:
        Fleet(redis).announce("p", {"lanes": 1}, ["shop.new"], sweep_ms=1)
        bury(a_step(), ago=3 * HOUR)
        assert run("retry", "--handler", "shop.new", "--yes") == Ended(0, "Put back: 0 of 0.\n")
        assert run("retry", "--handler", "shop.won", "--since", "1h", "--yes") == Ended(0, "Put back: 0 of 0.\n")

    def test_json_is_an_object_a_line(self, run: Run, bury: Bury) -> None:
        bury(a_step())
        said = json.loads(run("list", "--json").text)
        assert said.pop("at")[:4].isdecimal()
        assert said == {
            "id": "e1.shop.won",
            "kind": "step",
            "account_id": 7,
            "handler": "shop.won",
            "event": "lead.added",
            "reason": "attempts_exhausted",
            "error": "ValueError: no plan for 1",
            "delivery_id": "d1",
            "attempt": 8,
        }

    def test_what_would_steer_a_terminal_does_not(self, run: Run, bury: Bury) -> None:
        bury(a_step(error="\x1b[2Jhello [bold]world\x07"))
        for text in (run("list").text, run("show", "e1").text):
            assert "\x1b" not in text
            assert "\x07" not in text
            assert "hello [bold]world" in text


class TestShow:
    def test_of_a_step_it_shows_event_traceback_and_what_to_do(self, run: Run, bury: Bury) -> None:
        bury(a_step())
        text = run("show", "e1").text
        for part in ("attempts_exhausted", "second line", "Traceback …", '"type": "lead.added"', '"lead": {'):
            assert part in text
        assert "attempt      8" in text
        assert text.rstrip().endswith("Mend it, start the workers with it, then retry.")

    def test_of_a_write_it_shows_the_call(self, run: Run, bury: Bury) -> None:
        letter = bury(a_write())
        said = json.loads(run("show", letter.id, "--json").text)
        assert said["call"] == {"method": "PATCH", "path": "/api/v4/leads/31", "json": {"price": 700}}
        assert said["event_id"] == "e5"
        text = run("show", letter.id).text
        assert '"path": "/api/v4/leads/31"' in text
        assert "event:" not in text

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            (b"account[id]=8&x=\xd0\xb4\xd0\xb0", {"body": "account[id]=8&x=да"}),
            (b"\xff\x00\x01", {"body_base64": base64.b64encode(b"\xff\x00\x01").decode()}),
        ],
    )
    def test_of_a_delivery_it_shows_the_bytes(self, run: Run, bury: Bury, body: bytes, said: dict[str, str]) -> None:
        bury(a_delivery(body))
        found = json.loads(run("show", "d9", "--json").text)
        assert {name: found[name] for name in said} == said
        assert found["content_type"] == "x/y"
        assert next(iter(said.values())) in run("show", "d9").text

    def test_what_cannot_be_read_is_shown_as_bytes(self, run: Run, bury: Bury) -> None:
        for kind in ("step", "write"):
            bury(a_step(id=f"t.{kind}", kind=kind, reason="unreadable", item={"chain": "lead:1"}, body=b"{broken"))
            assert "{broken" in run("show", f"t.{kind}").text

    def test_a_record_that_is_no_event_is_passed_over(self, run: Run, bury: Bury) -> None:
        bury(a_step(item={"lane": "l", "event": {"type": 5}}))
        assert run("show", "e1").status == 0
        assert run("list").status == 0

    def test_an_unknown_or_ambiguous_id_is_told(self, run: Run, bury: Bury) -> None:
        bury(a_step(1))
        bury(a_step(1, "shop.lost"), ago=2 * HOUR)
        assert "there is no dead letter 'x'" in run("show", "x").text
        said = run("show", "e1").text
        assert "e1.shop.lost (account 7), e1.shop.won (account 7): give more of the id" in said
        assert run("show", "e1.shop.w").status == 0


class TestRetry:
    def test_one_goes_back_without_a_question(self, run: Run, bury: Bury, redis: Redis, keys: Keys) -> None:
        bury(a_step())
        assert run("retry", "e1") == Ended(0, "Put back: 1 of 1.\n")
        assert left(redis) == []
        (lease,) = Lanes(redis, keys).take(7, "t").leases
        assert lease.chain == "lead:1:shop.won"
        assert json.loads(lease.item)["event"]["entity_id"] == 1

    def test_many_are_counted_and_asked_for_and_the_oldest_goes_first(
        self, run: Run, bury: Bury, redis: Redis, keys: Keys
    ) -> None:
        for number, ago in ((1, HOUR), (2, 3 * HOUR), (3, 2 * HOUR)):
            bury(a_step(number, item={**a_step(number).item, "lane": "same"}), ago=ago)
        bury(a_step(4, "shop.lost"))
        assert run("retry", "--handler", "shop.won", typed="n\n").status == 1
        assert len(left(redis)) == 4
        ended = run("retry", "--handler", "shop.won", typed="y\n")
        assert "3  shop.won: attempts_exhausted" in ended.text
        assert "Retry: 3 dead letters?" in ended.text
        assert left(redis) == ["e4.shop.lost"]
        items = redis.hgetall(keys.chains("lanes", 7).items)
        order = [json.loads(items[b"same|%d" % place])["event"]["entity_id"] for place in (1, 2, 3)]
        assert order == [2, 3, 1]

    @pytest.mark.parametrize(
        "options", [("--since", "90m"), ("--account", "7"), ("--kind", "step"), ("--reason", "attempts_exhausted")]
    )
    def test_each_option_chooses(self, run: Run, bury: Bury, redis: Redis, options: tuple[str, ...]) -> None:
        bury(a_step(1))
        bury(a_write(account=8), ago=2 * HOUR)
        assert run("retry", "--yes", *options).text == "Put back: 1 of 1.\n"
        assert len(left(redis)) == 1

    @pytest.mark.parametrize("command", ["retry", "drop"])
    def test_without_saying_which_nothing_is_done(self, run: Run, bury: Bury, redis: Redis, command: str) -> None:
        bury(a_step())
        ended = run(command, "--yes")
        assert (ended.status, "Say which" in ended.text, len(left(redis))) == (2, True, 1)
        assert run(command, "--all", "--yes").status == 0
        assert left(redis) == []

    def test_what_cannot_go_back_is_told_and_the_rest_goes(self, run: Run, bury: Bury, redis: Redis) -> None:
        bury(a_step(1))
        bury(a_delivery())
        ended = run("retry", "--all", "--yes")
        assert ended.status == 1
        assert "d9: this version cannot read it either" in ended.text
        assert "Put back: 1 of 2." in ended.text
        assert left(redis) == ["d9"]
        assert run("retry", "d9", "--force").status == 0
        assert len(list(Inbox(redis, Keys()).between(7))) == 1

    def test_a_write_goes_back_into_the_outbox_and_a_hint_is_sent(
        self, run: Run, bury: Bury, redis: Redis, keys: Keys
    ) -> None:
        letter = bury(a_write())
        run("retry", letter.id[:10])
        assert Outbox(redis, keys).waiting(7) == 1
        assert redis.llen("flush") == 1

    def test_the_fleets_number_of_shards_is_respected(
        self, run: Run, bury: Bury, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bury(a_step())
        run("list")
        monkeypatch.setenv("KOMMO_SHARDS", "4")
        assert "KOMMO_SHARDS=4" in run("retry", "e1").text


class TestDrop:
    def test_it_asks_even_for_one(self, run: Run, bury: Bury, redis: Redis, keys: Keys) -> None:
        bury(a_step(1))
        bury(a_step(2))
        assert run("drop", "e1", typed="n\n").status == 1
        assert len(left(redis)) == 2
        ended = run("drop", "e1", typed="y\n")
        assert (ended.status, "Dropped: 1 of 1." in ended.text) == (0, True)
        assert left(redis) == ["e2.shop.won"]
        assert Lanes(redis, keys).take(7, "t").leases == []

    def test_of_nothing_there_is_nothing_to_ask(self, run: Run) -> None:
        assert run("drop", "--reason", "crashed") == Ended(0, "Dropped: 0 of 0.\n")
