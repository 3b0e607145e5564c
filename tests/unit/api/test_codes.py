"""The vendor's list of numeric codes: all of them, each in its section."""

import re

import pytest

from kommo.api.codes import CODES, Code, Section, code_of, section_of
from kommo.errors import Action

#: The list of https://www.amocrm.com/developers/content/api/errors/, typed from the page and not from the code.
LISTED = {
    "authorization": [110, 111, 112, 113, 101, 401],
    "account": [101, 102, 103, 104],
    "contacts": [*range(201, 213), 219],
    "leads": [213, 214, 215, 216, 217, 240],
    "events": [218, 221, 226, 244, 222, 223, 224, 225],
    "tasks": [*range(227, 239), 244],
    "catalogs": [405, 222, 244, 281, 282, 283, 284, 285],
    "catalog_elements": [405, 203, 204, 222, 244, 280, 282, 283, 284, 285],
    "customers": [288, 402, 425, 426],
    "other": [400, 402, 403, 429, 2002],
}

PATHS = {
    "/oauth2/access_token": Section.AUTHORIZATION,
    "/oauth2/account/current/subdomain": Section.ACCOUNT,
    "/api/v4/account": Section.ACCOUNT,
    "/api/v4/contacts": Section.CONTACTS,
    "/api/v4/companies/5": Section.CONTACTS,
    "/api/v4/leads": Section.LEADS,
    "/api/v4/leads/complex": Section.LEADS,
    "/api/v4/leads/pipelines/3/statuses/142": Section.LEADS,
    "/api/v4/leads/5/notes": Section.EVENTS,
    "/api/v4/contacts/notes": Section.EVENTS,
    "/api/v4/events": Section.EVENTS,
    "/api/v4/tasks/5": Section.TASKS,
    "/api/v4/catalogs/3/custom_fields": Section.CATALOGS,
    "/api/v4/catalogs/3/elements/4": Section.CATALOG_ELEMENTS,
    "/api/v2/catalog_elements": Section.CATALOG_ELEMENTS,
    "/api/v4/customers/transactions": Section.CUSTOMERS,
    "/api/v4/users": Section.OTHER,
    "/api/v4/webhooks": Section.OTHER,
    "/leadsandmore": Section.OTHER,
    "": Section.OTHER,
}


def test_every_code_of_the_list_is_there_and_one_that_users_saw():
    listed = {(section, number) for section, numbers in LISTED.items() for number in numbers}
    assert len(listed) == sum(map(len, LISTED.values())) == 77
    assert set(CODES) - listed == {("leads", 244)}
    assert listed <= set(CODES)


def test_every_code_lies_under_its_own_section_and_number():
    assert all(key == (code.section, code.number) for key, code in CODES.items())


def test_names_are_identifiers_and_differ_within_a_section():
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code.name) for code in CODES.values())
    assert len({(code.section, code.name) for code in CODES.values()}) == len(CODES)


def test_meanings_are_one_english_line_that_fits_into_a_sentence():
    for code in CODES.values():
        assert code.meaning.isascii()
        assert code.meaning[-1] not in ".!"
        assert 10 < len(code.meaning) < 90


def test_numbers_that_repeat_mean_something_else_in_each_section():
    for number in (222, 204, 402):
        meanings = [code.meaning for code in CODES.values() if code.number == number]
        assert len(set(meanings)) == len(meanings) > 1


def test_what_is_passing_is_tried_again():
    again = {(code.section.value, code.number) for code in CODES.values() if code.action is Action.REPEAT}
    assert again == {
        ("contacts", 203),
        ("contacts", 210),
        ("contacts", 219),
        ("catalogs", 281),
        ("catalog_elements", 203),
    }


def test_two_codes_are_no_errors():
    done = {(code.section.value, code.number) for code in CODES.values() if code.action is Action.DONE}
    assert done == {("catalog_elements", 280), ("other", 2002)}


def test_a_new_token_mends_three_of_the_six_codes_of_authorization():
    actions = {number: CODES[Section.AUTHORIZATION, number].action for number in LISTED["authorization"]}
    assert actions == {
        **dict.fromkeys([110, 101, 401], Action.RENEW),
        **dict.fromkeys([111, 112, 113], Action.PARK),
    }


@pytest.mark.parametrize(("path", "section"), PATHS.items())
def test_the_section_is_found_in_the_path(path, section):
    assert section_of(path) is section


@pytest.mark.parametrize(
    ("path", "number", "status", "found"),
    [
        ("/api/v4/contacts", 203, 400, (Section.CONTACTS, 203)),
        ("/api/v4/catalogs/1/elements", 203, 400, (Section.CATALOG_ELEMENTS, 203)),
        ("/api/v4/leads/5/notes", 222, 400, (Section.EVENTS, 222)),
        ("/api/v4/catalogs", 222, 400, (Section.CATALOGS, 222)),
        ("/api/v4/account", 101, 404, (Section.ACCOUNT, 101)),
        ("/api/v4/account", 101, 401, (Section.AUTHORIZATION, 101)),
        ("/api/v4/leads", 113, 403, (Section.AUTHORIZATION, 113)),
        ("/api/v4/catalogs", 244, 403, (Section.CATALOGS, 244)),
        ("/api/v4/customers", 402, 402, (Section.CUSTOMERS, 402)),
        ("/api/v4/leads", 402, 402, (Section.OTHER, 402)),
        ("/api/v4/leads", 2002, 204, (Section.OTHER, 2002)),
        ("/api/v4/tasks", 429, 429, (Section.OTHER, 429)),
    ],
)
def test_a_number_is_looked_up_where_it_belongs(path, number, status, found):
    assert code_of(path, number, status) is CODES[found]


@pytest.mark.parametrize(
    ("path", "number", "status"),
    [("/api/v4/leads", 203, 400), ("/api/v4/users", 222, 400), ("/api/v4/leads", 110, 400), ("/x", 0, 401)],
)
def test_a_number_of_another_section_is_unknown(path, number, status):
    assert code_of(path, number, status) is None


def test_the_list_cannot_be_changed():
    with pytest.raises(TypeError):
        CODES[Section.OTHER, 1] = Code(Section.OTHER, 1, "x", "x")
