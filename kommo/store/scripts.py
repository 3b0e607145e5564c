"""Run the Lua scripts beside this file: each multi-step change in Redis is one of them.

A script's first line may be `--! uses _a _b`: those files are put in front of it. Their names start with `_`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from redis import Redis
from redis.exceptions import NoScriptError

from kommo.store.connection import translated

_USES: Final = "--! uses "


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script."""

    script: str
    keys: Sequence[str]
    args: Sequence[str | int | bytes]


@cache
def source(name: str) -> str:
    """Give a script's text with what it uses in front."""
    folder = files("kommo.store") / "lua"
    text = (folder / f"{name}.lua").read_text("utf-8")
    first, _, _ = text.partition("\n")
    used = first.removeprefix(_USES).split() if first.startswith(_USES) else []
    return "\n".join([*((folder / f"{part}.lua").read_text("utf-8") for part in used), text])


@cache
def _sha(name: str) -> str:
    return sha1(source(name).encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """The scripts on one Redis. A restarted Redis has forgotten them: they are then loaded and run again."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def run(self, call: Call) -> Any:
        """Run one script.

        Raises:
            StoreUnavailable: Redis is away; whether the script ran is not known.
        """
        with translated():
            try:
                return self._redis.evalsha(_sha(call.script), len(call.keys), *call.keys, *call.args)
            except NoScriptError:
                return self._load_and_run(call)

    def run_together(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts in order in one round trip; each is atomic by itself, others may come between."""
        with translated():
            pipe = self._redis.pipeline(transaction=False)
            for call in calls:
                pipe.evalsha(_sha(call.script), len(call.keys), *call.keys, *call.args)
            results = pipe.execute(raise_on_error=False)
            for index, result in enumerate(results):
                if isinstance(result, NoScriptError):
                    results[index] = self._load_and_run(calls[index])
                elif isinstance(result, Exception):
                    raise result
            return results

    def _load_and_run(self, call: Call) -> Any:
        return self._redis.eval(source(call.script), len(call.keys), *call.keys, *call.args)
