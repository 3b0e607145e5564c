"""Print what commands have found: tables for people, JSON for programs."""

import json
from typing import Any, Final

import click
from rich.console import Console

#: Columns of what is not a terminal: an id must not be cut off in a file.
WIDE: Final = 200


def console(*, wide: int = WIDE) -> Console:
    """Make the console to print to; into a file or a pipe lines are so many columns wide."""
    made = Console(highlight=False, soft_wrap=False)
    return made if made.is_terminal else Console(highlight=False, width=wide)


def echo_json(what: Any, *, indent: int | None = None) -> None:
    """Print JSON: what is one of many on a line of its own, what is read alone with an indent."""
    # Half a surrogate pair, which UTF-8 has no bytes for, comes out as JSON writes it.
    click.echo(json.dumps(what, indent=indent, ensure_ascii=False).encode("utf-8", "backslashreplace"))
