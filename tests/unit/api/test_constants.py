"""Words of Kommo's: what is taken, and what a slip is told."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.constants import (
    EntityType,
    FieldType,
    NoteType,
    StageColor,
    TaskType,
    known_word,
    likely_word,
    meant,
)
from kommo.api.resources.activities import TASK_TYPES
from kommo.errors import RequestError
from kommo.hooks.kinds import NOTE_TYPE_NAMES
from kommo.hooks.kinds import TASK_TYPES as HEARD_TASK_TYPES


def test_what_is_written_has_the_same_names_as_what_is_heard():
    assert {word.value for word in NoteType} == NOTE_TYPE_NAMES
    assert {number: name for name, number in TASK_TYPES.items()} == dict(HEARD_TASK_TYPES)
    assert TaskType.MEETING == 2


def test_there_are_ten_note_types_and_twenty_one_colours_each_once():
    assert len(NoteType) == 10
    assert len({color.value for color in StageColor}) == 21


@pytest.mark.parametrize("word", [StageColor.LIGHT_BLUE, NoteType.CALL_IN, FieldType.TEXT, EntityType.LEADS])
def test_a_constant_is_the_text_that_is_sent(word):
    assert json.dumps(word) == json.dumps(str(word.value))


@pytest.mark.parametrize(
    "given_", ["#c1e0ff", "#C1E0FF", "light_blue", "LIGHT_BLUE", " light_blue ", StageColor.LIGHT_BLUE]
)
def test_a_colour_is_known_by_its_code_and_by_its_name(given_):
    assert known_word(StageColor, given_, "color") is StageColor.LIGHT_BLUE


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [("lite_blue", "did you mean light_blue"), ("#c1e0fe", "#c1e0ff"), (5, "not 5"), ("", "It is one of")],
)
def test_a_word_that_is_none_is_refused_with_those_there_are(given_, sentence):
    with pytest.raises(RequestError, match=sentence) as caught:
        known_word(StageColor, given_, "color")
    assert "color=" in str(caught.value)
    assert "#fffeb2" in str(caught.value)


@pytest.mark.parametrize("given_", ["text", FieldType.TEXT, "hologram"])
def test_a_word_that_is_new_to_us_is_let_through(given_):
    assert likely_word(FieldType, given_, "type") == given_


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [("multi_select", "multiselect"), ("Numerics", "numeric"), ("", "a text such as"), (None, "text")],
)
def test_a_slip_for_a_known_word_is_refused(given_, sentence):
    with pytest.raises(RequestError, match=sentence):
        likely_word(FieldType, given_, "type")


@given(st.text(min_size=1))
def test_nothing_is_nearer_to_a_word_than_itself(text):
    assert meant(text, [text, "something else entirely"]) == f"; did you mean {text}?"
    assert meant(text, []) == ""
