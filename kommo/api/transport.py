"""Send requests to Kommo: one connection pool, one deadline a call, nothing repeated and no redirect followed."""

import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Protocol, Self

import certifi
import httpcore

from kommo.api.network import Call, DeadlineBackend, call_within
from kommo.api.protocol import Request, Response
from kommo.errors import RequestError, ServerError, Unreachable

#: Seconds for a whole call, from the look-up of the host to the last byte of the answer.
DEADLINE_SECONDS: Final = 25.0

#: Bytes of an answer; a full page of 250 entities is well under 4 MiB.
ANSWER_LIMIT: Final = 16 * 1024 * 1024

#: Seconds that an idle connection is kept: shorter than servers keep theirs, or a POST meets a closed one.
KEEPALIVE_SECONDS: Final = 15.0

CONNECTIONS: Final = 64

#: `Unreachable.code`: no byte of the request left, so repeating it is safe, or the work may have been done.
NOT_SENT: Final = "not_sent"
NO_ANSWER: Final = "no_answer"


class Transport(Protocol):
    """What carries a request to Kommo and brings the response back."""

    def send(self, request: Request) -> Response:
        """Return the response, whatever its status; raise TryLater when there is none that can be read."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...


class HttpTransport:
    """HTTP/1.1 over TLS 1.2 or later, safe for any number of threads; to be built after a fork, not before.

    `deadline` is seconds for the whole call, `tls` replaces the context that trusts certifi's authorities.
    """

    def __init__(
        self,
        *,
        deadline: float = DEADLINE_SECONDS,
        answer_limit: int = ANSWER_LIMIT,
        keepalive: float = KEEPALIVE_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._deadline = deadline
        self._answer_limit = answer_limit
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls or tls_context(),
            max_connections=CONNECTIONS,
            keepalive_expiry=keepalive,
            http1=True,
            http2=False,
            # A repeated request is one that nobody paid a slot for.
            retries=0,
            network_backend=DeadlineBackend(),
        )

    def send(self, request: Request) -> Response:
        """Return the response, whatever its status; raises Unreachable, ServerError when it is too long."""
        with call_within(self._deadline) as call:
            try:
                return self._exchange(request)
            except httpcore.TimeoutException as error:
                raise _unreachable(request, call, f"no answer within {self._deadline:g} s") from error
            except (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol) as error:
                raise RequestError(f"{request.method} {request.path} cannot be sent: {error}") from error
            except (httpcore.NetworkError, httpcore.RemoteProtocolError, httpcore.ProtocolError) as error:
                raise _unreachable(request, call, str(error) or type(error).__name__) from error

    def _exchange(self, request: Request) -> Response:
        with self._pool.stream(
            request.method,
            request.url,
            headers=list(request.headers),
            content=request.body or None,
            extensions={"timeout": {"pool": self._deadline}},
        ) as answer:
            body = self._read(request, answer.status, answer.iter_stream())
            headers = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in answer.headers}
            return Response(answer.status, headers, body)

    def _read(self, request: Request, status: int, chunks: Iterable[bytes]) -> bytes:
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > self._answer_limit:
                detail = f"the answer is longer than {self._answer_limit} bytes"
                raise ServerError(detail, method=request.method, path=request.path, status=status)
        return bytes(body)

    def close(self) -> None:
        """Close every connection; calls that are under way fail."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def tls_context(authorities: str | None = None) -> ssl.SSLContext:
    """Verify names and chains against certifi's authorities, or those of a file; TLS 1.2 at least."""
    context = ssl.create_default_context(cafile=authorities or certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _unreachable(request: Request, call: Call, reason: str) -> Unreachable:
    code = NO_ANSWER if call.sent else NOT_SENT
    outlook = "Kommo may have done the work" if call.sent else "nothing was sent"
    return Unreachable(f"{reason}; {outlook}", method=request.method, path=request.path, code=code)
