"""What hangs on the entities: tags, links, complex leads, events, calls, customers, and what a batch is refused for."""

from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest
from sandbox_surroundings import Answer, Client, Receiver, faults, made, rows

from sandbox.directory import INTEGRATION_USER, OWNER, PIPELINES
from sandbox.state import PRODUCTS

PHONE = [{"field_code": "PHONE", "values": [{"value": "+351 210 000 001", "enum_code": "WORK"}]}]


def test_tags_are_added_found_and_renamed_everywhere(client: Client) -> None:
    first, again = made(client, "/leads/tags", "tags", {"name": "warm"}, {"name": "warm", "color": "EBEBEB"})
    assert first == again
    lead = client.add("leads", tags_to_add=[{"id": first}])
    assert rows(client.get("/leads/tags?query=WAR"), "tags") == [{"id": first, "name": "warm", "color": "EBEBEB"}]
    assert client.get("/leads/tags?filter[name]=cold").status == 204
    client.patch("/leads/tags", [{"id": first, "name": "hot"}])
    assert client.get(f"/leads/{lead}").json["_embedded"]["tags"][0]["name"] == "hot"
    assert faults(client.patch("/leads/tags", [{"id": 5}])) == [("0", "id")]
    assert faults(client.post("/leads/tags", [{}, {"name": 5}])) == [("0", "name"), ("1", "name")]
    assert client.get("/contacts/tags").status == 204


def test_links_are_seen_from_both_sides_until_they_end(client: Client) -> None:
    lead, contact, other = client.add("leads"), client.add("contacts", name="a"), client.add("contacts", name="b")
    company = client.add("companies", name="c")
    element = made(client, f"/catalogs/{PRODUCTS}/elements", "elements", {"name": "Bell"})[0]
    body = [
        {"to_entity_id": contact, "to_entity_type": "contacts"},
        {"to_entity_id": other, "to_entity_type": "contacts", "metadata": {"is_main": True}},
        {"to_entity_id": company, "to_entity_type": "companies"},
        {"to_entity_id": element, "to_entity_type": "catalog_elements", "metadata": {"quantity": 3}},
    ]
    linked = rows(client.post(f"/leads/{lead}/link", body), "links")
    assert (linked[0]["entity_id"], linked[0]["entity_type"], linked[0]["to_entity_id"]) == (lead, "leads", contact)
    shown = {
        (one["to_entity_type"], one["to_entity_id"]): one["metadata"]
        for one in rows(client.get(f"/leads/{lead}/links"), "links")
    }
    assert shown == {
        ("contacts", contact): {"main_contact": False},
        ("contacts", other): {"main_contact": True},
        ("companies", company): None,
        ("catalog_elements", element): {"quantity": 3, "catalog_id": PRODUCTS},
    }
    embedded = client.get(f"/leads/{lead}?with=contacts,catalog_elements").json["_embedded"]
    assert [one["id"] for one in embedded["contacts"]] == [contact, other]
    assert embedded["catalog_elements"][0]["quantity"] == 3
    assert rows(client.get(f"/contacts/{contact}/links"), "links")[0]["to_entity_type"] == "leads"
    assert client.post(f"/contacts/{contact}/unlink", [{"to_entity_id": lead, "to_entity_type": "leads"}]).status == 204
    assert client.post(f"/leads/{lead}/unlink", body[2:]).status == 204
    assert [one["to_entity_id"] for one in rows(client.get(f"/leads/{lead}/links"), "links")] == [other]
    assert client.get(f"/contacts/{contact}/links").status == 204


def test_links_are_made_in_bulk_and_filtered(client: Client) -> None:
    leads = [client.add("leads") for _ in range(2)]
    contact = client.add("contacts", name="a")
    body = [{"entity_id": lead, "to_entity_id": contact, "to_entity_type": "contacts"} for lead in leads]
    assert client.post("/leads/link", body).json["_total_items"] == 2
    wanted = f"/leads/links?filter[entity_id][]={leads[1]}"
    assert [one["entity_id"] for one in rows(client.get(wanted), "links")] == [leads[1]]
    assert client.get(f"{wanted}&filter[to_entity_id]=5").status == 204
    assert client.post("/leads/unlink", body).status == 204
    assert client.get(wanted).status == 204


def test_a_company_and_its_contacts_know_each_other(client: Client) -> None:
    contact, company = client.add("contacts", name="a"), client.add("companies", name="b")
    client.post(f"/companies/{company}/link", [{"to_entity_id": contact, "to_entity_type": "contacts"}])
    assert client.get(f"/contacts/{contact}").json["_embedded"]["companies"][0]["id"] == company
    embedded = client.get(f"/companies/{company}?with=contacts").json["_embedded"]
    assert [one["id"] for one in embedded["contacts"]] == [contact]


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({"to_entity_type": "contacts"}, "to_entity_id"),
        ({"to_entity_id": 5}, "to_entity_type"),
        ({"to_entity_id": 5, "to_entity_type": "contacts"}, "to_entity_id"),
        ({"to_entity_id": 5, "to_entity_type": "leads"}, "to_entity_type"),
        ({"to_entity_id": 5, "to_entity_type": "catalog_elements"}, "to_entity_id"),
    ],
)
def test_a_link_needs_a_target_that_exists(client: Client, item: dict[str, Any], path: str) -> None:
    lead = client.add("leads")
    assert faults(client.post(f"/leads/{lead}/link", [item])) == [("0", path)]
    assert client.post("/leads/5/link", [item]).status == 404
    assert ("0", "entity_id") in faults(client.post("/leads/link", [item]))


def test_a_complex_lead_brings_its_contact_and_company(client: Client) -> None:
    inner = {"contacts": [{"first_name": "Rui", "custom_fields_values": PHONE}], "companies": [{"name": "Firm"}]}
    known = client.add("contacts", name="known")
    answer = client.post(
        "/leads/complex",
        [
            {"name": "a", "price": 5, "request_id": "mine", "_embedded": {**inner, "tags": [{"name": "t"}]}},
            {"name": "b", "_embedded": {"contacts": [{"id": known}]}},
            {"name": "c"},
        ],
    )
    assert answer.status == 200
    first, second, third = answer.json
    assert list(first) == ["id", "contact_id", "company_id", "request_id", "merged"]
    assert (first["request_id"], second["request_id"], first["merged"]) == (["mine"], ["1"], False)
    assert (second["contact_id"], third["contact_id"], third["company_id"]) == (known, None, None)
    lead = client.get(f"/leads/{first['id']}?with=contacts").json
    assert lead["_embedded"]["contacts"][0]["id"] == first["contact_id"]
    assert lead["_embedded"]["companies"][0]["id"] == first["company_id"]
    assert client.get(f"/contacts/{first['contact_id']}").json["name"] == "Rui"


def test_complex_leads_have_limits_of_their_own(client: Client) -> None:
    assert client.post("/leads/complex", [{}] * 50).status == 200
    over = client.post("/leads/complex", [{}] * 51)
    assert (over.status, over.json["detail"]) == (422, "Limit 50 per page")
    values = [{"field_id": 771_102, "values": [{"value": "x"}]}]
    assert client.post("/leads/complex", [{"custom_fields_values": values * 40}]).status == 200
    assert faults(client.post("/leads/complex", [{}, {"custom_fields_values": values * 41}])) == [
        ("1", "custom_fields_values")
    ]


@pytest.mark.parametrize(
    ("inner", "path"),
    [
        ({"contacts": [{}, {}]}, "_embedded.contacts"),
        ({"contacts": [{"first_name": 5}]}, "_embedded.contacts.0.first_name"),
        ({"companies": [{"id": 5}]}, "_embedded.companies.0.id"),
        ({"contacts": [{"custom_fields_values": PHONE * 41}]}, "_embedded.contacts.0.custom_fields_values"),
    ],
)
def test_a_bad_part_of_a_complex_lead_is_named_and_nothing_is_made(
    client: Client, inner: dict[str, Any], path: str
) -> None:
    assert faults(client.post("/leads/complex", [{"name": "a", "_embedded": inner}])) == [("0", path)]
    assert (client.get("/leads").status, client.get("/contacts").status) == (204, 204)


def test_events_tell_what_happened_the_newest_first(client: Client) -> None:
    lead = client.add("leads", name="a", price=1)
    client.patch(f"/leads/{lead}", {"status_id": 142, "price": 2, "responsible_user_id": OWNER})
    client.post("/leads/notes", [{"entity_id": lead, "note_type": "common", "params": {"text": "n"}}])
    client.run("lead.delete", id=lead)
    events = rows(client.get("/events"), "events")
    assert [one["type"] for one in events] == [
        "lead_deleted",
        "common_note_added",
        "sale_field_changed",
        "entity_responsible_changed",
        "lead_status_changed",
        "lead_added",
    ]
    moved = events[4]
    assert (moved["entity_id"], moved["entity_type"], moved["created_by"]) == (lead, "lead", INTEGRATION_USER)
    assert moved["value_after"][0]["lead_status"] == {"id": 142, "pipeline_id": PIPELINES[0].id}
    assert moved["value_before"][0]["lead_status"]["id"] == PIPELINES[0].first.id
    assert events[0]["created_by"] == OWNER
    assert client.get(f"/events/{moved['id']}").json == moved
    assert len({one["id"] for one in events}) == 6
    assert all(len(one["id"]) == 26 for one in events)


def test_a_custom_field_and_a_task_have_events_of_their_own(client: Client) -> None:
    contact = client.add("contacts", name="a", custom_fields_values=PHONE)
    client.patch(f"/contacts/{contact}", {"custom_fields_values": [{"field_code": "PHONE", "values": None}]})
    task = client.add("tasks", text="a", complete_till=1_790_000_000)
    client.patch(f"/tasks/{task}", {"text": "b", "complete_till": 1_790_000_001})
    client.patch(f"/tasks/{task}", {"is_completed": True, "result": {"text": "done"}})
    types = [one["type"] for one in rows(client.get("/events?order=x"), "events")]
    assert types == [
        "task_completed",
        "task_result_added",
        "task_deadline_changed",
        "task_text_changed",
        "task_added",
        "custom_field_771201_value_changed",
        "contact_added",
    ]


def test_events_are_filtered_and_cut_into_pages(client: Client) -> None:
    leads = [client.add("leads", name="a") for _ in range(3)]
    client.add("contacts", name="b")
    talk = client.run("message.receive", lead_id=leads[0])["talk_id"]
    client.run("talk.close", id=talk)

    def types(query: str) -> list[str]:
        answer = client.get(f"/events?{query}")
        return [one["type"] for one in rows(answer, "events")] if answer.status == 200 else []

    assert types("filter[type]=lead_added,contact_added") == ["contact_added", *["lead_added"] * 3]
    assert types("filter[type][]=talk_created&filter[type][]=talk_closed") == ["talk_closed", "talk_created"]
    assert types(f"filter[entity]=lead&filter[entity_id]={leads[1]}") == ["lead_added"]
    assert types("filter[created_by]=0") == ["incoming_chat_message", "talk_created"]
    assert types("filter[created_at][from]=99999999999") == []
    assert types("filter[created_at][to]=99999999999&limit=2&page=4") == ["lead_added"]
    for bad in (f"filter[entity_id]={leads[0]}", "filter[created_by]=1,2,3,4,5,6,7,8,9,10,11"):
        assert client.get(f"/events?{bad}").status == 400
    assert client.get("/events/none").status == 204
    assert "lead_added" in [one["key"] for one in rows(client.get("/events/types"), "events_types")]


def test_a_call_becomes_a_note_of_who_has_the_number(client: Client) -> None:
    contact = client.add("contacts", name="a", custom_fields_values=PHONE)
    call = {"direction": "inbound", "duration": 60, "source": "pbx", "phone": "351210000001", "uniq": "u1"}
    answer = client.post("/calls", [{**call, "request_id": "c"}, {**call, "phone": "+1"}])
    assert rows(answer, "calls")[0]["entity_id"] == contact
    assert (answer.json["_total_items"], answer.json["errors"][0]["status"]) == (1, 263)
    assert answer.json["errors"][0]["request_id"] == "1"
    note = rows(client.get(f"/contacts/{contact}/notes"), "notes")[0]
    assert (note["note_type"], note["params"]["duration"]) == ("call_in", 60)
    assert faults(client.post("/calls", [{**call, "direction": "up", "duration": "1"}])) == [
        ("0", "duration"),
        ("0", "direction"),
    ]


def test_customers_are_entities_like_the_others(client: Client, receiver: Receiver) -> None:
    client.box.register(receiver.url(), "add_customer", "update_customer", "responsible_customer", "note_customer")
    contact = client.add("contacts", name="a")
    customer = client.add("customers", name="Regular", _embedded={"contacts": [{"id": contact}]})
    client.patch(f"/customers/{customer}", {"next_price": 90, "responsible_user_id": OWNER})
    note = {"entity_id": customer, "note_type": "common", "params": {"text": "n"}}
    assert client.post("/customers/notes", [note]).status == 200
    shown = client.get(f"/customers/{customer}?with=contacts").json
    assert (shown["next_price"], shown["_embedded"]["contacts"][0]["id"]) == (90, contact)
    assert faults(client.post("/customers", [{}])) == [("0", "name")]
    assert client.box.settled()
    assert [one["kind"] for one in client.box.deliveries()] == [
        "customers.add",
        "customers.update",
        "customers.responsible",
        "customers.note",
    ]
    assert receiver.received[1].values["customers[update][0][modified_by]"] == str(INTEGRATION_USER)
    client.run("customer.delete", id=customer)
    assert client.get("/customers").status == 204


def test_a_list_that_has_not_changed_since_is_304(client: Client) -> None:
    client.add("leads", name="old", updated_at=1_700_000_000)
    new = client.add("leads", name="new", updated_at=1_700_000_100)

    def since(epoch: int) -> Answer:
        headers = {"Authorization": f"Bearer {client.box.token}", "If-Modified-Since": formatdate(epoch, usegmt=True)}
        client.connection.request("GET", "/api/v4/leads", None, headers)
        response = client.connection.getresponse()
        return Answer(response.status, dict(response.headers), response.read().decode())

    assert [one["id"] for one in rows(since(1_700_000_050), "leads")] == [new]
    unchanged = since(1_700_000_100)
    assert (unchanged.status, unchanged.text) == (304, "")


def test_every_bad_item_of_a_batch_is_named_and_nothing_of_it_is_done(client: Client) -> None:
    lead = client.add("leads", name="a")
    bad = [
        {"name": "good", "request_id": "g"},
        {"status_id": 5, "request_id": "stage"},
        {"pipeline_id": 5},
        {"custom_fields_values": [{"field_id": 5, "values": [{"value": "x"}]}]},
        {"price": "much"},
        {"name": "n" * 256},
        {"responsible_user_id": 5},
    ]
    assert faults(client.post("/leads", bad)) == [
        ("stage", "status_id"),
        ("2", "pipeline_id"),
        ("3", "custom_fields_values.0.field_id"),
        ("4", "price"),
        ("5", "name"),
        ("6", "responsible_user_id"),
    ]
    assert len(rows(client.get("/leads"), "leads")) == 1
    notes = [
        {"entity_id": lead, "note_type": "common", "params": {"text": "fine"}},
        {"entity_id": 5, "note_type": "common", "params": {"text": "whose"}},
        {"entity_id": lead, "note_type": "common", "params": {"text": "n" * 20_001}},
        {"entity_id": lead, "note_type": "common"},
    ]
    assert faults(client.post("/leads/notes", notes)) == [
        ("1", "entity_id"),
        ("2", "params.text"),
        ("3", "params.text"),
    ]
    assert faults(client.patch("/leads/notes", [{"id": 5, "params": {"text": "a"}, "request_id": "q"}])) == [
        ("q", "id")
    ]
    assert client.get("/leads/notes").status == 204


def test_a_write_over_the_api_is_told_in_the_name_of_the_integration(
    client: Client, receiver: Receiver, everything: tuple[str, ...]
) -> None:
    lead, contact = client.add("leads", name="a"), client.add("contacts", name="b")
    client.box.register(receiver.url(), *everything)
    client.patch("/leads", [{"id": lead, "price": 9}])
    client.post(f"/leads/{lead}/link", [{"to_entity_id": contact, "to_entity_type": "contacts"}])
    client.run("lead.update", id=lead, price=10)
    told = [one.values["leads[update][0][modified_user_id]"] for one in receiver.wait_for(3)]
    assert told == [str(INTEGRATION_USER), str(INTEGRATION_USER), str(OWNER)]


def test_searching_reads_custom_field_values(client: Client, start: Callable[..., Client]) -> None:
    contact = client.add("contacts", name="a", custom_fields_values=PHONE)
    client.add("contacts", name="b")
    assert [one["id"] for one in rows(client.get("/contacts?query=210%20000"), "contacts")] == [contact]
    assert client.get("/contacts?query=none").status == 204
