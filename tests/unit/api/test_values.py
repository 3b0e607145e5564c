"""What a handler gives becomes what the API takes."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.entities import Reference
from kommo.api.resources.names import Names
from kommo.api.values import PENDING, custom_fields, links, tags, to_json
from kommo.errors import RequestError

NAMING = partial(Names().field, "leads")
MOMENT = datetime(2026, 5, 6, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda key: key != PENDING), inner),
)


@given(JSON)
def test_json_stays_as_it_is(value):
    assert to_json(value, "x") == value


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (MOMENT, 1778025600),
        (Decimal("12.00"), 12),
        (Decimal("12.5"), 12.5),
        ((1, 2), [1, 2]),
        ({"a": {"b": MOMENT}}, {"a": {"b": 1778025600}}),
        ({5: "x"}, {"5": "x"}),
        (Reference("w1"), {PENDING: "w1"}),
        ({"contacts": [{"id": Reference("w1")}]}, {"contacts": [{"id": {PENDING: "w1"}}]}),
    ],
)
def test_times_decimals_and_references_are_translated_at_any_depth(value, sent):
    assert to_json(value, "x") == sent
    json.dumps(to_json(value, "x"))


NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - naive is the point
UNSENDABLE = [object(), date(2026, 1, 1), b"x", float("nan"), float("inf"), Decimal("NaN"), NAIVE, {PENDING: "forged"}]


@pytest.mark.parametrize("value", UNSENDABLE)
def test_what_cannot_be_sent_is_refused_with_its_place(value):
    with pytest.raises(RequestError, match=r"body\.deep\.0"):
        to_json({"deep": [value]}, "body")


@pytest.mark.parametrize(
    ("key", "value", "sent"),
    [
        (501, "red", {"field_id": 501, "values": [{"value": "red"}]}),
        ("PHONE", "+4930", {"field_code": "PHONE", "values": [{"value": "+4930"}]}),
        ("501", 1, {"field_code": "501", "values": [{"value": 1}]}),
        (501, True, {"field_id": 501, "values": [{"value": True}]}),
        (501, 0, {"field_id": 501, "values": [{"value": 0}]}),
        (501, "", {"field_id": 501, "values": [{"value": ""}]}),
        (501, None, {"field_id": 501, "values": None}),
        (501, [], {"field_id": 501, "values": None}),
        (501, MOMENT, {"field_id": 501, "values": [{"value": 1778025600}]}),
        (501, ["a", {"enum_id": 5}], {"field_id": 501, "values": [{"value": "a"}, {"enum_id": 5}]}),
        (501, ("a", "b"), {"field_id": 501, "values": [{"value": "a"}, {"value": "b"}]}),
        (501, {"value": "x", "enum_code": "WORK"}, {"field_id": 501, "values": [{"value": "x", "enum_code": "WORK"}]}),
    ],
)
def test_a_custom_field_is_named_by_id_or_code_and_has_one_value_or_several(key, value, sent):
    assert custom_fields({key: value}, NAMING) == [sent]


@pytest.mark.parametrize("fields", [[1], "x", {True: 1}, {"": 1}, {1.5: 1}, {None: 1}, {1: [None]}, {1: object()}])
def test_custom_fields_of_another_shape_are_refused(fields):
    with pytest.raises(RequestError, match="fields"):
        custom_fields(fields, NAMING)


@pytest.mark.parametrize(
    ("names", "sent"),
    [
        (["vip", "new"], [{"name": "vip"}, {"name": "new"}]),
        ("vip", [{"name": "vip"}]),
        (("vip", 77), [{"name": "vip"}, {"id": 77}]),
        ([], []),
    ],
)
def test_a_tag_is_named_or_numbered(names, sent):
    assert tags(names, "add_tags") == sent


@pytest.mark.parametrize("names", [[""], [" "], [None], [True], {"vip": 1}, 1.5, [["vip"]]])
def test_anything_else_is_no_tag(names):
    with pytest.raises(RequestError, match="add_tags"):
        tags(names, "add_tags")


def test_links_take_ids_and_references_of_the_right_kind():
    reference = Reference("w1", kind="contact")
    assert links([5, reference], "contact", "contacts") == [{"id": 5}, {"id": {PENDING: "w1"}}]
    assert links(5, "contact", "contacts") == [{"id": 5}]
    assert links(reference, "contact", "contacts") == [{"id": {PENDING: "w1"}}]


@pytest.mark.parametrize("ids", ["5", [0], [-1], [True], ["5"], {5: 1}, 5.0, [Reference("w", kind="lead")]])
def test_anything_else_is_no_link(ids):
    with pytest.raises(RequestError):
        links(ids, "contact", "contacts")
