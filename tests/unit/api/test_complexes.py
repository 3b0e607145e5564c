"""A lead with its contact and its company in one request."""

import pytest

from kommo.api.client import Client
from kommo.api.entities import Reference
from kommo.errors import RequestError, ServerError

PATH = "/api/v4/leads/complex"


@pytest.fixture
def kommo(send):
    return Client(send, account_id=9)


def answer(*items):
    return [
        {"id": id_, "contact_id": 5, "company_id": None, "request_id": names, "merged": False} for id_, names in items
    ]


def test_a_lead_comes_with_its_contact_and_company(kommo, send):
    send.answers = [answer((71, ["0"]))]
    (made,) = kommo.leads.complex([{
        "name": "Oven", "price": 5, "fields": {"ORDER_ID": "77"}, "add_tags": ["web"],
        "contact": {"first_name": "Ada", "fields": {"PHONE": "+372 5"}, "add_tags": ["new"]},
        "company": {"id": 9},
        "metadata": {"category": "forms", "form_id": 3},
    }])  # fmt: skip
    assert (made["id"], made["contact_id"]) == (71, 5)
    contact = {
        "first_name": "Ada",
        "custom_fields_values": [{"field_code": "PHONE", "values": [{"value": "+372 5"}]}],
        "_embedded": {"tags": [{"name": "new"}]},
    }
    assert send.calls == [("POST", PATH, None, [{
        "name": "Oven", "price": 5, "request_id": "0",
        "custom_fields_values": [{"field_code": "ORDER_ID", "values": [{"value": "77"}]}],
        "_embedded": {
            "tags": [{"name": "web"}],
            "metadata": {"category": "forms", "form_id": 3},
            "contacts": [contact],
            "companies": [{"id": 9}],
        },
    }])]  # fmt: skip


def test_answers_are_given_back_in_the_order_of_the_leads(kommo, send):
    send.answers = [answer((72, ["1"]), (71, ["0"]))]
    assert [made["id"] for made in kommo.leads.complex([{"name": "A"}, {"name": "B"}])] == [71, 72]


def test_leads_that_kommo_takes_for_one_have_one_answer(kommo, send):
    send.answers = [answer((71, ["0", "1"]))]
    assert [made["id"] for made in kommo.leads.complex([{"name": "A"}, {"name": "A"}])] == [71, 71]


def test_names_are_known_here_too(account):
    with pytest.raises(ServerError):
        Client(account, account_id=9).leads.complex([{"stage": "Offer", "contact": {"fields": {"Phone": "5"}}}])
    (item,) = account.written
    assert (item["status_id"], item["pipeline_id"]) == (102, 11)
    assert item["_embedded"]["contacts"][0]["custom_fields_values"][0]["field_id"] == 601


def test_no_leads_are_no_request(kommo, send):
    assert kommo.leads.complex([]) == []
    assert send.calls == []


def values(count):
    return {"fields": dict.fromkeys(range(1, count), "x") | {99: ["y"]}}


def test_fifty_leads_with_forty_values_each_are_taken(kommo, send):
    send.answers = [answer(*((number + 1, [str(number)]) for number in range(50)))]
    leads = [{"name": "N", **values(40), "contact": values(40), "company": values(40)}] * 50
    assert len(kommo.leads.complex(leads)) == 50


@pytest.mark.parametrize(
    ("leads", "sentence"),
    [
        ([{"name": "N"}] * 51, "50 leads"),
        ([values(41)], "40 custom field values"),
        ([{"fields": {1: list(range(41))}}], "40 custom field values"),
        ([{"name": "N", "contact": values(41)}], "40 custom field values"),
        ([{"name": "N", "company": values(41)}], "40 custom field values"),
        ([{"name": "N", "contact": {}}], "dict of its contacts"),
        ([{"name": "N", "contact": 5}], "dict of its contacts"),
        ([{"name": "N", "contacts": [5, 6]}], "1 contact"),
        ([{"name": "N", "nmae": "M"}], "did you mean name"),
        ([{"name": "N", "contact": {"first_nmae": "M"}}], "did you mean first_name"),
        ([{"name": "N", "contact": {"id": Reference("w")}}], "reference"),
        ([{"name": "N", "request_id": "a"}, {"name": "M", "request_id": "a"}], "once"),
    ],
)
def test_what_kommo_does_not_take_is_refused(kommo, send, leads, sentence):
    with pytest.raises(RequestError, match=sentence):
        kommo.leads.complex(leads)
    assert send.calls == []


@pytest.mark.parametrize("answered", [None, {}, [], [{"id": 5}], ["x"]])
def test_a_lead_that_is_not_answered_is_an_error(kommo, send, answered):
    send.answers = [answered]
    with pytest.raises(ServerError, match="what became of 0"):
        kommo.leads.complex([{"name": "A"}])
