"""The command `kommo`: gathers the parts that the doors and the fleet bring as entry points of `kommo.commands`."""

from importlib.metadata import entry_points
from typing import Final

import click

from kommo import __version__
from kommo.errors import KommoError, StoreUnavailable

GROUP: Final = "kommo.commands"
_CHECK_REDIS: Final = " Check REDIS_URL, and that the server there runs and lets this machine in."


class _Commands(click.Group):
    """Finds commands by entry point, so that neither this module nor the two rooms import one another."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(entry.name for entry in entry_points(group=GROUP))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        for entry in entry_points(group=GROUP, name=cmd_name):
            command = entry.load()
            if isinstance(command, click.Command):
                return command
        return None


@click.group(cls=_Commands)
@click.version_option(__version__, prog_name="kommo")
def _kommo() -> None:
    """Receive Kommo's webhooks, run handlers on a fleet, call its API within its limits."""


def main() -> None:
    """Run the command line; an error of ours is a sentence, not a traceback."""
    try:
        _kommo()
    except StoreUnavailable as error:
        raise SystemExit(f"kommo: {error}{_CHECK_REDIS}") from None
    except KommoError as error:
        raise SystemExit(f"kommo: {error}") from None
