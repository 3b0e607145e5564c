"""The page about the sandbox: every command that it shows is run, in order, against one sandbox."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from sandbox_surroundings import Client

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STATUS = re.compile(r" # (\d{3})$")


def shown() -> list[tuple[str, int | None]]:
    """Return the commands of the page, each with the status that a comment behind it foretells."""
    lines = [line for block in _BLOCK.findall(PAGE.read_text("utf-8")) for line in block.splitlines()]
    return [(line, int(found[1]) if (found := _STATUS.search(line)) else None) for line in lines]


def test_every_command_of_the_page_does_what_the_page_says(start: Callable[..., Client], tmp_path: Path) -> None:
    client = start(rate=7, redirect_uri="http://127.0.0.1:1/oauth/callback")
    (tmp_path / ".curlrc").write_text('write-out = "\\n%{http_code}"\n')
    commands = shown()
    assert len(commands) > 30
    for line, expected in commands:
        here = line.replace("127.0.0.1:7300", f"127.0.0.1:{client.box.port}")
        run = subprocess.run(
            ["bash", "-c", here],
            env={**os.environ, "CURL_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        status = int(run.stdout.rsplit("\n", 1)[-1])
        assert status == expected if expected else 200 <= status < 400, f"{line}: {run.stdout}"
        client.box.world.gate.configure(rate=1000)
