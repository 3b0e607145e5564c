"""The smaller lists of an account: groups of custom fields, reasons for losing a lead, roles."""

from typing import Any

import pytest
from sandbox_surroundings import Client, delete, faults, made, rows

from sandbox.directory import LOST

GROUPS = "/leads/custom_fields/groups"
REASONS = "/leads/loss_reasons"


def test_every_kind_has_a_main_group_with_all_its_fields(client: Client) -> None:
    main, statistics = rows(client.get(GROUPS), "custom_field_groups")
    assert (main["id"], main["is_predefined"], statistics["id"]) == ("default", True, "statistic")
    assert len(main["fields"]) == len(rows(client.get("/leads/custom_fields"), "custom_fields"))
    assert [one["id"] for one in rows(client.get(GROUPS.replace("leads", "contacts")), "custom_field_groups")] == [
        "default"
    ]
    assert client.get(GROUPS).json["_total_items"] == 2


def test_a_group_takes_fields_and_gives_them_back_when_it_is_deleted(client: Client) -> None:
    sent = {"name": "Delivery", "sort": 3, "fields": [771_102, 771_105], "request_id": "0"}
    group = rows(client.post(GROUPS, [sent]), "custom_field_groups")[0]
    assert (group["fields"], group["request_id"], group["entity_type"]) == ([771_102, 771_105], "0", "leads")
    path = f"{GROUPS}/{group['id']}"
    assert client.get("/leads/custom_fields/771102").json["group_id"] == group["id"]
    assert client.patch(path, {"name": "Way", "fields": [771_103]}).json["fields"] == [771_102, 771_103, 771_105]
    assert client.get(path).json["name"] == "Way"
    assert [delete(client, path, []), delete(client, path, [])] == [204, 404]
    assert client.get("/leads/custom_fields/771102").json["group_id"] is None
    assert client.get(path).status == 204


def test_a_group_needs_a_name_and_the_predefined_ones_stay(client: Client) -> None:
    bad = [{"sort": 1}, {"name": 5}, {"name": "a", "fields": "771102"}]
    assert faults(client.post(GROUPS, bad)) == [("0", "name"), ("1", "name"), ("2", "fields")]
    assert client.patch(f"{GROUPS}/default", {"name": "x"}).status == 400
    assert delete(client, f"{GROUPS}/default") == 400


def test_a_definition_keeps_what_belongs_to_its_type(client: Client) -> None:
    nested = [
        {"value": "Parts", "sort": 0, "request_id": "p", "parent_id": None},
        {"value": "Wheels", "sort": 1, "request_id": "w", "parent_request_id": "p"},
    ]
    stages = [{"status_id": LOST, "pipeline_id": 7_100_001}]
    sent = [
        {"name": "Kind", "type": "category", "nested": nested, "request_id": "0"},
        {"name": "Cost", "type": "monetary", "currency": "EUR", "required_statuses": stages, "request_id": "1"},
    ]
    kind, cost = rows(client.post("/leads/custom_fields", sent), "custom_fields")
    assert kind["nested"][1]["parent_id"] == kind["nested"][0]["id"]
    assert (cost["currency"], cost["required_statuses"]) == ("EUR", stages)
    changed = client.patch(f"/leads/custom_fields/{cost['id']}", {"currency": "USD"}).json
    assert (changed["currency"], changed["required_statuses"]) == ("USD", stages)


def test_a_field_of_a_list_says_which_list_it_belongs_to(client: Client) -> None:
    shown = rows(client.get("/catalogs/33001/custom_fields"), "custom_fields")[0]
    assert (shown["entity_type"], shown["catalog_id"], shown["is_visible"]) == ("catalogs", 33_001, True)
    assert "catalog_id" not in rows(client.get("/leads/custom_fields"), "custom_fields")[0]


def test_definitions_are_found_by_type_and_id(client: Client) -> None:
    found = rows(client.get("/leads/custom_fields?filter[type][0]=date&filter[type][1]=numeric"), "custom_fields")
    assert [one["id"] for one in found] == [771_103, 771_105]
    assert client.get("/leads/custom_fields?filter[id][0]=5").status == 204


def test_a_reason_is_added_changed_shown_with_its_lead_and_deleted(client: Client) -> None:
    assert client.get(REASONS).status == 204
    last, first = made(client, REASONS, "loss_reasons", {"name": "Silence"}, {"name": "Price", "sort": 1})
    assert [one["id"] for one in rows(client.get(REASONS), "loss_reasons")] == [first, last]
    assert client.patch(f"{REASONS}/{first}", {"name": "Too dear"}).json["name"] == "Too dear"
    lead = client.add("leads", name="a", status_id=LOST, loss_reason_id=first)
    shown = client.get(f"/leads/{lead}?with=loss_reason").json["_embedded"]["loss_reason"]
    assert [(one["id"], one["name"], one["sort"]) for one in shown] == [(first, "Too dear", 1)]
    assert [delete(client, f"{REASONS}/{first}", []), delete(client, f"{REASONS}/{first}")] == [204, 404]
    assert client.get(f"{REASONS}/{first}").status == 204
    assert client.get(f"/leads/{lead}?with=loss_reason").json["_embedded"]["loss_reason"] == []


@pytest.mark.parametrize(("item", "path"), [({}, "name"), ({"name": 5}, "name"), ({"name": "a", "sort": "1"}, "sort")])
def test_a_reason_that_makes_no_sense_is_refused(client: Client, item: dict[str, Any], path: str) -> None:
    assert faults(client.post(REASONS, [item])) == [("0", path)]
    assert client.patch(f"{REASONS}/5", {"name": "a"}).status == 404


def test_a_role_is_changed_and_deleted_and_shows_who_has_it(client: Client) -> None:
    role = made(client, "/roles", "roles", {"name": "Support", "rights": {"leads": {"view": "M"}, "mail_access": None}})
    user = {"name": "Iva Horta", "email": "iva@sandbox.example", "rights": {"role_id": role[0]}}
    number = made(client, "/users", "users", user)[0]
    path = f"/roles/{role[0]}"
    assert client.get(path).json["rights"]["leads"] == {
        "view": "M",
        **dict.fromkeys(("edit", "add", "delete", "export"), "A"),
    }
    assert [one["id"] for one in client.get(f"{path}?with=users").json["_embedded"]["users"]] == [number]
    assert client.patch(path, {"name": "Service"}).json["name"] == "Service"
    changed = rows(
        client.patch("/roles", [{"id": role[0], "rights": {"mail_access": True}, "request_id": "0"}]), "roles"
    )
    assert (changed[0]["rights"]["mail_access"], changed[0]["name"], changed[0]["request_id"]) == (True, "Service", "0")
    assert faults(client.patch("/roles", [{"id": 5}, {"id": role[0], "name": 5}])) == [("0", "id"), ("1", "name")]
    assert [delete(client, path, []), delete(client, path, []), client.patch(path, {}).status] == [204, 404, 404]
