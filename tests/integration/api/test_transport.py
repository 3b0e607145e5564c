"""The transport against real servers on loopback that behave badly on purpose."""

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from kommo.api import network
from kommo.api.network import call_within, is_readable, resolve
from kommo.api.protocol import Request, build
from kommo.api.transport import NO_ANSWER, NOT_SENT, HttpTransport, tls_context
from kommo.errors import RequestError, ServerError, Unreachable

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: r1\r\nContent-Length: 8\r\n\r\n"
BODY = b'{"id":1}'


class Server:
    """A listening socket whose connections are each given to a function in a thread."""

    def __init__(self, talk: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> None:
        self._talk = talk
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.requests = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
        self._open.append(connection)
        with connection, contextlib.suppress(OSError):
            self._talk(connection)

    def read_request(self, connection: socket.socket) -> bytes:
        """Read one request to the end of its body; empty at the end of the stream."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connection.recv(65536)
            if not chunk:
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields.get(b"content-length", 0)):
            body += connection.recv(65536)
        self.requests += 1
        return head + b"\r\n\r\n" + body

    def close(self) -> None:
        """Stop listening and end every conversation."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers that end with the test."""
    with contextlib.ExitStack() as stack:

        def start(talk: Callable[[Server, socket.socket], None], tls: ssl.SSLContext | None = None) -> Server:
            server: Server
            ready = threading.Event()

            def conversation(connection: socket.socket) -> None:
                ready.wait()
                talk(server, connection)

            server = Server(conversation, tls)
            ready.set()
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def transport() -> Iterator[Callable[..., HttpTransport]]:
    """Build transports that are closed with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(HttpTransport(**options))


def call(port: int, method: str = "GET", body: object = None, scheme: str = "http") -> Request:
    return build(method, "/api/v4/leads", {"query": "x"}, body, base_url=f"{scheme}://127.0.0.1:{port}", token="t")


def answering(server: Server, connection: socket.socket) -> None:
    while server.read_request(connection):
        connection.sendall(ANSWER + BODY)


def until_the_end(_server: Server, connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def test_status_headers_and_body_come_back(serve, transport):
    response = transport().send(call(serve(answering).port))
    assert (response.status, response.body) == (200, BODY)
    assert response.headers["x-request-id"] == "r1"


def test_what_is_sent_is_http_with_host_token_and_body(serve, transport):
    seen = []

    def talk(server: Server, connection: socket.socket) -> None:
        seen.append(server.read_request(connection))
        connection.sendall(ANSWER + BODY)

    server = serve(talk)
    transport().send(call(server.port, "DELETE", {"destination": "https://x.example/"}))
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"DELETE /api/v4/leads?query=x HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.port}".encode() in lines
    assert b"Authorization: Bearer t" in lines
    assert b"Content-Length: 36" in lines
    assert body == b'{"destination":"https://x.example/"}'


def test_one_connection_serves_call_after_call(serve, transport):
    server, carrier = serve(answering), transport()
    for _ in range(5):
        carrier.send(call(server.port))
    assert (server.connections, server.requests) == (1, 5)


def test_threads_share_the_transport(serve, transport):
    server, carrier = serve(answering), transport()
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda _: carrier.send(call(server.port)).body, range(80)))
    assert bodies == [BODY] * 80
    assert server.requests == 80
    assert server.connections <= 8


def test_an_idle_connection_that_the_server_closed_is_not_used_again(serve, transport):
    closed = threading.Event()

    def talk(server: Server, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(ANSWER + BODY)
        connection.shutdown(socket.SHUT_RDWR)
        closed.set()

    server, carrier = serve(talk), transport()
    for _ in range(3):
        closed.clear()
        assert carrier.send(call(server.port, "POST", [])).body == BODY
        assert closed.wait(5)
    assert (server.connections, server.requests) == (3, 3)


def test_a_redirect_comes_back_and_is_not_followed(serve, transport):
    other = serve(answering)

    def talk(server: Server, connection: socket.socket) -> None:
        server.read_request(connection)
        location = f"http://127.0.0.1:{other.port}/".encode()
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")

    assert transport().send(call(serve(talk).port)).status == 302
    assert other.connections == 0


def elapsed(action: Callable[[], object], error: type[Exception] = Unreachable) -> tuple[Unreachable, float]:
    began = time.monotonic()
    with pytest.raises(error) as caught:
        action()
    return caught.value, time.monotonic() - began


@pytest.mark.parametrize("opening", [b"", ANSWER], ids=["before the headers", "inside the body"])
def test_a_server_that_drips_does_not_outlast_the_deadline(serve, transport, opening):
    def talk(server: Server, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(opening or b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(7 if opening else 600):
            time.sleep(0.1)
            connection.sendall(b"x")

    server, carrier = serve(talk), transport(deadline=0.5)
    error, seconds = elapsed(lambda: carrier.send(call(server.port)))
    assert error.code == NO_ANSWER
    assert 0.4 < seconds < 1.5


def test_a_server_that_does_not_read_does_not_outlast_the_deadline(serve, transport):
    stop = threading.Event()
    server, carrier = serve(lambda *_: stop.wait(10)), transport(deadline=0.4)
    error, seconds = elapsed(lambda: carrier.send(call(server.port, "POST", ["x" * 30_000_000])))
    stop.set()
    assert error.code == NO_ANSWER
    assert seconds < 2


def test_silence_is_unreachable_with_the_path_but_not_the_query(serve, transport):
    error, _ = elapsed(lambda: transport(deadline=0.3).send(call(serve(until_the_end).port, "POST", [])))
    assert (error.method, error.path, error.status, error.code) == ("POST", "/api/v4/leads", None, NO_ANSWER)
    assert "query" not in str(error)
    assert "0.3 s" in error.detail


@pytest.mark.parametrize("said", [b"", ANSWER + b'{"i', b"HTTP/1.1 200 O", b"220 mail.example ESMTP\r\n\r\n"])
def test_a_connection_that_ends_early_or_speaks_otherwise_is_unreachable(serve, transport, said):
    def talk(server: Server, connection: socket.socket) -> None:
        server.read_request(connection)
        connection.sendall(said)

    error, _ = elapsed(lambda: transport(deadline=5).send(call(serve(talk).port)))
    assert error.code == NO_ANSWER


def test_a_refused_connection_has_sent_nothing(transport):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    error, _ = elapsed(lambda: transport().send(call(port)))
    assert error.code == NOT_SENT
    assert "nothing was sent" in str(error)


def test_a_connection_that_is_never_accepted_ends_with_the_deadline_and_has_sent_nothing(transport):
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # The kernel itself answers until the backlog is full.
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        error, seconds = elapsed(lambda: transport(deadline=0.4).send(call(listener.getsockname()[1])))
    assert error.code == NOT_SENT
    assert 0.3 < seconds < 2


def test_a_host_that_is_slow_to_resolve_does_not_outlast_the_deadline(transport, monkeypatch):
    asked, release = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def slow(host, port, **options):
        if options.get("flags"):
            return real(host, port, **options)
        asked.set()
        release.wait(10)
        return real("127.0.0.1", port, **options)

    monkeypatch.setattr(network.socket, "getaddrinfo", slow)
    request = build("GET", "/x", base_url="https://slow.example", token="t")
    error, seconds = elapsed(lambda: transport(deadline=0.3).send(request))
    release.set()
    assert asked.is_set()
    assert error.code == NOT_SENT
    assert seconds < 2


def test_a_host_without_address_is_unreachable(transport, monkeypatch):
    def nothing(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    monkeypatch.setattr(network.socket, "getaddrinfo", nothing)
    error, _ = elapsed(lambda: transport().send(build("GET", "/x", base_url="https://gone.example", token="t")))
    assert error.code == NOT_SENT


def test_the_next_address_is_tried_when_the_first_is_dead(serve, transport, monkeypatch):
    server = serve(answering)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        dead = probe.getsockname()[1]
    stream = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    both = [(*stream, ("127.0.0.1", dead)), (*stream, ("127.0.0.1", server.port))]
    monkeypatch.setattr(network.socket, "getaddrinfo", lambda *_args, **_options: both)
    assert transport().send(build("GET", "/x", base_url="http://two.example", token="t")).body == BODY


def test_a_lookup_that_fails_in_its_thread_fails_here(monkeypatch):
    def missing(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    monkeypatch.setattr(network.socket, "getaddrinfo", missing)
    with pytest.raises(socket.gaierror, match="no such host"):
        resolve("gone.example", 443, 5)


def test_time_that_is_used_up_is_a_timeout_for_every_step():
    with call_within(0) as spent, pytest.raises(TimeoutError):
        spent.left()


def test_a_closed_socket_counts_as_readable_and_an_idle_one_does_not():
    one, two = socket.socketpair()
    with one, two:
        assert not is_readable(one)
        two.close()
        assert is_readable(one)
    assert is_readable(one)


def test_an_address_needs_no_lookup():
    with call_within(1):
        assert resolve("127.0.0.1", 80, 1)[0][4] == ("127.0.0.1", 80)


@pytest.mark.parametrize("declared", [True, False])
def test_an_answer_over_the_limit_is_an_error_and_its_connection_is_dropped(serve, transport, declared):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" if declared else b"HTTP/1.1 200 OK\r\n\r\n"

    def talk(server: Server, connection: socket.socket) -> None:
        while server.read_request(connection):
            connection.sendall(head + b"x" * 5000)
            if not declared:
                return

    server, carrier = serve(talk), transport(answer_limit=4999)
    for _ in range(2):
        with pytest.raises(ServerError, match="longer than 4999"):
            carrier.send(call(server.port))
    assert server.connections == 2
    assert transport(answer_limit=5000).send(call(server.port)).body == b"x" * 5000


def test_a_request_that_cannot_be_put_on_the_wire_is_refused(serve, transport):
    request = Request("GET", f"http://127.0.0.1:{serve(answering).port}/", (("X-Bad", "a\nb"),), b"")
    with pytest.raises(RequestError, match="cannot be sent"):
        transport().send(request)


def test_after_close_nothing_is_left_open(serve):
    ended = threading.Event()

    def talk(server: Server, connection: socket.socket) -> None:
        answering(server, connection)
        ended.set()

    server = serve(talk)
    carrier = HttpTransport()
    carrier.send(call(server.port))
    carrier.close()
    assert ended.wait(5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a self-signed certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "chain.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=loopback",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            key,
            "-out",
            chain,
        ],
        check=True,
        capture_output=True,
    )
    return key, chain


def server_tls(certificate, maximum=ssl.TLSVersion.MAXIMUM_SUPPORTED) -> ssl.SSLContext:
    key, chain = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    # Security level 0 lets the test's server offer what the client has to refuse.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.maximum_version = maximum
    return context


def versions(server: Server, connection: socket.socket) -> None:
    while server.read_request(connection):
        version = connection.version().encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(version), version))


@pytest.mark.parametrize(
    ("maximum", "spoken"), [(ssl.TLSVersion.TLSv1_2, b"TLSv1.2"), (ssl.TLSVersion.TLSv1_3, b"TLSv1.3")]
)
def test_tls_1_2_and_later_is_spoken_over_a_kept_connection(serve, transport, certificate, maximum, spoken):
    server = serve(versions, server_tls(certificate, maximum))
    carrier = transport(tls=tls_context(str(certificate[1])))
    for _ in range(2):
        assert carrier.send(call(server.port, scheme="https")).body == spoken
    assert server.connections == 1


def test_tls_1_1_is_refused_before_anything_is_sent(serve, transport, certificate):
    # Offering an old version is what the test is about.
    with pytest.warns(DeprecationWarning):
        offered = server_tls(certificate, ssl.TLSVersion.TLSv1_1)
    server = serve(versions, offered)
    carrier = transport(tls=tls_context(str(certificate[1])))
    error, _ = elapsed(lambda: carrier.send(call(server.port, scheme="https")))
    assert (error.code, server.requests) == (NOT_SENT, 0)


def test_a_certificate_of_nobody_is_refused_before_anything_is_sent(serve, transport, certificate):
    server = serve(versions, server_tls(certificate))
    error, _ = elapsed(lambda: transport().send(call(server.port, scheme="https")))
    assert "CERTIFICATE_VERIFY_FAILED" in error.detail
    assert (error.code, server.requests) == (NOT_SENT, 0)


def test_a_handshake_that_drips_does_not_outlast_the_deadline(serve, transport):
    def talk(_server: Server, connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"\x16\x03\x03\x40\x00")
        for _ in range(100):
            time.sleep(0.1)
            connection.sendall(b"\x02")

    server = serve(talk)
    error, seconds = elapsed(lambda: transport(deadline=0.5).send(call(server.port, scheme="https")))
    assert error.code == NOT_SENT
    assert seconds < 1.5


def test_the_default_context_trusts_known_authorities_and_refuses_old_versions():
    context = tls_context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs()
