"""Links between entities: https://developers.kommo.com/reference/linking-entities"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kommo.api.entities import PLURALS, Reference, thing_of
from kommo.api.pages import Json, Pages, embedded
from kommo.api.resources.records import Collection, sent_id
from kommo.errors import RequestError
from kommo.hooks.entities import CatalogElement

#: What can stand at the other end of a link, and its name in `to_entity_type`.
_ENDS: Final[Mapping[str, str]] = {
    **{kind: PLURALS[kind] for kind in ("lead", "contact", "company", "customer")},
    "catalog_element": "catalog_elements",
}


class Links(Collection):
    """Can be linked to others: leads, contacts, companies and customers."""

    def link(
        self,
        id_: int,
        /,
        *,
        to: object,
        catalog_id: int | None = None,
        quantity: float | None = None,
        is_main: bool | None = None,
        **metadata: Any,
    ) -> Sequence[Json]:
        """Link an entity to another one or to several; return the links as Kommo has made them.

        `to` is a pair such as ("contact", 5), an event, a typed entity, or a list of such. An element of a list,
        ("catalog_element", 5), needs its `catalog_id` and may have a `quantity`; `is_main` is for contacts.
        Raises RequestError.
        """
        known = {"catalog_id": catalog_id, "quantity": quantity, "is_main": is_main, **metadata}
        given = {name: value for name, value in known.items() if value is not None}
        path = f"{self._member(id_)}/link"
        return embedded(self._send("POST", path, None, self._ends(to, given)), "links", path)

    def unlink(self, id_: int, /, *, to: object, catalog_id: int | None = None) -> None:
        """Take links away; `to` as in `link`."""
        given = {} if catalog_id is None else {"catalog_id": catalog_id}
        self._send("POST", f"{self._member(id_)}/unlink", None, self._ends(to, given))

    def links(self, id_: int, /, *, to: object = None, catalog_id: int | None = None) -> Sequence[Json]:
        """Return an entity's links: {"to_entity_id", "to_entity_type", "metadata"}; those to one entity with `to`."""
        path = f"{self._member(id_)}/links"
        sought: dict[str, Any] = {} if catalog_id is None else {"to_catalog_id": catalog_id}
        if to is not None:
            (end,) = self._ends(to, {} if catalog_id is None else {"catalog_id": catalog_id})
            sought |= {name: end[name] for name in ("to_entity_id", "to_entity_type")}
        return list(Pages(self._send, "links").all(path, {"filter": sought}))

    def _ends(self, to: object, metadata: Mapping[str, Any]) -> list[Json]:
        several = to if isinstance(to, list) and not (to and isinstance(to[0], str)) else [to]
        if not several:
            raise RequestError("to= names nothing to link")
        return [self._end(thing, metadata) for thing in several]

    def _end(self, thing: object, metadata: Mapping[str, Any]) -> Json:
        kind, id_ = thing_of(thing)
        if kind not in _ENDS or kind == self._kind:
            ends = ", ".join(end for end in _ENDS if end != self._kind)
            raise RequestError(f"a {self._kind} is linked to {ends}, not to {kind!r}")
        if isinstance(id_, Reference):
            raise RequestError(f"this {kind} is not there yet: its write is sent after the handler")
        if isinstance(thing, CatalogElement) and thing.catalog_id is not None:
            metadata = {"catalog_id": thing.catalog_id, **metadata}
        if kind == "catalog_element" and "catalog_id" not in metadata:
            raise RequestError("an element of a list is linked with the catalog_id= of its list")
        end: Json = {"to_entity_id": sent_id(id_, kind), "to_entity_type": _ENDS[kind]}
        return {**end, "metadata": dict(metadata)} if metadata else end
