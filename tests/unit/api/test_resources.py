"""Each call of `kommo` by its exact method, path, parameters and body."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kommo.api.bounds import NOTE_LIMIT
from kommo.api.client import Client
from kommo.api.entities import Reference
from kommo.errors import NotFound, RequestError, ServerError

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)
NOW_SECONDS = 1778068800
API = "/api/v4"
PLURAL_OF = {"leads": "lead", "contacts": "contact", "companies": "company"}


@pytest.fixture
def kommo(send):
    return Client(send, account_id=9, clock=lambda: NOW)


def test_the_account_is_known_and_read(kommo, send):
    assert kommo.account_id == 9
    assert kommo.account() == {"id": 1}
    kommo.account(with_="amojo_id")
    assert send.calls[0] == ("GET", f"{API}/account", {"with": None}, None)
    assert send.calls[1] == ("GET", f"{API}/account", {"with": "amojo_id"}, None)


@pytest.mark.parametrize("resource", PLURAL_OF)
def test_get_reads_one_entity(kommo, send, resource):
    assert getattr(kommo, resource).get(5, with_=["contacts", "loss_reason"]) == {"id": 1}
    assert send.calls == [("GET", f"{API}/{resource}/5", {"with": "contacts,loss_reason"}, None)]


@pytest.mark.parametrize("resource", PLURAL_OF)
def test_an_entity_that_is_not_there_is_not_found(kommo, send, resource):
    send.answers = [None]
    with pytest.raises(NotFound) as caught:
        getattr(kommo, resource).get(5)
    assert caught.value.path == f"{API}/{resource}/5"
    assert f"no {PLURAL_OF[resource]} 5" in str(caught.value)


@pytest.mark.parametrize("id_", [0, -1, True, "5", 5.0, None, Reference("w", kind="lead")])
def test_an_id_that_cannot_be_one_is_refused_before_anything_is_sent(kommo, send, id_):
    for ask in (kommo.leads.get, kommo.tasks.get, lambda id_: kommo.notes.get(("lead", 1), id_)):
        with pytest.raises(RequestError):
            ask(id_)
    assert send.calls == []


@pytest.mark.parametrize("answer", [[], "x", 5])
def test_an_answer_of_another_shape_is_a_server_error(kommo, send, answer):
    send.answers = [answer]
    with pytest.raises(ServerError):
        kommo.leads.get(5)
    with pytest.raises(ServerError):
        list(kommo.leads.list())


def page(resource, ids, following=None):
    links = {"next": {"href": following}} if following else {}
    return {"_links": links, "_embedded": {resource: [{"id": id_} for id_ in ids]}}


@pytest.mark.parametrize("resource", [*PLURAL_OF, "tasks"])
def test_list_walks_lazily_through_all_pages(kommo, send, resource):
    second = f"https://elsewhere.example{API}/{resource}?limit=2&page=2&filter%5Bid%5D%5B%5D=1"
    send.answers = [page(resource, [1, 2], second), page(resource, [3])]
    walk = getattr(kommo, resource).list(page_size=2, filter={"id": [1]}, order={"id": "asc"}, query="x")
    assert send.calls == []
    assert next(walk) == {"id": 1}
    assert len(send.calls) == 1
    assert [entity["id"] for entity in walk] == [2, 3]
    first_params = [("limit", "2"), ("query", "x"), ("filter[id][]", "1"), ("order[id]", "asc")]
    second_params = [("limit", "2"), ("page", "2"), ("filter[id][]", "1")]
    assert send.calls == [
        ("GET", f"{API}/{resource}", first_params, None),
        ("GET", f"{API}/{resource}", second_params, None),
    ]


def test_an_empty_list_is_204(kommo, send):
    send.answers = [None]
    assert list(kommo.leads.list(with_="contacts")) == []
    assert send.calls == [("GET", f"{API}/leads", [("limit", "250"), ("with", "contacts")], None)]


def test_a_last_page_that_is_204_ends_the_walk(kommo, send):
    send.answers = [page("leads", [1], f"{API}/leads?page=2"), None]
    assert len(list(kommo.leads.list())) == 1


@pytest.mark.parametrize("following", [f"{API}/leads?page=2", "ftp://x"])
def test_a_next_page_that_never_ends_or_is_none_is_a_server_error(kommo, send, following):
    send.answers = [page("leads", [1], following)]
    with pytest.raises(ServerError, match="next page"):
        list(kommo.leads.list())


@pytest.mark.parametrize(
    "options", [{"page_size": 0}, {"page_size": 251}, {"page_size": True}, {"order": {"id": "up"}}]
)
def test_list_options_are_checked_where_they_are_given(kommo, options):
    with pytest.raises(RequestError):
        kommo.leads.list(**options)


def test_a_task_is_read_by_a_filter_since_there_is_no_get_by_id(kommo, send):
    send.answers = [page("tasks", [5])]
    assert kommo.tasks.get(5) == {"id": 5}
    assert send.calls == [("GET", f"{API}/tasks", [("filter[id][]", "5"), ("limit", "1")], None)]


@pytest.mark.parametrize("answer", [None, page("tasks", []), page("tasks", [6])])
def test_a_task_that_the_filter_does_not_find_is_not_found(kommo, send, answer):
    send.answers = [answer]
    with pytest.raises(NotFound, match="task 5"):
        kommo.tasks.get(5)


CREATES = [
    ({}, {}),
    ({"name": "N", "price": 5, "status_id": 1, "pipeline_id": 2, "responsible_user_id": 3},
     {"name": "N", "price": 5, "status_id": 1, "pipeline_id": 2, "responsible_user_id": 3}),
    ({"created_at": NOW}, {"created_at": NOW_SECONDS}),
    ({"fields": {7: "x", "PHONE": None}}, {"custom_fields_values": [
        {"field_id": 7, "values": [{"value": "x"}]}, {"field_code": "PHONE", "values": None}]}),
    ({"fields": {}}, {}),
    ({"add_tags": ["vip"]}, {"_embedded": {"tags": [{"name": "vip"}]}}),
    ({"contacts": [5], "companies": 6}, {"_embedded": {"contacts": [{"id": 5}], "companies": [{"id": 6}]}}),
    ({"_embedded": {"tags": [{"id": 1}], "source": {"id": 2}}, "add_tags": "vip"},
     {"_embedded": {"tags": [{"id": 1}, {"name": "vip"}], "source": {"id": 2}}}),
    ({"a_field_of_tomorrow": 1}, {"a_field_of_tomorrow": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "body"), CREATES)
def test_create_posts_an_array_of_one(kommo, send, given, body):
    send.answers = [page("leads", [77])]
    assert kommo.leads.create(**given) == {"id": 77}
    assert send.calls == [("POST", f"{API}/leads", None, [body])]


@pytest.mark.parametrize("resource", ["contacts", "companies"])
def test_contacts_and_companies_are_created_alike(kommo, send, resource):
    send.answers = [page(resource, [78])]
    assert getattr(kommo, resource).create(name="N", add_tags=["vip"])["id"] == 78
    assert send.calls == [
        ("POST", f"{API}/{resource}", None, [{"name": "N", "_embedded": {"tags": [{"name": "vip"}]}}])
    ]


@pytest.mark.parametrize("answer", [None, {}, {"_embedded": {"leads": []}}, {"id": "x"}, []])
def test_a_create_without_an_id_in_the_answer_is_an_error(kommo, send, answer):
    send.answers = [answer]
    with pytest.raises(ServerError, match="no id"):
        kommo.leads.create(name="N")


UPDATES = [
    ({"price": 5}, {"price": 5}),
    ({"status_id": 142, "pipeline_id": 7}, {"status_id": 142, "pipeline_id": 7}),
    ({"closed_at": NOW}, {"closed_at": NOW_SECONDS}),
    ({"loss_reason_id": None}, {"loss_reason_id": None}),
    ({"fields": {7: [1, 2]}}, {"custom_fields_values": [{"field_id": 7, "values": [{"value": 1}, {"value": 2}]}]}),
    ({"add_tags": ["a"], "remove_tags": ["b"]}, {"tags_to_add": [{"name": "a"}], "tags_to_delete": [{"name": "b"}]}),
    ({"_embedded": {"tags": None}}, {"_embedded": {"tags": None}}),
]


@pytest.mark.parametrize(("given", "body"), UPDATES)
def test_update_patches_a_lead_with_what_changes_and_nothing_else(kommo, send, given, body):
    assert kommo.leads.update(31, **given) == {"id": 1}
    assert send.calls == [("PATCH", f"{API}/leads/31", None, body)]


@pytest.mark.parametrize("resource", PLURAL_OF)
@pytest.mark.parametrize(("given", "body"), [*UPDATES[4:], ({"name": "N"}, {"name": "N"})])
def test_every_resource_is_updated_alike(kommo, send, resource, given, body):
    assert getattr(kommo, resource).update(31, **given) == {"id": 1}
    assert send.calls == [("PATCH", f"{API}/{resource}/31", None, body)]


@pytest.mark.parametrize("answer", [None, {"_embedded": {"contacts": [{"id": 1}]}}, {"id": 1}])
def test_an_update_gives_what_is_said_of_the_entity(kommo, send, answer):
    send.answers = [answer]
    assert kommo.contacts.update(1, name="N") == ({} if answer is None else {"id": 1})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"updated_at": NOW}, "set by Kommo"),
        ({"id": 5}, "set by Kommo"),
        ({"pirce": 5}, "did you mean price"),
        ({"responsible_user": 5}, "did you mean responsible_user_id"),
        ({"add_tag": ["x"]}, "did you mean add_tags"),
        ({"fields": [1]}, "dict"),
        ({"fields": {1: 2}, "custom_fields_values": []}, "not both"),
        ({"closed_at": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001 - naive is the point
        ({"price": object()}, "cannot be sent"),
    ],
)
def test_what_cannot_be_right_is_refused_before_anything_is_sent(kommo, send, given, sentence):
    for ask in (kommo.leads.create, lambda **given: kommo.leads.update(1, **given)):
        with pytest.raises(RequestError, match=sentence):
            ask(**given)
    assert send.calls == []


def test_links_and_tags_that_do_not_fit_are_refused(kommo, send):
    for ask in (
        lambda: kommo.leads.create(remove_tags=["x"]),
        lambda: kommo.leads.update(1, contacts=[5]),
        lambda: kommo.contacts.create(companies=[5]),
        lambda: kommo.leads.create(_embedded=[1]),
        lambda: kommo.leads.update(1),
        lambda: kommo.leads.update(1, add_tags=[]),
        lambda: kommo.leads.update(Reference("w", kind="lead"), price=1),
        lambda: kommo.leads.create(contacts=[Reference("w", kind="contact")]),
    ):
        with pytest.raises(RequestError):
            ask()
    assert send.calls == []


TASKS = [
    ({"due_in": timedelta(hours=4)}, {"complete_till": NOW_SECONDS + 14400}),
    ({"due_in": timedelta(0)}, {"complete_till": NOW_SECONDS}),
    ({"due_at": datetime(2026, 5, 6, 15, tzinfo=timezone(timedelta(hours=3)))}, {"complete_till": NOW_SECONDS}),
    ({"due_at": NOW, "task_type": "meeting"}, {"complete_till": NOW_SECONDS, "task_type_id": 2}),
    ({"due_at": NOW, "task_type": 4411, "responsible_user_id": 8},
     {"complete_till": NOW_SECONDS, "task_type_id": 4411, "responsible_user_id": 8}),
    ({"due_at": NOW, "duration": 600}, {"complete_till": NOW_SECONDS, "duration": 600}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "body"), TASKS)
def test_a_task_has_a_text_a_time_and_a_type(kommo, send, given, body):
    send.answers = [page("tasks", [5])]
    assert kommo.tasks.create(text="Call", **given)["id"] == 5
    assert send.calls == [("POST", f"{API}/tasks", None, [{"text": "Call", "task_type_id": 1, **body}])]


PARENTS = [
    (("lead", 31), "leads", 31),
    (("leads", 31), "leads", 31),
    (["companies", 31], "companies", 31),
    (("contact", 31), "contacts", 31),
    (("customer", 31), "customers", 31),
]


@pytest.mark.parametrize(("entity", "plural", "id_"), PARENTS)
def test_tasks_and_notes_hang_on_an_entity(kommo, send, entity, plural, id_):
    send.answers = [page("tasks", [5]), page("notes", [6]), {"id": 6}]
    kommo.tasks.create(entity=entity, text="Call", due_at=NOW)
    kommo.notes.create(entity=entity, text="Said")
    kommo.notes.get(entity, 6)
    kommo.notes.update(entity, 6, text="Said again")
    assert send.calls[0][3][0].items() >= {"entity_id": id_, "entity_type": plural}.items()
    path = f"{API}/{plural}/{id_}/notes"
    assert send.calls[1:] == [
        ("POST", path, None, [{"note_type": "common", "params": {"text": "Said"}}]),
        ("GET", f"{path}/6", None, None),
        ("PATCH", f"{path}/6", None, {"note_type": "common", "params": {"text": "Said again"}}),
    ]


def hangs_on(kommo, send, entity):
    send.calls.clear()
    send.answers = [page("notes", [6])]
    kommo.notes.create(entity=entity, text="Said")
    return send.calls[0][1].removeprefix(f"{API}/").removesuffix("/notes")


@pytest.mark.parametrize(
    ("type_", "raw", "path"),
    [
        ("lead.added", {}, "leads/31"),
        ("contact.updated", {}, "contacts/31"),
        ("company.updated", {}, "companies/31"),
        ("task.completed", {"element_type": "2", "element_id": "40"}, "leads/40"),
        ("note.updated", {"element_type": "1", "element_id": "40"}, "contacts/40"),
        (
            "message.received",
            {"element_type": "2", "entity_type": "lead", "element_id": "40", "entity_id": "40"},
            "leads/40",
        ),
        ("talk.added", {"entity_type": "lead", "entity_id": "40"}, "leads/40"),
    ],
)
def test_an_event_stands_for_its_entity_or_for_what_that_belongs_to(kommo, send, event, type_, raw, path):
    assert hangs_on(kommo, send, event(type_, **raw)) == path


def test_a_typed_entity_stands_for_itself_and_a_task_for_its_parent(kommo, send, event):
    assert hangs_on(kommo, send, event().lead) == "leads/31"
    assert hangs_on(kommo, send, event("contact.added").contact) == "contacts/31"
    assert hangs_on(kommo, send, event("task.added", element_type="2", element_id="40").task) == "leads/40"


def test_an_event_that_belongs_to_nothing_cannot_carry_a_note(kommo, event):
    for nothing in (event("task.added"), event("unsorted.added", "uid-1"), event("account.disconnected", None)):
        with pytest.raises(RequestError):
            kommo.notes.create(entity=nothing, text="Said")


@pytest.mark.parametrize(
    "entity", [None, 31, "lead", ("lead",), ("lead", None), ("lead", "31"), ("pipeline", 3), object()]
)
def test_what_names_no_entity_is_refused(kommo, send, entity):
    with pytest.raises(RequestError):
        kommo.notes.create(entity=entity, text="Said")
    with pytest.raises(RequestError):
        kommo.notes.list(entity=entity)
    assert send.calls == []


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"text": "Call"},
        {"text": "", "due_at": NOW},
        {"text": " ", "due_at": NOW},
        {"text": 5, "due_at": NOW},
        {"text": "Call", "due_at": NOW, "due_in": timedelta(1)},
        {"text": "Call", "due_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - naive is the point
        {"text": "Call", "due_at": 5},
        {"text": "Call", "due_in": 5},
        {"text": "Call", "due_in": timedelta(-1)},
        {"text": "Call", "due_at": NOW, "task_type": "lunch"},
        {"text": "Call", "due_at": NOW, "task_type": 0},
        {"text": "Call", "due_at": NOW, "task_type": True},
        {"text": "Call", "due_at": NOW, "responsible_user_id": 0},
        {"text": "Call", "due_at": NOW, "entity": 31},
        {"text": "Call", "due_at": NOW, "responsible_user": 3},
    ],
)
def test_a_task_that_cannot_be_right_is_refused(kommo, send, given):
    with pytest.raises(RequestError):
        kommo.tasks.create(**given)
    assert send.calls == []


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ({"text": "Call"}, {"text": "Call"}),
        ({"due_in": timedelta(hours=1)}, {"complete_till": NOW_SECONDS + 3600}),
        ({"task_type": "meeting"}, {"task_type_id": 2}),
        ({"is_completed": True, "result": "Done"}, {"is_completed": True, "result": {"text": "Done"}}),
        ({"responsible_user_id": 8}, {"responsible_user_id": 8}),
    ],
)
def test_a_task_is_updated_with_what_changes(kommo, send, given, body):
    kommo.tasks.update(5, **given)
    assert send.calls == [("PATCH", f"{API}/tasks/5", None, body)]


@pytest.mark.parametrize("given", [{}, {"text": ""}, {"entity": ("lead", 1)}, {"is_complete": True}])
def test_a_task_update_that_cannot_be_right_is_refused(kommo, send, given):
    with pytest.raises(RequestError):
        kommo.tasks.update(5, **given)
    assert send.calls == []


def test_a_note_of_another_type_has_its_params(kommo, send):
    send.answers = [page("notes", [6])]
    params = {"uniq": "u-1", "duration": 60}
    kommo.notes.create(entity=("lead", 1), note_type="call_in", params=params, created_by=3)
    assert send.calls[0][3] == [{"note_type": "call_in", "params": params, "created_by": 3}]


def test_notes_of_an_entity_are_listed(kommo, send):
    send.answers = [page("notes", [6, 7])]
    walk = kommo.notes.list(entity=("lead", 1), page_size=50, filter={"note_type": ["common"]})
    assert [note["id"] for note in walk] == [6, 7]
    assert send.calls == [("GET", f"{API}/leads/1/notes", [("limit", "50"), ("filter[note_type][]", "common")], None)]


def test_a_note_may_be_as_long_as_kommo_takes_and_no_longer(kommo, send):
    send.answers = [page("notes", [6])]
    kommo.notes.create(entity=("lead", 1), text="x" * NOTE_LIMIT)
    for too_long in ({"text": "x" * (NOTE_LIMIT + 1)}, {"params": {"text": "x" * (NOTE_LIMIT + 1)}}):
        with pytest.raises(RequestError, match="20000 characters"):
            kommo.notes.create(entity=("lead", 1), **too_long)
    assert len(send.calls) == 1


@pytest.mark.parametrize(
    "given", [{}, {"text": ""}, {"text": None}, {"params": []}, {"text": "x", "note_type": ""}, {"texts": "x"}]
)
def test_a_note_that_cannot_be_right_is_refused(kommo, send, given):
    with pytest.raises(RequestError):
        kommo.notes.create(entity=("lead", 1), **given)
    with pytest.raises(RequestError):
        kommo.notes.update(("lead", 1), 6, **given)
    assert send.calls == []


HOOK = "https://hooks.example/webhooks/9/abc/"


def test_webhooks_are_listed_registered_and_removed(kommo, send):
    send.answers = [{"_embedded": {"webhooks": [{"id": 4}]}}, None, {"id": 4}, {"id": 4}, None]
    assert kommo.webhooks.list() == [{"id": 4}]
    assert kommo.webhooks.list(HOOK) == []
    assert kommo.webhooks.register(HOOK, ["add_lead"], sort=10) == {"id": 4}
    kommo.webhooks.register(HOOK, ("add_lead",))
    assert kommo.webhooks.remove(HOOK) is None
    path = f"{API}/webhooks"
    assert send.calls == [
        ("GET", path, None, None),
        ("GET", path, {"filter": {"destination": HOOK}}, None),
        ("POST", path, None, {"destination": HOOK, "settings": ["add_lead"], "sort": 10}),
        ("POST", path, None, {"destination": HOOK, "settings": ["add_lead"]}),
        ("DELETE", path, None, {"destination": HOOK}),
    ]


def test_webhooks_that_cannot_be_right_are_refused(kommo, send):
    for ask in (
        lambda: kommo.webhooks.register("hooks.example", ["add_lead"]),
        lambda: kommo.webhooks.register(HOOK, []),
        lambda: kommo.webhooks.register(HOOK, "add_lead"),
        lambda: kommo.webhooks.remove(""),
    ):
        with pytest.raises(RequestError):
            ask()
    assert send.calls == []


def test_any_other_call_can_be_made_by_its_path(kommo, send):
    assert kommo.call("GET", f"{API}/users", params={"limit": 5}) == {"id": 1}
    assert send.calls == [("GET", f"{API}/users", {"limit": 5}, None)]


def test_outside_a_handler_there_is_no_later(kommo):
    with pytest.raises(RequestError, match=r"kommo\.leads\.create"):
        _ = kommo.later
