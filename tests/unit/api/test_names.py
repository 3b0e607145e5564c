"""Names go where ids do, now and later; without a name no request is made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.client import Client
from kommo.api.entities import Reference
from kommo.api.later import Later, Step
from kommo.api.resources.metadata import Metadata
from kommo.api.resources.names import Names, matching
from kommo.errors import RequestError

PIPELINES = "/api/v4/leads/pipelines"
FIELDS = "/api/v4/leads/custom_fields"


@pytest.fixture
def kommo(account):
    later = Later(Step(account_id=9, event_id="e", handler="h"))
    return Client(account, account_id=9, later=later)


STAGES = [
    ({"stage": "Offer"}, {"status_id": 102, "pipeline_id": 11}),
    ({"stage": " offer "}, {"status_id": 102, "pipeline_id": 11}),
    ({"stage": "Talks", "pipeline": "Service"}, {"status_id": 201, "pipeline_id": 12}),
    ({"stage": "Talks", "pipeline": 12}, {"status_id": 201, "pipeline_id": 12}),
    ({"stage": "Talks", "pipeline_id": 11}, {"status_id": 101, "pipeline_id": 11}),
    ({"stage": "Won"}, {"status_id": 142}),
    ({"stage": "lost"}, {"status_id": 143}),
    ({"stage": "Closed - won"}, {"status_id": 142}),
    ({"stage": "Won", "pipeline": "sales"}, {"status_id": 142, "pipeline_id": 11}),
    ({"stage": "Museum", "pipeline": "Old"}, {"status_id": 301, "pipeline_id": 13}),
    ({"pipeline": "Service"}, {"pipeline_id": 12}),
]


@pytest.mark.parametrize(("given_", "sent"), STAGES)
def test_a_stage_is_named_alone_or_with_its_pipeline(kommo, account, given_, sent):
    kommo.leads.update(31, **given_)
    assert account.calls[-1] == ("PATCH", "/api/v4/leads/31", None, sent)
    kommo.leads.create(**given_)
    assert account.written == [sent]
    assert account.reads == [PIPELINES]


@pytest.mark.parametrize(("given_", "sent"), STAGES)
def test_later_knows_the_same_names(kommo, given_, sent):
    kommo.later.leads.update(31, **given_)
    assert kommo.later.writes[0].body == sent


@pytest.mark.parametrize(
    "given_",
    [
        {"stage": 102},
        {"pipeline": 11, "stage": 102},
        {"responsible": 31},
        {"status_id": 142, "price": 5},
        {"fields": {501: "x", "FINISH": "matt", "UTM_2": "y"}},
    ],
)
def test_ids_and_codes_cost_no_request(kommo, account, given_):
    kommo.leads.update(31, **given_)
    assert account.reads == []


def test_ids_are_sent_as_they_are(kommo, account):
    kommo.leads.update(31, stage=102, pipeline=11, responsible=31)
    assert account.written == {"status_id": 102, "pipeline_id": 11, "responsible_user_id": 31}


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"stage": "Talks"}, "Sales / Talks; Service / Talks"),
        ({"stage": "Ofer"}, "did you mean Offer"),
        ({"stage": "Museum"}, "no stage 'Museum'"),
        ({"stage": "Repair", "pipeline": "Sales"}, "There are: Talks, Offer"),
        ({"pipeline": "Salez"}, "did you mean Sales"),
        ({"responsible": "Bo Reed"}, r"Bo Reed \(bo@shop\.example\); Bo Reed \(reed@shop\.example\)"),
        ({"responsible": "Gone Away"}, "no active user"),
        ({"fields": {"Colours": 1}}, "did you mean Colour"),
        ({"fields": {"Twin": 1}}, r"Twin \(503\); Twin \(504\)"),
        ({"stage": "Offer", "status_id": 102}, "not both"),
        ({"pipeline": "Sales", "pipeline_id": 11}, "not both"),
        ({"responsible": "Ada Stone", "responsible_user_id": 31}, "not both"),
        ({"stage": 0}, "stage"),
        ({"pipeline": None}, "pipeline"),
        ({"responsible": True}, "user"),
        ({"responsible": Reference("w", kind="user")}, "not by a reference"),
    ],
)
def test_a_name_that_none_or_several_have_is_refused_with_what_there_is(kommo, account, given_, sentence):
    for ask in (kommo.leads.create, lambda **given_: kommo.later.leads.update(1, **given_)):
        with pytest.raises(RequestError, match=sentence):
            ask(**given_)
    assert {call[0] for call in account.calls} <= {"GET"}
    assert kommo.later.writes == ()


@pytest.mark.parametrize(
    ("name", "id_"), [("Ada Stone", 31), ("ada stone", 31), ("ADA@shop.example", 31), ("reed@shop.example", 33)]
)
def test_a_user_is_known_by_name_or_address_in_leads_and_tasks(kommo, account, name, id_):
    kommo.companies.update(5, responsible=name)
    assert account.written == {"responsible_user_id": id_}
    kommo.tasks.update(6, responsible=name)
    assert account.written == {"responsible_user_id": id_}
    kommo.later.tasks.update(6, responsible=name)
    assert kommo.later.writes[0].body == {"responsible_user_id": id_}
    assert account.reads == ["/api/v4/users"]


def test_a_field_is_known_by_its_name(kommo, account):
    kommo.leads.update(31, fields={"Delivery day": 5, "colour": "matt", "finish": "x", 7: 1})
    sent = [(field["field_id"], field["values"]) for field in account.written["custom_fields_values"]]
    assert sent == [(501, [{"value": 5}]), (502, [{"value": "matt"}]), (502, [{"value": "x"}]), (7, [{"value": 1}])]
    assert account.reads == [FIELDS]


def test_each_entity_has_fields_of_its_own(kommo, account):
    kommo.later.contacts.update(31, fields={"Phone": "+372 5"})
    assert kommo.later.writes[0].body["custom_fields_values"][0]["field_id"] == 601
    with pytest.raises(RequestError, match="custom field of leads"):
        kommo.later.leads.update(31, fields={"Phone": "+372 5"})


def test_a_name_that_is_new_is_found_by_reading_once_more(account):
    now = [0.0]
    kommo = Client(account, account_id=9, metadata=Metadata(account, clock=lambda: now[0]))
    kommo.leads.update(31, stage="Offer")
    account.lists[PIPELINES][1][0]["_embedded"]["statuses"].append({"id": 103, "name": "Contract"})
    with pytest.raises(RequestError, match="Contract"):
        kommo.leads.update(31, stage="Contract")
    assert len(account.reads) == 1
    now[0] += 5
    kommo.leads.update(31, stage="Contract")
    assert account.written == {"status_id": 103, "pipeline_id": 11}
    assert len(account.reads) == 2


def test_clients_of_an_account_share_what_they_know(account):
    metadata = Metadata(account)
    for _ in range(3):
        Client(account, account_id=9, metadata=metadata).leads.update(1, stage="Offer")
    assert account.reads == [PIPELINES]


def test_a_stage_of_the_account_beats_the_word_for_the_end(kommo, account):
    account.lists[PIPELINES][1][1]["_embedded"]["statuses"].insert(0, {"id": 209, "name": "Won"})
    kommo.leads.update(31, stage="won")
    assert account.written == {"status_id": 209, "pipeline_id": 12}


def test_without_a_client_only_ids_and_codes_are_taken():
    later = Later(Step(account_id=9, event_id="e", handler="h"))
    later.leads.update(1, stage=142, fields={5: 1, "FINISH": "x"})
    for given_ in ({"stage": "Won"}, {"responsible": "Ada"}, {"fields": {"Colour": 1}}):
        with pytest.raises(RequestError, match="Client"):
            later.leads.update(1, **given_)
    assert len(later.writes) == 1


@pytest.mark.parametrize("option", ["stage", "pipeline"])
def test_only_leads_stand_in_pipelines(kommo, option):
    with pytest.raises(RequestError, match="is for leads"):
        kommo.contacts.update(5, **{option: "x"})


def test_a_note_names_its_responsible_user_by_id(kommo):
    with pytest.raises(RequestError, match="responsible_user_id="):
        kommo.notes.create(entity=("lead", 1), text="x", responsible="Ada Stone")


def test_a_long_list_of_names_is_cut(kommo, account):
    stages = [{"id": 1000 + number, "name": f"Step {number}"} for number in range(30)]
    account.lists[PIPELINES] = ("pipelines", [{"id": 1, "name": "P", "_embedded": {"statuses": stages}}])
    with pytest.raises(RequestError, match=r"Step 19, …"):
        kommo.leads.update(5, stage="nothing like it")


@given(st.lists(st.text(min_size=1), min_size=1, unique=True), st.data())
def test_an_exact_spelling_is_always_the_one(names, data):
    name = data.draw(st.sampled_from(names))
    assert matching(name, names, lambda text: text) == [name]


def test_names_know_nothing_of_what_was_not_asked():
    assert Names().ids({"name": "N", "price": 5}) == {"name": "N", "price": 5}
