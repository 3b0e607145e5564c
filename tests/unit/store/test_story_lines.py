"""The lines of a story: written, and read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.store.stories import (
    CHAINS,
    ECHO,
    ERROR_CHARS,
    REPEATED,
    EventTold,
    Line,
    StepTold,
    Story,
    WriteTold,
    event_name,
    life_seconds,
)

EVENT, HANDLER, WRITE = "5b0e7f3a91c2d4e6" * 2, "shop.won", "f0" * 12
_words = st.text(st.characters(exclude_characters="|", exclude_categories=["Cs"]), max_size=30)
_errors = st.text(st.characters(exclude_categories=["Cs"]), max_size=ERROR_CHARS)
_numbers = st.integers(0, 10**15)


def _read(*lines: Line) -> Story:
    return Story.read({line.name.encode(): line.text for line in lines})


@given(st.sampled_from(["failed", "again", "postpone", "dead"]), _numbers, _numbers, _numbers, _errors)
def test_a_step_that_came_to_nothing_is_read_as_it_was_written(
    verb: str, attempt: int, at_ms: int, took_ms: int, error: str
) -> None:
    told = StepTold(verb, attempt, at_ms, took_ms, error=error)
    assert _read(told.line("d", EVENT, HANDLER)).step(EVENT, HANDLER) == told


@given(_numbers, st.lists(st.from_regex(r"(lead|new):[0-9a-f]{1,24}", fullmatch=True), max_size=CHAINS))
def test_a_done_step_keeps_how_many_writes_it_asked_for_and_their_chains(number: int, chains: list[str]) -> None:
    told = StepTold("done", 2, 1_772_000_000_000, 31, number, tuple(chains))
    assert _read(told.line("d", EVENT, HANDLER)).step(EVENT, HANDLER) == told


def test_of_very_many_chains_only_the_first_are_kept() -> None:
    told = StepTold("done", 1, 5, 6, 90, tuple(f"lead:{number}" for number in range(90)))
    kept = _read(told.line("d", EVENT, HANDLER)).step(EVENT, HANDLER)
    assert kept is not None
    assert (kept.writes, kept.chains) == (90, told.chains[:CHAINS])


@given(st.sampled_from(["done", "failed", "postpone", "dead"]), _words, _words, _numbers, _errors)
def test_a_write_is_read_as_it_was_written(verb: str, what: str, entity: str, at_ms: int, error: str) -> None:
    told = WriteTold(verb, what, entity, at_ms, error)
    assert _read(told.line("d", EVENT, HANDLER, WRITE)).writes_of(EVENT, HANDLER) == {WRITE: told}


def test_writes_of_handlers_are_told_apart_in_names_that_redis_packs_tightly() -> None:
    handlers = ["shop.won", "shop.lost", "s" * 120]
    told = {name: WriteTold("done", "companies:update", f"{place}", 5) for place, name in enumerate(handlers)}
    lines = [write.line("d", EVENT, name, WRITE) for name, write in told.items()]
    assert all(len(line.name) <= 64 for line in lines)
    story = _read(*lines)
    assert [story.writes_of(EVENT, name) for name in handlers] == [{WRITE: told[name]} for name in handlers]


def test_a_long_error_is_cut_and_shows_that_it_is() -> None:
    line = StepTold("failed", 1, 5, 6, error="e" * 5000).line("d", EVENT, HANDLER)
    kept = _read(line).step(EVENT, HANDLER)
    assert kept is not None
    assert kept.error == "e" * (ERROR_CHARS - 1) + "…"


def test_half_a_surrogate_pair_in_an_error_can_be_stored() -> None:
    told = _read(StepTold("dead", 1, 5, 6, error="odd \ud83d").line("d", EVENT, HANDLER)).step(EVENT, HANDLER)
    assert told is not None
    assert told.error == "odd \\ud83d"


@pytest.mark.parametrize(
    ("text", "told"),
    [(b"echo", EventTold(ECHO)), (b"repeated|1772000000123", EventTold(REPEATED, 1_772_000_000_123))],
)
def test_an_event_tells_why_it_went_into_no_lane(text: bytes, told: EventTold) -> None:
    story = Story.read({event_name(EVENT).encode(): text})
    assert (story.event(EVENT), story.event("0" * 32)) == (told, None)


def test_handlers_are_named_in_the_order_in_which_they_ended() -> None:
    lines = [
        StepTold("done", 1, at_ms, 1).line("d", event, handler)
        for at_ms, event, handler in [(30, EVENT, "c"), (10, EVENT, "a"), (20, EVENT, "b"), (15, "e" * 32, "other")]
    ]
    assert _read(*lines).handlers(EVENT) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((b"e1|shop.won", text) for text in (b"", b"done", b"done|x|1|2|0", b"done|1|2|3|many", b"\xff")),
        *((b"e1|shop.won|w1", text) for text in (b"", b"done", b"done|leads:update|5|soon|")),
        (b"e1|a|b|c", b"done|1|2|3|0"),
        (b"e1", b"forgotten"),
        (b"\xff\xfe", b"\xff"),
    ],
)
def test_what_another_version_wrote_is_passed_over(name: bytes, text: bytes) -> None:
    kept = StepTold("done", 1, 5, 6).line("d", EVENT, HANDLER)
    assert Story.read({name: text, kept.name.encode(): kept.text}) == _read(kept)


@pytest.mark.parametrize("text", [b"repeated|soon", b"repeated|1|2"])
def test_a_reason_that_cannot_be_read_is_passed_over(text: bytes) -> None:
    assert Story.read({b"e1": text}).events == {}


def test_a_story_outlives_its_delivery_by_a_day() -> None:
    assert life_seconds(3 * 86_400) == 4 * 86_400
