"""The arguments of a command, from JSON or from a form, where every value is text."""

from typing import Any

from sandbox.problems import ApiError
from sandbox.state import Json


class Arguments:
    """Read arguments by name; an empty text of a form is no argument. Raises ApiError 400."""

    def __init__(self, given: Json) -> None:
        self._given = {name: value for name, value in given.items() if value not in ("", None)}

    def number(self, name: str) -> int:
        """Return an argument that must be there."""
        found = self.optional_number(name)
        if found is None:
            raise ApiError(400, f"{name} is missing")
        return found

    def optional_number(self, name: str) -> int | None:
        """Return a whole number, or None."""
        value = self._given.get(name)
        if value is None:
            return None
        try:
            return int(value)
        except (TypeError, ValueError):
            raise ApiError(400, f"{name} has to be a whole number") from None

    def text(self, name: str, default: str = "") -> str:
        """Return a text."""
        return str(self._given.get(name, default))

    def fields(self, *numbers: str) -> Json:
        """Return everything but `id`, those names as numbers: what the API would take as an item."""
        plain = {name: value for name, value in self._given.items() if name != "id"}
        return {**plain, **{name: self.number(name) for name in numbers if name in plain}}

    def items(self, name: str) -> list[Json]:
        """Return a list of objects."""
        value: Any = self._given.get(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise ApiError(400, f"{name} has to be a list of objects")
        return value
