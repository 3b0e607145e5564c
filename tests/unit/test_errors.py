"""The tree of errors: what each carries, in its sentence and as attributes, and the words of a handler."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo import errors
from kommo.errors import (
    AccessEnded,
    Action,
    ApiError,
    BadRequest,
    Blocked,
    KommoError,
    NeedsAttention,
    Overloaded,
    RateLimited,
    Refused,
    ServerError,
    SettingsError,
    TryLater,
    Unauthorized,
    named,
)


def family(kind):
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(below for child in children for below in family(child))]


ANSWERS = [kind for kind in family(ApiError) if kind is not ApiError]
GIVEN = {
    "method": "PATCH",
    "path": "/api/v4/leads/31",
    "status": 418,
    "code": "219",
    "request_id": "req-9",
    "validation": ["price: A number."],
    "meaning": "the search failed",
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_error_of_an_answer_carries_all_it_knows_in_its_sentence_and_as_attributes(kind):
    error = kind("Kommo said no.", **GIVEN, after=7.5, hint="a hint", items={"0": ("price: A number.",)})
    assert str(error) == (
        "PATCH /api/v4/leads/31 answered 418 (code 219, the search failed): Kommo said no [price: A number.] "
        f"(request req-9). {kind.remedy}"
    )
    assert error.detail == "Kommo said no."
    assert {name: getattr(error, name) for name in GIVEN} == {**GIVEN, "validation": ("price: A number.",)}
    assert (error.after, error.hint, error.items) == (7.5, "a hint", {"0": ("price: A number.",)})


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_error_of_an_answer_names_a_remedy(kind):
    assert re.fullmatch(r"[A-Z].*[^.]", kind.remedy)
    assert str(kind("no", method="GET", path="/x")) == f"GET /x: no. {kind.remedy}"


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_error_of_an_answer_has_a_treatment(kind):
    assert isinstance(kind("no", method="GET", path="/x").action, Action)


def test_what_is_not_known_is_left_out():
    error = ApiError("no", method="GET", path="/x")
    assert str(error) == "GET /x: no"
    assert (error.status, error.code, error.request_id, error.after) == (None, None, None, None)
    assert (error.validation, error.items, error.meaning, error.hint) == ((), {}, "", "")


def test_items_of_one_error_are_not_those_of_the_next():
    with pytest.raises(TypeError):
        ApiError("no", method="GET", path="/x").items["0"] = ()


def test_errors_are_sorted_by_what_the_caller_must_do():
    assert all(sum(issubclass(kind, group) for group in (TryLater, NeedsAttention, Refused)) == 1 for kind in ANSWERS)
    assert issubclass(Blocked, RateLimited)
    assert issubclass(AccessEnded, Unauthorized)
    assert issubclass(Overloaded, ServerError)


def test_the_drawing_at_the_top_shows_the_tree_as_it_is():
    drawn, above = {}, {-1: None}
    for line in errors.__doc__.splitlines():
        found = re.match(r"([│├└─ ]*)([A-Z]\w+)(?:  |$)", line)
        if found and (found[1] or found[2] == "KommoError"):
            depth = len(found[1]) // 4
            above[depth] = found[2]
            drawn[found[2]] = above[depth - 1]
    assert drawn == {
        kind.__name__: None if kind is KommoError else kind.__base__.__name__ for kind in family(KommoError)
    }


@given(st.sampled_from(ANSWERS), st.text(), st.text())
def test_a_sentence_is_made_of_any_words(kind, detail, meaning):
    error = kind(detail, method="GET", path="/x", code="1", meaning=meaning)
    assert detail.rstrip(".") in str(error)
    assert meaning in str(error)


def test_all_mistakes_of_the_environment_are_said_at_once():
    error = SettingsError(["A is wrong", "B is missing"])
    assert (error.problems, str(error)) == (("A is wrong", "B is missing"), "A is wrong\nB is missing")


def test_an_error_is_named_by_its_kind():
    assert named(BadRequest("no", method="GET", path="/x")) == f"BadRequest: GET /x: no. {BadRequest.remedy}"
