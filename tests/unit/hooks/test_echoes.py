"""Own writes come back as webhooks: which events are echoes, and that nothing of anybody else's is held back."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kommo.hooks.echoes import Entry, case_of, judge
from kommo.hooks.echoes.ledger import LIFE_MS, SKEW_MS
from sandbox import changes
from sandbox.directory import PIPELINES, WON
from sandbox.notices import Notice
from sandbox.payloads import crm
from sandbox.state import Json, Record
from tests.unit.hooks.deliveries import CASES, body_of, events_in
from tests.unit.hooks.echoing import NOW, SOMEBODY, Account, an_account, verdicts

PIPELINE = PIPELINES[0].id
STAGES = [stage.id for stage in PIPELINES[0].stages]
OTHER = 7_100_002


def field(field_id: int, *values: Any) -> Json:
    """A custom field as the API takes it."""
    return {"custom_fields_values": [{"field_id": field_id, "values": [*values] or None}]}


#: What can be written to an entity, in the forms that the API takes.
WRITES: list[tuple[str, Json]] = [
    ("leads", {"name": "Oven, large"}),
    ("leads", {"name": " Tea &amp; cake "}),
    ("leads", {"price": 1200}),
    ("leads", {"status_id": STAGES[2]}),
    ("leads", {"status_id": WON, "pipeline_id": PIPELINE}),
    ("leads", {"responsible_user_id": OTHER}),
    ("leads", {"price": 7, "name": "Both", "status_id": STAGES[1], "responsible_user_id": OTHER}),
    ("leads", {"tags_to_add": [{"name": "won"}, {"name": "large"}]}),
    ("leads", {"_embedded": {"tags": [{"name": "won"}]}}),
    ("leads", field(771_101, {"value": "newsletter"})),
    ("leads", {"custom_fields_values": [{"field_code": "REFERRER", "values": [{"value": "a friend"}]}]}),
    ("leads", field(771_103, {"value": 12.50})),
    ("leads", field(771_104, {"value": True})),
    ("leads", field(771_104, {"value": False})),
    ("leads", field(771_105, {"value": NOW})),
    ("leads", field(771_106, {"enum_id": 908_202})),
    ("leads", field(771_106, {"value": "Courier"})),
    ("leads", field(771_107, {"enum_id": 908_211})),
    ("leads", field(771_108, {"enum_id": 908_222}, {"enum_id": 908_221})),
    ("contacts", {"name": "Ida Berg"}),
    ("contacts", {"first_name": "Ida", "last_name": "Berg"}),
    ("contacts", {"responsible_user_id": OTHER}),
    ("contacts", field(771_201, {"value": "+351 21 000 00 00", "enum_code": "MOB"})),
    ("contacts", field(771_204, {"value": NOW - NOW % 86_400})),
    ("companies", {"name": "Bakers & Sons", "tags_to_add": [{"name": "b2b"}]}),
    ("companies", field(771_301, {"value": "https://bakers.example/"})),
    ("tasks", {"text": "Call again"}),
    ("tasks", {"complete_till": NOW + 86_400}),
    ("tasks", {"is_completed": True, "result": {"text": "Reached"}}),
    ("tasks", {"is_completed": True}),
    ("tasks", {"responsible_user_id": OTHER, "task_type_id": 2}),
]
write_ids = [f"{kind}-{'-'.join(patch)}-{number}" for number, (kind, patch) in enumerate(WRITES)]


class TestOwnWrites:
    @pytest.mark.parametrize(("kind", "patch"), WRITES, ids=write_ids)
    def test_one_is_an_echo_although_nothing_was_seen_of_the_entity_before(self, kind: str, patch: Json) -> None:
        account, record = an_account(kind)
        told = account.deliver(account.write(record, patch))
        assert told
        assert {event.is_echo for event in told} == {True}

    @pytest.mark.parametrize(("kind", "patch"), WRITES, ids=write_ids)
    def test_one_is_an_echo_where_the_entity_was_seen_and_so_is_its_repetition(self, kind: str, patch: Json) -> None:
        account, record = an_account(kind)
        account.deliver(account.change(record, {}))
        for _ in range(2):
            account.now += 5
            told = account.deliver(account.write(record, patch))
            assert {event.is_echo for event in told} == {True}

    @pytest.mark.parametrize(("kind", "patch"), WRITES, ids=write_ids)
    @pytest.mark.parametrize("seen", [True, False])
    def test_the_same_change_by_somebody_else_is_none(self, kind: str, patch: Json, *, seen: bool) -> None:
        account, record = an_account(kind)
        if seen:
            account.deliver(account.change(record, {}))
            account.now += 5
        told = account.deliver(account.change(record, patch))
        assert {event.is_echo for event in told} == {False}

    @pytest.mark.parametrize(("kind", "patch"), WRITES, ids=write_ids)
    def test_it_is_used_up_by_its_webhook(self, kind: str, patch: Json) -> None:
        account, record = an_account(kind)
        account.deliver(account.write(record, patch))
        account.now += 5
        undone = account.deliver(account.change(record, _opposite(kind, patch)))
        account.now += 5
        again = account.deliver(account.change(record, patch))
        assert {event.is_echo for event in [*undone, *again]} == {False}

    @pytest.mark.parametrize("action", ["update", "status", "responsible"])
    def test_each_report_of_it_is_an_echo(self, action: str) -> None:
        account, lead = an_account()
        notices = account.write(lead, {"status_id": STAGES[3], "responsible_user_id": OTHER})
        first = account.deliver(notices)
        late = account.deliver([one for one in notices if one.action == action])
        assert len(first) == 4
        assert all(event.is_echo for event in [*first, *late])

    def test_removing_a_tag_by_its_id_is_one_where_the_tag_was_seen(self) -> None:
        account, lead = an_account()
        account.deliver(account.change(lead, {"tags_to_add": [{"name": "new"}]}))
        account.now += 5
        told = account.deliver(account.write(lead, {"tags_to_delete": [{"id": lead.tags[0]["id"]}]}))
        assert verdicts(told) == {"lead.updated": True}

    def test_a_stage_told_by_the_digital_pipeline_is_one_beside_the_accounts_own_webhook(self) -> None:
        account, lead = an_account()
        old = (PIPELINE, lead.fields["status_id"])
        notices = account.write(lead, {"status_id": WON})
        hook = crm.pipeline_hook(account.state, "status", lead, old)
        before, told = account.receive(hook), account.deliver(notices)
        assert {event.is_echo for event in [*before, *told, *account.receive(hook)]} == {True}
        account.now += 5
        account.deliver(account.change(lead, {"status_id": STAGES[1]}))
        assert verdicts(account.receive(hook)) == {"lead.status_changed": False}

    def test_a_value_that_kommo_makes_another_of_is_one_from_the_second_time_on(self) -> None:
        account, contact = an_account("contacts")
        asked = field(771_201, {"value": "0351 210000000"})
        seen = []
        for _ in range(3):
            account.now += 5
            account.expect("PATCH", f"/api/v4/contacts/{contact.id}", asked)
            told = changes.update(account.state, contact, field(771_201, {"value": "+351 21 000 00 00"}), by=0)
            seen += [event.is_echo for event in account.deliver(told)]
        assert seen == [False, True, True]

    def test_the_webhook_of_the_older_of_two_is_an_echo_even_if_it_comes_last(self) -> None:
        account, lead = an_account()
        account.deliver(account.change(lead, {}))
        first = account.write(lead, {"price": 1})
        account.now += 1
        second = account.write(lead, {"price": 2})
        assert verdicts(account.deliver(second)) == {"lead.updated": True}
        assert verdicts(account.deliver(first)) == {"lead.updated": True}

    def test_what_was_overwritten_before_it_was_told_excuses_nobody_later(self) -> None:
        account, lead = an_account()
        account.deliver(account.change(lead, {}))
        account.write(lead, {"price": 1})
        account.deliver(account.write(lead, {"price": 2}))
        account.now += 5
        assert verdicts(account.deliver(account.change(lead, {"price": 1}))) == {"lead.updated": False}


def _opposite(kind: str, patch: Json) -> Json:
    """Something that changes every field of a patch."""
    undone: Json = {
        "name": "Undone",
        "first_name": "Un",
        "last_name": "Done",
        "price": 3,
        "status_id": STAGES[3],
        "pipeline_id": PIPELINE,
        "responsible_user_id": SOMEBODY,
        "tags_to_add": [{"name": "undone"}],
        "_embedded": {"tags": []},
        "text": "Undone",
        "complete_till": NOW + 60,
        "is_completed": False,
        "task_type_id": 1,
        "result": {"text": "Undone"},
    }
    changed = {name: undone[name] for name in patch if name in undone}
    if "tags_to_add" in patch:
        changed["tags_to_delete"] = patch["tags_to_add"]
    for one in patch.get("custom_fields_values", ()):
        changed["custom_fields_values"] = [{**one, "values": None}]
        if one["values"] == [{"value": False}]:
            changed["custom_fields_values"] = [{**one, "values": [{"value": True}]}]
    return changed


class TestCreations:
    @pytest.mark.parametrize(
        ("kind", "item", "event"),
        [
            ("leads", {"name": "Oven", "price": 500, "tags_to_add": [{"name": "web"}]}, "lead.added"),
            ("leads", {"status_id": STAGES[1], "pipeline_id": PIPELINE}, "lead.added"),
            ("contacts", {"name": "Ida", **field(771_203, {"value": "Baker"})}, "contact.added"),
            ("contacts", {"first_name": "Ida"}, "contact.added"),
            ("companies", {"name": "Bakers"}, "company.added"),
            (
                "tasks",
                {"text": "Call", "complete_till": NOW + 60, "entity_type": "leads", "entity_id": 5},
                "task.added",
            ),
        ],
    )
    def test_an_addition_that_shows_all_that_was_given_is_an_echo_once(self, kind: str, item: Json, event: str) -> None:
        account, _ = an_account()
        notices = account.create(kind, item)
        account.now += 1
        somebodys = changes.create(account.state, kind, item, by=SOMEBODY)[1]
        assert verdicts(account.deliver(notices)) == {event: True}
        assert verdicts(account.deliver(somebodys)) == {event: False}
        assert verdicts(account.deliver(notices)) == {event: True}

    def test_one_that_shows_something_else_is_somebodys(self) -> None:
        account, _ = an_account()
        account.expect("POST", "/api/v4/leads", [{"name": "Oven", "price": 500}])
        told = changes.create(account.state, "leads", {"name": "Oven", "price": 501}, by=SOMEBODY)[1]
        assert verdicts(account.deliver(told)) == {"lead.added": False}

    def test_several_that_look_alike_are_told_from_one_more_by_their_number(self) -> None:
        account, _ = an_account()
        told = []
        for _ in range(3):
            told += account.create("leads", {"name": "Oven"})
        told += changes.create(account.state, "leads", {"name": "Oven"}, by=SOMEBODY)[1]
        assert [event.is_echo for event in account.deliver(told)] == [True, True, True, False]

    def test_a_change_of_what_we_created_is_judged_by_what_was_shown_then(self) -> None:
        account, _ = an_account()
        account.deliver(account.create("leads", {"name": "Oven"}))
        account.now += 5
        lead = list(account.state.records["leads"].values())[-1]
        assert verdicts(account.deliver(account.change(lead, {"name": "Stove"}))) == {"lead.updated": False}

    @pytest.mark.parametrize(
        ("kind", "note", "event"),
        [
            ("leads", {"note_type": "common", "params": {"text": "Tea & cake"}}, "lead.note_added"),
            ("companies", {"note_type": "common", "params": {"text": "Called"}}, "company.note_added"),
            ("contacts", {"note_type": "call_in", "params": {"phone": "123", "duration": 5}}, "contact.note_added"),
            ("leads", {"note_type": "attachment", "params": {"file_name": "a.pdf"}}, "lead.note_added"),
        ],
    )
    def test_an_own_note_is_an_echo_and_the_same_note_of_somebody_is_not(
        self, kind: str, note: Json, event: str
    ) -> None:
        account, record = an_account(kind)
        notices = account.annotate(kind, {**note, "entity_id": record.id})
        somebodys = account.annotate(kind, {**note, "entity_id": record.id}, by=SOMEBODY)
        assert verdicts(account.deliver(notices)) == {event: True}
        assert verdicts(account.deliver(somebodys)) == {event: False}


class TestWhatIsNotTold:
    """Some writes cause a webhook that shows nothing of them."""

    @pytest.mark.parametrize(
        ("kind", "path", "json"),
        [
            ("leads", "/link", [{"to_entity_id": 7, "to_entity_type": "contacts"}]),
            ("leads", "/unlink", [{"to_entity_id": 7, "to_entity_type": "catalog_elements"}]),
            ("tasks", "", {"duration": 600}),
            ("tasks", "", {}),
        ],
    )
    @pytest.mark.parametrize("seen", [True, False])
    def test_it_is_an_echo_once_if_nothing_else_changed(self, kind: str, path: str, json: Any, *, seen: bool) -> None:
        account, record = an_account(kind)
        if seen:
            account.deliver(account.change(record, {}))
            account.now += 5
        account.expect("POST" if path else "PATCH", f"/api/v4/{kind}/{record.id}{path}", json)
        untold = changes.update(account.state, record, {}, by=0)
        assert all(event.is_echo for event in account.deliver(untold))
        account.now += 5
        assert not any(event.is_echo for event in account.deliver(account.change(record, {})))

    def test_it_holds_back_nothing_that_changed_otherwise(self) -> None:
        account, lead = an_account()
        account.deliver(account.change(lead, {}))
        account.now += 5
        account.expect("POST", f"/api/v4/leads/{lead.id}/link", [{"to_entity_id": 7, "to_entity_type": "contacts"}])
        assert verdicts(account.deliver(account.change(lead, {"price": 9}))) == {"lead.updated": False}


class TestForeignChanges:
    def test_beside_ours_they_run_the_update_and_what_is_theirs(self) -> None:
        account, lead = an_account()
        account.deliver(account.change(lead, {}))
        account.now += 5
        account.write(lead, {"status_id": WON})
        told = verdicts(account.deliver(account.change(lead, {"responsible_user_id": OTHER})))
        assert told == {"lead.updated": False, "lead.responsible_changed": False}

    def test_beside_theirs_our_change_of_stage_is_held_back(self) -> None:
        account, lead = an_account()
        account.deliver(account.change(lead, {}))
        account.now += 5
        account.change(lead, {"name": "Stove"})
        told = verdicts(account.deliver(account.write(lead, {"status_id": WON})))
        assert told == {"lead.updated": False, "lead.status_changed": True}

    def test_without_anything_seen_before_their_old_values_tell(self) -> None:
        account, lead = an_account()
        account.expect("PATCH", f"/api/v4/leads/{lead.id}", {"price": 5})
        lead.fields["price"] = 5
        told = verdicts(account.deliver(account.change(lead, {"status_id": WON})))
        assert told == {"lead.updated": False, "lead.status_changed": False}

    def test_a_task_that_we_closed_while_somebody_else_changed_it_is_updated(self) -> None:
        account, task = an_account("tasks")
        account.deliver(account.change(task, {}))
        account.now += 5
        account.change(task, {"text": "Call twice"})
        told = verdicts(account.deliver(account.write(task, {"is_completed": True})))
        assert told == {"task.updated": False}

    @pytest.mark.parametrize("late_by", [LIFE_MS // 1000 + 1, -SKEW_MS // 1000 - 1])
    def test_what_is_received_long_after_or_before_a_write_is_not_its_echo(self, late_by: int) -> None:
        account, lead = an_account()
        told = account.deliver(account.write(lead, {"price": 5}), received=account.now + late_by)
        assert verdicts(told) == {"lead.updated": False}

    @pytest.mark.parametrize("waited", [0, LIFE_MS // 1000 - 1])
    def test_an_echo_is_one_however_long_it_waits_in_the_inbox(self, waited: int) -> None:
        account, lead = an_account()
        notices, received = account.write(lead, {"price": 5}), account.now + waited
        account.now += 3000
        assert verdicts(account.deliver(notices, received=received)) == {"lead.updated": True}


def _patches(
    prices: list[int], names: list[str], tags: list[str], users: list[int], stages: list[int], values: list[int | None]
) -> Any:
    def one(name: str, values: list[Any], shape: Any = lambda value: value) -> Any:
        return st.sampled_from(values).map(lambda value: {name: shape(value)})

    plain = st.one_of(one("price", prices), one("name", names), one("responsible_user_id", users))
    stage = st.sampled_from(stages).map(lambda stage: {"status_id": stage, "pipeline_id": PIPELINE})
    tag = st.one_of(*(one(name, tags, lambda tag: [{"name": tag}]) for name in ("tags_to_add", "tags_to_delete")))
    custom = st.sampled_from(values).map(lambda one: field(771_103, *([{"value": one}] if one else [])))
    return st.one_of(plain, stage, tag, custom, st.tuples(plain, plain).map(lambda two: {**two[0], **two[1]}))


ANYTHING = _patches([1, 2], ["A", "B"], ["x", "y"], [SOMEBODY, OTHER], STAGES[1:3], [1, 2, None])
OURS = _patches([1, 2], ["A", "B"], ["x"], [OTHER], STAGES[:2], [1, 2, None])
THEIRS = _patches([3, 4], ["C", "D"], ["y"], [SOMEBODY], STAGES[2:4], [3, 4])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), ANYTHING, st.integers(0, 2), st.booleans()), max_size=8),
    st.booleans(),
)
def test_every_own_change_is_held_back_and_no_foreign_one_however_they_are_told(
    told: list[tuple[bool, Json, int, bool]], together: bool
) -> None:
    """Also where both write the same values, within one second, and deliveries come twice.

    What Kommo's seconds cannot tell apart is left out: coming back within a second to what was told in it. So is what
    somebody saves without a change, of which nothing can be held back.
    """
    account, lead = an_account()
    account.deliver(account.change(lead, {}))
    known: set[str] = set()
    told_this_second = [_state_of(lead)]
    for own, patch, passing, doubled in told:
        before, after = _state_of(lead), _state_after(account, lead, patch)
        if after == before and not own:
            continue
        if passing or after in told_this_second:
            account.now += max(passing, 1)
            told_this_second = []
        told_this_second.append(after)
        notices = (account.write if own else account.change)(lead, patch)
        for delivery in [notices] if together else [[one] for one in notices]:
            events = account.deliver(delivery)
            if doubled:
                account.deliver(delivery)
            new = [event for event in events if event.id not in known]
            assert {event.is_echo for event in new} <= {own}
            known.update(event.id for event in new)


GROUPS = st.lists(
    st.lists(
        st.one_of(OURS.map(lambda patch: (True, patch)), THEIRS.map(lambda patch: (False, patch))),
        min_size=1,
        max_size=3,
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None)
@given(GROUPS)
def test_changes_that_are_told_in_one_run_if_any_of_what_shows_is_foreign(
    groups: list[list[tuple[bool, Json]]],
) -> None:
    account, lead = an_account()
    account.deliver(account.change(lead, {}))
    for group in groups:
        account.now += 2
        before = _state_of(lead)
        notices: list[Notice] = []
        for own, patch in group:
            notices = (account.write if own else account.change)(lead, patch)
        told = account.deliver(one for one in notices if one.action == "update")
        event = next(event for event in told if event.type == "lead.updated")
        if all(own for own, _ in group):
            assert event.is_echo
        if not all(_writers(group, before, _state_of(lead)).values()):
            assert not event.is_echo


def _state_of(lead: Record) -> Json:
    fields = {name: lead.fields[name] for name in ("price", "name", "responsible_user_id", "status_id")}
    tags = {f"tag:{tag['name']}": "1" for tag in lead.tags}
    return {**fields, **tags, "custom": str(lead.custom)}


def _state_after(account: Account, lead: Record, patch: Json) -> Json:
    trial = copy.deepcopy(lead)
    changes.update(account.state, trial, patch, by=SOMEBODY)
    return _state_of(trial)


def _writers(group: list[tuple[bool, Json]], before: Json, after: Json) -> dict[str, bool]:
    """Say for each field that a group has changed whether the last to write it was us."""
    last: dict[str, bool] = {}
    for own, patch in group:
        for name, value in patch.items():
            names = [f"tag:{tag['name']}" for tag in value] if name.startswith("tags") else [name]
            last.update(dict.fromkeys(("custom" if one == "custom_fields_values" else one for one in names), own))
    return {name: own for name, own in last.items() if after.get(name) != before.get(name)}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(OURS, THEIRS), max_size=5))
def test_what_somebody_changes_while_our_write_is_on_its_way_runs_and_ours_does_not(
    both: list[tuple[Json, Json]],
) -> None:
    account, lead = an_account()
    account.deliver(account.change(lead, {}))
    for ours, theirs in both:
        account.now += 2
        account.expect("PATCH", f"/api/v4/leads/{lead.id}", ours)
        before = _state_of(lead)
        foreign = account.deliver(account.change(lead, theirs))
        if _state_of(lead) != before:
            assert not any(event.is_echo for event in foreign)
            account.now += 1
            own = account.deliver(changes.update(account.state, lead, ours, by=0))
            assert all(event.is_echo for event in own)


@pytest.mark.parametrize("case", CASES)
def test_every_recorded_delivery_can_be_judged_twice_and_none_of_it_is_an_echo(case: str) -> None:
    stored: dict[str, Entry] = {}
    for event in [*events_in(body_of(case)), *events_in(body_of(case))]:
        judged = case_of(event)
        if judged:
            ledger = {subject: stored.setdefault(subject, Entry()) for subject in judged.subjects}
            assert judge(ledger, judged, NOW * 1000) is event


def test_an_entry_of_another_version_counts_as_none() -> None:
    assert Entry.load({"w1": "soon {}", "seen": "{}"}) == Entry()
    assert Entry.load({"seen": "[]"}) == Entry()
    assert Entry.load({"w1": "1.5 []"}) == Entry()
