"""The documents, compared with the code: what they name is there, and what is there they name."""

import configparser
import inspect
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import click
import pytest

from kommo.hooks.entities import (
    Attachment,
    Author,
    CatalogElement,
    Company,
    Contact,
    Customer,
    Lead,
    Message,
    Note,
    Talk,
    Task,
    TaskResult,
    Unsorted,
)
from kommo.hooks.events import ENTITY_CLASSES, EVENT_TYPES, Event
from kommo.hooks.fields import CustomField, FieldValue, Tag
from kommo.hooks.kinds import NOTE_TYPE_NAMES
from kommo.hooks.normalise import normalise
from kommo.router import ATTEMPTS, RESERVED, TIMEOUT_SECONDS, Router
from kommo.settings import Settings
from kommo.variables import ALL_WEBHOOK_EVENTS, Variables
from receiver.cli.accounts import SECRET_VARIABLE, TOKEN_VARIABLE, accounts
from receiver.cli.webhooks import webhooks
from tests.unit.pages import (
    FENCE,
    LINK,
    PAGES,
    ROOT,
    Block,
    anchors,
    code_in,
    commands,
    page,
    prose,
    python_blocks,
    rows,
    tables,
)

BLOCKS = list(python_blocks())


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_a_heading_of_it(path: Path) -> None:
    links = [link for link in LINK.findall(prose(path.read_text("utf-8"))) if "://" not in link]
    for link in links:
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{link}: there is no such file"
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), f"{link}: there is no such heading"


def test_every_document_is_linked_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in LINK.findall(page("README.md"))}
    assert set(PAGES) - {ROOT / "README.md"} <= linked


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}-{block.number}")
def test_every_block_of_python_runs_registers_its_handlers_and_passes_its_own_tests(block: Block) -> None:
    module = block.run()
    if "router" in vars(module):
        assert isinstance(module.router, Router)
        assert module.router.handlers
    for name, thing in vars(module).items():
        if name.startswith("test_"):
            thing()


def test_some_block_defines_a_router_and_some_block_tests_it() -> None:
    assert any("router = Router()" in block.source for block in BLOCKS if block.page == "README.md")
    assert any("def test_" in block.source for block in BLOCKS if block.page == "docs/handlers.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", page("Makefile"), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)", commands(path.read_text("utf-8")), re.MULTILINE))
    assert targets
    assert named <= targets


#: The commands of `kommo` that have commands of their own.
GROUPS: Mapping[str, click.Group] = {"accounts": accounts, "webhooks": webhooks}


def _entry_points() -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    entries = config["options.entry_points"]["kommo.commands"]
    return {line.partition("=")[0].strip() for line in entries.splitlines() if line.strip()}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_command_of_kommo_that_is_named_exists(path: Path) -> None:
    for command, sub in re.findall(r"(?:^|[\s/])kommo ([a-z]+)(?: ([a-z-]+))?", commands(path.read_text("utf-8"))):
        assert command in _entry_points(), f"kommo {command}"
        if command in GROUPS and sub:
            assert sub in GROUPS[command].commands, f"kommo {command} {sub}"


def test_every_command_of_kommo_is_named_somewhere() -> None:
    everything = "\n".join(commands(path.read_text("utf-8")) for path in PAGES)
    subs = [f"{command} {sub}" for command, group in GROUPS.items() for sub in group.commands]
    assert {command for command in [*_entry_points(), *subs] if f"kommo {command}" not in everything} == set()


@pytest.mark.parametrize("name", ["README.md", "docs/run-a-fleet.md"])
def test_the_processes_are_started_as_the_procfile_says(name: str) -> None:
    for line in page("Procfile").splitlines():
        assert line.partition(": ")[2] in page(name)


def test_the_folders_of_the_readme_are_there() -> None:
    (tree,) = [block for language, block in FENCE.findall(page("README.md")) if not language]
    assert all((ROOT / line.split()[0]).is_dir() for line in tree.splitlines())


# Settings


def _variables() -> Mapping[str, str]:
    """The attribute in Settings by the name of the variable."""
    return {str(field.data_key): attribute for attribute, field in Variables().fields.items()}


def _settings_rows() -> dict[str, str]:
    return {
        code_in(name)[0]: default for name, default, _ in rows("docs/settings.md", "variable", "default", "what it is")
    }


def test_every_variable_is_on_the_page_of_settings_and_no_other() -> None:
    assert set(_settings_rows()) == set(_variables())


def test_the_defaults_on_the_page_are_those_of_the_code() -> None:
    written = {name: code_in(default)[0] for name, default in _settings_rows().items() if "`" in default}
    written.pop("KOMMO_BROKER_URL")
    assert {"KOMMO_RETENTION", "KOMMO_RATE_LIMITS"} < set(written)
    loaded = Variables().load(written)
    assert loaded == {_variables()[name]: getattr(Settings(), _variables()[name]) for name in written}


def test_the_example_environment_names_only_variables_that_are_read() -> None:
    assert set(re.findall(r"^(\w+)=", page(".env.example"), re.MULTILINE)) <= set(_variables())


def test_every_other_name_of_ours_that_a_page_gives_is_read_somewhere() -> None:
    named = {name for path in PAGES for name in re.findall(r"\bKOMMO_[A-Z_]+\b", path.read_text("utf-8"))}
    later = set(code_in(page("docs/settings.md").partition("## Names kept for later")[2]))
    assert named - set(_variables()) - later == {SECRET_VARIABLE, TOKEN_VARIABLE}


def test_names_kept_for_later_are_taken_without_a_warning() -> None:
    later = code_in(page("docs/settings.md").partition("## Names kept for later")[2])
    assert later
    assert Settings.from_environ(dict.fromkeys(later, "given")).unknown == ()


# Events

EVENT_ROWS = rows("docs/events.md", "event", "made by", "subscribe")
CARDS = (Lead, Contact, Company, Customer)
SHARED = set.intersection(*({field.name for field in fields(card)} for card in CARDS))
#: Which classes' fields stand under a heading, in the order of the tables.
CLASSES: Mapping[str, list[type]] = {
    "Lead": [Lead],
    "Contact": [Contact],
    "Customer": [Customer],
    "Fields of every card": [Company],
    "Custom fields and tags": [CustomField, FieldValue, Tag],
    "Task": [Task, TaskResult],
    "Note": [Note],
    "Message": [Message, Author, Attachment],
    "Talk": [Talk],
    "Incoming lead": [Unsorted],
    "Catalog element": [CatalogElement],
}


def _shown(annotation: Any) -> str:
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return " or ".join(_kind(kind) for kind in kinds if kind is not NoneType)


def _kind(kind: Any) -> str:
    if kind is Any:
        return "any"
    if get_origin(kind) is tuple:
        return f"tuple of `{get_args(kind)[0].__name__}`"
    return "`dict`" if get_origin(kind) is not None else f"`{kind.__name__}`"


def _expected(entity_class: type, heading: str) -> list[tuple[str, str]]:
    elsewhere = SHARED if entity_class in CARDS and heading != "Fields of every card" else set()
    return [(f"`{field.name}`", _shown(field.type)) for field in fields(entity_class) if field.name not in elsewhere]


def test_every_type_of_event_is_on_the_page_of_events_and_no_other() -> None:
    named = [code_in(event)[0] for event, *_ in EVENT_ROWS]
    assert sorted(named) == sorted(EVENT_TYPES)


@pytest.mark.parametrize("row", EVENT_ROWS, ids=lambda row: row[0].strip("`"))
def test_each_form_that_the_page_gives_for_an_event_makes_it(row: tuple[str, ...]) -> None:
    event, made_by, _ = row
    alternatives = [code_in(alternative) for alternative in made_by.split(";")]
    for form, *pairs in filter(None, alternatives):
        items = [f"{form}[0][{name}]={value}" for name, value in (pair.split("=") for pair in ["id=7", *pairs])]
        made = normalise("&".join(items).encode(), content_type=None, account_id=1, delivery_id="d")
        assert event.strip("`") in [one.type for one in made], form


def test_only_the_event_that_nothing_makes_has_no_form() -> None:
    assert [event for event, made_by, _ in EVENT_ROWS if not code_in(made_by)] == ["`account.disconnected`"]


def test_what_can_be_subscribed_to_is_named_and_nothing_else() -> None:
    assert {name for *_, cell in EVENT_ROWS for name in code_in(cell)} == set(ALL_WEBHOOK_EVENTS)


@pytest.mark.parametrize("heading", CLASSES)
def test_every_field_of_an_entity_is_on_the_page_with_its_type(heading: str) -> None:
    shown = [
        table.rows
        for table in tables(page("docs/events.md"))
        if (table.heading, table.columns[0]) == (heading, "field")
    ]
    assert [[row[:2] for row in table] for table in shown] == [_expected(one, heading) for one in CLASSES[heading]]


def test_no_typed_entity_is_left_out() -> None:
    assert set(ENTITY_CLASSES.values()) <= {one for classes in CLASSES.values() for one in classes}


def test_what_every_event_has_is_on_the_page() -> None:
    shown = {
        code_in(cell)[0].removeprefix("event.") for cell, *_ in rows("docs/events.md", "attribute", "type", "meaning")
    }
    own = {field.name for field in fields(Event)}
    assert own | {"previous", "entity", "parent", "as_dict()"} == shown
    assert all(hasattr(Event, name.removesuffix("()")) for name in shown - own)


def test_the_names_of_note_types_are_on_the_page() -> None:
    listed = page("docs/events.md").partition("Names of note types:")[2].partition("\n\n")[0]
    assert set(code_in(listed.replace("\n", " "))) == NOTE_TYPE_NAMES


# Handlers


def test_every_option_of_a_handler_is_on_the_page_of_handlers_with_its_default() -> None:
    shown = {
        code_in(option)[0]: default for option, default, _ in rows("docs/handlers.md", "option", "default", "meaning")
    }
    parameters = inspect.signature(Router.on).parameters.values()
    assert set(shown) == {f"{one.name}=" for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}
    assert (shown["attempts="], shown["timeout="]) == (str(ATTEMPTS), f"{TIMEOUT_SECONDS:g} s")


def test_options_of_later_releases_are_called_so() -> None:
    (sentence,) = re.findall(r"^.*are kept for later releases.*$", page("docs/handlers.md"), re.MULTILINE)
    assert set(code_in(sentence)) == {f"{name}=" for name in RESERVED}
