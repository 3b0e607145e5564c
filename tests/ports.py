"""Find a port for a server of a test."""

import random
import socket

#: Below those that the system gives to connections: while a server starts, one of hundreds might take its port.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Give a port on which nobody listens."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))  # noqa: S104 - as gunicorn will
            except OSError:
                continue
        return port
