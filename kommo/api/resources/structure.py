"""What an account is built of: pipelines and stages, custom fields, tags, sources.

https://developers.kommo.com/reference
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from kommo.api.bounds import FIELDS_PAGE, PIPELINE_LIMIT, SOURCE_LIMIT, STAGE_LIMIT, check_amount, check_room
from kommo.api.constants import LOST, WON, EntityType, FieldType, StageColor, known_word, likely_word
from kommo.api.entities import PLURALS
from kommo.api.pages import Json, PageSizes, Send
from kommo.api.resources.metadata import Metadata
from kommo.api.resources.records import Creates, Deletes, Lists, Reads, Updates, UpdatesMany, sent_id
from kommo.api.writes import API
from kommo.errors import RequestError

#: Won and lost, which every pipeline has without being told.
_SYSTEM_STAGES: Final = (WON, LOST)


class Stages(Reads, Creates, Updates, Deletes):
    """The stages of one pipeline, 100 at most with won and lost; a stage is the pair of pipeline and status."""

    _sizes = PageSizes(None)

    def __init__(self, send: Send, pipeline_id: int, metadata: Metadata) -> None:
        self._pipeline_id = sent_id(pipeline_id, "pipeline")
        self._metadata = metadata
        path = f"{API}/leads/pipelines/{self._pipeline_id}/statuses"
        super().__init__(send, path, "statuses", "stage", changed=metadata.refresh)

    def _body(self, values: Mapping[str, Any], action: Literal["create", "update"]) -> Json:
        return super()._body(_colored(values), action)

    def _check_room(self, bodies: Sequence[Json]) -> None:
        known = self._metadata.known_pipelines() or ()
        have = next((len(pipeline.stages) for pipeline in known if pipeline.id == self._pipeline_id), None)
        check_room(have, bodies, STAGE_LIMIT, "stages in a pipeline")


class Pipelines(Reads, Creates, Updates, Deletes):
    """The pipelines of leads, 50 at most; created with the stages that they have from the beginning."""

    _sizes = PageSizes(None)

    def __init__(self, send: Send, metadata: Metadata) -> None:
        self._metadata = metadata
        super().__init__(send, f"{API}/leads/pipelines", "pipelines", "pipeline", changed=metadata.refresh)

    def stages(self, pipeline_id: int) -> Stages:
        """The stages of a pipeline: `kommo.pipelines.stages(5).create(name="Offer", color="light_blue")`."""
        return Stages(self._send, pipeline_id, self._metadata)

    def _body(self, values: Mapping[str, Any], action: Literal["create", "update"]) -> Json:
        """`stages=` is a list of dicts with name, sort and color."""
        others = {name: value for name, value in values.items() if name != "stages"}
        if "stages" not in values:
            return super()._body(others, action)
        if action == "update" or "_embedded" in others:
            raise RequestError("stages= is for create; a pipeline's stages change by kommo.pipelines.stages(id)")
        stages = [_colored(stage) for stage in values["stages"]]
        own = [stage for stage in stages if stage.get("id") not in _SYSTEM_STAGES]
        check_amount([*own, *_SYSTEM_STAGES], STAGE_LIMIT, "stages in a pipeline, won and lost among them,")
        return super()._body({**others, "_embedded": {"statuses": stages}}, action)

    def _check_room(self, bodies: Sequence[Json]) -> None:
        known = self._metadata.known_pipelines()
        check_room(None if known is None else len(known), bodies, PIPELINE_LIMIT, "pipelines in an account")


def _colored(stage: Mapping[str, Any]) -> dict[str, Any]:
    if "color" not in stage:
        return dict(stage)
    return {**stage, "color": known_word(StageColor, stage["color"], "color").value}


class FieldGroups(Lists):
    """The groups of custom fields, which are tabs in a card; their ids are texts."""

    _sizes = PageSizes(None)


class CustomFields(Reads, Creates, Updates, UpdatesMany, Deletes):
    """The custom fields of one kind of entity, or of one list."""

    _sizes = PageSizes(FIELDS_PAGE)

    def __init__(self, send: Send, owner: str, changed: Callable[[], None] = lambda: None) -> None:
        super().__init__(send, f"{API}/{owner}/custom_fields", "custom_fields", "custom field", changed=changed)

    def _body(self, values: Mapping[str, Any], action: Literal["create", "update"]) -> Json:
        if "type" in values:
            values = {**values, "type": likely_word(FieldType, values["type"], "type")}
        return super()._body(values, action)


class CustomFieldsOf:
    """Custom fields, by what has them: `kommo.custom_fields.of("leads").create(name="Size", type="text")`."""

    def __init__(self, send: Send, metadata: Metadata) -> None:
        self._send = send
        self._metadata = metadata

    def of(self, entity_type: str) -> CustomFields:
        """The custom fields of leads, contacts, companies or customers; raises RequestError for another."""
        return CustomFields(self._send, entity_type_of(entity_type), self._metadata.refresh)

    def groups(self, entity_type: str) -> FieldGroups:
        """The groups into which the fields of an entity are sorted."""
        path = f"{API}/{entity_type_of(entity_type)}/custom_fields/groups"
        return FieldGroups(self._send, path, "custom_field_groups", "group of fields")


class Tags(Lists, Creates, UpdatesMany):
    """The tags of one kind of entity; to put one on an entity, give it `add_tags=`."""


class TagsOf:
    """Tags, by the entity that may carry them: `kommo.tags.of("contacts").list(query="vip")`."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def of(self, entity_type: str) -> Tags:
        """The tags of leads, contacts, companies or customers; raises RequestError for another."""
        return Tags(self._send, f"{API}/{entity_type_of(entity_type)}/tags", "tags", "tag")


def entity_type_of(given: object) -> str:
    """Return `leads` for "leads" and "lead", and so on; raises RequestError."""
    plural = PLURALS.get(given, given) if isinstance(given, str) else given
    return known_word(EntityType, plural, "entity_type").value


class Sources(Reads, Creates, Updates, UpdatesMany, Deletes):
    """The integration's sources, from which leads come; 100 at most, counted when they are listed whole."""

    _sizes = PageSizes(None)

    def __init__(self, send: Send) -> None:
        super().__init__(send, f"{API}/sources", "sources", "source")

    def _check_room(self, bodies: Sequence[Json]) -> None:
        check_room(self._seen, bodies, SOURCE_LIMIT, "sources of an integration")
