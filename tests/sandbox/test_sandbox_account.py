"""What an account is made of: people, pipelines, definitions, lists, sources, and how many of each it takes."""

from typing import Any

import pytest
from sandbox_surroundings import Client, Receiver, delete, faults, made, rows

from sandbox.directory import INTEGRATION_USER, PIPELINES
from sandbox.pipelines import COLORS
from sandbox.state import PRODUCTS

PHONE = [{"field_code": "PHONE", "values": [{"value": "+351 210 000 001", "enum_code": "WORK"}]}]


def test_the_account_embeds_what_it_is_asked_for(client: Client) -> None:
    beside = ("amojo_id", "uuid", "version", "users_rights", "drive_url", "invoices_settings")
    within = ("amojo_rights", "users_groups", "task_types", "entity_names", "datetime_settings")
    account = client.get(f"/account?with={','.join((*beside, *within))}").json
    assert set(beside) <= account.keys()
    assert account["_embedded"].keys() == set(within)
    assert [one["id"] for one in account["_embedded"]["task_types"]] == [1, 2]
    assert account["current_user_id"] == INTEGRATION_USER
    assert "_embedded" not in client.get("/account").json


def test_users_and_roles_are_added_and_found(client: Client) -> None:
    role = made(client, "/roles", "roles", {"name": "Support", "rights": {"mail_access": True}})[0]
    assert client.get(f"/roles/{role}").json["rights"]["mail_access"] is True
    user = {"name": "Iva Horta", "email": "iva@sandbox.example", "rights": {"role_id": role}}
    number = made(client, "/users", "users", user)[0]
    shown = client.get(f"/users/{number}?with=role,group").json
    assert [one["id"] for one in shown["_embedded"]["roles"]] == [role]
    assert client.post("/leads", [{"responsible_user_id": number}]).status == 200
    assert faults(client.post("/users", [user, {"name": 5}])) == [("0", "email"), ("1", "name"), ("1", "email")]
    assert client.get("/users").json["_total_items"] == 4
    assert client.get("/roles").json["_total_items"] == 2
    assert faults(client.post("/roles", [{"name": 5, "rights": []}])) == [("0", "name"), ("0", "rights")]
    assert client.get("/roles/5").status == 204


def test_a_pipeline_is_added_with_stages_changed_and_deleted(client: Client) -> None:
    stages = [{"name": "Asked", "color": "#98cbff"}, {"name": "Answered"}, {"id": 142, "name": "Sold"}]
    answer = client.post(
        "/leads/pipelines", [{"name": "Repairs", "request_id": "r", "_embedded": {"statuses": stages}}]
    )
    pipeline = rows(answer, "pipelines")[0]
    assert pipeline["request_id"] == "r"
    assert [one["name"] for one in pipeline["_embedded"]["statuses"]] == [
        "Incoming leads",
        "Asked",
        "Answered",
        "Sold",
        "Closed - lost",
    ]
    path = f"/leads/pipelines/{pipeline['id']}"
    assert client.patch(path, {"name": "Workshop", "is_main": True}).json["is_main"] is True
    assert [one["is_main"] for one in rows(client.get("/leads/pipelines"), "pipelines")].count(True) == 1
    lead = client.add("leads", name="lands in the main pipeline")
    assert client.get(f"/leads/{lead}").json["pipeline_id"] == pipeline["id"]
    assert delete(client, path) == 400, "main, and with a lead"
    assert delete(client, f"/leads/pipelines/{PIPELINES[1].id}") == 204
    assert delete(client, f"/leads/pipelines/{PIPELINES[1].id}") == 404
    assert client.patch("/leads/pipelines/5", {"name": "x"}).status == 404


def test_a_stage_is_added_changed_and_deleted_in_its_pipeline(client: Client) -> None:
    path = f"/leads/pipelines/{PIPELINES[0].id}/statuses"
    stage = made(client, path, "statuses", {"name": "Trial", "sort": 35, "color": "#deff81"})[0]
    order = [one["name"] for one in rows(client.get(path), "statuses")]
    assert order.index("Trial") == order.index("Needs known") + 1
    assert client.patch(f"{path}/{stage}", {"name": "Test ride"}).json["name"] == "Test ride"
    assert client.get(f"{path}/{stage}").json["name"] == "Test ride"
    lead = client.add("leads", name="a", status_id=stage)
    assert delete(client, f"{path}/{stage}") == 400
    client.patch(f"/leads/{lead}", {"status_id": 142})
    assert [delete(client, f"{path}/{one}") for one in (stage, stage, 142)] == [204, 404, 400]
    assert client.patch(f"{path}/142", {"name": "Gewonnen", "color": "#deff81"}).json["color"] == "#CCFF66"
    assert client.get("/leads/pipelines/5/statuses").status == 204
    assert client.get(f"{path}/5").status == 204


def test_a_stage_needs_a_name_and_a_colour_of_the_list(client: Client) -> None:
    path = f"/leads/pipelines/{PIPELINES[0].id}/statuses"
    bad = [{"color": "#fffeb2"}, {"name": "a", "color": "#123456"}, {"name": 5}]
    assert faults(client.post(path, bad)) == [("0", "name"), ("1", "color"), ("2", "name")]
    assert client.post(path, [{"name": color, "color": color} for color in sorted(COLORS)]).status == 200
    pipeline = {"name": "a", "_embedded": {"statuses": [{"name": "b", "color": "red"}]}}
    assert faults(client.post("/leads/pipelines", [pipeline])) == [("0", "_embedded.statuses.0.color")]


def test_an_account_has_50_pipelines_and_a_pipeline_100_stages_at_most(client: Client) -> None:
    assert client.post("/leads/pipelines", [{"name": str(number)} for number in range(48)]).status == 200
    assert client.post("/leads/pipelines", [{"name": "one more"}]).status == 400
    path = f"/leads/pipelines/{PIPELINES[0].id}/statuses"
    assert client.post(path, [{"name": str(number)} for number in range(93)]).status == 200
    assert client.post(path, [{"name": "one more"}]).status == 400
    assert len(rows(client.get(path), "statuses")) == 100


@pytest.mark.parametrize("path", ["/leads/custom_fields", f"/catalogs/{PRODUCTS}/custom_fields"])
def test_a_custom_field_is_defined_used_changed_and_deleted(client: Client, path: str) -> None:
    answer = client.post(path, [{"name": "Size", "type": "select", "enums": [{"value": "S"}, {"value": "M"}]}])
    assert answer.status == 201
    field = rows(answer, "custom_fields")[0]
    assert client.get(f"{path}/{field['id']}").json["enums"][1]["value"] == "M"
    target = path.replace("/custom_fields", "/elements" if "catalogs" in path else "")
    values = [{"field_id": field["id"], "values": [{"enum_id": field["enums"][0]["id"]}]}]
    kind = "elements" if "catalogs" in path else "leads"
    number = made(client, target, kind, {"name": "a", "custom_fields_values": values})[0]
    shown = client.get(f"{target}/{number}").json["custom_fields_values"]
    assert shown[0]["values"][0]["value"] == "S"
    assert client.patch(f"{path}/{field['id']}", {"name": "Frame"}).json["name"] == "Frame"
    assert rows(client.patch(path, [{"id": field["id"], "sort": 7}]), "custom_fields")[0]["sort"] == 7
    assert faults(client.patch(path, [{"id": 5}])) == [("0", "id")]
    assert [delete(client, f"{path}/{field['id']}") for _ in range(2)] == [204, 404]
    assert faults(client.post(target, [{"name": "b", "custom_fields_values": values}])) == [
        ("0", "custom_fields_values.0.field_id")
    ]


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ({"type": "text"}, "name"),
        ({"name": "a"}, "type"),
        ({"name": "a", "type": "song"}, "type"),
        ({"name": 5, "type": "text"}, "name"),
        ({"name": "a", "type": "select", "enums": [{}]}, "enums"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(client: Client, item: dict[str, Any], path: str) -> None:
    assert faults(client.post("/contacts/custom_fields", [item])) == [("0", path)]
    assert client.get("/catalogs/5/custom_fields").status == 404


def test_lists_and_their_elements_are_added_changed_and_told(client: Client, receiver: Receiver) -> None:
    client.box.register(receiver.url(), "add_catalog", "update_catalog")
    catalog = made(client, "/catalogs", "catalogs", {"name": "Parts"})[0]
    path = f"/catalogs/{catalog}/elements"
    one, two = made(client, path, "elements", {"name": "Chain"}, {"name": "Saddle"})
    assert client.patch(f"{path}/{one}", {"name": "Belt"}).json["name"] == "Belt"
    assert rows(client.patch(path, [{"id": two, "name": "Seat"}]), "elements")[0]["id"] == two
    assert [row["id"] for row in rows(client.get(f"{path}?query=belt"), "elements")] == [one]
    assert rows(client.patch("/catalogs", [{"id": catalog, "sort": 3}]), "catalogs")[0]["sort"] == 3
    assert faults(client.patch("/catalogs", [{"id": 5}])) == [("0", "id")]
    assert client.patch(f"/catalogs/{catalog}", {"name": "Spare parts"}).json["name"] == "Spare parts"
    assert client.get(f"/catalogs/{catalog}").json["id"] == catalog
    assert faults(client.patch(path, [{"id": 5}])) == [("0", "id")]
    assert faults(client.post(path, [{}])) == [("0", "name")]
    assert client.get(f"{path}/5").status == 204
    received = receiver.wait_for(4)
    assert received[3].values["catalogs[update][0][modified_by]"] == str(INTEGRATION_USER)


def test_an_account_has_at_most_ten_lists(client: Client) -> None:
    assert client.post("/catalogs", [{"name": str(number)} for number in range(9)]).status == 200
    assert client.post("/catalogs", [{"name": "one more"}]).status == 400
    assert len(rows(client.get("/catalogs"), "catalogs")) == 10
    assert client.post("/catalogs/5/elements", [{"name": "a"}]).status == 404


def test_sources_are_added_changed_and_deleted_up_to_a_hundred(client: Client) -> None:
    first = made(client, "/sources", "sources", {"name": "Shop window", "external_id": "w"})[0]
    assert client.get(f"/sources/{first}").json["pipeline_id"] == PIPELINES[0].id
    assert client.patch(f"/sources/{first}", {"name": "Door"}).json["name"] == "Door"
    assert rows(client.patch("/sources", [{"id": first, "default": True}]), "sources")[0]["default"] is True
    bad = [{"name": "a", "external_id": "w"}, {"name": "b", "external_id": "b", "pipeline_id": 5}]
    assert faults(client.post("/sources", bad)) == [("0", "external_id"), ("1", "pipeline_id")]
    many = [{"name": "s", "external_id": str(number)} for number in range(99)]
    ids = made(client, "/sources", "sources", *many)
    assert client.post("/sources", [{"name": "s", "external_id": "x"}]).status == 400
    assert [delete(client, f"/sources/{first}"), delete(client, "/sources", [{"id": one} for one in ids])] == [204, 204]
    assert client.get("/sources").status == 204
    assert delete(client, f"/sources/{first}") == 404


def test_a_field_is_found_though_what_names_it_otherwise_is_null(client: Client) -> None:
    value = {"value": "1", "enum_id": None, "enum_code": "MOB"}
    fields = [{"field_id": None, "field_code": "PHONE", "values": [value]}]
    contact = client.add("contacts", name="a", custom_fields_values=fields)
    held = client.get(f"/contacts/{contact}").json["custom_fields_values"]
    assert held[0]["values"][0]["enum_id"] == 552_602
