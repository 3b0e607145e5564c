"""What the account is made of, as the API shows it: pipelines, people, definitions, lists, the account itself."""

from sandbox.custom_fields import CustomField
from sandbox.directory import INTEGRATION_USER, Pipeline, Role, Stage, User
from sandbox.state import Json, State
from sandbox.subscriptions import Webhook


class Definitions:
    """Render them, with links below one base such as `http://127.0.0.1:7300/api/v4`."""

    def __init__(self, state: State, base: str) -> None:
        self._state = state
        self._base = base

    def links(self, path: str) -> Json:
        """Return the `_links` of an object at that path."""
        return {"self": {"href": f"{self._base}/{path}"}}

    def pipeline(self, pipeline: Pipeline) -> Json:
        """Return a pipeline with its stages."""
        return {
            "id": pipeline.id,
            "name": pipeline.name,
            "sort": pipeline.sort,
            "is_main": pipeline.is_main,
            "is_unsorted_on": pipeline.is_unsorted_on,
            "is_archive": False,
            "account_id": self._state.account_id,
            "_links": self.links(f"leads/pipelines/{pipeline.id}"),
            "_embedded": {"statuses": [self.stage(pipeline, stage) for stage in pipeline.stages]},
        }

    def stage(self, pipeline: Pipeline, stage: Stage) -> Json:
        """Return a status of a pipeline."""
        return {
            "id": stage.id,
            "name": stage.name,
            "sort": stage.sort,
            "is_editable": stage.is_editable,
            "pipeline_id": pipeline.id,
            "color": stage.color,
            "type": stage.type,
            "account_id": self._state.account_id,
            "_links": self.links(f"leads/pipelines/{pipeline.id}/statuses/{stage.id}"),
        }

    def user(self, user: User, *, with_: frozenset[str] = frozenset()) -> Json:
        """Return a user with their rights; `with_` may name role and group."""
        rights = {
            **full_rights(),
            "is_admin": user.is_admin,
            "is_free": False,
            "is_active": True,
            "group_id": user.group_id,
            "role_id": user.role_id,
        }
        plain = {"id": user.id, "name": user.name, "email": user.email, "lang": "en", "rights": rights}
        roles = [self.role(role) for role in self._state.directory.roles if role.id == user.role_id]
        inner: Json = {**({"roles": roles} if "role" in with_ else {}), **({"groups": []} if "group" in with_ else {})}
        links = self.links(f"users/{user.id}")
        return {**plain, "_links": links, "_embedded": inner} if inner else {**plain, "_links": links}

    def role(self, role: Role) -> Json:
        """Return a role."""
        rights = {**full_rights(), **role.rights}
        return {"id": role.id, "name": role.name, "rights": rights, "_links": self.links(f"roles/{role.id}")}

    def webhook(self, hook: Webhook) -> Json:
        """Return a registered webhook."""
        return {
            "id": hook.id,
            "destination": hook.destination,
            "created_at": hook.created_at,
            "updated_at": hook.updated_at,
            "account_id": self._state.account_id,
            "created_by": hook.created_by,
            "sort": hook.sort,
            "disabled": hook.disabled,
            "settings": hook.settings,
        }

    def custom_field(self, field: CustomField, kind: str) -> Json:
        """Return the definition of a custom field."""
        enums = [{"id": enum.id, "value": enum.value, "sort": index} for index, enum in enumerate(field.enums)]
        return {
            "id": field.id,
            "name": field.name,
            "type": field.type,
            "account_id": self._state.account_id,
            "code": field.code,
            "sort": field.sort,
            "is_api_only": field.is_api_only,
            "enums": enums or None,
            "group_id": field.group_id,
            "required_statuses": [],
            "is_deletable": field.code is None,
            "is_predefined": field.code is not None,
            "entity_type": kind,
            "tracking_callback": None,
            "remind": None,
            "triggers": [],
            "currency": None,
            "hidden_statuses": [],
            "chained_lists": None,
            "_links": self.links(f"{kind}/custom_fields/{field.id}"),
        }

    def account(self, *, with_: frozenset[str] = frozenset()) -> Json:
        """Return the account."""
        state = self._state
        extra: Json = {name: value for name, value in self._extras().items() if name in with_}
        inner: Json = {name: value for name, value in _inner().items() if name in with_}
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
            **extra,
            "_links": self.links("account"),
            **({"_embedded": inner} if inner else {}),
        }

    def _extras(self) -> Json:
        """Return what `with` may add to the account."""
        return {
            "amojo_id": "5a9d0b1e-0c1f-4d52-9a55-5f0f6a1f7e10",
            "amojo_rights": {"can_direct": True, "can_create_groups": True},
            "uuid": "b1f6c3d2-7a43-4e0c-8e19-3c5d5a7b9f01",
            "version": 11,
            "drive_url": "https://drive-c.sandbox.example",
            "is_api_filter_enabled": False,
            "entity_names": {
                "leads": {"en": {"singular_form": {"default": "Lead"}, "plural_form": {"default": "Leads"}}}
            },
            "datetime_settings": {
                "date_pattern": "d.m.Y H:i",
                "short_date_pattern": "d.m.Y",
                "time_format": "H:i:s",
                "timezone": "Europe/Lisbon",
                "timezone_offset": "+00:00",
            },
            "users_rights": [
                {"id": user.id, "rights": self.user(user)["rights"]} for user in self._state.directory.users
            ],
        }

    def catalog(self, held: Json) -> Json:
        """Return a list."""
        return {**held, "account_id": self._state.account_id, "_links": self.links(f"catalogs/{held['id']}")}

    def element(self, held: Json) -> Json:
        """Return an element of a list."""
        plain = {name: value for name, value in held.items() if name != "custom"}
        custom = {"custom_fields_values": held["custom"] or None, "account_id": self._state.account_id}
        path = f"catalogs/{held['catalog_id']}/elements/{held['id']}"
        return {**plain, **custom, "_links": self.links(path)}

    def source(self, held: Json) -> Json:
        """Return a source of leads."""
        return {**held, "_links": self.links(f"sources/{held['id']}")}


def full_rights() -> Json:
    """Return the rights of somebody who may do everything."""
    every = dict.fromkeys(("view", "edit", "add", "delete", "export"), "A")
    return {
        **{kind: dict(every) for kind in ("leads", "contacts", "companies")},
        "tasks": {"edit": "A", "delete": "A"},
        "mail_access": False,
        "catalog_access": True,
        "status_rights": None,
    }


def _inner() -> Json:
    """Return what `with` may embed in the account."""
    names = ((1, "Follow-up", "FOLLOW_UP"), (2, "Meeting", "MEETING"))
    types = [{"id": one, "name": name, "color": None, "icon_id": None, "code": code} for one, name, code in names]
    return {"task_types": types, "users_groups": [{"id": 0, "name": "Sales", "uuid": None}]}
