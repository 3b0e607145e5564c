"""Turn the names that a handler gives into Kommo's ids: stages, pipelines, custom fields, users.

Only names cost a look at the account's metadata, which is remembered; ids and codes are taken as they are.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from kommo.api.constants import LOST, WON, meant
from kommo.api.entities import checked_id
from kommo.api.resources.metadata import LIFETIME_SECONDS, SETTLED_SECONDS, Field, Metadata, Pipeline, Stage, User
from kommo.errors import RequestError

#: What a field's code looks like: a text like this is sent as a code, without a look at the account's fields.
_CODE: Final = re.compile(r"[A-Z0-9_]+")

#: The last two stages, whatever an account calls them.
_ENDS: Final = {"won": WON, "lost": LOST}

#: Names that an error lists.
_LISTED: Final = 20

Item = TypeVar("Item")
Found = TypeVar("Found")


class Names:
    """Knows an account's names once it has been given its metadata; until then a name is a RequestError."""

    def __init__(self, metadata: Metadata | None = None) -> None:
        self._metadata = metadata

    def learn(self, metadata: Metadata) -> None:
        """Use an account's metadata from here on."""
        self._metadata = metadata

    def ids(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Replace `stage= pipeline= responsible=` by `status_id`, `pipeline_id`, `responsible_user_id`.

        Raises RequestError for a name that is unknown, or that several have: it lists them.
        """
        ids = {name: value for name, value in values.items() if name not in {"stage", "pipeline", "responsible"}}
        for name, id_name in (
            ("stage", "status_id"),
            ("pipeline", "pipeline_id"),
            ("responsible", "responsible_user_id"),
        ):
            if name in values and id_name in values:
                raise RequestError(f"give {name}= or {id_name}=, not both")
        if "pipeline" in values:
            ids["pipeline_id"] = self._pipeline(values["pipeline"])
        if "stage" in values:
            ids.update(self._stage(values["stage"], ids.get("pipeline_id")))
        if "responsible" in values:
            ids["responsible_user_id"] = self._user(values["responsible"])
        return ids

    def field(self, entity_type: str, key: object) -> dict[str, Any]:
        """Return {"field_id": …} or {"field_code": …} for a field's id, code or name; raises RequestError."""
        if not isinstance(key, str) or not key or _CODE.fullmatch(key):
            return by_id_or_code(key)
        return {"field_id": self._field(entity_type, key).id}

    def _field(self, entity_type: str, name: str) -> Field:
        found, fields = self._sought(
            lambda age: self._known().fields(entity_type, max_age=age),
            lambda fields: matching(name, fields, lambda field: field.code, lambda field: field.name),
        )
        what = f"custom field of {entity_type}"
        return _only(found, name, what, [field.name for field in fields], lambda field: f"{field.name} ({field.id})")

    def _pipeline(self, given: object) -> int:
        if not isinstance(given, str):
            return _id(given, "pipeline")
        found, pipelines = self._sought(
            self._pipelines, lambda known: matching(given, known, lambda pipeline: pipeline.name)
        )
        names = [pipeline.name for pipeline in pipelines]
        return _only(found, given, "pipeline", names, lambda pipeline: f"{pipeline.name} ({pipeline.id})").id

    def _stage(self, given: object, pipeline_id: int | None) -> dict[str, int]:
        """The pair that a stage is; the last two go without a pipeline when none is named, as the lead has one."""
        if not isinstance(given, str):
            return {"status_id": _id(given, "stage")}
        found, pipelines = self._sought(self._pipelines, lambda known: _stages_named(given, known, pipeline_id))
        if len({stage.id for stage in found}) == 1 and found[0].id in _ENDS.values():
            return {"status_id": found[0].id}
        stages = [stage for pipeline in pipelines for stage in _stages_in(pipeline, pipeline_id)]
        titles = {pipeline.id: pipeline.name for pipeline in pipelines}
        spelt = [stage.name for stage in stages]
        stage = _only(found, given, "stage", spelt, lambda stage: f"{titles[stage.pipeline_id]} / {stage.name}")
        return {"status_id": stage.id, "pipeline_id": stage.pipeline_id}

    def _user(self, given: object) -> int:
        if not isinstance(given, str):
            return _id(given, "user")
        found, users = self._sought(
            lambda age: [user for user in self._known().users(max_age=age) if user.is_active],
            lambda known: matching(given, known, lambda user: user.email, lambda user: user.name),
        )
        return _only(found, given, "active user", [user.name for user in users], _titled).id

    def _pipelines(self, max_age: float) -> Sequence[Pipeline]:
        return self._known().pipelines(max_age=max_age)

    def _known(self) -> Metadata:
        if self._metadata is None:
            raise RequestError("names are known to a Client only; give ids or codes here")
        return self._metadata

    @staticmethod
    def _sought(
        known: Callable[[float], Sequence[Item]], search: Callable[[Sequence[Item]], list[Found]]
    ) -> tuple[list[Found], Sequence[Item]]:
        """Search in what is remembered, and once more in what is there now: the name may be new."""
        items = known(LIFETIME_SECONDS)
        found = search(items)
        if not found:
            items = known(SETTLED_SECONDS)
            found = search(items)
        return found, items


def by_id_or_code(key: object) -> dict[str, Any]:
    """Return {"field_id": …} for a number and {"field_code": …} for a text; raises RequestError."""
    if isinstance(key, int) and not isinstance(key, bool):
        return {"field_id": key}
    if isinstance(key, str) and key:
        return {"field_code": key}
    raise RequestError(f"fields: {key!r} is neither a field's id (a number) nor its code or name (a text)")


def matching(text: str, items: Iterable[Item], *spellings: Callable[[Item], str | None]) -> list[Item]:
    """Return the items that a text names: an exact spelling beats another case, an earlier spelling a later one."""
    candidates = list(items)
    for alike in (str, folded):
        for spelling in spellings:
            found = [item for item in candidates if alike(spelling(item) or "") == alike(text)]
            if found:
                return found
    return []


def folded(text: str) -> str:
    """A text without its case and superfluous spaces."""
    return " ".join(text.split()).casefold()


def _stages_named(name: str, pipelines: Sequence[Pipeline], pipeline_id: int | None) -> list[Stage]:
    stages = [stage for pipeline in pipelines for stage in _stages_in(pipeline, pipeline_id)]
    named = matching(name, stages, lambda stage: stage.name)
    end = _ENDS.get(folded(name))
    return named or [stage for stage in stages if stage.id == end]


def _stages_in(pipeline: Pipeline, pipeline_id: int | None) -> tuple[Stage, ...]:
    """The stages that a name may mean: those of the pipeline that was named, else of all that are in use."""
    meant_one = not pipeline.is_archive if pipeline_id is None else pipeline.id == pipeline_id
    return pipeline.stages if meant_one else ()


def _id(given: object, what: str) -> int:
    id_ = checked_id(given, what)
    if not isinstance(id_, int):
        raise RequestError(f"a {what} is given by its name or id, not by a reference")
    return id_


def _only(found: Sequence[Item], name: str, what: str, names: Sequence[str], titled: Callable[[Item], str]) -> Item:
    if len(found) == 1:
        return found[0]
    if found:
        raise RequestError(f"several are called {name!r}, say which {what}: {'; '.join(map(titled, found))}")
    listed = ", ".join(dict.fromkeys(names[:_LISTED])) + (", …" if len(names) > _LISTED else "")
    hint = meant(name, names) or "."
    raise RequestError(f"there is no {what} {name!r}{hint} There are: {listed or 'none'}")


def _titled(user: User) -> str:
    return f"{user.name} ({user.email or user.id})"
