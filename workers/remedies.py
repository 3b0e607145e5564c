"""What a person can do about a dead letter, by its reason."""

from types import MappingProxyType
from typing import Final

from kommo.store.dead import DeadLetter

_OF_DELIVERIES: Final = MappingProxyType(
    {
        "account_mismatch": "The body names another account than the one whose address it came to: somebody else's "
        "delivery, or a forged one. Find out which, then drop it.",
        "normalising_failed": "A fault of this program: report it with the traceback, and retry with a version that "
        "has it mended.",
    }
)
_DECODING: Final = (
    "The bytes are not what Kommo sends, or more than is read. If they are Kommo's, report them, and retry with a "
    "version that reads them."
)
_OF_STEPS: Final = MappingProxyType(
    {
        "rejected": "The handler has given it up by itself, for the reason above. Mend what it says, then retry.",
        "refused": "Kommo refuses what the handler asks for. Correct the handler or the account, then retry.",
        "attempts_exhausted": "The handler raised, or ran over its timeout=, every time. Mend it, start the workers "
        "with it, then retry.",
        "crashed": "The handler ended its worker every time it ran alone. Mend it before you retry: it would do so "
        "again.",
        "handler_gone": "Its handler is in none of the workers' modules. Bring it back under this name and retry, or "
        "drop it.",
    }
)
_OF_WRITES: Final = MappingProxyType(
    {
        "refused": "Kommo refuses it. If the account is what is wrong, mend it and retry; else correct the handler, "
        "make the change by hand, and drop it: a retry sends the same again.",
        "attempts_exhausted": "Kommo could not do it for about two hours. Retry when it can.",
        "in_doubt": "Nobody knows whether Kommo has done it. Look in Kommo: if it is there, drop it, else retry.",
        "depends_on_failed": "It needs what another write makes, and that one has failed. Retry that one first, then "
        "this.",
        "depends_on_lost": "What it needs is not known any more. Make the change by hand, then drop it.",
        "sending_failed": "A fault of this program, before or after it was sent: report it with the traceback, then "
        "look in Kommo, and retry or drop it.",
        "crashed": "Its sender died every time it was sent. Look in Kommo whether it is done, then drop it or retry.",
    }
)
_UNREADABLE: Final = "Another version stored it. Retry with a version that can read it."
_OTHERWISE: Final = "Mend what it says, then retry; or drop it."


def remedy_of(letter: DeadLetter) -> str:
    """Say what to do about a letter, in a sentence or two."""
    if letter.reason == "unreadable":
        return _UNREADABLE
    if letter.kind == "delivery":
        return _OF_DELIVERIES.get(letter.reason, _DECODING)
    return (_OF_STEPS if letter.kind == "step" else _OF_WRITES).get(letter.reason, _OTHERWISE)
