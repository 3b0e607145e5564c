"""What the account is made of, as the API shows it: pipelines, people, definitions, lists, the account itself."""

from uuid import NAMESPACE_OID, uuid5

from sandbox import account
from sandbox.custom_fields import CustomField
from sandbox.directory import Pipeline, Role, Stage, User
from sandbox.rights import complete
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
        """Return a user with their rights; `with_` may name role, group, uuid and amojo_id."""
        rights = {
            **complete({}),
            "is_admin": user.is_admin,
            "is_free": False,
            "is_active": True,
            "group_id": user.group_id,
            "role_id": user.role_id,
        }
        plain = {"id": user.id, "name": user.name, "email": user.email, "lang": "en", "rights": rights}
        asked: Json = {
            name: str(uuid5(NAMESPACE_OID, f"{name}/{user.id}")) for name in ("uuid", "amojo_id") if name in with_
        }
        roles = [self.role(role) for role in self._state.directory.roles if role.id == user.role_id]
        inner: Json = {**({"roles": roles} if "role" in with_ else {}), **({"groups": []} if "group" in with_ else {})}
        embedded = {"_embedded": inner} if inner else {}
        return {**plain, **asked, "_links": self.links(f"users/{user.id}"), **embedded}

    def role(self, role: Role, *, with_: frozenset[str] = frozenset()) -> Json:
        """Return a role; `with_` may name users."""
        plain = {"id": role.id, "name": role.name, "rights": complete(role.rights)}
        shown = {**plain, "_links": self.links(f"roles/{role.id}")}
        if "users" not in with_:
            return shown
        users = [self.user(user) for user in self._state.directory.users if user.role_id == role.id]
        return {**shown, "_embedded": {"users": users}}

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
        """Return the definition of a custom field of a kind, or of a list under `catalogs/{id}`."""
        enums = [
            {"id": enum.id, "value": enum.value, "sort": index, "code": enum.code}
            for index, enum in enumerate(field.enums)
        ]
        entity_type, _, catalog_id = kind.partition("/")
        in_list = {"catalog_id": int(catalog_id), "is_visible": True, "is_required": False} if catalog_id else {}
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
            "entity_type": entity_type,
            "tracking_callback": None,
            "remind": None,
            "triggers": [],
            "currency": None,
            "hidden_statuses": [],
            "chained_lists": None,
            **in_list,
            **field.more,
            "_links": self.links(f"{kind}/custom_fields/{field.id}"),
        }

    def field_group(self, group: Json, kind: str) -> Json:
        """Return a group of custom fields, with the ids of its fields."""
        fields = [field.id for field in self._state.fields(kind) if (field.group_id or "default") == group["id"]]
        links = self.links(f"{kind}/custom_fields/groups/{group['id']}")
        return {**group, "entity_type": kind, "fields": fields, "_links": links}

    def unsorted(self, held: Json) -> Json:
        """Return an incoming lead with what it brought."""
        lead = self._state.records["leads"][held["lead_id"]]
        names = ("uid", "source_uid", "source_name", "category", "pipeline_id", "created_at", "metadata")
        ids = {"leads": [lead.id], "contacts": [one["id"] for one in lead.contacts], "companies": lead.companies}
        inner = {
            kind: [{"id": one, "_links": self.links(f"{kind}/{one}")} for one in found] for kind, found in ids.items()
        }
        plain = {**{name: held[name] for name in names}, "account_id": self._state.account_id}
        return {**plain, "_links": self.links(f"leads/unsorted/{held['uid']}"), "_embedded": inner}

    def loss_reason(self, held: Json) -> Json:
        """Return a reason for which leads are lost."""
        return {**held, "_links": self.links(f"leads/loss_reasons/{held['id']}")}

    def account(self, *, with_: frozenset[str] = frozenset()) -> Json:
        """Return the account, with what `with_` names."""
        rights = [{"id": user.id, "rights": self.user(user)["rights"]} for user in self._state.directory.users]
        shown = account.shown(self._state, with_, rights)
        inner = account.embedded(with_)
        return {**shown, "_links": self.links("account"), **({"_embedded": inner} if inner else {})}

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
