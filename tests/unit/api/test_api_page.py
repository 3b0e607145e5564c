"""The page about the client says what the client does: its examples run, its tables are complete."""

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from kommo.api import bounds, constants
from kommo.api.client import Client
from kommo.api.later import Later, Step
from kommo.hooks.fields import custom_fields

TEXT = (Path(__file__).parents[3] / "docs" / "api.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def table(heading):
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return rows[2:]


def examples():
    for number, source in enumerate(BLOCKS):
        module = ModuleType(f"api_{number}")
        exec(compile(source, f"docs/api.md#{number}", "exec"), module.__dict__)  # noqa: S102 - our own page
        yield from (
            thing
            for thing in vars(module).values()
            if inspect.isfunction(thing) and thing.__module__ == module.__name__
        )


EXAMPLES = {function.__name__: function for function in examples()}


class Obliging:
    """Answers what the examples ask; the account's names come from `account`."""

    def __init__(self, account):
        self.account = account
        account.lists["/api/v4/leads/custom_fields"][1].append({"id": 7, "name": "Delivery days"})

    def __call__(self, method, path, _params, json, _headers=None):
        resource = (
            path.rpartition("/")[2].replace("link", "links") if path.endswith("/link") else path.rpartition("/")[2]
        )
        if method == "GET" and path in self.account.lists:
            listed, items = self.account.lists[path]
            rights = {"rights": {"is_admin": True}}
            return {"_embedded": {listed: [{**item, **rights} for item in items]}}
        if method == "GET":
            return {"id": 31, "_embedded": {resource: [{"id": 31, "name": "N", "entity_id": 5}]}}
        if path.endswith("/complex"):
            return [{"id": 71, "contact_id": 5, "request_id": ["0"]}]
        if isinstance(json, list):
            made = [{"id": 70 + place, "request_id": str(place)} for place, _ in enumerate(json)]
            return {"_embedded": {resource: made}}
        return {"id": 70}


@pytest.fixture
def kommo(account):
    return Client(Obliging(account), account_id=9, later=Later(Step(account_id=9, event_id="e", handler="h")))


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {"phone_of"}))
def test_every_example_is_taken(kommo, event, name, capsys):
    function = EXAMPLES[name]
    wanted = {"kommo": kommo, "event": event()}
    function(**{parameter: wanted[parameter] for parameter in inspect.signature(function).parameters})
    assert capsys.readouterr().err == ""


def test_the_example_of_an_event_reads_its_field(event):
    raw = [{"id": "5", "name": "Телефон", "code": "PHONE", "values": [{"value": "+372 5"}]}]
    assert custom_fields(raw)["Phone"].value == "+372 5"
    assert EXAMPLES["phone_of"](event("contact.added", custom_fields=raw)) == "+372 5"
    assert EXAMPLES["phone_of"](event("contact.added")) is None


def public(thing):
    return {name for name, _ in inspect.getmembers(thing, inspect.ismethod) if not name.startswith("_")}


ROWS = [row for row in table("What there is") if "`list`" in row[1] or "`create`" in row[1] or "`refresh`" in row[1]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_table_names_every_method_and_no_other(kommo, row):
    thing = eval(f"kommo.{row[0].strip('`')}", {"kommo": kommo})  # noqa: S307 - our own page
    assert set(re.findall(r"`(\w+)`", row[1])) == public(thing) - {"known_pipelines"}


def test_what_is_the_same_without_complex_is():
    client = Client(lambda *_: None, account_id=9)
    for same in (client.contacts, client.companies, client.customers):
        assert public(same) == public(client.leads) - {"complex"}


def test_the_table_names_every_part_of_the_client(kommo):
    named = {name for row in table("What there is") for name in re.findall(r"`(\w+)", row[0])}
    parts = {name for name in dir(kommo) if not name.startswith("_")} - {"later", "account_id"}
    assert named == parts


def test_the_limits_are_those_that_are_checked():
    listed = [int(row[0]) for row in table("Limits")]
    assert listed == [
        bounds.PAGE_LIMIT,
        bounds.WIDE_PAGE_LIMIT,
        bounds.BATCH_LIMIT,
        bounds.USERS_BATCH,
        bounds.COMPLEX_LIMIT,
        bounds.COMPLEX_VALUES_LIMIT,
        bounds.NOTE_LIMIT,
        bounds.PIPELINE_LIMIT,
        bounds.STAGE_LIMIT,
        bounds.WEBHOOK_LIMIT,
        bounds.SOURCE_LIMIT,
        bounds.CATALOG_LIMIT,
    ]


@pytest.mark.parametrize("name", ["TaskType", "NoteType", "StageColor", "FieldType", "EntityType"])
def test_every_constant_is_named(name):
    (row,) = [row for row in table("Constants") if row[0] == f"`{name}`"]
    assert re.findall(r"`(\w+)`", row[1]) == [member.name for member in getattr(constants, name)]
