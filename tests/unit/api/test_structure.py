"""Tags, fields, pipelines, stages, sources, lists, users and roles: each call, and the limits that cost none."""

from datetime import UTC, datetime

import pytest

from kommo.api.client import Client
from kommo.api.constants import FieldType, StageColor
from kommo.api.entities import Reference
from kommo.errors import NotFound, RequestError, ServerError

API = "/api/v4"

WRITES = {
    "tags": (lambda kommo: kommo.tags.of("leads"), "leads/tags", "tags"),
    "fields": (lambda kommo: kommo.custom_fields.of("leads"), "leads/custom_fields", "custom_fields"),
    "pipelines": (lambda kommo: kommo.pipelines, "leads/pipelines", "pipelines"),
    "stages": (lambda kommo: kommo.pipelines.stages(11), "leads/pipelines/11/statuses", "statuses"),
    "users": (lambda kommo: kommo.users, "users", "users"),
    "roles": (lambda kommo: kommo.roles, "roles", "roles"),
    "catalogs": (lambda kommo: kommo.catalogs, "catalogs", "catalogs"),
    "elements": (lambda kommo: kommo.catalogs.elements(5), "catalogs/5/elements", "elements"),
    "list fields": (lambda kommo: kommo.catalogs.fields(5), "catalogs/5/custom_fields", "custom_fields"),
    "sources": (lambda kommo: kommo.sources, "sources", "sources"),
}
UPDATED = ["fields", "pipelines", "stages", "roles", "catalogs", "elements", "list fields", "sources"]
UPDATED_TOGETHER = ["tags", "fields", "catalogs", "elements", "list fields", "sources"]
DELETED = ["fields", "pipelines", "stages", "roles", "list fields", "sources"]


@pytest.fixture
def kommo(send):
    return Client(send, account_id=9)


@pytest.mark.parametrize("name", WRITES)
def test_one_is_created_in_an_array(kommo, send, name):
    of, path, resource = WRITES[name]
    send.answers = [{"_embedded": {resource: [{"id": 7}]}}]
    assert of(kommo).create(name="N") == {"id": 7}
    assert send.calls == [("POST", f"{API}/{path}", None, [{"name": "N"}])]


@pytest.mark.parametrize("name", WRITES)
def test_many_are_created_together(kommo, send, name):
    of, path, resource = WRITES[name]
    send.answers = [{"_embedded": {resource: [{"id": 8, "request_id": "1"}, {"id": 7, "request_id": "0"}]}}]
    assert [made["id"] for made in of(kommo).create_many([{"name": "A"}, {"name": "B"}])] == [7, 8]
    items = [{"name": "A", "request_id": "0"}, {"name": "B", "request_id": "1"}]
    assert send.calls == [("POST", f"{API}/{path}", None, items)]


@pytest.mark.parametrize("name", UPDATED)
@pytest.mark.parametrize("bare", [True, False])
def test_one_is_updated_by_its_id(kommo, send, name, bare):
    of, path, resource = WRITES[name]
    send.answers = [{"id": 7} if bare else {"_embedded": {resource: [{"id": 7}]}}]
    assert of(kommo).update(7, name="N") == {"id": 7}
    assert send.calls == [("PATCH", f"{API}/{path}/7", None, {"name": "N"})]


@pytest.mark.parametrize("name", UPDATED_TOGETHER)
def test_many_are_updated_together(kommo, send, name):
    of, path, resource = WRITES[name]
    send.answers = [{"_embedded": {resource: [{"id": 7, "name": "N"}]}}]
    assert of(kommo).update_many([{"id": 7, "name": "N"}]) == [{"id": 7, "name": "N"}]
    assert send.calls == [("PATCH", f"{API}/{path}", None, [{"id": 7, "name": "N", "request_id": "0"}])]


@pytest.mark.parametrize("name", DELETED)
def test_one_is_deleted_by_its_id(kommo, send, name):
    of, path, _ = WRITES[name]
    send.answers = [None]
    assert of(kommo).delete(7) is None
    assert send.calls == [("DELETE", f"{API}/{path}/7", None, None)]


@pytest.mark.parametrize("name", sorted(WRITES.keys() - set(DELETED)))
def test_what_the_api_does_not_delete_cannot_be_deleted(kommo, name):
    assert not hasattr(WRITES[name][0](kommo), "delete")


@pytest.mark.parametrize("name", WRITES)
def test_what_cannot_be_right_is_refused(kommo, send, name):
    of = WRITES[name][0]
    for ask in (
        lambda: of(kommo).create(),
        lambda: of(kommo).create(name=object()),
        lambda: of(kommo).create(name="N", deep=[{"id": Reference("w")}]),
        lambda: of(kommo).create_many([{"name": "A"}, {}]),
    ):
        with pytest.raises(RequestError):
            ask()
    assert send.calls == []


@pytest.mark.parametrize("name", UPDATED)
def test_an_update_names_what_it_changes(kommo, send, name):
    of = WRITES[name][0]
    for ask in (
        lambda: of(kommo).update(7),
        lambda: of(kommo).update(0, name="N"),
        lambda: of(kommo).update("7", name="N"),
    ):
        with pytest.raises(RequestError):
            ask()
    assert send.calls == []


@pytest.mark.parametrize("answer", [None, {}, {"_embedded": {"tags": []}}])
def test_a_creation_without_an_id_is_an_error(kommo, send, answer):
    send.answers = [answer]
    with pytest.raises(ServerError, match="no id"):
        kommo.tags.of("leads").create(name="N")


def test_a_member_that_is_not_there_is_not_found(kommo, send):
    send.answers = [None]
    with pytest.raises(NotFound, match="no list element 7"):
        kommo.catalogs.elements(5).get(7)


@pytest.mark.parametrize("color", ["light_blue", "#C1E0FF", StageColor.LIGHT_BLUE])
def test_a_stage_has_one_of_kommos_colours(kommo, send, color):
    send.answers = [{"_embedded": {"statuses": [{"id": 7}]}}]
    kommo.pipelines.stages(11).create(name="N", sort=10, color=color)
    assert send.calls[0][3] == [{"name": "N", "sort": 10, "color": "#c1e0ff"}]


def test_another_colour_is_refused(kommo, send):
    for ask in (
        lambda: kommo.pipelines.stages(11).create(name="N", color="#123456"),
        lambda: kommo.pipelines.stages(11).update(7, color="pink"),
        lambda: kommo.pipelines.create(name="P", stages=[{"name": "N", "color": "pink"}]),
    ):
        with pytest.raises(RequestError, match="color="):
            ask()
    assert send.calls == []


def test_a_pipeline_is_created_with_its_stages(kommo, send):
    send.answers = [{"_embedded": {"pipelines": [{"id": 7}]}}]
    kommo.pipelines.create(
        name="P", is_main=False, stages=[{"name": "N", "color": "grey"}, {"id": 142, "name": "Done"}]
    )
    statuses = [{"name": "N", "color": "#e6e8ea"}, {"id": 142, "name": "Done"}]
    assert send.calls[0][3] == [{"name": "P", "is_main": False, "_embedded": {"statuses": statuses}}]


def test_stages_of_a_pipeline_that_is_there_are_changed_by_themselves(kommo):
    with pytest.raises(RequestError, match=r"stages\(id\)"):
        kommo.pipelines.update(7, stages=[{"name": "N"}])
    with pytest.raises(RequestError, match=r"stages="):
        kommo.pipelines.create(name="P", stages=[{"name": "N"}], _embedded={})


def test_a_pipeline_has_a_hundred_stages_with_won_and_lost(kommo, send):
    send.answers = [{"_embedded": {"pipelines": [{"id": 7}]}}]
    stages = [{"name": str(number)} for number in range(98)]
    kommo.pipelines.create(name="P", stages=[*stages, {"id": 143, "name": "Lost"}])
    with pytest.raises(RequestError, match="100 stages"):
        kommo.pipelines.create(name="P", stages=[*stages, {"name": "one more"}])
    assert len(send.calls) == 1


def pipelines_of(count, stages):
    statuses = [{"id": number, "name": "S"} for number in range(1, stages + 1)]
    listed = [{"id": number, "name": "P", "_embedded": {"statuses": statuses}} for number in range(11, 11 + count)]
    return {"_embedded": {"pipelines": listed}}


def test_the_fifty_first_pipeline_and_the_hundred_and_first_stage_cost_no_request(kommo, send):
    send.answers = [pipelines_of(50, 100)]
    kommo.metadata.pipelines()
    with pytest.raises(RequestError, match="50 pipelines"):
        kommo.pipelines.create(name="P")
    with pytest.raises(RequestError, match="100 stages"):
        kommo.pipelines.stages(11).create(name="S")
    with pytest.raises(RequestError, match="50 pipelines"):
        Client(send, account_id=9).pipelines.create_many([{"name": "P"}] * 51)
    assert len(send.calls) == 1


@pytest.mark.parametrize("ask", [
    lambda kommo: kommo.pipelines.create(name="P"),
    lambda kommo: kommo.pipelines.delete(7),
    lambda kommo: kommo.pipelines.stages(11).update(7, name="S"),
    lambda kommo: kommo.custom_fields.of("leads").create(name="F", type="text"),
])  # fmt: skip
def test_what_was_remembered_is_forgotten_by_a_change(kommo, send, ask):
    send.answers = [pipelines_of(1, 1), {"id": 7}]
    kommo.metadata.pipelines()
    ask(kommo)
    assert kommo.metadata.known_pipelines() is None


@pytest.mark.parametrize(
    ("of", "resource", "limit"),
    [
        (lambda kommo: kommo.sources, "sources", 100),
        (lambda kommo: kommo.catalogs, "catalogs", 10),
    ],
)
def test_what_is_full_as_last_listed_takes_no_more(kommo, send, of, resource, limit):
    send.answers = [
        {"_embedded": {resource: [{"id": number} for number in range(1, limit)]}},
        {"id": 500},
        None,
        {"id": 501},
    ]
    list(of(kommo).list())
    of(kommo).create(name="the last one")
    with pytest.raises(RequestError, match=f"{limit} "):
        of(kommo).create(name="one more")
    assert len(send.calls) == 2
    if resource == "sources":
        of(kommo).delete(500)
        of(kommo).create(name="in its place")


@pytest.mark.parametrize(
    "options", [{"page": 1}, {"query": "x"}, {"filter": {"id": 5}}, {"if_modified_since": datetime.now(UTC)}]
)
def test_a_part_of_a_list_counts_nothing(kommo, send, options):
    send.answers = [{"_embedded": {"catalogs": [{"id": number} for number in range(1, 11)]}}, {"id": 7}]
    list(kommo.catalogs.list(**options))
    assert kommo.catalogs.create(name="N") == {"id": 7}


@pytest.mark.parametrize(("of", "limit"), [(lambda kommo: kommo.sources, 100), (lambda kommo: kommo.catalogs, 10)])
def test_more_than_there_may_be_are_refused_together(kommo, send, of, limit):
    with pytest.raises(RequestError, match=f"{limit} "):
        of(kommo).create_many([{"name": "N"}] * (limit + 1))
    assert send.calls == []


def test_users_are_created_ten_at_a_time(kommo, send):
    made = [{"id": number + 1, "request_id": str(number)} for number in range(12)]
    send.answers = [{"_embedded": {"users": made[:10]}}, {"_embedded": {"users": made[10:]}}]
    assert len(kommo.users.create_many([{"name": "N", "email": "n@shop.example"}] * 12)) == 12
    assert [len(call[3]) for call in send.calls] == [10, 2]


@pytest.mark.parametrize("type_", ["text", FieldType.TEXT, "type_of_tomorrow"])
def test_a_field_has_a_type(kommo, send, type_):
    send.answers = [{"_embedded": {"custom_fields": [{"id": 7}]}}]
    kommo.custom_fields.of("leads").create(name="F", type=type_)
    assert send.calls[0][3] == [{"name": "F", "type": str(type_)}]


def test_a_slip_in_a_type_of_field_is_refused(kommo, send):
    with pytest.raises(RequestError, match="did you mean multiselect"):
        kommo.custom_fields.of("leads").create(name="F", type="multi_select")
    assert send.calls == []


def test_an_element_of_a_list_has_custom_fields(kommo, send):
    send.answers = [{"_embedded": {"elements": [{"id": 7}]}}]
    kommo.catalogs.elements(5).create(name="Oven", fields={"sku": "OV-1", 9: [1, 2]})
    assert send.calls[0][3] == [{"name": "Oven", "custom_fields_values": [
        {"field_code": "sku", "values": [{"value": "OV-1"}]},
        {"field_id": 9, "values": [{"value": 1}, {"value": 2}]},
    ]}]  # fmt: skip
    with pytest.raises(RequestError, match="not both"):
        kommo.catalogs.elements(5).create(fields={"SKU": 1}, custom_fields_values=[])
    with pytest.raises(RequestError, match="neither"):
        kommo.catalogs.elements(5).create(fields={None: 1})


HOOK = "https://hooks.example/{}/"


def test_the_hundred_and_first_webhook_costs_no_request_once_they_are_listed(kommo, send):
    send.answers = [
        {"_embedded": {"webhooks": [{"destination": HOOK.format(number)} for number in range(100)]}},
        {"id": 1},
    ]
    kommo.webhooks.list()
    with pytest.raises(RequestError, match="100 webhooks"):
        kommo.webhooks.register(HOOK.format("new"), ["add_lead"])
    kommo.webhooks.register(HOOK.format(7), ["add_lead"])
    kommo.webhooks.remove(HOOK.format(7))
    kommo.webhooks.register(HOOK.format("new"), ["add_lead"])
    assert len(send.calls) == 4


def test_webhooks_that_nobody_has_listed_are_not_counted(kommo, send):
    for number in range(101):
        kommo.webhooks.register(HOOK.format(number), ["add_lead"])
    assert len(send.calls) == 101
