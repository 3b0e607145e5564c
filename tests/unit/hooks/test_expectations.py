"""What is read from a request about the webhooks that it will cause."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.hooks.echoes import Expectation, expectations
from kommo.hooks.echoes.values import ANY, CHANGED, exact, loose, meaning

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    [
        *("id", "name", "first_name", "custom_fields_values", "field_id", "values", "enum_id", "_embedded", "tags"),
        *("tags_to_add", "contacts", "result", "params", "text", "note_type", "entity_id"),
        *("to_entity_id", "to_entity_type"),
    ]
)
PATHS = st.sampled_from(["leads", "contacts/7", "tasks", "leads/complex", "leads/7/notes", "contacts/7/link"])
ODD = st.recursive(JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5))


def subjects(method: str, path: str, json: object) -> list[tuple[str, int | None]]:
    return [(one.kind, one.id) for one in expectations(method, path, json)]


@pytest.mark.parametrize(
    ("method", "path", "json"),
    [
        ("GET", "/api/v4/leads/7", None),
        ("DELETE", "/api/v4/leads/7", {"price": 5}),
        ("POST", "/api/v4/webhooks", {"destination": "https://shop.example/"}),
        ("POST", "/api/v4/leads/tags", [{"name": "x"}]),
        ("POST", "/api/v4/leads/pipelines", [{"name": "x"}]),
        ("PATCH", "/api/v4/leads/7/notes/9", {"params": {"text": "x"}}),
        ("PATCH", "/api/v4/leads", [{"price": 5}]),
        ("POST", "/api/v4/leads", [{}]),
        ("POST", "/api/v4/leads/7", [{"name": "x"}]),
        ("PATCH", "/api/v2/leads/7", {"price": 5}),
    ],
)
def test_what_causes_no_webhook_that_could_be_known_again_expects_nothing(method: str, path: str, json: Any) -> None:
    assert expectations(method, path, json) == []


LINK: dict[str, object] = {"to_entity_id": 9, "to_entity_type": "companies"}


@pytest.mark.parametrize(
    ("method", "path", "json", "expected"),
    [
        ("PATCH", "leads/7", {"price": 5}, [("lead", 7)]),
        ("PATCH", "companies", [{"id": 7, "name": "a"}, {"id": "8", "name": "b"}], [("company", 7), ("company", 8)]),
        ("POST", "contacts", [{"name": "a"}, {"name": "b"}], [("contact", None)] * 2),
        ("POST", "customers", {"name": "a"}, [("customer", None)]),
        ("POST", "leads/7/notes", [{"params": {"text": "a"}}], [("note", None)]),
        ("POST", "leads/notes", [{"entity_id": 7, "params": {"text": "a"}}], [("note", None)]),
        ("POST", "leads/7/link", [{"to_entity_id": 8, "to_entity_type": "contacts"}], [("lead", 7), ("contact", 8)]),
        ("POST", "contacts/link", [{"entity_id": 8, **LINK}], [("contact", 8), ("company", 9)]),
        ("POST", "leads/7/unlink", [LINK], [("lead", 7), ("company", 9)]),
        ("POST", "leads/7/link", [{"to_entity_id": 8, "to_entity_type": "catalog_elements"}], [("lead", 7)]),
    ],
)
def test_each_entity_of_a_request_is_expected(method: str, path: str, json: Any, expected: Any) -> None:
    assert subjects(method, f"/api/v4/{path}", json) == expected


def test_a_complex_lead_brings_its_new_contact_and_company_and_leaves_known_ones_alone() -> None:
    lead = {"name": "Oven", "_embedded": {"contacts": [{"first_name": "Ida"}, {"id": 5}], "companies": [{"name": "B"}]}}
    assert subjects("POST", "/api/v4/leads/complex", [lead]) == [("lead", None), ("contact", None), ("company", None)]
    assert subjects("POST", "/api/v4/leads", [lead]) == [("lead", None)]


def test_each_field_is_expected_under_the_name_that_webhooks_are_read_by() -> None:
    (found,) = expectations(
        "PATCH",
        "/api/v4/leads/7",
        {
            "name": "Oven",
            "price": 1200,
            "updated_at": 1,
            "request_id": "5",
            "custom_fields_values": [
                {"field_id": 55, "values": [{"value": "a"}, {"value": "b"}]},
                {"field_code": "UTM", "values": None},
                {"field_id": 56, "values": [{"enum_code": "WORK"}]},
            ],
            "tags_to_add": [{"name": "won"}],
            "tags_to_delete": [{"id": 31}],
        },
    )
    assert found.subject == "lead:7"
    assert set(found.fields) == {"name", "price", "cf:55", "cf@UTM", "cf:56", "tag:won", "tag#31"}
    assert found.fields["price"] == {loose("1200")}
    assert found.fields["cf@UTM"] == found.fields["tag#31"] == {""}
    assert found.fields["cf:56"] == found.fields["tag:won"] == {ANY}


def test_a_contact_of_which_half_the_name_is_written_will_have_some_other_name() -> None:
    (found,) = expectations("PATCH", "/api/v4/contacts/7", {"first_name": "Ida"})
    assert found.fields == {"first_name": {loose("Ida")}, "name": {CHANGED}}


def test_creations_are_kept_apart_by_their_name_or_text_and_notes_by_what_they_hang_on() -> None:
    one, other = expectations("POST", "/api/v4/leads", [{"name": "a", "price": 1}, {"name": "b", "price": 1}])
    same, nameless = expectations("POST", "/api/v4/leads", [{"name": "a", "price": 2}, {"price": 1}])
    assert one.subject == same.subject
    assert len({one.subject, other.subject, nameless.subject}) == 3
    notes = [
        expectations("POST", f"/api/v4/{path}/notes", {"params": {"text": "x"}}) for path in ("leads/7", "leads/8")
    ]
    assert notes[0][0].subject != notes[1][0].subject


def test_a_name_in_a_request_cannot_choose_its_place_in_redis() -> None:
    (found,) = expectations("POST", "/api/v4/leads", [{"name": "}:kommo:{0}:\n*"}])
    assert set(found.subject) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-_=")


@given(st.sampled_from(["POST", "PATCH"]), PATHS, ODD)
def test_whatever_a_body_holds_it_is_read_or_passed_over(method: str, path: str, json: Any) -> None:
    assert all(isinstance(one, Expectation) for one in expectations(method, f"/api/v4/{path}", json))


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (1200, "1200"),
        (12.5, "12.50"),
        (True, "1"),
        (False, "0"),
        ("Tea & cake ", "Tea &amp; cake"),
        ("1980-01-12", "12.01.1980"),
        (316_483_200, "12.01.1980"),
        ("2024-10-23T20:59:00+00:00", "2024-10-23 20:59:00"),
        (None, ""),
    ],
)
def test_values_that_mean_the_same_are_known_again(written: Any, shown: str) -> None:
    assert loose(written) == loose(shown)


@pytest.mark.parametrize(
    ("one", "other"),
    [("007", "7"), ("12", "12.5"), ("1.234.5", "1.2345"), ("31.02.2026", "03.03.2026"), ("a", "A"), (["a"], "a")],
)
def test_values_that_do_not_mean_the_same_are_not(one: Any, other: Any) -> None:
    assert loose(one) != loose(other)


@given(JSON, JSON)
def test_any_difference_shows_in_the_exact_digest(one: Any, other: Any) -> None:
    same_type = meaning([one]) == meaning([other])
    assert (exact(one) == exact(other)) is same_type
