"""Clients that never finish keep no honest delivery waiting: neither at gunicorn itself nor behind the proxy."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from kommo.hooks.signature import url_signature
from tests.ports import free_port
from tests.scenario.fleet import ACCOUNT, CLIENT, ROOT, SECRET, Program
from tests.waiting import wait_for

pytestmark = pytest.mark.scenario

CLIENTS = 200
PATH = f"/webhooks/{ACCOUNT}/{url_signature(SECRET, CLIENT, ACCOUNT)}/"
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with Program() as program:
        program.web()
        yield program


@contextmanager
def nginx(receiver_port: int) -> Iterator[int]:
    """Start the proxy as deploy/ configures it, on other ports."""
    if not shutil.which("nginx"):
        if os.environ.get("CI"):
            pytest.fail("CI needs nginx: deploy/nginx.sh should have installed it")
        pytest.skip("no nginx here")
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="kommo-nginx-"))
    text = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(
        "127.0.0.1:8000", f"127.0.0.1:{receiver_port}"
    )
    (folder / "nginx.conf").write_text(text.replace("/run/nginx-kommo.pid", str(folder / "pid")), "utf-8")
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answered(port, b"GET /health/live HTTP/1.0\r\n\r\n"), what="nginx answers")
        yield port
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def answered(port: int, data: bytes) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(data)
            return client.recv(65536)
    except OSError:
        return b""


def delivery(number: int) -> bytes:
    body = f"leads[add][0][id]={number}&leads[add][0][created_at]=1790000000"
    fields = "Content-Type: application/x-www-form-urlencoded\r\nConnection: close"
    return f"{HEAD}{fields}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def silent(_: socket.socket) -> None:
    """Sends nothing at all."""


def half_a_head(client: socket.socket) -> None:
    client.sendall(HEAD.encode())


def half_a_body(client: socket.socket) -> None:
    client.sendall(f"{HEAD}Content-Length: 500\r\n\r\nleads[add]".encode())


def half_a_chunk(client: socket.socket) -> None:
    client.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\nff\r\nleads".encode())


def too_long(client: socket.socket) -> None:
    client.sendall(f"{HEAD}Content-Length: 99999999\r\n\r\nleads".encode())


def waits_for_a_word(client: socket.socket) -> None:
    client.sendall(f"{HEAD}Expect: 100-continue\r\nContent-Length: 500\r\n\r\n".encode())


def never_hangs_up(client: socket.socket) -> None:
    client.sendall(delivery(1))


def keeps_the_connection(client: socket.socket) -> None:
    client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nPOST /webh")


def never_reads(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 200)


def guesses_without_reading(client: socket.socket) -> None:
    """Sends far more than whose answers fit anywhere, and reads none."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    guess = f"POST /webhooks/7/{'a' * 64}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    client.setblocking(False)
    with suppress(BlockingIOError, ConnectionError):
        client.sendall(guess * 3000)


def tiny_chunks(client: socket.socket) -> None:
    with suppress(ConnectionError):
        client.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + b"1\r\na\r\n" * 9000)


def a_chunk_size_without_end(client: socket.socket) -> None:
    client.sendall(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n0000000001".encode())


KINDS: list[Callable[[socket.socket], None]] = [
    silent,
    half_a_head,
    half_a_body,
    half_a_chunk,
    too_long,
    waits_for_a_word,
    never_hangs_up,
    keeps_the_connection,
    never_reads,
    guesses_without_reading,
    tiny_chunks,
    a_chunk_size_without_end,
]


@pytest.mark.parametrize("behind_proxy", [False, True], ids=["at gunicorn", "behind nginx"])
@pytest.mark.parametrize("misbehave", KINDS, ids=lambda kind: kind.__name__)
def test_an_honest_delivery_is_answered_in_time_whatever_200_others_do(
    program: Program, misbehave: Callable[[socket.socket], None], behind_proxy: bool
) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(nginx(program.port)) if behind_proxy else program.port
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            misbehave(client)

        for number in range(20):
            began = time.monotonic()
            answer = answered(port, delivery(1000 + number))
            assert answer.startswith(b"HTTP/1.1 200")
            assert time.monotonic() - began < 2


def test_one_who_never_finishes_is_let_go(program: Program) -> None:
    with socket.create_connection(("127.0.0.1", program.port), timeout=15) as client:
        half_a_body(client)

        assert client.recv(1000).startswith(b"HTTP/1.1 408")
        assert client.recv(1000) == b""


def test_a_head_without_end_is_refused(program: Program) -> None:
    with socket.create_connection(("127.0.0.1", program.port), timeout=5) as client:
        client.sendall(HEAD.encode() + b"X: y\r\n" * 6000)

        assert client.recv(1000).startswith(b"HTTP/1.1 431")


def test_a_client_that_waits_for_a_word_gets_it_and_its_answer(program: Program) -> None:
    with socket.create_connection(("127.0.0.1", program.port), timeout=5) as client:
        client.sendall(f"{HEAD}Expect: 100-continue\r\nConnection: close\r\nContent-Length: 23\r\n\r\n".encode())

        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"leads[add][0][id]=77777")
        assert b"HTTP/1.1 200 OK" in client.recv(1000)


def test_requests_on_a_kept_connection_are_answered_in_turn_however_they_are_cut(program: Program) -> None:
    kept = b"".join(delivery(number).replace(b"Connection: close\r\n", b"") for number in range(2000, 2010))
    with socket.create_connection(("127.0.0.1", program.port), timeout=5) as client:
        for place in range(0, len(kept), 97):
            client.sendall(kept[place : place + 97])
        got = b""
        while got.count(b"HTTP/1.1 200") < 10 and (data := client.recv(65536)):
            got += data

    assert got.count(b"HTTP/1.1 200") == 10
