"""Adding, changing and deleting pipelines and their stages.

Sources: https://developers.kommo.com/reference/pipelines and https://developers.kommo.com/docs/limitations
"""

from collections.abc import Iterator
from dataclasses import replace

from sandbox.directory import LOST, WON, Pipeline, Stage
from sandbox.problems import ApiError, Fault, missing, mistyped, not_a_choice
from sandbox.state import Json, State

MAX_PIPELINES = 50
#: Stages of a pipeline, won and lost included.
MAX_STAGES = 100

#: The colours that a stage may have.
COLORS = frozenset(
    (
        *("#fffeb2", "#fffd7f", "#fff000", "#ffeab2", "#ffdc7f", "#ffce5a", "#ffdbdb", "#ffc8c8"),
        *("#ff8f92", "#d6eaff", "#c1e0ff", "#98cbff", "#ebffb1", "#deff81", "#87f2c0", "#f9deff"),
        *("#f3beff", "#ccc8f9", "#eb93ff", "#f2f3f4", "#e6e8ea"),
    )
)
_DEFAULT_COLOR = "#fffeb2"


def faults(item: Json, *, new: bool, color: str | None = None) -> Iterator[Fault]:
    """Yield what is wrong with a pipeline or a stage; the present `color` of a stage may always be sent back."""
    if new and item.get("name") is None:
        yield missing("name")
    yield from mistyped(item, name=str, sort=int)
    if item.get("color") is not None and item["color"] not in (COLORS | {color}):
        yield not_a_choice("color")
    for index, stage in enumerate((item.get("_embedded") or {}).get("statuses") or ()):
        if stage.get("id") not in (WON, LOST):
            yield from (
                fault._replace(path=f"_embedded.statuses.{index}.{fault.path}") for fault in faults(stage, new=True)
            )


def add(state: State, item: Json) -> Pipeline:
    """Add a pipeline with the stages that it names, a stage for incoming leads, won and lost."""
    if len(state.directory.pipelines) >= MAX_PIPELINES:
        raise ApiError(400, f"An account has at most {MAX_PIPELINES} pipelines")
    named: dict[int, Json] = {
        stage.get("id", 0): stage for stage in (item.get("_embedded") or {}).get("statuses") or ()
    }
    own = [stage for stage in (item.get("_embedded") or {}).get("statuses") or () if stage.get("id") not in (WON, LOST)]
    first = Stage(state.next_id("statuses"), "Incoming leads", 10, "#c1c1c1", type=1, is_editable=False)
    pipeline = Pipeline(
        state.next_id("pipelines"),
        item["name"],
        item.get("sort") or 10 + len(state.directory.pipelines),
        is_main=False,
        stages=(first, *_closed(named)),
        is_unsorted_on=bool(item.get("is_unsorted_on", True)),
    )
    for stage in own:
        pipeline, _ = with_stage(state, pipeline, stage)
    _put(state, pipeline, main=bool(item.get("is_main")))
    return state.directory.pipeline(pipeline.id) or pipeline


def _closed(named: dict[int, Json]) -> tuple[Stage, Stage]:
    return (
        Stage(WON, named.get(WON, {}).get("name", "Closed - won"), 10_000, "#CCFF66", is_editable=False),
        Stage(LOST, named.get(LOST, {}).get("name", "Closed - lost"), 11_000, "#D5D8DB", is_editable=False),
    )


def change(state: State, pipeline: Pipeline, item: Json) -> None:
    """Change the given fields of a pipeline; a new main pipeline takes the place of the old one."""
    given = {name: item[name] for name in ("name", "sort", "is_unsorted_on") if item.get(name) is not None}
    _put(state, replace(pipeline, **given), main=pipeline.is_main or bool(item.get("is_main")))


def _put(state: State, pipeline: Pipeline, *, main: bool) -> None:
    for other in list(state.directory.pipelines):
        if main and other.is_main:
            state.directory.put(replace(other, is_main=False))
    state.directory.put(replace(pipeline, is_main=main))


def delete(state: State, pipeline: Pipeline) -> None:
    """Delete a pipeline; the main one and one with leads stay."""
    if pipeline.is_main or any(lead.fields["pipeline_id"] == pipeline.id for lead in state.visible("leads")):
        raise ApiError(400, "The main pipeline and one with leads cannot be deleted")
    state.directory.pipelines = [one for one in state.directory.pipelines if one.id != pipeline.id]


def with_stage(state: State, pipeline: Pipeline, item: Json) -> tuple[Pipeline, Stage]:
    """Return a pipeline with one more stage, and the stage."""
    if len(pipeline.stages) >= MAX_STAGES:
        raise ApiError(400, f"A pipeline has at most {MAX_STAGES} stages")
    own = [stage for stage in pipeline.stages if stage.id not in (WON, LOST)]
    sort = item.get("sort") or max(stage.sort for stage in own) + 10
    stage = Stage(state.next_id("statuses"), item["name"], sort, item.get("color") or _DEFAULT_COLOR)
    return _sorted(pipeline, (*pipeline.stages, stage)), stage


def with_changed(pipeline: Pipeline, stage: Stage, item: Json) -> tuple[Pipeline, Stage]:
    """Return a pipeline with a stage changed; of won and lost only the name can be."""
    names = ("name", "sort", "color") if stage.is_editable else ("name",)
    changed = replace(stage, **{name: item[name] for name in names if item.get(name) is not None})
    return _sorted(pipeline, (changed, *(one for one in pipeline.stages if one.id != stage.id))), changed


def without(state: State, pipeline: Pipeline, stage: Stage) -> Pipeline:
    """Return a pipeline without a stage; those of the service and one with leads stay."""
    place = (pipeline.id, stage.id)
    used = any((lead.fields["pipeline_id"], lead.fields["status_id"]) == place for lead in state.visible("leads"))
    if not stage.is_editable or stage.type == 1 or used:
        raise ApiError(400, "The stage cannot be deleted")
    return replace(pipeline, stages=tuple(one for one in pipeline.stages if one.id != stage.id))


def _sorted(pipeline: Pipeline, stages: tuple[Stage, ...]) -> Pipeline:
    return replace(pipeline, stages=tuple(sorted(stages, key=lambda stage: (stage.sort, stage.id))))
