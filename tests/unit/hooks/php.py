"""PHP itself, to compare with: what `parse_str` makes of a body."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

# Keys and values travel as hexadecimal digits and containers as pairs, so that JSON changes neither.
_PROGRAM = """
function told($value) {
    if (!is_array($value)) return bin2hex($value);
    $pairs = [];
    foreach ($value as $key => $inner) $pairs[] = [bin2hex((string) $key), told($inner)];
    return $pairs;
}
while (($line = fgets(STDIN)) !== false) {
    parse_str(base64_decode(trim($line)), $parsed);
    echo json_encode(told($parsed), 0, 4096), "\\n";
}
"""


def need_php() -> None:
    """Skip where PHP is not installed, but fail in CI: there the comparison has to happen."""
    if shutil.which("php") is None:
        if os.environ.get("CI"):
            pytest.fail("php is not installed; CI has to compare with it (Debian: php-cli)")
        pytest.skip("php is not installed")


def parse_str(bodies: Sequence[bytes]) -> list[dict[str, Any]]:
    """Parse each body with PHP; containers with the keys 0 to n-1 come back as lists, as `decode` gives them."""
    result = subprocess.run(
        ["php", "-d", "max_input_vars=1000000", "-r", _PROGRAM],
        input=b"".join(base64.b64encode(body) + b"\n" for body in bodies),
        capture_output=True,
        check=True,
        timeout=60,
    )
    return [_keyed(json.loads(line)) for line in result.stdout.splitlines()]


def _keyed(pairs: list[Any]) -> dict[str, Any]:
    return {_text(key): _text(inner) if isinstance(inner, str) else _container(inner) for key, inner in pairs}


def _container(pairs: list[Any]) -> dict[str, Any] | list[Any]:
    keyed = _keyed(pairs)
    indexes = [str(index) for index in range(len(keyed))]
    return [keyed[index] for index in indexes] if keyed and set(keyed) == set(indexes) else keyed


def _text(digits: str) -> str:
    return bytes.fromhex(digits).decode("utf-8", "replace")
