"""Incoming leads over the API: how they come, wait, and are taken, refused or linked."""

from typing import Any

import pytest
from sandbox_surroundings import Client, Receiver, faults, rows

from sandbox.directory import OWNER, PIPELINES
from sandbox.state import Json

MAIN, SERVICE = PIPELINES


def form(number: str = "0", **more: Any) -> Json:
    return {
        "source_name": "Shop window",
        "source_uid": "window-1",
        "metadata": {"form_id": "f-7", "form_name": "Ask us", "form_page": "https://shop.example/", "ip": "192.0.2.7"},
        "_embedded": {
            "leads": [{"name": "Old bicycle", "price": 40, "request_id": number}],
            "contacts": [{"name": "Rui Sol", "request_id": "0"}],
            "companies": [{"name": "Sol", "request_id": "0"}],
        },
        "request_id": number,
        **more,
    }


def come(client: Client, *items: Json, category: str = "forms") -> list[Json]:
    return rows(client.post(f"/leads/unsorted/{category}", list(items)), "unsorted")


def waiting(client: Client, query: str = "") -> list[str]:
    answer = client.get(f"/leads/unsorted{query}")
    return [one["uid"] for one in rows(answer, "unsorted")] if answer.status == 200 else []


def test_a_form_brings_a_lead_with_contact_and_company(client: Client) -> None:
    one, two = come(client, form("a"), form("b"))
    assert [one["request_id"], two["request_id"]] == ["a", "b"]
    lead, contact = one["_embedded"]["leads"][0]["id"], one["_embedded"]["contacts"][0]["id"]
    shown = client.get(f"/leads/{lead}?with=contacts").json
    assert (shown["name"], shown["price"], shown["status_id"]) == ("Old bicycle", 40, MAIN.incoming.id)
    assert [one["id"] for one in shown["_embedded"]["contacts"]] == [contact]
    assert client.get(f"/contacts/{contact}").json["is_unsorted"] is True
    held = client.get(f"/leads/unsorted/{one['uid']}").json
    assert (held["category"], held["source_uid"], held["pipeline_id"]) == ("forms", "window-1", MAIN.id)
    assert (held["metadata"]["form_name"], held["metadata"]["visitor_uid"]) == ("Ask us", None)
    assert client.get("/leads/unsorted/none").status == 204


def test_a_call_may_come_into_another_pipeline_with_nothing_but_its_number(client: Client) -> None:
    call = {"source_name": "Pbx", "source_uid": "p", "pipeline_id": SERVICE.id, "metadata": {"phone": "+351 9"}}
    (one,) = come(client, call, category="sip")
    shown = client.get(f"/leads/{one['_embedded']['leads'][0]['id']}").json
    assert (shown["pipeline_id"], shown["status_id"]) == (SERVICE.id, SERVICE.incoming.id)
    assert one["_embedded"]["contacts"] == []
    assert client.get(f"/leads/unsorted/{one['uid']}").json["metadata"]["phone"] == "+351 9"


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"source_uid": None, "source_name": None}, ["source_uid", "source_name"]),
        ({"metadata": None}, ["metadata"]),
        ({"metadata": "form"}, ["metadata"]),
        ({"pipeline_id": 5}, ["pipeline_id"]),
        ({"_embedded": {"leads": [{"price": "much"}]}}, ["_embedded.leads.0.price"]),
        ({"_embedded": {"contacts": [{"name": 5}]}}, ["_embedded.contacts.0.name"]),
    ],
)
def test_a_bad_incoming_lead_is_refused_with_the_good_ones(client: Client, changes: Json, paths: list[str]) -> None:
    refused = client.post("/leads/unsorted/forms", [form("good"), form("bad", **changes)])
    assert faults(refused) == [("bad", path) for path in paths]
    assert (waiting(client), client.get("/leads").status) == ([], 204)


def test_those_that_wait_are_filtered_ordered_and_paged(client: Client) -> None:
    late, early = (one["uid"] for one in come(client, form(created_at=900), form(created_at=100)))
    (call,) = (one["uid"] for one in come(client, {**form(created_at=500), "metadata": {}}, category="sip"))
    assert waiting(client) == [late, early, call]
    assert waiting(client, "?order[created_at]=asc") == [early, call, late]
    assert waiting(client, "?order[created_at]=desc&limit=1&page=2") == [call]
    assert waiting(client, "?filter[category][0]=sip") == [call]
    assert waiting(client, f"?filter[uid][0]={early}&filter[uid][1]={late}") == [late, early]
    assert waiting(client, f"?filter[pipeline_id]={SERVICE.id}") == []


@pytest.mark.parametrize(
    ("said", "stage"), [([], MAIN.first.id), ({"user_id": OWNER, "status_id": 61_000_003}, 61_000_003)]
)
def test_an_accepted_lead_enters_a_stage_and_waits_no_longer(client: Client, said: Any, stage: int) -> None:
    (held,) = come(client, form())
    taken = client.post(f"/leads/unsorted/{held['uid']}/accept", said).json
    assert (taken["uid"], taken["category"], taken["pipeline_id"]) == (held["uid"], "forms", MAIN.id)
    assert taken["_embedded"]["leads"] == held["_embedded"]["leads"]
    assert client.get(f"/leads/{taken['_embedded']['leads'][0]['id']}").json["status_id"] == stage
    assert client.get(f"/contacts/{taken['_embedded']['contacts'][0]['id']}").json["is_unsorted"] is False
    assert waiting(client) == []
    assert client.post(f"/leads/unsorted/{held['uid']}/accept", said).status == 404


@pytest.mark.parametrize(
    ("said", "path"), [({"status_id": 5}, "status_id"), ({"user_id": 5}, "user_id"), ("taken", None)]
)
def test_nothing_happens_to_it_when_the_answer_makes_no_sense(client: Client, said: Any, path: str | None) -> None:
    (held,) = come(client, form())
    refused = client.post(f"/leads/unsorted/{held['uid']}/accept", f'"{said}"' if path is None else said)
    assert refused.status == 400
    assert path is None or faults(refused) == [("0", path)]
    assert waiting(client) == [held["uid"]]


def test_a_declined_lead_is_deleted(client: Client) -> None:
    (held,) = come(client, form())
    path = f"/api/v4/leads/unsorted/{held['uid']}/decline"
    assert client.ask("DELETE", path, {"user_id": OWNER}).json["uid"] == held["uid"]
    assert client.get(f"/leads/{held['_embedded']['leads'][0]['id']}").status == 204
    assert client.ask("DELETE", path, []).status == 404


def test_only_chats_and_mail_are_linked_to_an_entity_that_is_there(client: Client) -> None:
    lead, chat = client.add("leads", name="known"), client.run("unsorted.add", category="chats")
    (asked,) = come(client, form())
    link = {"link": {"entity_id": lead, "entity_type": "leads"}, "user_id": OWNER}
    assert client.post(f"/leads/unsorted/{asked['uid']}/link", link).status == 400
    nowhere = {"link": {"entity_id": 5, "entity_type": "leads"}}
    assert faults(client.post(f"/leads/unsorted/{chat['uid']}/link", nowhere)) == [("0", "link.entity_id")]
    linked = client.post(f"/leads/unsorted/{chat['uid']}/link", link).json
    assert [one["id"] for one in linked["_embedded"]["leads"]] == [lead]
    assert client.get(f"/leads/{chat['lead_id']}").status == 204
    assert waiting(client) == [asked["uid"]]


def test_the_summary_counts_what_waits_and_what_became_of_the_others(client: Client) -> None:
    kept, refused, _ = (one["uid"] for one in come(client, form(), form(), form(created_at=100)))
    come(client, {**form(), "metadata": {}}, category="sip")
    client.post(f"/leads/unsorted/{kept}/accept", [])
    client.ask("DELETE", f"/api/v4/leads/unsorted/{refused}/decline", [])
    counts = client.get("/leads/unsorted/summary").json
    assert (counts["total"], counts["accepted"], counts["declined"]) == (4, 1, 1)
    assert counts["categories"] == {
        **{name: {"total": 0} for name in ("mail", "chats")},
        **{"forms": {"total": 3}, "sip": {"total": 1}},
    }
    assert client.get("/leads/unsorted/summary?filter[created_at][to]=200").json["total"] == 1
    assert client.get("/leads/unsorted/summary?filter[pipeline_id]=5").json["average_sort_time"] == 0


def test_what_becomes_of_it_is_told_in_the_name_of_who_did_it(client: Client, receiver: Receiver) -> None:
    client.box.register(receiver.url(), "add_unsorted", "delete_unsorted", "add_lead", "add_contact", "status_lead")
    kept, refused = come(client, form(), {**form(), "metadata": {"phone": "+351 9"}})
    client.post(f"/leads/unsorted/{kept['uid']}/accept", {"user_id": OWNER})
    client.ask("DELETE", f"/api/v4/leads/unsorted/{refused['uid']}/decline", [])
    came, _, taken, gone = (one.values for one in receiver.wait_for(4))
    assert came["unsorted[add][0][source_data][form_name]"] == "Ask us"
    assert taken["unsorted[delete][0][action]"] == "accept"
    assert taken["unsorted[delete][0][modified_user_id]"] == str(OWNER)
    assert gone["unsorted[delete][0][action]"] == "decline"
    assert client.box.settled()
    assert {one["kind"] for one in client.box.deliveries()} == {"unsorted.add", "unsorted.delete"}


def test_a_category_that_is_none_is_refused_by_the_command(client: Client) -> None:
    assert client.ask("POST", "/_sandbox/unsorted.add", {"category": "pigeons"}).status == 400
    assert client.post("/leads/unsorted/mail", [form()]).status == 405
