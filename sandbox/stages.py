"""The stage of a lead: a status counts only within its pipeline."""

from collections.abc import Iterator

from sandbox.directory import Pipeline
from sandbox.problems import Fault, not_a_choice
from sandbox.state import Json, Record, State


def stage_after(state: State, item: Json, record: Record | None) -> tuple[Pipeline | None, int | None]:
    """Return the pipeline and the status that a lead has after a request; a new pipeline starts at its first."""
    current: Json = record.fields if record else {"pipeline_id": state.directory.main().id, "status_id": None}
    target = state.directory.pipeline(item.get("pipeline_id") or current["pipeline_id"])
    if item.get("status_id") is not None:
        return target, item["status_id"]
    stays = target is not None and target.id == current["pipeline_id"] and current["status_id"] is not None
    return target, current["status_id"] if stays else target.first.id if target else None


def stage_faults(state: State, item: Json, record: Record | None) -> Iterator[Fault]:
    """Yield what is wrong with the stage that a request asks for."""
    target, status_id = stage_after(state, item, record)
    if target is None:
        yield not_a_choice("pipeline_id")
    elif status_id is None or not target.has(status_id):
        yield not_a_choice("status_id")
