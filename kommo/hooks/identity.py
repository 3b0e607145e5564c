"""Give an event its id, since Kommo gives none.

The same change has the same id however often and under whichever key it arrives; two changes within one second have
two. An item without a time cannot be told from its repetition, so that there the delivery decides.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from kommo.hooks import scalars


def event_id(
    *,
    account_id: int,
    entity: tuple[str, int | str | None],
    event_type: str,
    body: Mapping[str, Any],
    seconds: int | None,
    delivery_id: str,
    position: int,
) -> str:
    """Return 32 hexadecimal digits; `position` is the item's place in the delivery."""
    time = seconds if seconds is not None else [delivery_id, position]
    return _digest([account_id, *entity, event_type, _change(event_type, body), time])


def _change(event_type: str, body: Mapping[str, Any]) -> Any:
    """Return what changed, and nothing that differs between the ways in which the same change is reported."""
    if event_type == "lead.status_changed":
        status, pipeline = scalars.whole(body.get("status_id")), scalars.whole(body.get("pipeline_id"))
        old_pipeline = scalars.whole(body.get("old_pipeline_id"))
        # Most deliveries leave the old pipeline out when it is the present one.
        return [scalars.whole(body.get("old_status_id")), old_pipeline or pipeline, status, pipeline]
    if event_type.endswith(".responsible_changed"):
        names = ("old_responsible_user_id", "responsible_user_id")
        return [scalars.whole(body.get(name)) for name in names]
    return _digest(body)


def _digest(value: Any) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()
