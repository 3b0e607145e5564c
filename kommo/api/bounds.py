"""How much Kommo takes at once, and the checks that spend no request on more. Does no I/O.

https://developers.kommo.com/docs/limitations
"""

from collections.abc import Sequence, Sized
from typing import Final

from kommo.errors import RequestError

#: Entities of a page.
PAGE_LIMIT: Final = 250

#: Entities of a page where the API allows more: amoCRM's customers, https://www.amocrm.ru/developers
WIDE_PAGE_LIMIT: Final = 500

#: Entities of a page of events: amoCRM's page on events says 100, Kommo's takes more.
EVENTS_PAGE: Final = 100

#: Custom fields of a page: amoCRM's page on them says 50; what follows is asked for all the same.
FIELDS_PAGE: Final = 50

#: Entities of a writing request: what is taken, and what is advised, since more runs into 504.
BATCH_LIMIT: Final = 250
BATCH_ADVISED: Final = 50

#: Leads of one `complex` request, and custom field values of each entity in it.
COMPLEX_LIMIT: Final = 50
COMPLEX_VALUES_LIMIT: Final = 40

#: Users of one request: https://developers.kommo.com/reference/add-users
USERS_BATCH: Final = 10

#: Characters of a note; one more is a 400 TooLong.
NOTE_LIMIT: Final = 20_000

#: How many there may be of each in an account; sources in an integration, stages in a pipeline.
WEBHOOK_LIMIT: Final = 100
SOURCE_LIMIT: Final = 100
PIPELINE_LIMIT: Final = 50
STAGE_LIMIT: Final = 100
CATALOG_LIMIT: Final = 10

#: Ids that one filter of events takes.
EVENT_IDS_LIMIT: Final = 10


def check_page(page: object, size: object, largest: int) -> None:
    """Raise RequestError unless both are whole numbers, from 1, and the size is not over the largest."""
    if page is not None and not _counts(page):
        raise RequestError(f"page= is a whole number from 1, not {page!r:.80}")
    if size is not None and not (_counts(size) and int(str(size)) <= largest):
        raise RequestError(f"limit= is 1 to {largest}, not {size!r:.80}")


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def check_batch(batch: object, largest: int = BATCH_LIMIT) -> int:
    """Return the size of a request; raises RequestError for one that Kommo does not take."""
    if isinstance(batch, int) and not isinstance(batch, bool) and 1 <= batch <= largest:
        return batch
    raise RequestError(f"batch= is 1 to {largest} entities a request, {BATCH_ADVISED} advised, not {batch!r:.80}")


def check_amount(given: Sized, largest: int, what: str) -> None:
    """Raise RequestError when one call brings more than Kommo takes at once."""
    if len(given) > largest:
        raise RequestError(f"{largest} {what} at most, not {len(given)}")


def check_room(have: int | None, given: Sized, largest: int, what: str) -> None:
    """Raise RequestError when there would be too many; `have` is how many were last seen, None when nobody looked."""
    check_amount(given, largest, what)
    if have is not None and have + len(given) > largest:
        raise RequestError(
            f"{largest} {what} at most: there were {have} when they were last read, and {len(given)} would come; "
            "read them again if some have gone since"
        )


def check_note(text: object) -> None:
    """Raise RequestError for a note that is too long."""
    if isinstance(text, str) and len(text) > NOTE_LIMIT:
        raise RequestError(f"a note's text has {NOTE_LIMIT} characters at most, not {len(text)}")


def portions(count: int, size: int) -> Sequence[slice]:
    """Cut so many items into slices of at most this size, in order."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
