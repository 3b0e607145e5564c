"""Times as requests and deliveries write them; the account itself keeps epoch seconds."""

from datetime import UTC, datetime


def epoch_of(written: object) -> int | None:
    """Return the epoch seconds of a number, or of a text in ISO 8601, without an offset in UTC; None for others.

    The reference shows numbers; the vendor's own clients write `2027-03-08T00:00:00+00:00`.
    """
    if isinstance(written, int):
        return written
    if not isinstance(written, str):
        return None
    try:
        read = datetime.fromisoformat(written)
    except ValueError:
        return None
    return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp())


def day(epoch: int) -> str:
    """Return the day of a time as deliveries write birthdays."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%d.%m.%Y")
