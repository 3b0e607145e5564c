"""Links between entities: what can stand at their ends, and what is said of them."""

import pytest

from kommo.api.client import Client
from kommo.api.entities import Reference
from kommo.errors import RequestError
from kommo.hooks.entities import CatalogElement

API = "/api/v4"
LINKS = {"_embedded": {"links": [{"to_entity_id": 5, "to_entity_type": "contacts", "metadata": None}]}}


@pytest.fixture
def kommo(send):
    send.answers = [LINKS]
    return Client(send, account_id=9)


ENDS = [
    ({"to": ("contact", 5)}, [{"to_entity_id": 5, "to_entity_type": "contacts"}]),
    ({"to": ["companies", 5]}, [{"to_entity_id": 5, "to_entity_type": "companies"}]),
    (
        {"to": [("contact", 5), ("company", 6)]},
        [{"to_entity_id": 5, "to_entity_type": "contacts"}, {"to_entity_id": 6, "to_entity_type": "companies"}],
    ),
    (
        {"to": ("contact", 5), "is_main": True},
        [{"to_entity_id": 5, "to_entity_type": "contacts", "metadata": {"is_main": True}}],
    ),
    (
        {"to": ("catalog_element", 7), "catalog_id": 12, "quantity": 3},
        [{"to_entity_id": 7, "to_entity_type": "catalog_elements", "metadata": {"catalog_id": 12, "quantity": 3}}],
    ),
    (
        {"to": ("catalog_elements", 7), "catalog_id": 12, "price_id": 9},
        [{"to_entity_id": 7, "to_entity_type": "catalog_elements", "metadata": {"catalog_id": 12, "price_id": 9}}],
    ),
    (
        {"to": CatalogElement(id=7, catalog_id=12), "quantity": 0.5},
        [{"to_entity_id": 7, "to_entity_type": "catalog_elements", "metadata": {"catalog_id": 12, "quantity": 0.5}}],
    ),
]


@pytest.mark.parametrize(("given", "ends"), ENDS)
def test_an_entity_is_linked_to_others(kommo, send, given, ends):
    assert kommo.leads.link(31, **given) == LINKS["_embedded"]["links"]
    assert send.calls == [("POST", f"{API}/leads/31/link", None, ends)]


@pytest.mark.parametrize(
    ("resource", "to", "path"),
    [
        ("contacts", ("company", 6), "contacts/31"),
        ("companies", ("lead", 6), "companies/31"),
        ("customers", ("contact", 6), "customers/31"),
    ],
)
def test_contacts_companies_and_customers_are_linked_too(kommo, send, resource, to, path):
    getattr(kommo, resource).link(31, to=to)
    assert send.calls[0][1] == f"{API}/{path}/link"


def test_an_event_stands_for_its_entity(kommo, send, event):
    kommo.leads.link(31, to=event("contact.added", 40))
    assert send.calls[0][3] == [{"to_entity_id": 40, "to_entity_type": "contacts"}]


def test_a_link_is_taken_away(kommo, send):
    send.answers = [None]
    assert kommo.leads.unlink(31, to=("contact", 5)) is None
    kommo.leads.unlink(31, to=("catalog_element", 7), catalog_id=12)
    element = {"to_entity_id": 7, "to_entity_type": "catalog_elements", "metadata": {"catalog_id": 12}}
    assert [call[1:] for call in send.calls] == [
        (f"{API}/leads/31/unlink", None, [{"to_entity_id": 5, "to_entity_type": "contacts"}]),
        (f"{API}/leads/31/unlink", None, [element]),
    ]


@pytest.mark.parametrize(
    ("given", "params"),
    [
        ({}, []),
        ({"to": ("contact", 5)}, [("filter[to_entity_id]", "5"), ("filter[to_entity_type]", "contacts")]),
        ({"catalog_id": 12}, [("filter[to_catalog_id]", "12")]),
    ],
)
def test_links_are_listed(kommo, send, given, params):
    assert kommo.leads.links(31, **given) == LINKS["_embedded"]["links"]
    assert send.calls == [("GET", f"{API}/leads/31/links", params, None)]


def test_no_links_are_an_empty_list(kommo, send):
    send.answers = [None]
    assert kommo.contacts.links(31) == []


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        (("lead", 5), "not to 'lead'"),
        (("task", 5), "not to 'task'"),
        (("contact", 0), "positive"),
        (("contact", Reference("w", kind="contact")), "not there yet"),
        (("catalog_element", 7), "catalog_id="),
        ([], "nothing"),
        (None, "entity="),
        (31, "entity="),
    ],
)
def test_what_cannot_be_linked_is_refused(kommo, send, to, sentence):
    for ask in (kommo.leads.link, kommo.leads.unlink):
        with pytest.raises(RequestError, match=sentence):
            ask(31, to=to)
    assert send.calls == []


def test_an_entity_that_is_not_there_yet_cannot_be_linked_now(kommo, send):
    with pytest.raises(RequestError):
        kommo.leads.link(Reference("w", kind="lead"), to=("contact", 5))
    assert send.calls == []
