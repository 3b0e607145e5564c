"""The handler of the chaos: writes down what it was given, in a file that no kill takes away, and asks for a call."""

import os
import time
from typing import Any

from kommo import Router

router = Router()


@router.on("lead.updated")
def book(event: Any, kommo: Any) -> None:
    """Note lead, number of the event and the time, and ask for a note; a poisonous event ends all, a slow lead waits.

    The time is the computer's monotonic clock, which is one for all its processes.
    """
    number = event.lead.price
    line = f"{event.entity_id} {number} {time.monotonic():.3f}\n".encode()
    # One small write to a file opened for appending is not torn, and stays when its process is killed.
    file = os.open(os.environ["CHAOS_BOOK"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)
    if f"{event.entity_id}:{number}" in os.environ.get("CHAOS_POISON", "").split():
        os._exit(70)
    if str(event.entity_id) in os.environ.get("CHAOS_SLOW", "").split():
        # 0 to 3 s, in an order that looks like none.
        time.sleep(number * 7 % 31 / 10)
    if os.environ.get("CHAOS_NOTES"):
        kommo.later.notes.create(entity=event, text=f"{event.entity_id}:{number}")
