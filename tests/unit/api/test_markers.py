"""A marker is what a creation is found by when its answer is lost."""

import json

import pytest

from kommo.api.client import Client
from kommo.api.later import Later, Step
from kommo.api.resources.now import asked
from kommo.api.writes import Write
from kommo.errors import RequestError

GIVEN = {
    "name": "Order 77",
    "fields": {
        "ORDER_ID": "77",
        501: [5, 6],
        "Delivery day": "x",
        "EMPTY": None,
        "CHOICE": {"enum_id": 3},
        "FLAG": True,
    },
}


@pytest.fixture
def kommo(account):
    return Client(account, account_id=9, later=Later(Step(account_id=9, event_id="e", handler="h")))


@pytest.mark.parametrize("resource", ["leads", "contacts", "companies"])
def test_a_name_is_a_marker_of_everything_that_is_created(kommo, resource):
    getattr(kommo.later, resource).create(name="N", marker="name")
    (write,) = kommo.later.writes
    assert write.marker == {"query": "N", "field": None}
    assert write.body == {"name": "N"}


@pytest.mark.parametrize(
    ("marker", "found_by"),
    [
        ("ORDER_ID", {"query": "77", "field": {"field_code": "ORDER_ID"}}),
        (501, {"query": "5", "field": {"field_id": 501}}),
        ("Delivery day", {"query": "x", "field": {"field_id": 501}}),
        (None, None),
    ],
)
def test_a_field_is_a_marker_however_it_is_named(kommo, marker, found_by):
    fields = {key: value for key, value in GIVEN["fields"].items() if key != 501 or marker == 501}
    kommo.later.leads.create(name="N", fields=fields, marker=marker)
    assert kommo.later.writes[0].marker == found_by


def test_values_in_kommos_own_form_can_be_markers_too(kommo):
    values = [{"field_code": "ORDER_ID", "values": [{"value": 77}]}]
    kommo.later.leads.create(custom_fields_values=values, marker="ORDER_ID")
    assert kommo.later.writes[0].marker == {"query": "77", "field": {"field_code": "ORDER_ID"}}


@pytest.mark.parametrize(
    ("marker", "sentence"),
    [
        ("PHONE", "given: name, ORDER_ID"),
        (7, "names a field"),
        (True, "names a field"),
        ("EMPTY", "no text"),
        ("CHOICE", "no text"),
        ("FLAG", "no text"),
    ],
)
def test_a_marker_that_finds_nothing_is_refused(kommo, account, marker, sentence):
    for ask in (kommo.leads.create, kommo.later.leads.create):
        with pytest.raises(RequestError, match=sentence):
            ask(**GIVEN, marker=marker)
    assert {call[0] for call in account.calls} <= {"GET"}


@pytest.mark.parametrize("given", [{}, {"name": " "}, {"name": None}])
def test_a_name_that_is_none_cannot_be_looked_for(kommo, given):
    with pytest.raises(RequestError, match="no text"):
        kommo.later.leads.create(**given, marker="name")


def test_now_it_does_not_reach_the_wire(kommo, account):
    kommo.leads.create(name="N", marker="name")
    assert account.written == [{"name": "N"}]


def test_only_creations_have_one(kommo):
    with pytest.raises(RequestError, match="creating"):
        kommo.leads.update(5, name="N", marker="name")


def test_it_survives_its_record(kommo):
    kommo.later.leads.create(name="N", fields={"ORDER_ID": "77"}, marker="ORDER_ID")
    (write,) = kommo.later.writes
    assert Write.from_record(json.loads(json.dumps(write.to_record()))) == write
    assert asked(write) is write
