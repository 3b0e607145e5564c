from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given

from kommo.hooks import fields
from kommo.hooks.fields import CustomField, FieldValue, Tag
from tests.unit.hooks.test_scalars import anything

PHONE = {"id": "771100", "name": "Phone", "values": [{"value": "+372 1", "enum": "552001"}], "code": "PHONE"}
NAMED_PHONE = {"id": "771200", "name": "PHONE", "values": [{"value": "not the system field"}]}
DATE = {"id": 820019, "name": "Delivery", "values": ["1767258000"]}
RADIO = {"id": "791301", "name": "Sauna", "values": {"value": "smoke", "enum": "566101"}}


def test_a_field_is_found_by_id_by_code_and_at_last_by_name() -> None:
    found = fields.custom_fields([NAMED_PHONE, PHONE, DATE])

    assert found[771100].value == "+372 1"
    assert found["PHONE"].id == 771100
    assert found["Delivery"].id == 820019


@pytest.mark.parametrize("key", ["PHONE", "phone", "Phone", " pHoNe "])
def test_a_code_is_found_in_any_case_and_in_an_account_of_any_language(key: str) -> None:
    found = fields.custom_fields([{**PHONE, "name": "Телефон"}, DATE])

    assert found[key].id == 771100
    assert key in found
    assert found.get(key) is found["телефон"]


def test_an_exact_spelling_beats_another_case() -> None:
    size, capitals = {"id": "1", "name": "Size"}, {"id": "2", "name": "SIZE"}
    found = fields.custom_fields([{**PHONE, "code": "SIZES"}, capitals, size])

    assert (found["Size"].id, found["SIZE"].id, found["size"].id) == (1, 2, 2)


def test_a_field_that_is_missing_is_missed_with_a_list_of_those_there_are() -> None:
    found = fields.custom_fields([PHONE, DATE, {"id": "5"}])
    with pytest.raises(KeyError) as caught:
        found["Colour"]

    assert (
        str(caught.value.args[0])
        == "'Colour' did not come; there are: 'Phone' / PHONE / 771100, 'Delivery' / 820019, 5"
    )
    with pytest.raises(KeyError, match="there are: no fields"):
        fields.custom_fields([])[5]


def test_a_field_that_did_not_come_is_missing_like_in_a_dict() -> None:
    found = fields.custom_fields([PHONE])

    assert 771100 in found
    assert "PHONE" in found
    assert 5 not in found
    assert None not in found
    assert found.get(5) is None
    assert found.get("EMAIL", "none") == "none"
    with pytest.raises(KeyError, match="EMAIL"):
        found["EMAIL"]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ([{"value": "a", "enum": "5"}, {"value": "b"}], (FieldValue("a", 5), FieldValue("b"))),
        ([{"value": "a", "enum_id": 5, "enum_code": "WORK"}], (FieldValue("a", 5, "WORK"),)),
        ([{"value": "a", "enum": "WORK"}], (FieldValue("a", None, "WORK"),)),
        (["1767258000", "1767344400"], (FieldValue("1767258000"), FieldValue("1767344400"))),
        ({"value": "2", "enum": "566101"}, (FieldValue("2", 566101),)),
        ({"1": {"value": "a"}, "4": {"value": "b"}}, (FieldValue("a"), FieldValue("b"))),
        ("bare", (FieldValue("bare"),)),
        (None, ()),
        ([], ()),
        ([{}], (FieldValue(None),)),
    ],
)
def test_every_shape_of_values_is_read(values: Any, read: tuple[FieldValue, ...]) -> None:
    assert fields.field_values(values) == read


def test_a_field_tells_its_first_value_and_all_of_them() -> None:
    field = CustomField(1, values=(FieldValue("a", 5), FieldValue("b")))

    assert (field.value, field.all, field.enum_id) == ("a", ("a", "b"), 5)
    assert (CustomField(1).value, CustomField(1).all, CustomField(1).enum_id) == (None, (), None)


@pytest.mark.parametrize("raw", [[PHONE, RADIO], {"0": PHONE, "4": RADIO}])
def test_fields_come_as_a_list_or_with_gaps_and_keep_their_order(raw: Any) -> None:
    found = fields.custom_fields(raw)

    assert [field.id for field in found] == [771100, 791301]
    assert len(found) == 2
    assert found[791301] == CustomField(791301, "Sauna", None, (FieldValue("smoke", 566101),))


def test_fields_of_the_api_are_read_as_well() -> None:
    raw = [{"field_id": 7, "field_name": "Size", "field_code": None, "values": [{"value": "M"}]}]
    assert fields.custom_fields(raw)["Size"].id == 7


def test_fields_cannot_be_changed() -> None:
    found = fields.custom_fields([PHONE])
    with pytest.raises(FrozenInstanceError):
        found.fields = ()  # type: ignore[misc] # the point of the test
    assert hash(found) == hash(fields.custom_fields([PHONE]))


def test_tags_are_read_with_and_without_ids() -> None:
    raw = [{"id": "9101", "name": "spring"}, "bare", {"name": "new"}]
    assert fields.tags(raw) == (Tag(9101, "spring"), Tag(None, "bare"), Tag(None, "new"))


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        ({"7310042": {"ID": "7310042"}, "7310999": {"ID": "7310999"}}, (7310042, 7310999)),
        ({"7310042": "", "x": "y"}, (7310042,)),
        ([{"ID": "5"}, "6", {"id": 7}, "x"], (5, 6, 7)),
        ("5", (5,)),
        (None, ()),
    ],
)
def test_links_are_ids_whatever_they_are_keyed_by(raw: Any, ids: tuple[int, ...]) -> None:
    assert fields.linked_ids(raw) == ids


@given(anything)
def test_nothing_that_stands_in_their_place_raises(value: Any) -> None:
    fields.tags(value)
    fields.linked_ids(value)
    for field in fields.custom_fields([value, {"values": value, "id": value, "name": value, "code": value}]):
        assert isinstance(field.values, tuple)
