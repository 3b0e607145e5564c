"""Pipelines and their stages (https://developers.kommo.com/reference/pipelines)."""

from flask import Blueprint, Response

from sandbox import pipelines
from sandbox.api.answers import (
    definitions,
    document,
    hal,
    nothing,
    one_or_nothing,
    single,
    whole,
    world,
    written,
)
from sandbox.directory import Pipeline, Stage
from sandbox.problems import not_found
from sandbox.state import Json
from sandbox.validation import RequestId, check, items_of, request_id

routes = Blueprint("pipelines", __name__, url_prefix="/leads/pipelines")


@routes.get("")
def list_pipelines() -> Response:
    """Answer all pipelines; there are no pages."""
    return whole("pipelines", [definitions().pipeline(one) for one in world().state.directory.pipelines])


@routes.get("/<int:pipeline_id>")
def get_pipeline(pipeline_id: int) -> Response:
    """Answer one pipeline."""
    found = world().state.directory.pipeline(pipeline_id)
    return one_or_nothing(definitions().pipeline(found) if found else None)


@routes.post("")
def create_pipelines() -> Response:
    """Add pipelines, with stages in `_embedded`."""
    items = items_of(document())
    with world().state.lock:
        check(items, lambda item: pipelines.faults(item, new=True))
        made = [(pipelines.add(world().state, item), request_id(item, index)) for index, item in enumerate(items)]
        return written("pipelines", [{**definitions().pipeline(one), "request_id": number} for one, number in made])


@routes.patch("/<int:pipeline_id>")
def update_pipeline(pipeline_id: int) -> Response:
    """Change one pipeline."""
    item = single()
    with world().state.lock:
        found = _pipeline(pipeline_id)
        check([item], lambda one: pipelines.faults(one, new=False))
        pipelines.change(world().state, found, item)
        return hal(definitions().pipeline(_pipeline(pipeline_id)))


@routes.delete("/<int:pipeline_id>")
def delete_pipeline(pipeline_id: int) -> Response:
    """Delete one pipeline."""
    with world().state.lock:
        pipelines.delete(world().state, _pipeline(pipeline_id))
    return nothing()


@routes.get("/<int:pipeline_id>/statuses")
def list_stages(pipeline_id: int) -> Response:
    """Answer the stages of a pipeline."""
    found = world().state.directory.pipeline(pipeline_id)
    if found is None:
        return one_or_nothing(None)
    return whole("statuses", [definitions().stage(found, stage) for stage in found.stages])


@routes.get("/<int:pipeline_id>/statuses/<int:status_id>")
def get_stage(pipeline_id: int, status_id: int) -> Response:
    """Answer one stage."""
    pipeline = world().state.directory.pipeline(pipeline_id)
    stage = pipeline.stage(status_id) if pipeline else None
    return one_or_nothing(definitions().stage(pipeline, stage) if pipeline and stage else None)


@routes.post("/<int:pipeline_id>/statuses")
def create_stages(pipeline_id: int) -> Response:
    """Add stages to a pipeline."""
    items = items_of(document())
    with world().state.lock:
        _pipeline(pipeline_id)
        check(items, lambda item: pipelines.faults(item, new=True))
        return written(
            "statuses", [_add(pipeline_id, item, request_id(item, index)) for index, item in enumerate(items)]
        )


def _add(pipeline_id: int, item: Json, number: RequestId) -> Json:
    pipeline, stage = pipelines.with_stage(world().state, _pipeline(pipeline_id), item)
    world().state.directory.put(pipeline)
    return {**definitions().stage(pipeline, stage), "request_id": number}


@routes.patch("/<int:pipeline_id>/statuses/<int:status_id>")
def update_stage(pipeline_id: int, status_id: int) -> Response:
    """Change one stage."""
    item = single()
    with world().state.lock:
        found = _stage(pipeline_id, status_id)
        check([item], lambda one: pipelines.faults(one, new=False, color=found[1].color))
        pipeline, stage = pipelines.with_changed(*found, item)
        world().state.directory.put(pipeline)
        return hal(definitions().stage(pipeline, stage))


@routes.delete("/<int:pipeline_id>/statuses/<int:status_id>")
def delete_stage(pipeline_id: int, status_id: int) -> Response:
    """Delete one stage."""
    with world().state.lock:
        world().state.directory.put(pipelines.without(world().state, *_stage(pipeline_id, status_id)))
    return nothing()


def _pipeline(pipeline_id: int) -> Pipeline:
    found = world().state.directory.pipeline(pipeline_id)
    if found is None:
        raise not_found("Pipeline")
    return found


def _stage(pipeline_id: int, status_id: int) -> tuple[Pipeline, Stage]:
    pipeline = _pipeline(pipeline_id)
    stage = pipeline.stage(status_id)
    if stage is None:
        raise not_found("Stage")
    return pipeline, stage
