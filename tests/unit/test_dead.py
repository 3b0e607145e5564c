"""Dead letters are written and read again as they are, whatever a handler raised or Kommo sent."""

import json

from hypothesis import given
from hypothesis import strategies as st

from kommo.store.dead import DeadLetter


@given(error=st.text(), body=st.binary(), item=st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_a_dead_letter_is_read_back_as_it_was_written(error, body, item):
    letter = DeadLetter("d1", "step", 7, "rejected", error, 1, "d1", handler="h", item=item, body=body)
    assert DeadLetter.from_json(letter.to_json()) == letter


def test_half_a_surrogate_pair_in_an_error_is_kept():
    letter = DeadLetter("d1", "step", 7, "attempts_exhausted", "ValueError: \ud83d", 1, "d1")
    assert DeadLetter.from_json(letter.to_json()) == letter


def test_what_a_later_version_has_added_is_passed_over():
    letter = DeadLetter("d1", "step", 7, "rejected", "no", 1, "d1")
    record = {**json.loads(letter.to_json()), "moon": "full"}
    assert DeadLetter.from_json(json.dumps(record).encode()) == letter
