"""Hundreds of hostile requests at the receiver as gunicorn serves it, and an honest delivery after each of them."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from redis import Redis

from kommo.errors import DecodeError
from kommo.hooks.normalise import normalise
from kommo.store.connection import connect
from kommo.store.keys import Keys
from kommo.store.server import PrivateServer
from tests.integration.receiver.conftest import Gunicorn
from tests.integration.receiver.hostile import bodies, doors, framing
from tests.integration.receiver.hostile.case import Case
from tests.integration.receiver.wire import (
    ACCOUNT,
    CLIENT,
    DOOR,
    SECRET,
    SIGNATURE,
    Answer,
    body_proof,
    lead,
    post,
    speak,
)
from tests.waiting import wait_for

#: Kommo waits so long.
SECONDS: Final = 2.0
#: What a process of the receiver may come to weigh, with all of the requests behind it.
MOST_RSS: Final = 220 * 2**20
_STREAM: Final = Keys().of_account(ACCOUNT, "inbox", "stream")
_NUMBERS: Final = itertools.count(1)
_HOSTS: Final = itertools.count(1)


class Target:
    """A receiver that is attacked, each time from another address, and how it bears it."""

    def __init__(self, gunicorn: Gunicorn, redis: Redis) -> None:
        self.gunicorn = gunicorn
        self.redis = redis

    def play(self, sent: bytes, *, ends: bool = True) -> tuple[Answer, float]:
        """Send bytes from an address of their own, and time the answer."""
        began = time.monotonic()
        number = next(_HOSTS)
        source = f"127.{1 + number // 62_500}.{1 + number // 250 % 250}.{1 + number % 250}"
        answer = speak(self.gunicorn.port, sent, ends=ends, seconds=10, source=source)
        return answer, time.monotonic() - began

    def stored(self) -> int:
        return int(self.redis.xlen(_STREAM))

    def is_honest(self) -> None:
        """An honest delivery is taken in time, and stored as it came."""
        body = lead(next(_NUMBERS), text="honest")
        before = self.stored()
        answer, seconds = self.play(post(DOOR, body), ends=False)
        assert (answer.status, answer.body) == (200, b"")
        assert seconds < SECONDS
        ((_, fields),) = self.redis.xrevrange(_STREAM, count=1)
        assert (self.stored(), fields[b"body"]) == (before + 1, body)

    def rss(self) -> int:
        """The bytes that gunicorn's worker holds."""
        children = Path(f"/proc/{self.gunicorn.process.pid}/task/{self.gunicorn.process.pid}/children").read_text()
        sizes = [
            int(line.split()[1]) * 1024
            for child in children.split()
            for line in Path(f"/proc/{child}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        ]
        return max(sizes)


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateServer]:
    with PrivateServer(fsync="no") as running:
        yield running


@pytest.fixture(scope="module")
def target(server: PrivateServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    running = Gunicorn(server.url, tmp_path_factory.mktemp("hostile") / "log")
    client = connect(server.url)
    try:
        running.wait()
        yield Target(running, client)
    finally:
        running.stop()
        client.close()


def test_there_are_enough_of_them_and_no_two_have_a_name() -> None:
    names = [case.name for case in (*framing.CASES, *doors.CASES)]
    names += [name for name, _ in bodies.FORMS] + [f"JSON: {name}" for name, _ in bodies.DOCUMENTS]
    assert len(names) == len(set(names))
    assert len(names) >= 200


@pytest.mark.parametrize("case", [*framing.CASES, *doors.CASES], ids=str)
def test_a_hostile_request_is_refused_in_time_and_leaves_no_trace(target: Target, case: Case) -> None:
    before = target.stored()
    answer, seconds = target.play(case.bytes, ends=case.ends)
    assert answer.status in case.answers, answer.head
    assert seconds < SECONDS
    assert "location:" not in answer.head.lower()
    if case.stored is not None:
        assert target.stored() - before == case.stored
    target.is_honest()


@pytest.mark.parametrize(("name", "body"), bodies.FORMS, ids=[name for name, _ in bodies.FORMS])
def test_a_hostile_form_that_is_proven_is_stored_as_it_is(target: Target, name: str, body: bytes) -> None:
    _is_kept(target, body, "application/x-www-form-urlencoded")


@pytest.mark.parametrize(("name", "body"), bodies.DOCUMENTS, ids=[name for name, _ in bodies.DOCUMENTS])
def test_a_hostile_document_that_is_proven_is_stored_as_it_is(target: Target, name: str, body: bytes) -> None:
    _is_kept(target, body, "application/json")


def _is_kept(target: Target, body: bytes, content_type: str) -> None:
    # Twice: a body that is repeated is decoded in the request.
    for _ in range(2):
        answer, seconds = target.play(post(DOOR, body, f"Content-Type: {content_type}"), ends=False)
        assert answer.status == 200
        assert seconds < SECONDS
    rows = target.redis.xrevrange(_STREAM, count=2)
    assert body in {fields[b"body"] for _, fields in rows}
    target.is_honest()
    began = time.process_time()
    try:
        events = normalise(body, content_type=content_type, account_id=ACCOUNT, delivery_id="d")
    except DecodeError:
        return
    assert all(json_ready(event.as_dict()) for event in events[:100])
    assert time.process_time() - began < 2 * SECONDS


def json_ready(told: object) -> bool:
    return bool(repr(told))


def test_requests_in_one_piece_are_one_after_the_other(target: Target) -> None:
    before, numbers = target.stored(), [next(_NUMBERS) for _ in range(3)]
    target.play(b"".join(post(DOOR, lead(number)) for number in numbers), ends=False)
    wait_for(lambda: target.stored() == before + 3, what="all three are stored")
    rows = target.redis.xrevrange(_STREAM, count=3)
    assert [fields[b"body"] for _, fields in reversed(rows)] == [lead(number) for number in numbers]


class TestGuessers:
    """Failed proofs are counted by address; a signature in the address of a request passes whatever was before."""

    def speak(self, target: Target, sent: bytes, source: str) -> Answer:
        return speak(target.gunicorn.port, sent, source=source)

    def test_who_guesses_is_told_the_same_whether_right_or_wrong(self, target: Target) -> None:
        source = "127.99.0.1"
        wrong = post(f"/webhooks/{ACCOUNT}/", lead(), f"X-Signature: {'0' * 64}")
        right = post(f"/webhooks/{ACCOUNT}/", lead(), *(f"{k}: {v}" for k, v in body_proof(lead()).items()))
        statuses = [self.speak(target, wrong, source).status for _ in range(30)]
        assert statuses[:10] == [401] * 10
        assert set(statuses[10:]) <= {401, 429}
        assert statuses.count(429) >= 15
        before = target.stored()
        told = [self.speak(target, sent, source) for sent in (right, wrong)]
        assert {answer.status for answer in told} == {429}
        assert len({_without_date(answer) for answer in told}) == 1
        assert target.stored() == before

    def test_a_url_that_proves_passes_from_the_same_address(self, target: Target) -> None:
        source = "127.99.0.2"
        for _ in range(30):
            assert self.speak(target, post(f"/webhooks/{ACCOUNT}/{'0' * 64}/", lead()), source).status == 401
        for path in (DOOR, f"/webhooks/{ACCOUNT}/?signature={SIGNATURE}", f"/webhooks/?signature={SIGNATURE}"):
            assert self.speak(target, post(path, lead()), source).status == 200

    def test_another_address_is_not_made_to_pay(self, target: Target) -> None:
        wrong = post("/webhooks/", lead(), f"X-Signature: {'0' * 64}")
        for _ in range(30):
            self.speak(target, wrong, "127.99.0.3")
        assert self.speak(target, wrong, "127.99.0.4").status == 401

    def test_an_over_long_guess_above_the_limit_is_not_even_measured(self, target: Target) -> None:
        for _ in range(30):
            self.speak(target, post("/webhooks/", b"", f"X-Signature: {'0' * 64}"), "127.99.0.5")
        announced = post("/webhooks/", b"").replace(b"Content-Length: 0", b"Content-Length: 99999999")
        assert self.speak(target, announced, "127.99.0.5").status == 429


def _without_date(answer: Answer) -> str:
    return "\n".join(line for line in answer.head.splitlines() if not line.lower().startswith("date:"))


def test_a_thousand_refusals_write_a_few_dozen_lines(target: Target) -> None:
    wait_for(target.gunicorn.said, what="gunicorn has said something")
    before = len(target.gunicorn.said())
    began = time.monotonic()
    for _ in range(1000):
        target.play(post(f"/webhooks/{ACCOUNT}/{'0' * 64}/", b""), ends=False)
    lines = [line for line in target.gunicorn.said()[before:].splitlines() if "delivery refused" in line]
    assert 0 < len(lines) <= 20 + 5 * (time.monotonic() - began) + 1


def test_a_thousand_broken_requests_write_a_few_dozen_lines_too(target: Target) -> None:
    before = len(target.gunicorn.said())
    began = time.monotonic()
    for _ in range(1000):
        target.play(b"GET / HTTP/9.9\r\n\r\n", ends=False)
    lines = [line for line in target.gunicorn.said()[before:].splitlines() if "Invalid request" in line]
    assert 0 < len(lines) <= 20 + 5 * (time.monotonic() - began) + 1


def test_after_all_of_them_no_line_was_forged_and_none_holds_a_secret(target: Target) -> None:
    target.play(post("/webhooks/1%0d%0a%7B%22message%22:%22owned%22%7D/x/", b""))
    said = target.gunicorn.said()
    lines = said.splitlines()
    assert [line for line in lines if not (line.startswith('{"') and line.endswith("}"))] == []
    assert [word for word in (SECRET, SIGNATURE, "owned", "\x1b", "honest", "Traceback") if word in said] == []
    assert CLIENT not in said


def test_after_all_of_them_the_process_has_stayed_small(target: Target) -> None:
    target.is_honest()
    assert target.rss() < MOST_RSS
