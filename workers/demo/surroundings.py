"""Where the demo runs: the checkout, free ports, the environment of its processes."""

import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import uuid4

from kommo.errors import KommoError

#: What the demo uses that an installed package does not bring.
_NEEDED: Final = ("deploy/gunicorn.conf.py", "examples/welcome_task.py")
#: Variables of the caller that the processes get. Nothing of KOMMO_*: the demo speaks to the sandbox alone.
_INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
HANDLERS: Final = ("examples.welcome_task", "examples.stage_on_task_done", "examples.handover_note")


class PortTaken(KommoError):
    """Somebody else listens on a port that was asked for."""


class NoCheckout(KommoError):
    """The demo was started from an installed package."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Places, ports, and made-up credentials of this one run."""

    folder: Path
    redis_url: str
    receiver_port: int
    sandbox_port: int
    client_id: str = field(default_factory=lambda: str(uuid4()))
    client_secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    token: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    @property
    def receiver_url(self) -> str:
        return f"http://127.0.0.1:{self.receiver_port}"

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.sandbox_port}"

    def environ(self, callers: Mapping[str, str]) -> dict[str, str]:
        """Give what every process gets."""
        inherited = {name: callers[name] for name in _INHERITED if name in callers}
        return {**inherited, "PYTHONUNBUFFERED": "1"}

    def settings(self, account_id: int, subdomain: str) -> dict[str, str]:
        """Give the variables of receiver, workers, beat and command line."""
        return {
            "REDIS_URL": self.redis_url,
            "KOMMO_CLIENT_ID": self.client_id,
            "KOMMO_CLIENT_SECRET": self.client_secret,
            "KOMMO_ACCOUNT_ID": str(account_id),
            "KOMMO_SUBDOMAIN": subdomain,
            "KOMMO_ACCESS_TOKEN": self.token,
            "KOMMO_API_BASE": self.sandbox_url,
            "KOMMO_PUBLIC_URL": self.receiver_url,
            "KOMMO_HANDLERS": ",".join(HANDLERS),
        }


def find_checkout(package: Path) -> Path:
    """Find the checkout that a package's folder lies in; raises NoCheckout when it lies in none."""
    root = package.parent
    if not all((root / name).is_file() for name in _NEEDED):
        raise NoCheckout(f"the demo runs from a checkout of the project: there is no {_NEEDED[0]} beside the packages")
    return root


def free_ports(*wanted: int) -> list[int]:
    """Give a port for each wish, which is a port or 0 for any that is free; all differ.

    Raises:
        PortTaken: somebody else listens on a port that was asked for.
    """
    with ExitStack() as held:
        return [_held_port(held, port) for port in wanted]


def _held_port(held: ExitStack, wanted: int) -> int:
    """Bind a port, and keep it until all are chosen, so that none is given twice."""
    probe = held.enter_context(socket.socket())
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", wanted))
    except OSError as error:
        raise PortTaken(f"port {wanted} cannot be used ({error.strerror}); without the option a free one is") from error
    return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Say whether somebody accepts connections on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
