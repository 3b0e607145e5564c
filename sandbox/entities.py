"""The objects of the API, with the keys and the key order of its reference (https://developers.kommo.com/reference)."""

from sandbox.custom_fields import CustomField
from sandbox.directory import INTEGRATION_USER, Pipeline, Stage, User
from sandbox.state import Json, Record, State
from sandbox.subscriptions import Webhook

_STAMPS = ("created_by", "updated_by", "created_at", "updated_at")
_OWNER = ("responsible_user_id", "group_id")

#: The plain keys of each entity. `closest_task_at` is always null here.
KEYS = {
    "leads": (
        *("id", "name", "price", *_OWNER, "status_id", "pipeline_id", "loss_reason_id", *_STAMPS),
        *("closed_at", "closest_task_at", "is_deleted", "custom_fields_values", "score", "account_id"),
        *("labor_cost", "is_price_computed"),
    ),
    "contacts": (
        *("id", "name", "first_name", "last_name", *_OWNER, *_STAMPS, "closest_task_at"),
        *("is_deleted", "is_unsorted", "custom_fields_values", "account_id"),
    ),
    "companies": (
        *("id", "name", *_OWNER, *_STAMPS, "closest_task_at"),
        *("is_deleted", "custom_fields_values", "account_id"),
    ),
    "tasks": (
        *("id", *_STAMPS, *_OWNER, "entity_id", "entity_type", "duration", "is_completed"),
        *("task_type_id", "text", "result", "complete_till", "account_id"),
    ),
}


class Shapes:
    """Render what the account holds, with links below one base such as `http://127.0.0.1:7300/api/v4`."""

    def __init__(self, state: State, base: str) -> None:
        self._state = state
        self._base = base

    def links(self, path: str) -> Json:
        """Return the `_links` of an object at that path."""
        return {"self": {"href": f"{self._base}/{path}"}}

    def record(self, record: Record, *, with_: frozenset[str] = frozenset()) -> Json:
        """Return a lead, contact, company or task; `with_` names what is to be embedded besides."""
        if record.kind == "tasks":
            return self._task(record)
        row = {
            **record.fields,
            "id": record.id,
            "custom_fields_values": record.custom or None,
            "account_id": self._state.account_id,
        }
        return {
            **{name: row[name] for name in KEYS[record.kind]},
            "_links": self.links(f"{record.kind}/{record.id}"),
            "_embedded": self._embedded(record, with_),
        }

    def _embedded(self, record: Record, with_: frozenset[str]) -> Json:
        inner: Json = {"tags": record.tags}
        if record.kind != "companies":
            inner["companies"] = [self._link("companies", {"id": one}) for one in record.companies]
        if record.kind == "leads" and "contacts" in with_:
            inner["contacts"] = [self._link("contacts", link) for link in record.contacts]
        if record.kind != "leads" and "leads" in with_:
            inner["leads"] = [self._link("leads", {"id": one}) for one in record.leads]
        return inner

    def _link(self, kind: str, link: Json) -> Json:
        return {**link, "_links": self.links(f"{kind}/{link['id']}")}

    def _task(self, task: Record) -> Json:
        result = task.fields["result"]
        shown = {"text": result["text"]} if result else []
        row = {**task.fields, "id": task.id, "result": shown, "account_id": self._state.account_id}
        return {**{name: row[name] for name in KEYS["tasks"]}, "_links": self.links(f"tasks/{task.id}")}

    def note(self, note: Json, kind: str) -> Json:
        """Return a note on an entity of that kind."""
        shown = {name: value for name, value in note.items() if name != "kind"}
        path = f"{kind}/{note['entity_id']}/notes/{note['id']}"
        return {**shown, "account_id": self._state.account_id, "_links": self.links(path)}

    def pipeline(self, pipeline: Pipeline) -> Json:
        """Return a pipeline with its stages."""
        return {
            "id": pipeline.id,
            "name": pipeline.name,
            "sort": pipeline.sort,
            "is_main": pipeline.is_main,
            "is_unsorted_on": True,
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

    def user(self, user: User) -> Json:
        """Return a user with their rights."""
        every = dict.fromkeys(("view", "edit", "add", "delete", "export"), "A")
        rights = {
            **{kind: dict(every) for kind in ("leads", "contacts", "companies")},
            "tasks": {"edit": "A", "delete": "A"},
            "mail_access": False,
            "catalog_access": True,
            "status_rights": None,
            "is_admin": user.is_admin,
            "is_free": False,
            "is_active": True,
            "group_id": None,
            "role_id": None,
        }
        plain = {"id": user.id, "name": user.name, "email": user.email, "lang": "en", "rights": rights}
        return {**plain, "_links": self.links(f"users/{user.id}")}

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

    def custom_field(self, field: CustomField, kind: str, sort: int) -> Json:
        """Return the definition of a custom field."""
        enums = [{"id": enum.id, "value": enum.value, "sort": index} for index, enum in enumerate(field.enums)]
        return {
            "id": field.id,
            "name": field.name,
            "type": field.type,
            "account_id": self._state.account_id,
            "code": field.code,
            "sort": sort,
            "is_api_only": False,
            "enums": enums or None,
            "group_id": None,
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
            **({"amojo_id": "5a9d0b1e-0c1f-4d52-9a55-5f0f6a1f7e10"} if "amojo_id" in with_ else {}),
            "_links": self.links("account"),
        }
