"""The API: what it answers, in which form, and what it refuses."""

from typing import Any

import pytest
from sandbox_surroundings import Answer, Client

from sandbox.directory import INTEGRATION_USER, PIPELINES

LEAD_KEYS = (
    "id name price responsible_user_id group_id status_id pipeline_id loss_reason_id created_by updated_by created_at "
    "updated_at closed_at closest_task_at is_deleted custom_fields_values score account_id labor_cost "
    "is_price_computed _links _embedded"
)
CONTACT_KEYS = (
    "id name first_name last_name responsible_user_id group_id created_by updated_by created_at updated_at "
    "closest_task_at is_deleted is_unsorted custom_fields_values account_id _links _embedded"
)
COMPANY_KEYS = (
    "id name responsible_user_id group_id created_by updated_by created_at updated_at closest_task_at is_deleted "
    "custom_fields_values account_id _links _embedded"
)
TASK_KEYS = (
    "id created_by updated_by created_at updated_at responsible_user_id group_id entity_id entity_type duration "
    "is_completed task_type_id text result complete_till account_id _links"
)
WEBHOOK_KEYS = "id destination created_at updated_at account_id created_by sort disabled settings"
TASK = {"text": "Call", "complete_till": 1_790_000_000}


def ids(answer: Answer, plural: str = "leads") -> list[int]:
    return [row["id"] for row in answer.json["_embedded"][plural]]


def fault(answer: Answer, number: int = 0) -> tuple[str, str, str]:
    """Return request id, code and path of the first fault of an item."""
    assert answer.status == 400, answer
    found = answer.json["validation-errors"][number]
    return found["request_id"], found["errors"][0]["code"], found["errors"][0]["path"]


@pytest.mark.parametrize(
    ("kind", "fields", "keys"),
    [
        ("leads", {"name": "a"}, LEAD_KEYS),
        ("contacts", {"name": "a"}, CONTACT_KEYS),
        ("companies", {"name": "a"}, COMPANY_KEYS),
        ("tasks", TASK, TASK_KEYS),
    ],
)
def test_an_entity_has_the_keys_of_the_reference_in_lists_and_alone(
    client: Client, kind: str, fields: dict[str, Any], keys: str
) -> None:
    entity_id = client.add(kind, **fields)
    alone = client.get(f"/{kind}/{entity_id}")
    assert list(alone.json) == keys.split()
    assert client.get(f"/{kind}").json["_embedded"][kind] == [alone.json]
    assert alone.headers["Content-Type"] == "application/hal+json"
    assert len(alone.headers["X-Request-Id"]) == 32


def test_the_account_tells_who_it_is(client: Client) -> None:
    account = client.get("/account").json
    assert (account["id"], account["subdomain"]) == (31415926, "sandbox")
    assert "amojo_id" not in account
    assert "amojo_id" in client.get("/account?with=amojo_id").json


def test_won_and_lost_are_in_every_pipeline_and_one_stage_takes_incoming_leads(client: Client) -> None:
    pipelines = client.get("/leads/pipelines").json["_embedded"]["pipelines"]
    assert len(pipelines) == 2
    for pipeline in pipelines:
        stages = pipeline["_embedded"]["statuses"]
        assert [stage["id"] for stage in stages[-2:]] == [142, 143]
        assert [stage["type"] for stage in stages].count(1) == 1
        assert client.get(f"/leads/pipelines/{pipeline['id']}").json == pipeline
    assert client.get("/leads/pipelines/5").status == 204


def test_users_come_with_their_rights_and_totals(client: Client) -> None:
    users = client.get("/users").json
    assert (users["_total_items"], users["_page_count"], len(users["_embedded"]["users"])) == (3, 1, 3)
    assert client.get(f"/users/{INTEGRATION_USER}").json["rights"]["is_admin"] is True
    assert client.get("/users/1").status == 204


def test_custom_fields_and_tags_can_be_looked_up(client: Client) -> None:
    fields = client.get("/leads/custom_fields").json["_embedded"]["custom_fields"]
    assert client.get(f"/leads/custom_fields/{fields[0]['id']}").json == fields[0]
    client.add("leads", tags_to_add=[{"name": "spring"}])
    assert [tag["name"] for tag in client.get("/leads/tags").json["_embedded"]["tags"]] == ["spring"]


@pytest.mark.parametrize("path", ["/leads", "/leads/5", "/contacts/5", "/tasks", "/leads/notes", "/webhooks"])
def test_an_empty_list_and_a_missing_entity_are_204_without_a_body(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status, answer.text) == (204, "")
    assert "Content-Length" not in answer.headers


@pytest.mark.parametrize("token", [None, "another", "made-up-token-of-the-sandbox2"])
def test_a_request_without_a_known_token_is_401(client: Client, token: str | None) -> None:
    answer = client.ask("GET", "/api/v4/account", token=token)
    assert (answer.status, answer.headers["Content-Type"]) == (401, "application/problem+json")
    assert answer.json["type"] == "https://httpstatus.es/401"


def test_every_token_that_was_given_is_taken(start: Any) -> None:
    client = start(tokens=("one", "two"))
    assert [client.ask("GET", "/api/v4/account", token=name).status for name in ("one", "two", "three")] == [
        200,
        200,
        401,
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("DELETE", "/leads", 405), ("GET", "/chats", 404), ("PATCH", "/leads/5", 404)]
)
def test_what_cannot_be_done_is_a_problem_document(client: Client, method: str, path: str, status: int) -> None:
    answer = client.ask(method, f"/api/v4{path}", {} if method == "PATCH" else None)
    assert (answer.status, answer.json["status"]) == (status, status)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_pages_follow_each_other_by_their_links_and_the_last_has_no_next(client: Client) -> None:
    made = ids(client.post("/leads", [{"name": str(number)} for number in range(5)]))
    page = client.get("/leads?limit=2&filter[name]=&query=")
    assert page.status == 204, "a filter on a name that no lead has"
    path, seen = "/leads?limit=2", []
    while path:
        page = client.get(path)
        seen.append((page.json["_page"], ids(page)))
        path = page.json["_links"].get("next", {}).get("href", "").partition("/api/v4")[2]
    assert seen == [(1, made[:2]), (2, made[2:4]), (3, made[4:])]
    assert client.get("/leads?limit=2&page=4").status == 204


def test_more_than_250_are_422_read_or_written(client: Client) -> None:
    asked = [client.get("/leads?limit=251"), client.post("/leads", [{}] * 251)]
    assert [(answer.status, answer.json["detail"]) for answer in asked] == [(422, "Limit 250 per page")] * 2
    assert client.post("/leads", [{}] * 250).status == 200
    assert len(ids(client.get("/leads?limit=250"))) == 250


def test_lists_are_filtered_searched_and_ordered(client: Client) -> None:
    one = client.add("leads", name="Blue bicycle", updated_at=1_700_000_000)
    two = client.add("leads", name="Red bicycle", updated_at=1_700_000_100)
    three = client.add("leads", name="Lamp", updated_at=1_700_000_200, status_id=142)
    won = f"filter[statuses][0][pipeline_id]={PIPELINES[0].id}&filter[statuses][0][status_id]=142"
    expected = {
        f"filter[id][]={one}&filter[id][]={three}": [one, three],
        f"filter[id]={two}": [two],
        "filter[updated_at][from]=1700000100": [two, three],
        "filter[updated_at][from]=1700000100&filter[updated_at][to]=1700000100": [two],
        "query=BICYCLE": [one, two],
        "order[updated_at]=desc": [three, two, one],
        won: [three],
    }
    assert {query: ids(client.get(f"/leads?{query}")) for query in expected} == expected


def test_posting_answers_each_item_with_its_request_id_or_its_index(client: Client) -> None:
    rows = client.post("/contacts", [{"name": "a", "request_id": "mine"}, {"name": "b"}]).json["_embedded"]["contacts"]
    assert [row["request_id"] for row in rows] == ["mine", "1"]
    assert list(rows[0]) == ["id", "request_id", "_links", "is_deleted", "is_unsorted"]


def test_posting_twice_makes_two(client: Client) -> None:
    assert client.add("leads", name="same") != client.add("leads", name="same")


def test_a_single_object_is_taken_with_links_beside_its_fields(client: Client) -> None:
    contact = client.add("contacts", first_name="Ana", last_name="Reis")
    made = client.post("/leads", {"name": "a", "contacts": [{"id": contact}]})
    lead = client.get(f"/leads/{ids(made)[0]}?with=contacts").json
    assert [(link["id"], link["is_main"]) for link in lead["_embedded"]["contacts"]] == [(contact, True)]
    assert client.get(f"/contacts/{contact}?with=leads").json["_embedded"]["leads"][0]["id"] == lead["id"]
    assert client.get(f"/contacts/{contact}").json["name"] == "Ana Reis"


def test_a_patch_changes_what_it_names_and_nothing_else(client: Client) -> None:
    lead = client.add("leads", name="a", price=5, created_at=1_600_000_000, updated_at=1_600_000_000)
    before = client.get(f"/leads/{lead}").json
    answer = client.patch(f"/leads/{lead}", {"price": 7})
    after = client.get(f"/leads/{lead}").json
    assert list(answer.json) == ["id", "updated_at", "_links"]
    assert {key for key in after if after[key] != before[key]} == {"price", "updated_at"}


@pytest.mark.parametrize(
    ("kind", "wrapped"), [("leads", False), ("companies", False), ("contacts", True), ("tasks", True)]
)
def test_the_answer_to_a_patch_of_one_is_wrapped_for_contacts_and_tasks(
    client: Client, kind: str, wrapped: bool
) -> None:
    entity_id = client.add(kind, **(TASK if kind == "tasks" else {"name": "a"}))
    assert ("_embedded" in client.patch(f"/{kind}/{entity_id}", {"responsible_user_id": 0}).json) is wrapped


def test_a_patch_of_many_is_all_or_nothing(client: Client) -> None:
    lead = client.add("leads", name="a")
    answer = client.patch("/leads", [{"id": lead, "name": "b"}, {"id": 5, "name": "c"}, {"name": "d"}])
    assert fault(answer) == ("1", "NotSupportedChoice", "id")
    assert fault(answer, 1) == ("2", "FieldMissing", "id")
    assert client.get(f"/leads/{lead}").json["name"] == "a"


def test_a_fault_is_told_even_if_a_good_item_has_the_same_request_id(client: Client) -> None:
    answer = client.post("/leads", [{"price": "5", "request_id": "x"}, {"price": 5, "request_id": "x"}])
    assert fault(answer) == ("x", "InvalidType", "price")


def test_tags_are_added_deleted_and_replaced(client: Client) -> None:
    lead = client.add("leads", tags_to_add=[{"name": "a"}, {"name": "b"}])

    def names() -> list[str]:
        return [tag["name"] for tag in client.get(f"/leads/{lead}").json["_embedded"]["tags"]]

    client.patch(f"/leads/{lead}", {"tags_to_add": [{"name": "c"}], "tags_to_delete": [{"name": "a"}]})
    assert names() == ["b", "c"]
    client.patch(f"/leads/{lead}", {"_embedded": {"tags": [{"name": "d"}]}})
    assert names() == ["d"]
    client.patch(f"/leads/{lead}", {"_embedded": {"tags": None}})
    assert names() == []


def test_custom_fields_are_set_by_id_or_code_and_the_others_stay(client: Client) -> None:
    fields = [{"field_code": "PHONE", "values": [{"value": "1", "enum_code": "MOB"}]}]
    contact = client.add("contacts", name="a", custom_fields_values=fields)
    client.patch(
        f"/contacts/{contact}", {"custom_fields_values": [{"field_id": 771_203, "values": [{"value": "Boss"}]}]}
    )
    held = client.get(f"/contacts/{contact}").json["custom_fields_values"]
    assert [(one["field_code"], one["values"][0]["value"]) for one in held] == [("PHONE", "1"), ("POSITION", "Boss")]
    assert held[0]["values"][0] == {"value": "1", "enum_id": 552_602, "enum_code": "MOB"}
    client.patch(f"/contacts/{contact}", {"custom_fields_values": [{"field_code": "PHONE", "values": None}]})
    assert len(client.get(f"/contacts/{contact}").json["custom_fields_values"]) == 1


@pytest.mark.parametrize(
    ("item", "code", "path"),
    [
        ({"price": "5"}, "InvalidType", "price"),
        ({"price": True}, "InvalidType", "price"),
        ({"name": 5}, "InvalidType", "name"),
        ({"status_id": 61_000_102}, "NotSupportedChoice", "status_id"),
        ({"pipeline_id": 5}, "NotSupportedChoice", "pipeline_id"),
        ({"responsible_user_id": 5}, "NotSupportedChoice", "responsible_user_id"),
        ({"custom_fields_values": {"5": 1}}, "InvalidType", "custom_fields_values"),
        ({"_embedded": {"contacts": [{"id": 5}]}}, "NotSupportedChoice", "_embedded.contacts.0.id"),
        ({"_embedded": {"tags": [{}]}}, "FieldMissing", "_embedded.tags.0.name"),
        ({"tags_to_add": "spring"}, "InvalidType", "tags_to_add"),
    ],
)  # fmt: skip
def test_a_bad_item_is_named_with_code_and_path_and_nothing_is_written(
    client: Client, item: dict[str, Any], code: str, path: str
) -> None:
    assert fault(client.post("/leads", [{"name": "good"}, item])) == ("1", code, path)
    assert client.get("/leads").status == 204


@pytest.mark.parametrize(
    ("field", "code", "path"),
    [
        ({"field_id": 5, "values": []}, "NotSupportedChoice", "field_id"),
        ({"field_code": "X", "values": []}, "NotSupportedChoice", "field_code"),
        ({"field_id": 771_105, "values": [{"value": "1"}]}, "InvalidType", "values.0.value"),
        ({"field_id": 771_106, "values": [{"enum_id": 5}]}, "NotSupportedChoice", "values.0.value"),
        ({"field_id": 771_102, "values": [{}]}, "FieldMissing", "values.0.value"),
        ({"field_id": 771_102, "values": "text"}, "InvalidType", "values"),
    ],
)
def test_a_bad_custom_field_is_named_by_its_place(client: Client, field: dict[str, Any], code: str, path: str) -> None:
    answer = client.post("/leads", [{"custom_fields_values": [field]}])
    assert fault(answer) == ("0", code, f"custom_fields_values.0.{path}")


def test_a_stage_counts_only_within_its_pipeline(client: Client) -> None:
    lead = client.add("leads", pipeline_id=PIPELINES[1].id, status_id=PIPELINES[1].stages[2].id)
    assert fault(client.patch(f"/leads/{lead}", {"status_id": PIPELINES[0].first.id}))[1:] == (
        "NotSupportedChoice",
        "status_id",
    )
    assert client.patch(f"/leads/{lead}", {"pipeline_id": PIPELINES[0].id}).status == 200
    assert client.get(f"/leads/{lead}").json["status_id"] == PIPELINES[0].first.id


def test_a_lead_has_a_closing_time_while_it_is_closed(client: Client) -> None:
    lead = client.add("leads", status_id=142)
    assert client.get(f"/leads/{lead}").json["closed_at"] > 0
    client.patch(f"/leads/{lead}", {"status_id": PIPELINES[0].first.id})
    assert client.get(f"/leads/{lead}").json["closed_at"] is None


def test_a_task_needs_text_and_time_and_a_target_that_exists(client: Client) -> None:
    assert fault(client.post("/tasks", [{}]))[1:] == ("FieldMissing", "text")
    target = {**TASK, "entity_type": "leads", "entity_id": 5}
    assert fault(client.post("/tasks", [target]))[1:] == ("NotSupportedChoice", "entity_id")


def test_a_deleted_lead_is_listed_only_on_request(client: Client) -> None:
    lead = client.add("leads", name="a")
    client.run("lead.delete", id=lead)
    assert (client.get("/leads").status, client.get(f"/leads/{lead}").status) == (204, 204)
    assert ids(client.get("/leads?with=only_deleted")) == [lead]


def test_notes_are_written_read_and_changed_under_their_entity(client: Client) -> None:
    lead = client.add("leads", name="a")
    made = client.post(f"/leads/{lead}/notes", [{"note_type": "common", "params": {"text": "one"}}]).json
    note = made["_embedded"]["notes"][0]
    assert list(note) == ["id", "entity_id", "request_id", "_links"]
    client.patch(f"/leads/{lead}/notes/{note['id']}", {"params": {"text": "two"}})
    shown = client.get(f"/leads/{lead}/notes/{note['id']}").json
    assert (shown["params"], shown["note_type"], shown["entity_id"]) == ({"text": "two"}, "common", lead)
    for path in (f"/leads/{lead}/notes", "/leads/notes", "/leads/notes?filter[note_type]=common"):
        assert client.get(path).json["_embedded"]["notes"] == [shown]
    assert client.get(f"/contacts/notes/{note['id']}").status == 204


@pytest.mark.parametrize(("length", "status"), [(20_000, 200), (20_001, 400)])
def test_a_note_has_at_most_20000_characters(client: Client, length: int, status: int) -> None:
    lead = client.add("leads", name="a")
    note = {"entity_id": lead, "note_type": "common", "params": {"text": "é" * length}}
    answer = client.post("/leads/notes", [note])
    assert answer.status == status
    assert status == 200 or fault(answer) == ("0", "TooLong", "params.text")


@pytest.mark.parametrize(
    ("note", "path"),
    [
        ({"params": {"text": "a"}}, "note_type"),
        ({"note_type": "song", "params": {"text": "a"}}, "note_type"),
        ({"note_type": "common"}, "params.text"),
        ({"note_type": "common", "params": {"text": 5}}, "params.text"),
    ],
)
def test_a_note_needs_a_known_type_and_a_text(client: Client, note: dict[str, Any], path: str) -> None:
    lead = client.add("leads", name="a")
    assert fault(client.post(f"/leads/{lead}/notes", [note]))[2] == path


def test_a_webhook_is_registered_changed_found_and_removed_by_its_destination(client: Client) -> None:
    address = "https://hooks.example/a/"
    made = client.post("/webhooks", {"destination": address, "settings": ["add_lead"], "sort": 3})
    assert made.status == 201
    assert list(made.json) == WEBHOOK_KEYS.split()
    client.post("/webhooks", {"destination": address, "settings": ["update_lead", "status_lead"]})
    listed = client.get(f"/webhooks?filter[destination]={address}").json
    assert listed["_total_items"] == 1
    assert listed["_embedded"]["webhooks"][0]["settings"] == ["update_lead", "status_lead"]
    assert client.get("/webhooks?filter[destination]=https://other.example/").status == 204
    assert client.ask("DELETE", "/api/v4/webhooks", {"destination": address}).status == 204
    assert client.ask("DELETE", "/api/v4/webhooks", {"destination": address}).status == 404


def test_a_webhook_can_be_removed_by_its_id_too(client: Client) -> None:
    made = client.post("/webhooks", {"destination": "https://hooks.example/", "settings": ["add_lead"]}).json
    statuses = [client.ask("DELETE", f"/api/v4/webhooks/{made['id']}").status for _ in range(2)]
    assert statuses == [204, 404]


@pytest.mark.parametrize("address", ["", "hooks.example", "ftp://hooks.example/", "https://", "http://[", 5, None])
def test_an_address_that_cannot_be_sent_to_is_refused_as_documented(client: Client, address: Any) -> None:
    answer = client.post("/webhooks", {"destination": address, "settings": ["add_lead"]})
    assert answer.json["validation-errors"] == [
        {
            "request_id": "0",
            "errors": [
                {
                    "code": "57c2f299-1154-4870-89bb-ef3b1f5ad229",
                    "path": "destination.destination",
                    "detail": "Invalid URL",
                }
            ],
        }
    ]


def test_an_event_that_does_not_exist_is_refused_and_a_name_for_lists_is_taken(client: Client) -> None:
    body = {"destination": "https://hooks.example/", "settings": ["add_lead", "sing_lead"]}
    assert fault(client.post("/webhooks", body)) == ("0", "NotSupportedChoice", "settings.1")
    assert client.post("/webhooks", {**body, "settings": ["add_catalog", "add_unsorted"]}).status == 201


def test_an_account_has_at_most_a_hundred_webhooks(client: Client) -> None:
    for number in range(100):
        client.box.register(f"https://hooks.example/{number}/", "add_lead")
    assert client.post("/webhooks", {"destination": "https://hooks.example/x/", "settings": ["add_lead"]}).status == 400
    assert client.post("/webhooks", {"destination": "https://hooks.example/1/", "settings": ["add_lead"]}).status == 201


@pytest.mark.parametrize("body", ["", "{", "[]", "[5]", '"text"'])
def test_a_body_that_is_not_an_array_of_objects_is_400(client: Client, body: str) -> None:
    assert client.ask("POST", "/api/v4/leads", body).status == 400
