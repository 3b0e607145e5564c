"""Custom fields and tags as they come with leads, contacts, companies, customers and catalog elements.

https://developers.kommo.com/docs/webhooks-general
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from kommo.hooks import scalars

_D = TypeVar("_D")


@dataclass(frozen=True, slots=True)
class FieldValue:
    """One value of a custom field; `value` is as Kommo sent it, text in a form."""

    value: Any
    enum_id: int | None = None
    enum_code: str | None = None


@dataclass(frozen=True, slots=True)
class CustomField:
    """A custom field with its values; `code` is there for fields that Kommo itself defines."""

    id: int | None
    name: str | None = None
    code: str | None = None
    values: tuple[FieldValue, ...] = ()

    @property
    def value(self) -> Any:
        """The first value, None if there is none."""
        return self.values[0].value if self.values else None

    @property
    def all(self) -> tuple[Any, ...]:
        """Every value, without its option."""
        return tuple(value.value for value in self.values)

    @property
    def enum_id(self) -> int | None:
        """The option of the first value."""
        return self.values[0].enum_id if self.values else None


@dataclass(frozen=True, slots=True)
class CustomFields:
    """The custom fields of an entity, by id, code or name.

    An exact code beats an exact name, and both beat another case: `["Phone"]` finds the field whose code is PHONE in
    an account of any language, unless another one is called just so.
    """

    fields: tuple[CustomField, ...] = ()

    def __getitem__(self, key: int | str) -> CustomField:
        """Return a field; raise KeyError, which lists those there are, if the entity came without it.

        A field without values is not sent.
        """
        found = self._find(key)
        if found is None:
            raise KeyError(f"{key!r} did not come; there are: {', '.join(map(_title, self.fields)) or 'no fields'}")
        return found

    @overload
    def get(self, key: int | str) -> CustomField | None: ...
    @overload
    def get(self, key: int | str, default: _D) -> CustomField | _D: ...
    def get(self, key: int | str, default: _D | None = None) -> CustomField | _D | None:
        """Return a field, or the default if the entity came without it."""
        found = self._find(key)
        return default if found is None else found

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int | str) and self._find(key) is not None

    def __iter__(self) -> Iterator[CustomField]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def _find(self, key: int | str) -> CustomField | None:
        if isinstance(key, int):
            return next((field for field in self.fields if field.id == key), None)
        for alike in (str, _folded):
            wanted = alike(key)
            by_code = (field for field in self.fields if field.code and alike(field.code) == wanted)
            by_name = (field for field in self.fields if field.name and alike(field.name) == wanted)
            found = next(by_code, None) or next(by_name, None)
            if found is not None:
                return found
        return None


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def _title(field: CustomField) -> str:
    known = [text for text in (field.name and repr(field.name), field.code, field.id and str(field.id)) if text]
    return " / ".join(known)


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag of an entity."""

    id: int | None
    name: str | None = None


def custom_fields(raw: object) -> CustomFields:
    """Read `custom_fields`: a list, or a dict where the indexes have gaps."""
    return CustomFields(tuple(_field(item) for item in scalars.members(raw) if isinstance(item, dict)))


def _field(item: Mapping[str, Any]) -> CustomField:
    return CustomField(
        id=scalars.whole(item.get("id", item.get("field_id"))),
        name=scalars.text(item.get("name", item.get("field_name"))),
        code=scalars.text(item.get("code", item.get("field_code"))) or None,
        values=field_values(item.get("values")),
    )


def field_values(raw: object) -> tuple[FieldValue, ...]:
    """Read the three shapes of `values`: objects with `value`, bare scalars (dates), one object (radio buttons)."""
    if raw is not None and not isinstance(raw, dict | list):
        return (FieldValue(raw),)
    return tuple(_value(item) for item in scalars.members(raw))


def _value(item: Any) -> FieldValue:
    if not isinstance(item, dict):
        return FieldValue(item)
    option = item.get("enum", item.get("enum_id"))
    enum_id = scalars.whole(option)
    # Some options are named by their code alone, such as WORK of a phone.
    code = item.get("enum_code", None if enum_id is not None else option)
    return FieldValue(item.get("value"), enum_id, scalars.text(code) or None)


def tags(raw: object) -> tuple[Tag, ...]:
    """Read tags: objects with id and name, or bare names."""
    return tuple(_tag(item) for item in scalars.members(raw) if item)


def _tag(item: Any) -> Tag:
    if isinstance(item, dict):
        return Tag(scalars.whole(item.get("id")), scalars.text(item.get("name")))
    return Tag(None, scalars.text(item))


def linked_ids(raw: object) -> tuple[int, ...]:
    """Read links: Kommo keys them by the id that they hold (`linked_leads_id[7][ID]=7`)."""
    if isinstance(raw, dict):
        found = [_linked(item, key) for key, item in raw.items()]
    else:
        found = [_linked(item, None) for item in raw] if isinstance(raw, list) else [scalars.whole(raw)]
    return tuple(linked for linked in found if linked is not None)


def _linked(item: Any, key: str | None) -> int | None:
    inner = item.get("ID", item.get("id")) if isinstance(item, dict) else item
    linked = scalars.whole(inner)
    return scalars.whole(key) if linked is None else linked
