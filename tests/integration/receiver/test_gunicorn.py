"""The receiver as gunicorn serves it: what comes over real connections, broken requests included."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from kommo.hooks.signature import body_signature
from kommo.store.inbox import Entry
from kommo.store.server import PrivateServer
from receiver import create_app
from receiver.bodies import PROVEN_BYTES, UNPROVEN_BYTES
from tests.integration.receiver.conftest import DEAD_BROKER, GUNICORN, ROOT, Gunicorn, environ, settings
from tests.integration.receiver.wire import (
    ACCOUNT,
    DOOR,
    FORMER,
    SECRET,
    SIGNATURE,
    chunked,
    lead,
    post,
    request,
    speak,
)
from tests.waiting import wait_for

Stored = Callable[[], list[Entry]]
UNPROVEN = f"/webhooks/{ACCOUNT}/"
PROOF = f"X-Signature: {SIGNATURE}"
WHISPER = "whispered-by-a-customer"


@pytest.fixture
def port(gunicorn: Gunicorn, redis: Redis) -> int:
    return gunicorn.port


@pytest.mark.parametrize("path", [DOOR, DOOR[:-1]])
def test_a_delivery_is_stored_and_answered_with_nothing(port: int, stored: Stored, path: str) -> None:
    answer = speak(port, post(path, lead()))
    assert (answer.status, answer.body) == (200, b"")
    assert [entry.delivery.body for entry in stored()] == [lead()]


def test_a_chunked_delivery_is_stored_whole(port: int, stored: Stored) -> None:
    assert speak(port, chunked(DOOR, lead()[:7], lead()[7:])).status == 200
    assert [entry.delivery.body for entry in stored()] == [lead()]


def test_a_kept_connection_takes_one_delivery_after_the_other(port: int, stored: Stored) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        for number in range(3):
            connection.sendall(post(DOOR, lead(number)))
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert len(stored()) == 3


@pytest.mark.parametrize("target", ["//", "//webhooks/", f"/webhooks//{SIGNATURE}/", f"/webhooks/{ACCOUNT}//", "*"])
def test_no_target_leads_to_a_redirect_or_a_fault(port: int, target: str) -> None:
    answer = speak(port, post(target, lead()))
    assert 400 <= answer.status < 500
    assert "location:" not in answer.head.lower()


def test_another_method_is_told_the_right_one(port: int) -> None:
    answer = speak(port, request(f"GET {DOOR} HTTP/1.1"))
    assert answer.status == 405
    assert "Allow: POST" in answer.head


def test_two_headers_with_a_proof_are_refused(port: int) -> None:
    assert speak(port, post(UNPROVEN, lead(), PROOF, PROOF)).status == 401
    assert speak(port, post(UNPROVEN, lead(), PROOF)).status == 200


@pytest.mark.parametrize("proof", ["X-Signature: é", "X-Signature:", "X-Signature: " + "0" * 8000])
def test_a_header_that_is_no_proof_is_refused(port: int, proof: str) -> None:
    assert speak(port, post(UNPROVEN, lead(), proof)).status == 401


class TestLengths:
    def announced(self, port: int, path: str, length: int, *lines: str) -> int:
        """Announce so many bytes, send none of them, and see what is said to that."""
        head = "\n".join([f"POST {path} HTTP/1.1", f"Content-Length: {length}", *lines])
        return speak(port, request(head), ends=True).status

    def test_too_long_is_told_before_the_body_is_sent(self, port: int) -> None:
        assert self.announced(port, DOOR, PROVEN_BYTES + 1) == 413
        assert self.announced(port, UNPROVEN, UNPROVEN_BYTES + 1, PROOF) == 413
        assert self.announced(port, "/webhooks/", UNPROVEN_BYTES + 1, PROOF) == 413

    def test_at_the_limit_it_is_the_missing_body_that_is_told(self, port: int) -> None:
        assert self.announced(port, DOOR, PROVEN_BYTES) == 400
        assert self.announced(port, UNPROVEN, UNPROVEN_BYTES, PROOF) == 400

    def test_a_chunked_body_over_the_limit_is_not_cut_but_refused(self, port: int, stored: Stored) -> None:
        assert speak(port, chunked(UNPROVEN, b"a" * (UNPROVEN_BYTES + 1), lines=[PROOF])).status == 413
        # So much may take a busy machine longer than the receiver waits; then Kommo sends it again.
        wait_for(lambda: speak(port, chunked(DOOR, b"a" * PROVEN_BYTES)).status == 200, what="8 MiB are stored")
        assert speak(port, chunked(DOOR, b"a" * PROVEN_BYTES, b"a")).status == 413
        assert [len(entry.delivery.body) for entry in stored()] == [PROVEN_BYTES]


BROKEN = {
    "body shorter than its length": post(DOOR, lead()).replace(b"Content-Length: ", b"Content-Length: 9"),
    "half a chunk": chunked(DOOR, lead(), end=b"ff\r\nhalf"),
    "no last chunk": chunked(DOOR, lead(), end=b""),
    "chunk size of letters": chunked(DOOR, lead(), end=b"zz\r\nx\r\n0\r\n\r\n"),
    "negative chunk size": chunked(DOOR, end=b"-1\r\n\r\n"),
    "chunk longer than its size": chunked(DOOR, end=b"3\r\nabcdef\r\n0\r\n\r\n"),
    "gzip, chunked": request(f"POST {DOOR} HTTP/1.1\nTransfer-Encoding: gzip, chunked", b"1\r\na\r\n0\r\n\r\n"),
    "gzip": request(f"POST {DOOR} HTTP/1.1\nTransfer-Encoding: gzip", b"a"),
    "identity": request(f"POST {DOOR} HTTP/1.1\nTransfer-Encoding: identity", b"a"),
    "chunked twice": request(f"POST {DOOR} HTTP/1.1\nTransfer-Encoding: chunked, chunked", b"0\r\n\r\n"),
    "coding and length": request(f"POST {DOOR} HTTP/1.1\nTransfer-Encoding: chunked\nContent-Length: 5", b"0\r\n\r\n"),
    "negative length": request(f"POST {DOOR} HTTP/1.1\nContent-Length: -1", b"x"),
    "length of letters": request(f"POST {DOOR} HTTP/1.1\nContent-Length: ten", b"x"),
    "length with a sign": request(f"POST {DOOR} HTTP/1.1\nContent-Length: +1", b"x"),
    "two lengths": request(f"POST {DOOR} HTTP/1.1\nContent-Length: 1\nContent-Length: 2", b"xx"),
    "the same length twice": request(f"POST {DOOR} HTTP/1.1\nContent-Length: 1\nContent-Length: 1", b"x"),
    "no HTTP": f"POST {DOOR}\r\n\r\n".encode(),
    "another version": request(f"POST {DOOR} HTTP/9.9"),
    "a space in the target": request(f"POST {DOOR}{WHISPER} x HTTP/1.1"),
    "a target that is too long": request(f"POST {DOOR}{'a' * 3000} HTTP/1.1"),
    "a header without a colon": request(f"POST {DOOR} HTTP/1.1\n{WHISPER}"),
    "a header with a space before its colon": request(f"POST {DOOR} HTTP/1.1\nX-Signature : {SIGNATURE}"),
    "a folded header": request(f"POST {DOOR} HTTP/1.1\nX-One: 1\n  {SIGNATURE}"),
    "a header that is too long": request(f"POST {DOOR} HTTP/1.1\nX-One: {'a' * 9000}"),
    "too many headers": request(f"POST {DOOR} HTTP/1.1\n" + "\n".join(f"X-{number}: 1" for number in range(100))),
    "a body where a request should begin": lead(text=WHISPER) + b"\r\n\r\n",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_request_is_the_senders_mistake(port: int, stored: Stored, case: str) -> None:
    assert 400 <= speak(port, BROKEN[case], ends=True).status < 500
    assert stored() == []


def test_a_coding_that_nobody_knows_is_the_senders_mistake_too(port: int, stored: Stored) -> None:
    # https://www.rfc-editor.org/rfc/rfc9112#section-6.1 would have a 501; but nobody is to bring the receiver to a 5xx.
    unknown = request(f"POST {DOOR} HTTP/1.1\nTransfer-Encoding: lead, chunked", b"0\r\n\r\n")
    assert speak(port, unknown, ends=True).status == 400
    assert stored() == []


def test_what_follows_a_broken_body_on_its_connection_is_not_taken_for_a_request(port: int, stored: Stored) -> None:
    for case in ("chunk size of letters", "negative chunk size", "gzip, chunked", "coding and length"):
        speak(port, BROKEN[case] + post(DOOR, lead()))
    too_long = request(f"POST {DOOR} HTTP/1.1\nContent-Length: {PROVEN_BYTES + 1}")
    speak(port, too_long + post(DOOR, lead()), ends=True)
    assert stored() == []


def test_a_client_that_goes_away_half_way_harms_nobody(port: int, stored: Stored) -> None:
    for cut in range(0, len(post(DOOR, lead())), 9):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(post(DOOR, lead())[:cut])
    assert speak(port, post(DOOR, lead())).status == 200
    assert len(stored()) == 1


def test_a_slow_client_holds_up_no_other(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as slow:
        slow.sendall(post(DOOR, lead())[:-1])
        assert speak(port, post(DOOR, lead(2))).status == 200
        slow.sendall(lead()[-1:])
        assert slow.recv(100).startswith(b"HTTP/1.1 200 ")


def test_health_is_told_over_the_wire(port: int) -> None:
    assert speak(port, request("GET /health/live HTTP/1.1")).status == 200
    assert speak(port, request("GET /health/ready HTTP/1.1")).status == 200
    assert speak(port, request("GET / HTTP/1.1")).status == 200


def test_nothing_that_gunicorn_says_holds_a_proof_a_secret_or_a_body(gunicorn: Gunicorn, port: int) -> None:
    """All tests of this module speak to the same gunicorn; the worst of them once more, so that order is no matter."""
    body = lead(text=WHISPER)
    for sent in (
        *BROKEN.values(),
        post(DOOR, body),
        post(f"{DOOR}more/", body),
        post(f"{UNPROVEN}?signature={SIGNATURE}&signature={SIGNATURE}", body),
        post(UNPROVEN, body, f"X-Signature: {body_signature(SECRET, body)}"),
        # One byte too few is announced, so that the last one begins the next request.
        post(DOOR, body).replace(b"Content-Length: 1", b"Content-Length: ") + b"\r\n\r\n",
        post(DOOR, b"", f"{WHISPER} : 1"),
    ):
        speak(port, sent, ends=True)
    wait_for(lambda: "Invalid request" in gunicorn.said(), what="gunicorn reports malformed requests")
    said = gunicorn.said()
    forbidden = (SIGNATURE, SIGNATURE[:20], SECRET, FORMER, WHISPER, body_signature(SECRET, body), "leads[add]")
    assert [word for word in forbidden if word in said] == []


def test_all_that_gunicorn_says_is_structured(gunicorn: Gunicorn, port: int) -> None:
    speak(port, post(DOOR, lead()))
    lines = wait_for(gunicorn.said).splitlines()
    assert [line for line in lines if not (line.startswith('{"') and '"level"' in line)] == []


class TestTheStart:
    def start(self, **variables: str) -> subprocess.CompletedProcess[str]:
        told = environ(PORT="0", **variables)
        return subprocess.run(
            GUNICORN,
            cwd=ROOT,
            env={name: value for name, value in told.items() if value},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    @pytest.mark.parametrize(
        ("variables", "sentence"),
        [
            ({}, "REDIS_URL is not set"),
            ({"REDIS_URL": "redis://127.0.0.1:1/0", "KOMMO_CLIENT_SECRET": ""}, "KOMMO_CLIENT_SECRET is not set"),
            ({"REDIS_URL": "cache.example:6379"}, "REDIS_URL=*** is not a Redis URL"),
            ({"REDIS_URL": "redis://127.0.0.1:1/0", "KOMMO_SHARDS": "many"}, "KOMMO_SHARDS=many is not"),
        ],
    )
    def test_bad_settings_end_it_at_once_with_one_clear_text(self, variables: dict[str, str], sentence: str) -> None:
        ended = self.start(**variables)
        assert ended.returncode != 0
        _, told, sentences = ended.stderr.partition("The receiver cannot start.\n")
        assert told
        assert sentences.startswith(sentence)
        assert "Traceback" not in ended.stderr + ended.stdout


class TestTheBroker:
    """Celery's broker may be dead or hang: the answer does not wait for it."""

    @pytest.fixture
    def stalled_broker(self) -> Iterator[str]:
        """A port whose owner never answers."""
        with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
            yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"

    @pytest.mark.parametrize("broker", ["dead", "stalled"])
    def test_deliveries_are_answered_as_quickly_as_ever(
        self, redis_server: PrivateServer, redis: Redis, stalled_broker: str, broker: str
    ) -> None:
        url = DEAD_BROKER if broker == "dead" else stalled_broker
        client = create_app(settings(redis_server.url, url)).test_client()
        client.get("/health/live")
        for number in range(5):
            # As if the loop that the last hint was for had come and gone: another hint is due.
            redis.delete("kommo:{0}:inbox:wake")
            began = time.perf_counter()
            assert client.post(DOOR, data=lead(number)).status_code == 200
            assert time.perf_counter() - began < 0.3


def test_gunicorn_ends_when_it_is_told_to(redis_server: PrivateServer, tmp_path: Path) -> None:
    running = Gunicorn(redis_server.url, tmp_path / "log")
    running.wait()
    assert running.stop() == 0
