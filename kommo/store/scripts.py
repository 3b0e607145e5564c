"""Run the Lua scripts beside this file: each multi-step change in Redis is one of them.

A script's first line may be `--! uses _a _b`: those files are put in front of it. Their names start with `_`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

from redis import Redis
from redis.exceptions import NoScriptError, RedisError

from kommo.errors import StoreUnavailable
from kommo.store.cluster import ClusterRedis
from kommo.store.connection import translated
from kommo.store.wire import Command, exchange

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


def _command(call: Call, *, whole: bool = False) -> Command:
    """Name a script by its digest, or bring its text along."""
    run, script = ("EVAL", source(call.script)) if whole else ("EVALSHA", _sha(call.script))
    return (run, script, len(call.keys), *call.keys, *call.args)


def _raised(result: Any) -> Any:
    if isinstance(result, Exception):
        raise result
    return result


class Scripts:
    """The scripts on one Redis. A restarted Redis has forgotten them: they are then loaded and run again.

    On a Redis Cluster a script runs on the node that has its first key.
    """

    def __init__(self, redis: Redis) -> None:
        self._exchange: Callable[[Sequence[Command]], list[Any]] = (
            redis.exchange if isinstance(redis, ClusterRedis) else partial(exchange, redis)
        )
        #: Those that were sent with their text. Told by name only, a script would come after those behind it.
        self._told: set[str] = set()

    def run(self, call: Call) -> Any:
        """Run one script.

        Raises:
            StoreUnavailable: Redis is away; whether the script ran is not known.
        """
        with translated():
            try:
                return _raised(self._exchange([_command(call)])[0])
            except NoScriptError:
                return self._load_and_run(call)

    def run_together(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts in order in one round trip; each is atomic by itself, others may come between."""
        with translated():
            results = self._exchange([_command(call, whole=call.script not in self._told) for call in calls])
            self._told.update(call.script for call in calls)
            for index, result in enumerate(results):
                if isinstance(result, NoScriptError):
                    results[index] = self._load_and_run(calls[index])
                else:
                    _raised(result)
            return results

    def run_each(self, calls: Sequence[Call], *, in_order: bool = False) -> list[Any]:
        """Run scripts like `run_together`; what came of each stands in its place, an error as the exception.

        A deadline (kommo.store.wire.Until) is for all of it, also when Redis has forgotten the scripts.

        `in_order`: those with the same first key run in order even when Redis has forgotten the scripts, which
        somebody else may bring back half-way. The first of each then brings its text along.

        Raises:
            StoreUnavailable: Redis is away; which scripts ran is not known.
        """
        with translated():
            begun: set[str] = set()
            commands: list[Command] = []
            for call in calls:
                commands.append(_command(call, whole=in_order and call.keys[0] not in begun))
                begun.add(call.keys[0])
            results = self._exchange(commands)
        return [self._outcome(call, result) for call, result in zip(calls, results, strict=True)]

    def _outcome(self, call: Call, result: Any) -> Any:
        try:
            with translated():
                if isinstance(result, NoScriptError):
                    return self._load_and_run(call)
                _raised(result)
        except (StoreUnavailable, RedisError) as error:
            return error
        return result

    def _load_and_run(self, call: Call) -> Any:
        return _raised(self._exchange([_command(call, whole=True)])[0])
