"""The definitions of custom fields that the account begins with."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Enum:
    """One choice of a field."""

    id: int
    value: str
    code: str | None = None


@dataclass(frozen=True)
class CustomField:
    """A field; only fields of the system have a code."""

    id: int
    name: str
    type: str
    code: str | None = None
    enums: tuple[Enum, ...] = ()
    sort: int = 0
    is_api_only: bool = False
    group_id: str | None = None
    #: What the definition says besides, as the API names it.
    more: dict[str, Any] = field(default_factory=dict)

    def choice(self, raw: dict[str, Any]) -> Enum | None:
        """Return the choice that a value names by id, code or text; the first one when it names none."""
        if raw.get("enum_id") is not None:
            return self._where("id", raw["enum_id"])
        if raw.get("enum_code") is not None:
            return self._where("code", raw["enum_code"])
        return self.enums[0] if self.type == "multitext" else self._where("value", raw.get("value"))

    def _where(self, attribute: str, wanted: object) -> Enum | None:
        return next((enum for enum in self.enums if getattr(enum, attribute) == wanted), None)


_PHONE = (Enum(552_601, "WORK", "WORK"), Enum(552_602, "MOB", "MOB"), Enum(552_603, "HOME", "HOME"))
_EMAIL = (Enum(552_611, "WORK", "WORK"), Enum(552_612, "PRIV", "PRIV"))

CUSTOM_FIELDS: dict[str, tuple[CustomField, ...]] = {
    "leads": (
        CustomField(771_101, "Referrer", "tracking_data", "REFERRER"),
        CustomField(771_102, "Order note", "text"),
        CustomField(771_103, "Pieces", "numeric"),
        CustomField(771_104, "Gift wrap", "checkbox"),
        CustomField(771_105, "Wanted by", "date"),
        CustomField(771_106, "Delivery", "select", None, (Enum(908_201, "Courier"), Enum(908_202, "Pick-up"))),
        CustomField(771_107, "Payment", "radiobutton", None, (Enum(908_211, "Card"), Enum(908_212, "Invoice"))),
        CustomField(771_108, "Extras", "multiselect", None, (Enum(908_221, "Lamp"), Enum(908_222, "Lock"))),
    ),
    "contacts": (
        CustomField(771_201, "Phone", "multitext", "PHONE", _PHONE),
        CustomField(771_202, "Email", "multitext", "EMAIL", _EMAIL),
        CustomField(771_203, "Position", "text", "POSITION"),
        CustomField(771_204, "Birthday", "birthday"),
        CustomField(771_205, "About", "textarea"),
        CustomField(771_206, "Likes to be called", "radiobutton", None, (Enum(566_701, "Yes"), Enum(566_702, "No"))),
    ),
    "companies": (
        CustomField(771_201, "Phone", "multitext", "PHONE", _PHONE),
        CustomField(771_202, "Email", "multitext", "EMAIL", _EMAIL),
        CustomField(771_301, "Web", "url", "WEB"),
        CustomField(771_302, "Address", "textarea", "ADDRESS"),
    ),
    "catalog_elements": (
        CustomField(771_401, "SKU", "text", "SKU"),
        CustomField(771_402, "Price", "price", "PRICE"),
        CustomField(771_403, "Unit", "select", "UNIT", (Enum(552_701, "piece"), Enum(552_702, "kg"))),
    ),
    "customers": (CustomField(771_501, "Loyalty card", "text"),),
    "tasks": (),
}
