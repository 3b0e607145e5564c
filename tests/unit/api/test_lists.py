"""Every list takes the same options: pages, filters, order, and since when."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from kommo.api.client import Client
from kommo.errors import RequestError

API = "/api/v4"
MOMENT = datetime(2026, 5, 6, 12, 30, tzinfo=timezone(timedelta(hours=2)))

#: Each list with the path and the key of its members, and the size of its pages when nobody asks for one.
LISTS = {
    "leads": (lambda kommo: kommo.leads, "leads", "leads", "250"),
    "contacts": (lambda kommo: kommo.contacts, "contacts", "contacts", "250"),
    "companies": (lambda kommo: kommo.companies, "companies", "companies", "250"),
    "customers": (lambda kommo: kommo.customers, "customers", "customers", "250"),
    "tasks": (lambda kommo: kommo.tasks, "tasks", "tasks", "250"),
    "tags": (lambda kommo: kommo.tags.of("lead"), "leads/tags", "tags", "250"),
    "fields": (lambda kommo: kommo.custom_fields.of("contacts"), "contacts/custom_fields", "custom_fields", "50"),
    "groups": (
        lambda kommo: kommo.custom_fields.groups("leads"),
        "leads/custom_fields/groups",
        "custom_field_groups",
        None,
    ),
    "pipelines": (lambda kommo: kommo.pipelines, "leads/pipelines", "pipelines", None),
    "stages": (lambda kommo: kommo.pipelines.stages(11), "leads/pipelines/11/statuses", "statuses", None),
    "users": (lambda kommo: kommo.users, "users", "users", "250"),
    "roles": (lambda kommo: kommo.roles, "roles", "roles", "250"),
    "events": (lambda kommo: kommo.events, "events", "events", "100"),
    "catalogs": (lambda kommo: kommo.catalogs, "catalogs", "catalogs", "250"),
    "elements": (lambda kommo: kommo.catalogs.elements(5), "catalogs/5/elements", "elements", "250"),
    "list fields": (lambda kommo: kommo.catalogs.fields(5), "catalogs/5/custom_fields", "custom_fields", "50"),
    "sources": (lambda kommo: kommo.sources, "sources", "sources", None),
}


@pytest.fixture
def kommo(send):
    return Client(send, account_id=9)


def page(resource, ids, following=None):
    links = {"next": {"href": following}} if following else {}
    return {"_links": links, "_embedded": {resource: [{"id": id_} for id_ in ids]}}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_goes_through_all_pages(kommo, send, name):
    of, path, resource, size = LISTS[name]
    send.answers = [page(resource, [1, 2], f"{API}/{path}?page=2"), page(resource, [3])]
    walk = of(kommo).list()
    assert send.calls == []
    assert [member["id"] for member in walk] == [1, 2, 3]
    assert send.calls == [
        ("GET", f"{API}/{path}", [("limit", size)] if size else [], None),
        ("GET", f"{API}/{path}", [("page", "2")], None),
    ]
    assert send.headers == [None, None]


@pytest.mark.parametrize("name", LISTS)
def test_a_page_is_that_page_and_no_other(kommo, send, name):
    of, path, resource, _ = LISTS[name]
    send.answers = [page(resource, [4], f"{API}/{path}?page=4")]
    assert [member["id"] for member in of(kommo).list(page=3, limit=1)] == [4]
    assert send.calls == [("GET", f"{API}/{path}", [("limit", "1"), ("page", "3")], None)]


@pytest.mark.parametrize("name", LISTS)
def test_options_become_parameters(kommo, send, name):
    of, _, resource, _ = LISTS[name]
    send.answers = [page(resource, [])]
    list(of(kommo).list(limit=9, with_=["a", "b"], query="x", filter={"id": 5}, order={"id": "asc"}, other=1))
    assert send.calls[0][2] == [
        ("limit", "9"), ("with", "a,b"), ("query", "x"), ("filter[id]", "5"), ("other", "1"), ("order[id]", "asc"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_since_when_goes_along_with_every_page(kommo, send, name):
    of, path, resource, _ = LISTS[name]
    send.answers = [page(resource, [1], f"{API}/{path}?page=2"), page(resource, [2])]
    assert len(list(of(kommo).list(if_modified_since=MOMENT))) == 2
    assert send.headers == [{"If-Modified-Since": "Wed, 06 May 2026 10:30:00 GMT"}] * 2


def test_nothing_new_is_nothing(kommo, send):
    send.answers = [None]
    assert list(kommo.leads.list(if_modified_since=MOMENT)) == []
    assert len(send.calls) == 1


def test_notes_take_the_same_options(kommo, send):
    send.answers = [page("notes", [1])]
    options = {"page": 2, "limit": 5, "with_": "x", "filter": {"id": [1]}, "order": {"id": "desc"}}
    assert len(list(kommo.notes.list(entity="leads", if_modified_since=MOMENT, **options))) == 1
    params = [("limit", "5"), ("page", "2"), ("with", "x"), ("filter[id][]", "1"), ("order[id]", "desc")]
    assert send.calls == [("GET", f"{API}/leads/notes", params, None)]
    assert send.headers == [{"If-Modified-Since": "Wed, 06 May 2026 10:30:00 GMT"}]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "options",
    [
        {"page": 0},
        {"page": "2"},
        {"limit": 0},
        {"limit": 501},
        {"page_size": 501},
        {"limit": 5, "page_size": 5},
        {"order": {"id": "up"}},
        {"if_modified_since": datetime(2026, 5, 6)},  # noqa: DTZ001 - naive is the point
        {"if_modified_since": 5},
    ],
)
def test_options_that_cannot_be_right_are_refused_where_they_are_given(kommo, send, name, options):
    with pytest.raises(RequestError):
        LISTS[name][0](kommo).list(**options)
    assert send.calls == []


@pytest.mark.parametrize("name", sorted(LISTS.keys() - {"customers"}))
def test_a_page_has_250_members_at_most(kommo, name):
    LISTS[name][0](kommo).list(limit=250)
    with pytest.raises(RequestError, match="1 to 250"):
        LISTS[name][0](kommo).list(limit=251)


def test_a_page_of_customers_has_500(kommo, send):
    send.answers = [page("customers", [])]
    assert list(kommo.customers.list(limit=500)) == []


@pytest.mark.parametrize("name", sorted(LISTS.keys() - {"tasks", "tags", "groups", "events"}))
def test_one_member_is_read_by_its_id(kommo, send, name):
    of, path, *_ = LISTS[name]
    send.answers = [{"id": 7}]
    assert of(kommo).get(7, with_="x") == {"id": 7}
    assert send.calls == [("GET", f"{API}/{path}/7", {"with": "x"}, None)]


def test_a_moment_in_utc_is_sent_as_it_is(kommo, send):
    send.answers = [None]
    list(kommo.tasks.list(if_modified_since=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)))
    assert send.headers == [{"If-Modified-Since": "Fri, 02 Jan 2026 03:04:05 GMT"}]


@pytest.mark.parametrize("entity_type", ["lead", "leads", "contact", "companies", "customer"])
def test_an_entity_is_named_in_the_singular_or_plural(kommo, entity_type):
    assert kommo.tags.of(entity_type) is not None
    assert kommo.custom_fields.of(entity_type) is not None


@pytest.mark.parametrize(
    ("entity_type", "sentence"), [("tasks", "leads"), ("leds", "did you mean leads"), (None, "leads")]
)
def test_another_entity_has_neither_tags_nor_fields(kommo, entity_type, sentence):
    for of in (kommo.tags.of, kommo.custom_fields.of, kommo.custom_fields.groups):
        with pytest.raises(RequestError, match=sentence):
            of(entity_type)
