"""Move a lead to its next stage when a task on it is completed.

Adapt: NEXT_STAGE, from the stage in which the lead has to stand to the one that follows. A stage is a pair of
pipeline and status, because the statuses 142 (won) and 143 (lost) exist in every pipeline. The ids are in the
address of the pipeline's settings, or in the answer of `/api/v4/leads/pipelines`.
Run it with KOMMO_HANDLERS=examples.stage_on_task_done; the webhook needs "task updated" (`update_task`).
"""

from collections.abc import Mapping
from typing import Final

from kommo import Router
from kommo.api.client import Client
from kommo.errors import NotFound
from kommo.hooks.events import Event

#: (pipeline_id, status_id) -> status_id in the same pipeline. These are the first stages of the sandbox.
NEXT_STAGE: Final[Mapping[tuple[int, int], int]] = {
    (7100001, 61000002): 61000003,
    (7100001, 61000003): 61000004,
}

router = Router()


@router.on("task.completed")
def advance(event: Event, kommo: Client) -> None:
    """Read where the lead stands now, as the delivery may be old, and move it only from an expected stage."""
    kind, lead_id = event.parent or (None, None)
    if kind != "lead" or not isinstance(lead_id, int):
        return
    try:
        lead = kommo.leads.get(lead_id)
    except NotFound:
        return
    status_id = NEXT_STAGE.get((lead["pipeline_id"], lead["status_id"]))
    if status_id is not None:
        kommo.later.leads.update(lead_id, pipeline_id=lead["pipeline_id"], status_id=status_id)
