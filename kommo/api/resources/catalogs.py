"""Lists of products, invoices and the like, which Kommo's API calls catalogs: https://developers.kommo.com/reference"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kommo.api.bounds import CATALOG_LIMIT, check_room
from kommo.api.pages import Json, Send
from kommo.api.resources.names import by_id_or_code
from kommo.api.resources.records import Creates, Reads, Updates, UpdatesMany, sent_id
from kommo.api.resources.structure import CustomFields
from kommo.api.values import custom_fields
from kommo.api.writes import API
from kommo.errors import RequestError


class Elements(Reads, Creates, Updates, UpdatesMany):
    """The elements of one list; `fields=` takes ids and codes, not names."""

    def _body(self, values: Mapping[str, Any], action: Literal["create", "update"]) -> Json:
        others = {name: value for name, value in values.items() if name != "fields"}
        if not values.get("fields"):
            return super()._body(others, action)
        if "custom_fields_values" in others:
            raise RequestError("give fields= or custom_fields_values=, not both")
        sent = custom_fields(values["fields"], by_id_or_code)
        return super()._body({**others, "custom_fields_values": sent}, action)


class Catalogs(Reads, Creates, Updates, UpdatesMany):
    """An account's lists, ten at most: RequestError if so many were there when they were last listed whole."""

    def __init__(self, send: Send) -> None:
        super().__init__(send, f"{API}/catalogs", "catalogs", "list")

    def elements(self, catalog_id: int) -> Elements:
        """The elements of a list: `kommo.catalogs.elements(5).create(name="Oven", fields={"SKU": "OV-1"})`."""
        return Elements(self._send, f"{self._member(catalog_id)}/elements", "elements", "list element")

    def fields(self, catalog_id: int) -> CustomFields:
        """The custom fields of a list's elements."""
        return CustomFields(self._send, f"catalogs/{sent_id(catalog_id, 'list')}")

    def _check_room(self, bodies: Sequence[Json]) -> None:
        check_room(self._seen, bodies, CATALOG_LIMIT, "lists in an account")
