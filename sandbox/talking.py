"""Ending talks."""

from sandbox import history
from sandbox.notices import Notice, notice
from sandbox.payloads import chats
from sandbox.state import Json, State


def close(state: State, talk: Json, *, by: int) -> list[Notice]:
    """Close a talk in somebody's name."""
    talk.update(is_in_work=False, is_read=True, updated_at=state.now())
    about = {"talk": {"id": talk["talk_id"]}}
    history.write(state, "leads", talk["entity_id"], "talk_closed", by=by, after=about)
    return [notice("talk", "update", chats.talk(talk), "update_talk")]
