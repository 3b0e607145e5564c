"""Load the handler modules that KOMMO_HANDLERS names."""

import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

import kommo.router
from kommo.errors import HandlersError
from kommo.router import Router

#: Files and folders whose lines say nothing about what is wrong in a handler module.
_MACHINERY: Final = (__file__, importlib.__file__, *kommo.router.__path__)


def load(modules: Sequence[str]) -> Router:
    """Import each module and merge their `router`; raises HandlersError that says what to mend."""
    _make_current_directory_importable()
    return Router(*(router_of(_imported(name)) for name in modules))


def router_of(module: ModuleType) -> Router:
    """Return a module's `router`; raises HandlersError when it has none, or something else under this name."""
    router = getattr(module, "router", None)
    if router is None:
        raise HandlersError(f"KOMMO_HANDLERS: the module {module.__name__} has no `router = Router()`")
    if not isinstance(router, Router):
        kind = type(router).__name__
        raise HandlersError(f"KOMMO_HANDLERS: `router` in {module.__name__} is a {kind}, not a kommo.Router")
    return router


def _make_current_directory_importable() -> None:
    """gunicorn and celery do the same; without it, handlers beside the .env file would not be found."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise HandlersError(_raised(name, error)) from error
        raise HandlersError(
            f"KOMMO_HANDLERS names the module {name!r}, and there is no {error.name!r}: check the spelling, and that "
            f"its folder is on the path (the current one is {Path.cwd()}; another can be put into PYTHONPATH)"
        ) from error
    except Exception as error:
        raise HandlersError(_raised(name, error)) from error


def _raised(name: str, error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_machinery(frame.filename)]
    place = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
    if isinstance(error, SyntaxError) and error.filename:
        place = f" at {error.filename}:{error.lineno}"
    return f"KOMMO_HANDLERS: importing {name!r} raised {type(error).__name__}: {error}{place}"


def _is_machinery(filename: str) -> bool:
    return filename.startswith(("<frozen ", *_MACHINERY))
