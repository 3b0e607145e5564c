"""The account as the API shows it (https://developers.kommo.com/reference/account-info)."""

from sandbox.directory import INTEGRATION_USER
from sandbox.state import Json, State

_CODES = (
    ("amojo_id", "5a9d0b1e-0c1f-4d52-9a55-5f0f6a1f7e10"),
    ("uuid", "b1f6c3d2-7a43-4e0c-8e19-3c5d5a7b9f01"),
    ("version", 11),
    ("drive_url", "https://drive-c.sandbox.example"),
    ("is_api_filter_enabled", True),
    ("invoices_settings", {"lang": "en"}),
)
_TASK_TYPES = ((1, "Follow-up", "FOLLOW_UP"), (2, "Meeting", "MEETING"))


def shown(state: State, with_: frozenset[str], users_rights: list[Json]) -> Json:
    """Return the plain keys of the account, and those that `with` adds beside them."""
    more: Json = {**dict(_CODES), "users_rights": users_rights}
    return {
        "id": state.account_id,
        "name": "Sandbox of a bicycle shop",
        "subdomain": state.subdomain,
        "created_at": state.started_at,
        "created_by": 0,
        "updated_at": state.started_at,
        "updated_by": 0,
        "current_user_id": INTEGRATION_USER,
        "country": "PT",
        "currency": "EUR",
        "currency_symbol": "€",
        "customers_mode": "disabled",
        "is_unsorted_on": True,
        "mobile_feature_version": 0,
        "is_loss_reason_enabled": True,
        "is_helpbot_enabled": False,
        "is_technical_account": True,
        "contact_name_display_order": 1,
        **{name: value for name, value in more.items() if name in with_},
    }


def embedded(with_: frozenset[str]) -> Json:
    """Return what `with` embeds: clients look for these below `_embedded` and nowhere else."""
    leads = {"en": {"singular_form": {"default": "Lead"}, "plural_form": {"default": "Leads"}}}
    types = [
        {"id": number, "name": name, "color": None, "icon_id": None, "code": code} for number, name, code in _TASK_TYPES
    ]
    parts: Json = {
        "amojo_rights": {"can_direct": True, "can_create_groups": True},
        "users_groups": [{"id": 0, "name": "Sales", "uuid": None}],
        "task_types": types,
        "entity_names": {"leads": leads},
        "datetime_settings": {
            "date_pattern": "d.m.Y H:i",
            "short_date_pattern": "d.m.Y",
            "short_time_pattern": "H:i",
            "date_format": "d.m.Y",
            "time_format": "H:i:s",
            "timezone": "Europe/Lisbon",
            "timezone_offset": "+00:00",
        },
    }
    return {name: value for name, value in parts.items() if name in with_}
