"""Marshmallow fields and a schema that never refuse: nonsense becomes None, what is not known is left out."""

from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, fields

from kommo.hooks import kinds, scalars

Reader = Callable[[object], object]


class Read(fields.Field[Any]):
    """A value that `read` makes something of, under the first of its names (default its own) at which it does."""

    def __init__(self, read: Reader, *names: str) -> None:
        # Not marshmallow's data_key: two fields may read the same value.
        super().__init__()
        self._read = read
        self._names = names

    def deserialize(
        self,
        value: Any,
        attr: str | None = None,  # noqa: ARG002 - marshmallow's signature
        data: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        # Missing reads like null, and neither is an error.
        if not self._names or data is None:
            return self._read(value)
        result = None
        for name in self._names:
            result = self._read(data.get(name))
            if result is not None:
                break
        return result


class ReadItem(fields.Field[Any]):
    """A value that is gathered from several places of the item."""

    def __init__(self, read: Callable[[Mapping[str, Any]], object]) -> None:
        super().__init__()
        self._read = read

    def deserialize(
        self,
        value: Any,  # noqa: ARG002 - marshmallow's signature
        attr: str | None = None,  # noqa: ARG002 - marshmallow's signature
        data: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        return self._read(data or {})


def whole(*names: str) -> Read:
    """Read an integer."""
    return Read(scalars.whole, *names)


def money(*names: str) -> Read:
    """Read an amount."""
    return Read(scalars.money, *names)


def moment(*names: str) -> Read:
    """Read unix seconds as an aware time."""
    return Read(scalars.moment, *names)


def text(*names: str) -> Read:
    """Read text as it is."""
    return Read(scalars.text, *names)


def uid(*names: str) -> Read:
    """Read an id that is text."""
    return Read(scalars.uid, *names)


def flag(*names: str) -> Read:
    """Read a yes or no."""
    return Read(scalars.flag, *names)


def parent_type() -> Read:
    """Read the type of the entity that this one belongs to."""
    return Read(kinds.entity_named, "element_type", "entity_type")


def parent_id() -> Read:
    """Read the id of the entity that this one belongs to."""
    return whole("element_id", "entity_id")


class LenientSchema(Schema):
    """A schema to which a field that it does not know is no error."""

    class Meta:
        unknown = EXCLUDE
