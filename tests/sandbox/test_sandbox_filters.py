"""Filters and times as plain functions."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.dates import day, epoch_of
from sandbox.filters import in_custom_fields, in_statuses, matches
from sandbox.problems import ApiError
from sandbox.state import Json, Record

NUMBERS = st.integers(min_value=0, max_value=4_000_000_000)


def lead(**fields: int) -> Record:
    return Record("leads", 1, dict(fields))


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_range_is_the_same_in_two_parameters_and_in_one_text(value: int, first: int, last: int) -> None:
    row = {"created_at": value}
    apart = [("filter[created_at][to]", str(last)), ("filter[created_at][from]", str(first))]
    assert matches(row, apart) is matches(row, [("filter[created_at]", f"{first},{last}")]) is (first <= value <= last)


@given(st.lists(NUMBERS, min_size=1, max_size=5), NUMBERS)
def test_ids_are_the_same_with_indexes_with_brackets_and_with_commas(ids: list[int], wanted: int) -> None:
    row = {"id": wanted}
    spellings = (
        [(f"filter[id][{index}]", str(one)) for index, one in enumerate(ids)],
        [("filter[id][]", str(one)) for one in ids],
        [("filter[id]", ",".join(map(str, ids)))],
    )
    assert {matches(row, spelling) for spelling in spellings} == {wanted in ids}


@pytest.mark.parametrize(
    ("row", "key", "text", "passes"),
    [
        ({"name": "a, b"}, "name", "a, b", True),
        ({"name": "a"}, "name", "a,b", False),
        ({"price": 5}, "price", "5", True),
        ({"closed_at": None}, "closed_at", "1,9", False),
        ({"is_completed": True}, "is_completed", "1", True),
        ({"is_completed": True}, "is_completed", "0", False),
        ({"task_type_id": 2}, "task_type", "2", True),
        ({"task_type_id": 2}, "task_type", "1", False),
        ({"id": 5}, "nobody_knows_it", "x", True),
    ],
)
def test_a_filter_knows_its_field(row: Json, key: str, text: str, passes: bool) -> None:
    assert matches(row, [(f"filter[{key}]", text)]) is passes


@pytest.mark.parametrize("text", ["", "soon", "1,", ",1", "-1", "1,2,3"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ApiError):
        matches({"created_at": 5}, [("filter[created_at]", text)])


def test_a_stage_counts_only_with_its_pipeline() -> None:
    pair = [("filter[statuses][0][status_id]", "142"), ("filter[statuses][0][pipeline_id]", "7")]
    other = [("filter[statuses][1][status_id]", "143"), ("filter[statuses][1][pipeline_id]", "7")]
    assert in_statuses(lead(status_id=142, pipeline_id=7), pair)
    assert not in_statuses(lead(status_id=142, pipeline_id=8), pair)
    assert in_statuses(lead(status_id=143, pipeline_id=7), [*pair, *other])
    assert in_statuses(lead(status_id=1, pipeline_id=1), [])


@pytest.mark.parametrize(
    ("key", "text", "passes"),
    [
        ("[5]", "12.5", True),
        ("[5][0]", "901", True),
        ("[5][0]", "12", False),
        ("[5][from]", "12", True),
        ("[5][to]", "12", False),
        ("[6][0]", "12.5", False),
        ("[7][from]", "1", False),
    ],
)
def test_a_custom_field_is_found_by_value_by_choice_and_by_range(key: str, text: str, passes: bool) -> None:
    record = lead()
    record.custom = [
        {"field_id": 5, "values": [{"value": "12.5", "enum_id": 901}]},
        {"field_id": 7, "values": [{"value": "no number"}]},
    ]
    assert in_custom_fields(record, [(f"filter[custom_fields_values]{key}", text)]) is passes


@given(NUMBERS, st.integers(min_value=-12, max_value=14))
def test_a_time_is_the_same_as_a_number_and_in_every_offset(epoch: int, hours: int) -> None:
    written = datetime.fromtimestamp(epoch, timezone(timedelta(hours=hours))).isoformat()
    assert epoch_of(epoch) == epoch_of(written) == epoch
    assert epoch_of(datetime.fromtimestamp(epoch, UTC).replace(tzinfo=None).isoformat()) == epoch


@pytest.mark.parametrize("written", ["", "1", "tomorrow", "08.03.2027", None, 1.5, ["2027-03-08"]])
def test_what_is_no_time_has_no_seconds(written: object) -> None:
    assert epoch_of(written) is None


def test_a_day_without_an_hour_begins_in_utc() -> None:
    assert (epoch_of("1986-03-20"), day(511_660_800)) == (511_660_800, "20.03.1986")
