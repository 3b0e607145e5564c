"""Requests in the form in which the vendor's PHP client sends them, and what it needs to find in the answers.

It numbers every item as text, sends null for what it does not know, writes arrays of a query with their indexes,
`[]` for an empty object and a body with every DELETE; it looks for rows by `request_id`, compared with its type,
and fails on a missing key as much as on a wrong status.
"""

from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import pytest
from sandbox_surroundings import Answer, Client, faults, made, rows

from sandbox.directory import INTEGRATION_USER, OWNER, PIPELINES
from sandbox.note_rules import NOTE_TYPES
from sandbox.state import PRODUCTS

KINDS = ("leads", "contacts", "companies", "customers")


def flat(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Write a query as PHP does: lists with their indexes, true as 1, nulls not at all."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if pairs is None:
        if value is not None:
            yield key, str(int(value) if isinstance(value, bool) else value)
        return
    for name, inner in pairs:
        yield from flat(inner, f"{key}[{name}]" if key else str(name))


def ask(client: Client, path: str, **query: Any) -> Answer:
    return client.get(f"{path}?{urlencode(list(flat(query, '')))}")


def row_of(answer: Answer, plural: str, number: str) -> dict[str, Any]:
    return next(row for row in rows(answer, plural) if row.get("request_id") == number)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_found_by_the_number_that_was_sent_with_them(client: Client, kind: str) -> None:
    sent = [{"name": "One", "request_id": "0"}, {"name": "Two", "request_id": "1"}]
    created = client.post(f"/{kind}", sent)
    second = row_of(created, kind, "1")["id"]
    assert row_of(created, kind, "0")["id"] != second
    changed = row_of(client.patch(f"/{kind}", [{"id": second, "name": "Deux", "request_id": "0"}]), kind, "0")
    assert (changed["id"], isinstance(changed["updated_at"], int)) == (second, True)
    alone = client.patch(f"/{kind}/{second}", {"id": second, "name": "Dois", "request_id": "0"}).json
    assert (alone["id"], isinstance(alone["updated_at"], int)) == (second, True)


@pytest.mark.parametrize(("sent", "echoed"), [("a", "a"), (7, 7), (None, "0")])
def test_a_number_comes_back_with_its_type_and_a_null_is_none(client: Client, sent: Any, echoed: Any) -> None:
    assert rows(client.post("/leads", [{"name": "a", "request_id": sent}]), "leads")[0]["request_id"] == echoed
    refused = client.post("/leads", [{"price": "much", "request_id": sent}])
    assert faults(refused) == [(str(echoed), "price")]


@pytest.mark.parametrize("kind", [*KINDS, "tasks"])
def test_pages_are_followed_in_both_directions(client: Client, kind: str) -> None:
    more = {"text": "a", "complete_till": 1_790_000_000} if kind == "tasks" else {}
    ids = [client.add(kind, name="a", **more) for _ in range(3)]
    first = ask(client, f"/{kind}", order={"id": "asc"}, limit=1, page=1)
    assert "prev" not in first.json["_links"]
    second = client.get(first.json["_links"]["next"]["href"].partition("/api/v4")[2])
    links = second.json["_links"]
    assert rows(second, kind)[0]["id"] == ids[1]
    for name in ("prev", "first"):
        assert rows(client.get(links[name]["href"].partition("/api/v4")[2]), kind)[0]["id"] == ids[0]
    assert all(link["href"].startswith(client.box.url) for link in links.values())


def test_filters_come_with_indexes_ranges_and_both_spellings(client: Client) -> None:
    field = {"field_id": 771_103, "field_code": None, "values": [{"value": "12.5"}]}
    cheap = client.add("leads", name="cheap", price=5)
    dear = client.add("leads", name="dear, very", price=500, status_id=142, custom_fields_values=[field])

    def found(**filters: Any) -> list[int]:
        answer = ask(client, "/leads", filter=filters)
        return [one["id"] for one in rows(answer, "leads")] if answer.status == 200 else []

    assert found(id=[cheap, dear]) == [cheap, dear]
    assert found(name=["dear, very"]) == [dear]
    assert found(price={"to": 600, "from": 100}) == [dear]
    assert found(statuses=[{"status_id": 142, "pipeline_id": PIPELINES[0].id}]) == [dear]
    assert found(custom_fields_values={771_103: {"from": "10", "to": "20"}}) == [dear]
    assert found(custom_fields_values={771_103: ["12.5"]}) == [dear]
    assert found(created_at={"from": None, "to": 5}) == []
    assert found(responsible_user_id=[INTEGRATION_USER], closest_task_at={"from": 1, "to": 2}) == []


def test_tasks_are_filtered_by_type_under_both_names_and_by_flags_written_as_numbers(client: Client) -> None:
    lead = client.add("leads", name="a")
    body = {"text": "Ring", "complete_till": 1_790_000_000, "entity_type": "leads", "entity_id": lead}
    task = client.add("tasks", **body, task_type_id=2, duration=1800)
    client.patch(f"/tasks/{task}", {"id": task, "is_completed": True, "result": {"text": "Rung"}, "request_id": "0"})
    wanted = {"task_type": 2, "task_type_id": 2, "is_completed": True, "entity_type": "leads", "entity_id": [lead]}
    shown = rows(ask(client, "/tasks", filter=wanted, order={"complete_till": "asc"}), "tasks")[0]
    assert (shown["id"], shown["result"]) == (task, {"text": "Rung"})
    assert ask(client, "/tasks", filter={**wanted, "is_completed": False}).status == 204


def test_events_name_their_range_in_one_text(client: Client) -> None:
    lead = client.add("leads", name="a")
    asked = {"type": "lead_added", "entity": "lead", "entity_id": str(lead), "created_by": str(INTEGRATION_USER)}
    found = rows(ask(client, "/events", filter={**asked, "created_at": "5,99999999999"}), "events")
    assert [(one["entity_type"], one["_embedded"]["entity"]["id"]) for one in found] == [("lead", lead)]
    assert ask(client, "/events", filter={"created_at": "5,6"}).status == 204
    assert ask(client, "/events", filter={"created_at": "5,soon"}).status == 400


def test_values_come_as_the_client_writes_them(client: Client) -> None:
    both_null = {"enum_id": None, "enum_code": None}
    values = {
        771_102: [{"value": "Ring twice"}],
        771_104: [{"value": True}],
        771_105: [{"value": "2027-03-08T12:00:00+02:00"}],
        771_106: [{"value": None, "enum_id": 908_201, "enum_code": None}],
        771_107: [{"value": "Card", **both_null}],
        771_108: [{"value": None, "enum_id": 908_221}, {"value": "Lock", "enum_id": None}],
    }
    fields = [{"field_id": number, "field_code": None, "values": given} for number, given in values.items()]
    lead = client.add("leads", name="a", custom_fields_values=fields)
    shown = {one["field_id"]: one["values"] for one in client.get(f"/leads/{lead}").json["custom_fields_values"]}
    assert shown[771_105] == [{"value": 1_804_500_000}]
    assert [one["enum_id"] for one in (*shown[771_106], *shown[771_107], *shown[771_108])] == [
        *(908_201, 908_211),
        *(908_221, 908_222),
    ]
    cleared = [{"field_id": 771_102, "field_code": None, "values": None}]
    assert client.patch(f"/leads/{lead}", {"id": lead, "custom_fields_values": cleared}).status == 200
    left = client.get(f"/leads/{lead}").json["custom_fields_values"]
    assert 771_102 not in {one["field_id"] for one in left}


@pytest.mark.parametrize(
    ("kind", "value", "bad"),
    [
        ("legal_entity", {"value": {"name": "Firm", "vat_id": None}}, {"value": "Firm"}),
        ("smart_address", {"value": "Rua 1", "enum_id": 1, "enum_code": "address_line_1"}, {"value": None}),
        ("chained_list", {"catalog_id": PRODUCTS, "catalog_element_id": 350_001}, {"value": 5}),
        ("date_time", {"value": 1_804_500_000}, {"value": "soon"}),
        ("monetary", {"value": "12.5"}, {"value": 12.5}),
    ],
)
def test_values_that_are_more_than_a_text_stay_whole(client: Client, kind: str, value: Any, bad: Any) -> None:
    field = rows(client.post("/leads/custom_fields", [{"name": "a", "type": kind}]), "custom_fields")[0]["id"]
    lead = client.add("leads", name="a", custom_fields_values=[{"field_id": field, "values": [value]}])
    assert client.get(f"/leads/{lead}").json["custom_fields_values"][0]["values"] == [value]
    refused = client.post("/leads", [{"custom_fields_values": [{"field_id": field, "values": [bad]}]}])
    assert faults(refused) == [("0", "custom_fields_values.0.values.0.value")]


def test_nobody_follows_a_lead(client: Client) -> None:
    lead = client.add("leads", name="a")
    assert client.get(f"/leads/{lead}/subscriptions").status == 204
    assert client.get("/leads/5/subscriptions").status == 404


def test_what_with_names_is_where_the_client_looks_for_it(client: Client) -> None:
    contact = client.add("contacts", name="a")
    element = made(client, f"/catalogs/{PRODUCTS}/elements", "elements", {"name": "Bell"})[0]
    customer = client.add("customers", name="b", _embedded={"contacts": [{"id": contact}], "segments": []})
    lead = client.add("leads", name="c", _embedded={"contacts": [{"id": contact, "is_main": True}]})
    metadata = {"quantity": 2, "price_id": None, "catalog_id": PRODUCTS}
    link = {"entity_id": None, "entity_type": None, "to_entity_id": element, "to_entity_type": "catalog_elements"}
    assert rows(client.post(f"/leads/{lead}/link", [{**link, "metadata": metadata}]), "links")
    names = "catalog_elements,is_price_modified_by_robot,contacts,source_id,loss_reason"
    shown = client.get(f"/leads/{lead}?with={names}").json
    assert shown["_embedded"]["catalog_elements"][0]["metadata"] == {"quantity": 2, "catalog_id": PRODUCTS}
    assert (shown["source_id"], shown["is_price_modified_by_robot"]) == (None, False)
    assert shown["_embedded"]["loss_reason"] == []
    person = client.get(f"/contacts/{contact}?with=leads,customers").json["_embedded"]
    assert [person["leads"][0]["id"], person["customers"][0]["id"]] == [lead, customer]
    assert client.get(f"/customers/{customer}").json["_embedded"]["segments"] == []


def test_every_type_of_note_is_taken_with_nulls_in_it(client: Client) -> None:
    lead = client.add("leads", name="a")
    nulls = {"uniq": None, "duration": 5, "source": "pbx", "link": None, "phone": "+351 210 000 009"}
    sent = [
        {
            "entity_id": lead,
            "note_type": name,
            "params": {"text": "a"} if name == "common" else nulls if "call" in name else [],
            "created_by": None,
            "request_id": str(index),
        }
        for index, name in enumerate(NOTE_TYPES)
    ]
    note = row_of(client.post("/leads/notes", sent), "notes", "1")
    assert note["entity_id"] == lead
    changed = {"id": note["id"], "entity_id": lead, "note_type": "attachment", "params": {"text": "b"}}
    alone = client.patch(f"/leads/{lead}/notes/{note['id']}", {**changed, "request_id": "0"}).json
    assert (alone["id"], alone["entity_id"]) == (note["id"], lead)
    found = rows(ask(client, f"/leads/{lead}/notes", filter={"note_type": ["common", "sms_in"]}), "notes")
    assert [one["note_type"] for one in found] == ["common", "sms_in"]


def test_tags_are_changed_alone_and_found_by_name(client: Client) -> None:
    tag = made(client, "/leads/tags", "tags", {"name": "warm", "request_id": "0"})[0]
    body = {"name": "hot", "id": tag, "color": "FFCE5A", "request_id": "0"}
    assert client.patch(f"/leads/tags/{tag}", body).json == body
    assert [one["id"] for one in rows(ask(client, "/leads/tags", filter={"name": "hot", "id": [tag]}), "tags")] == [tag]
    assert client.patch("/leads/tags/5", {"name": "x"}).status == 404


def test_a_stage_may_be_sent_back_as_it_was_read(client: Client) -> None:
    path = f"/leads/pipelines/{PIPELINES[0].id}/statuses"
    for stage in rows(client.get(path), "statuses"):
        body = {"name": stage["name"], "sort": stage["sort"], "color": stage["color"], "request_id": "0"}
        assert client.patch(f"{path}/{stage['id']}", body).json["color"] == stage["color"]
    assert faults(client.patch(f"{path}/142", {"color": "#000000"})) == [("0", "color")]


def test_users_show_rights_that_can_be_read_key_by_key(client: Client) -> None:
    for user in rows(client.get("/users?with=role,group,uuid,amojo_id"), "users"):
        assert {"uuid", "amojo_id", "lang", "email"} <= user.keys()
        assert user["rights"]["leads"].keys() == {"view", "edit", "add", "delete", "export"}
        assert user["rights"]["status_rights"] == user["rights"]["catalog_rights"] == []


def test_sources_and_lists_are_found_by_what_the_client_filters(client: Client) -> None:
    body = {"name": "Door", "external_id": "d", "default": False, "request_id": "0"}
    source = row_of(client.post("/sources", [body]), "sources", "0")["id"]
    assert rows(ask(client, "/sources", filter={"external_id": "d"}), "sources")[0]["id"] == source
    assert ask(client, "/sources", filter={"external_id": ["x", "y"]}).status == 204
    assert rows(ask(client, "/catalogs", filter={"type": "products"}), "catalogs")[0]["id"] == PRODUCTS
    changed = client.patch("/sources", [{"id": source, "name": "Gate", "external_id": "d", "request_id": "0"}])
    assert row_of(changed, "sources", "0")["name"] == "Gate"


def test_an_element_is_linked_from_its_own_side(client: Client) -> None:
    element = made(client, f"/catalogs/{PRODUCTS}/elements", "elements", {"name": "Bell"})[0]
    lead, path = client.add("leads", name="a"), f"/catalogs/{PRODUCTS}/elements/{element}"
    link = {"entity_id": None, "entity_type": None, "to_entity_id": lead, "to_entity_type": "leads", "metadata": None}
    assert client.get(f"{path}/links").status == 204
    expected = {**link, "entity_id": element, "entity_type": "catalog_elements"}
    expected["metadata"] = {"quantity": 1, "catalog_id": PRODUCTS}
    assert rows(client.post(f"{path}/link", [link]), "links") == [expected]
    assert rows(client.get(f"{path}/links"), "links") == [expected]
    assert rows(ask(client, f"/leads/{lead}/links", filter={"to_catalog_id": PRODUCTS}), "links")
    assert ask(client, f"/leads/{lead}/links", filter={"to_catalog_id": 5}).status == 204
    assert client.post(f"{path}/unlink", [link]).status == 204
    assert client.get(f"/leads/{lead}/links").status == 204
    for bad, where in (({"to_entity_id": 5}, "to_entity_id"), ({"to_entity_type": "tasks"}, "to_entity_type")):
        assert faults(client.post(f"{path}/link", [{**link, **bad}])) == [("0", where)]
    assert client.get(f"/catalogs/{PRODUCTS}/elements/5/links").status == 404


def test_talks_are_read_and_closed_and_addresses_shortened(client: Client) -> None:
    lead = client.add("leads", name="a")
    path = f"/talks/{client.run('message.receive', lead_id=lead)['talk_id']}"
    assert client.get(path).json["is_in_work"] is True
    closed = client.post(f"{path}/close", {"force_close": False})
    assert (closed.status, closed.text, client.get(path).json["is_in_work"]) == (202, "", False)
    assert (client.get("/talks/5").status, client.post("/talks/5/close", []).status) == (204, 404)
    metadata = {"entity_id": lead, "entity_type": "leads"}
    short = rows(client.post("/short_links", [{"url": "https://shop.example/", "metadata": metadata}]), "short_links")
    assert short[0]["metadata"] == metadata
    assert faults(client.post("/short_links", [{"metadata": {**metadata, "entity_id": 5}}])) == [
        *(("0", "url"), ("0", "metadata.entity_id")),
    ]


def test_the_client_installs_itself_and_asks_whose_token_it_has(client: Client) -> None:
    options, connection = client.box.options, HTTPConnection("127.0.0.1", client.box.port, timeout=10)
    form = {"client_id": options.client_id, "client_secret": options.client_secret, "code": client.box.code()}
    body = urlencode({**form, "redirect_uri": options.redirect_uri, "grant_type": "authorization_code"})
    connection.request("POST", "/oauth2/access_token", body, {"Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    token = Answer(answer.status, {}, answer.read().decode()).json["access_token"]
    connection.close()
    owner = client.ask("GET", "/v3/user", token=token).json
    assert (owner["id"], owner["account_id"]) == (INTEGRATION_USER, client.box.account_id)
    told = client.ask("GET", "/oauth2/account/subdomain", [], token=token).json
    assert told.keys() == {"id", "subdomain", "domain", "top_level_domain"}
    for path in ("/v3/user", "/oauth2/account/subdomain"):
        assert client.ask("GET", path, token="wrong").status == 401


@pytest.mark.parametrize("path", ["/leads/pipelines/7100002", "/roles/40001"])
def test_a_delete_may_carry_an_empty_body(client: Client, path: str) -> None:
    answer = client.ask("DELETE", f"/api/v4{path}", [])
    assert (answer.status, answer.text) == (204, "")


def test_a_call_that_nobody_answered_has_nulls(client: Client) -> None:
    number = [{"field_id": None, "field_code": "PHONE", "values": [{"value": "+351 210 000 008", "enum_code": "WORK"}]}]
    contact = client.add("contacts", name="a", custom_fields_values=number)
    nulls = {"uniq": None, "link": None, "call_result": None, "call_status": 6, "created_by": OWNER}
    call = {"direction": "outbound", "duration": 0, "source": "pbx", "phone": "+351 210 000 008", **nulls}
    told = row_of(client.post("/calls", [{**call, "request_id": "0"}]), "calls", "0")
    assert (told["entity_type"], told["_embedded"]["entity"]["id"]) == ("contact", contact)
    note = rows(client.get(f"/contacts/{contact}/notes"), "notes")[0]
    assert "uniq" not in note["params"]
