"""Packing writes: what travels together, what merges, and that merging changes nothing but the number of requests."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.bulk import BATCH, DEPTH, Batch, Entry, kind_of, mergeable, merged, pack
from kommo.api.later import Later, Step
from kommo.api.writes import Write
from kommo.errors import RequestError
from kommo.store.chains import Lease
from kommo.store.outbox import Pile
from workers.sending import sort_out

STEP = Step(account_id=9, event_id="e-7", handler="shop.won", delivery_id="d-7")
LEAD, CONTACT = ("lead", 31), ("contact", 62)
IN_AN_HOUR = timedelta(hours=1)


def asked(*asks: Callable[[Later], object]) -> tuple[Write, ...]:
    """The writes of a step that asks for so much."""
    later = Later(STEP, clock=lambda: datetime(2026, 3, 4, tzinfo=UTC))
    for ask in asks:
        ask(later)
    return later.writes


def patches(*bodies: Mapping[str, Any], kind: str = "leads", id_: int = 31) -> tuple[Write, ...]:
    """Patches to one entity, as a handler gives them."""
    later = Later(STEP)
    for body in bodies:
        getattr(later, kind).update(id_, **body)
    return later.writes


def bodies_of(writes: Sequence[Write]) -> list[Mapping[str, Any]]:
    return [write.body for write in writes]


class TestWhoMayShareARequest:
    def test_resource_and_action_are_the_kind_and_for_notes_what_they_hang_on(self) -> None:
        writes = asked(
            lambda later: later.leads.create(name="Order"),
            lambda later: later.contacts.update(62, name="Ines"),
            lambda later: later.tasks.create(entity=LEAD, text="Call", due_in=IN_AN_HOUR),
            lambda later: later.notes.create(entity=LEAD, text="Rang twice"),
            lambda later: later.notes.create(entity=CONTACT, text="Rang once"),
            lambda later: later.notes.update(LEAD, 7, text="Rang thrice"),
        )
        assert [kind_of(write) for write in writes] == [
            "leads:create",
            "contacts:update",
            "tasks:create",
            "notes:leads:create",
            "notes:contacts:create",
            "notes:leads:update",
        ]

    def test_a_patch_that_replaces_links_goes_alone(self) -> None:
        (write,) = patches({"_embedded": {"contacts": [{"id": 62}]}})
        assert kind_of(write) == "!leads:update"

    def test_a_creation_with_links_goes_with_others(self) -> None:
        (write,) = asked(lambda later: later.leads.create(name="Order", contacts=[62]))
        assert kind_of(write) == "leads:create"


class TestPacking:
    def test_creations_are_one_entry_each_with_a_request_id(self) -> None:
        writes = asked(*(lambda later, n=n: later.leads.create(name=f"Order {n}") for n in range(3)))
        batch = pack([writes[:2], writes[2:]])
        assert (batch.method, batch.path) == ("POST", "/api/v4/leads")
        assert batch.json == [{"name": f"Order {n}", "request_id": str(n)} for n in range(3)]
        assert [entry.places for entry in batch.entries] == [[(0, 0)], [(0, 1)], [(1, 0)]]

    def test_patches_of_several_entities_are_one_array(self) -> None:
        batch = pack([patches({"price": 5}, {"name": "Dear"}), patches({"price": 6}, id_=32)])
        assert (batch.method, batch.path, batch.single) == ("PATCH", "/api/v4/leads", False)
        assert batch.json == [
            {"id": 31, "price": 5, "name": "Dear", "request_id": "0"},
            {"id": 32, "price": 6, "request_id": "1"},
        ]
        assert [entry.places for entry in batch.entries] == [[(0, 0), (0, 1)], [(1, 0)]]

    def test_a_patch_of_one_entity_has_a_path_and_an_object_of_its_own(self) -> None:
        batch = pack([patches({"price": 5}, {"price": 8})])
        assert (batch.path, batch.json, batch.single) == ("/api/v4/leads/31", {"price": 8}, True)

    def test_a_task_is_changed_at_its_own_place(self) -> None:
        (write,) = asked(lambda later: later.tasks.update(80, is_completed=True))
        assert pack([[write]]).path == "/api/v4/tasks/80"

    def test_new_notes_of_several_leads_name_their_lead(self) -> None:
        writes = asked(
            lambda later: later.notes.create(entity=LEAD, text="one"),
            lambda later: later.notes.create(entity=("lead", 32), text="two"),
        )
        batch = pack([[write] for write in writes])
        assert batch.path == "/api/v4/leads/notes"
        assert [item["entity_id"] for item in batch.json] == [31, 32]

    def test_one_note_is_changed_below_its_lead(self) -> None:
        (write,) = asked(lambda later: later.notes.update(LEAD, 7, text="mended"))
        batch = pack([[write]])
        assert batch.path == "/api/v4/leads/31/notes/7"
        assert batch.json == {"note_type": "common", "params": {"text": "mended"}}

    def test_notes_of_one_lead_are_changed_each_for_itself(self) -> None:
        writes = asked(
            lambda later: later.notes.update(LEAD, 7, text="first"),
            lambda later: later.notes.update(LEAD, 8, text="other"),
            lambda later: later.notes.update(LEAD, 7, text="last"),
        )
        batch = pack([writes])
        assert [(item["id"], item["params"]["text"]) for item in batch.json] == [(7, "last"), (8, "other")]
        assert [entry.places for entry in batch.entries] == [[(0, 0), (0, 2)], [(0, 1)]]

    def test_two_leads_in_one_queue_are_two_entries(self) -> None:
        later = Later(STEP)
        contact = later.contacts.create(name="Ines")
        leads = [later.leads.create(name=name, contacts=[contact]) for name in ("A", "B")]
        for lead in leads:
            later.leads.update(lead, price=5)
        ids = {lead.write_id: 100 + place for place, lead in enumerate(leads)}
        batch = pack([[write.resolve(ids) for write in later.writes[3:]]])
        assert [item["id"] for item in batch.json] == [100, 101]

    def test_a_write_that_waits_for_another_is_refused(self) -> None:
        later = Later(STEP)
        lead = later.leads.create(name="Order")
        later.leads.update(lead, price=5)
        with pytest.raises(RequestError, match=lead.write_id):
            pack([later.writes[1:]])

    def test_the_sizes_are_those_that_kommo_advises(self) -> None:
        assert BATCH == 50
        assert DEPTH >= 100, "a hundred patches to each of a hundred leads have to fit into a few requests"


class TestAnswers:
    batch = Batch("POST", "/api/v4/leads", "leads", [Entry({}, [(0, 0)]), Entry({}, [(1, 0)])])

    def embedded(self, *items: object) -> dict[str, Any]:
        return {"_embedded": {"leads": list(items)}}

    def ids(self, answer: object) -> list[object]:
        return [item and item["id"] for item in self.batch.results(answer)]

    def test_go_by_their_request_id_in_whatever_order_they_come(self) -> None:
        answer = self.embedded({"id": 8, "request_id": "1"}, {"id": 7, "request_id": "0"})
        assert self.ids(answer) == [7, 8]

    def test_a_request_id_may_come_back_as_a_number(self) -> None:
        assert self.ids(self.embedded({"id": 8, "request_id": 1}, {"id": 7, "request_id": 0})) == [7, 8]

    def test_without_request_ids_they_go_by_their_place(self) -> None:
        assert self.ids(self.embedded({"id": 7}, {"id": 8})) == [7, 8]

    def test_fewer_without_request_ids_belong_to_nobody(self) -> None:
        assert self.ids(self.embedded({"id": 7})) == [None, None]

    def test_an_entry_that_is_not_mentioned_has_no_answer(self) -> None:
        assert self.ids(self.embedded({"id": 8, "request_id": "1"})) == [None, 8]

    @pytest.mark.parametrize("answer", [None, [], "ok", {}, {"_embedded": []}, {"_embedded": {"leads": {}}}])
    def test_what_says_nothing_of_entities_answers_nobody(self, answer: object) -> None:
        assert self.ids(answer) == [None, None]

    def test_one_entity_may_come_bare(self) -> None:
        single = Batch("PATCH", "/api/v4/leads/7", "leads", [Entry({"id": 7}, [(0, 0)])], single=True)
        assert single.results({"id": 7, "updated_at": 5}) == [{"id": 7, "updated_at": 5}]


class TestMerging:
    def test_the_later_value_wins_field_by_field(self) -> None:
        assert merged([{"price": 1, "name": "A"}, {"price": 2}, {"price": 3}]) == {"price": 3, "name": "A"}

    def test_custom_fields_are_kept_apart_by_id_or_code(self) -> None:
        writes = patches(
            {"fields": {601: "a", "PHONE": "1"}},
            {"fields": {602: "b"}},
            {"fields": {601: None}},
        )
        assert merged(bodies_of(writes))["custom_fields_values"] == [
            {"field_code": "PHONE", "values": [{"value": "1"}]},
            {"field_id": 602, "values": [{"value": "b"}]},
            {"field_id": 601, "values": None},
        ]

    def test_of_each_tag_the_last_word_counts(self) -> None:
        writes = patches({"add_tags": ["a", "b"]}, {"remove_tags": ["a", "c"]}, {"add_tags": ["c"]})
        assert merged(bodies_of(writes)) == {
            "tags_to_add": [{"name": "b"}, {"name": "c"}],
            "tags_to_delete": [{"name": "a"}],
        }

    def test_one_patch_is_left_as_it_is(self) -> None:
        body = {"price": 5, "custom_fields_values": None, "tags_to_add": [{"name": "a"}, {"name": "a"}]}
        assert merged([body]) == body

    @pytest.mark.parametrize(
        "bodies",
        [
            [{"price": 1}, {"price": 2}, {"name": "A"}, {"responsible_user_id": 5}],
            [{"status_id": 101}, {"status_id": 102}, {"price": 5}],
            [{"pipeline_id": 1, "status_id": 142}, {"pipeline_id": 1, "status_id": 142}],
            [{"pipeline_id": 1}, {"status_id": 101}],
            [{"status_id": 143}, {"loss_reason_id": 5}],
            [{"first_name": "I"}, {"last_name": "O"}],
            [{"price": None}, {"price": 5}, {"name": "A"}],
            [{"fields": {601: "a"}}, {"fields": {602: "b"}}, {"add_tags": ["a"]}, {"remove_tags": ["a"]}],
            [{"fields": {"PHONE": "1"}}, {"price": 5}, {"fields": {"EMAIL": "2"}}],
        ],
        ids=str,
    )
    def test_what_does_the_same_together_goes_together(self, bodies: list[dict[str, Any]]) -> None:
        assert groups(bodies) == [len(bodies)]

    @pytest.mark.parametrize(
        ("bodies", "sizes"),
        [
            ([{"status_id": 101}, {"pipeline_id": 2}], [1, 1]),
            ([{"pipeline_id": 1}, {"pipeline_id": 2}], [1, 1]),
            ([{"loss_reason_id": 5}, {"price": 1}, {"status_id": 101}], [2, 1]),
            ([{"closed_at": 5}, {"pipeline_id": 2}], [1, 1]),
            ([{"status_id": 101}, {"status_id": 143}, {"price": 5}], [1, 2]),
            ([{"name": "A"}, {"first_name": "I"}, {"last_name": "O"}], [1, 2]),
            ([{"last_name": "O"}, {"name": "A"}], [1, 1]),
            ([{"price": 5}, {"price": None}], [1, 1]),
            ([{"fields": {601: "a"}}, {"fields": {"PHONE": "1"}}], [1, 1]),
            ([{"add_tags": [5]}, {"remove_tags": ["vip"]}], [1, 1]),
        ],
        ids=str,
    )
    def test_what_would_do_something_else_together_goes_apart(
        self, bodies: list[dict[str, Any]], sizes: list[int]
    ) -> None:
        assert groups(bodies) == sizes

    def test_an_object_that_says_less_than_an_earlier_one_does_not_replace_it(self) -> None:
        earlier = {"params": {"text": "a", "duration": 5}}
        assert mergeable(earlier, {"params": {"text": "b", "duration": 6}})
        assert not mergeable(earlier, {"params": {"text": "b"}})
        assert not mergeable(earlier, {"params": "b"})


def groups(bodies: Sequence[Mapping[str, Any]]) -> list[int]:
    """How many patches each request takes."""
    kind = "contacts" if any({"first_name", "last_name"} & body.keys() for body in bodies) else "leads"
    return [len(writes) for writes in portions(patches(*bodies, kind=kind))]


def portions(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    """What of one entity's queue goes into each request, one after the other."""
    lease = Lease(9, "lead:31", "t", 1, 0, 0, 0, b"")
    while writes:
        ((load,), nothing) = sort_out([(Pile(lease, []), writes[:DEPTH])], {})
        assert nothing == []
        yield load.writes
        writes = writes[len(load.writes) :]


class Card:
    """An entity at Kommo, and what a PATCH does to it."""

    #: The first stage of each pipeline, and the stages that close a lead.
    first: Mapping[int, int] = {1: 101, 2: 201}
    closed: frozenset[int] = frozenset({142, 143})
    #: The same field by its id and its code, the same tag by its id and its name.
    aliases: Mapping[object, object] = {601: "PHONE", 5: "vip"}

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        self.custom: dict[object, object] = {602: "kept", "PHONE": "0"}
        self.tags: set[object] = {"vip", "old"}

    def patch(self, body: Mapping[str, Any]) -> None:
        self._enter_stage(body)
        special = {"status_id", "pipeline_id", "custom_fields_values", "tags_to_add", "tags_to_delete", "id"}
        ends = set() if self.fields.get("status_id") in self.closed else {"loss_reason_id", "closed_at"}
        for name, value in body.items():
            if name not in special | ends and (value is not None or name == "price"):
                self.fields[name] = value
        if body.get("name") is None and {"first_name", "last_name"} & body.keys():
            self.fields["name"] = f"{self.fields['first_name']} {self.fields['last_name']}"
        for field in body.get("custom_fields_values") or ():
            self._set_field(field)
        self.tags |= set(self._tags(body, "tags_to_add"))
        self.tags -= set(self._tags(body, "tags_to_delete"))

    def _enter_stage(self, body: Mapping[str, Any]) -> None:
        pipeline, status = body.get("pipeline_id"), body.get("status_id")
        if pipeline is None and status is None:
            return
        before = (self.fields["pipeline_id"], self.fields["status_id"])
        after = (pipeline or before[0], status or self.first[pipeline])  # type: ignore[index]  # one of the two is there
        if before != after:
            ends = {"loss_reason_id": None, "closed_at": "now" if after[1] in self.closed else None}
            self.fields.update(ends, pipeline_id=after[0], status_id=after[1])

    def _set_field(self, field: Mapping[str, Any]) -> None:
        key = field.get("field_id") or field.get("field_code")
        key = self.aliases.get(key, key)
        self.custom.pop(key, None)
        if field["values"]:
            self.custom[key] = field["values"]

    def _tags(self, body: Mapping[str, Any], name: str) -> Iterator[object]:
        for tag in body.get(name) or ():
            key = tag.get("id") or tag["name"]
            yield self.aliases.get(key, key)

    def state(self) -> object:
        return self.fields, self.custom, self.tags


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Patches with any of these fields, and at least one."""
    return st.fixed_dictionaries({}, optional=fields).filter(bool)


TAGS = st.lists(st.sampled_from(["vip", "old", "new", 5, 6]), min_size=1, max_size=2)
FIELDS = st.dictionaries(
    st.sampled_from([601, 602, "PHONE", "EMAIL"]), st.sampled_from(["a", "b", None]), min_size=1, max_size=2
)
SHARED = {"fields": FIELDS, "add_tags": TAGS, "remove_tags": TAGS, "responsible_user_id": st.integers(1, 3)}
LEAD_PATCHES = optional(
    price=st.sampled_from([1, 2, None]),
    name=st.sampled_from(["A", "B", None]),
    status_id=st.sampled_from([101, 102, 142, 143]),
    pipeline_id=st.sampled_from([1, 2]),
    loss_reason_id=st.sampled_from([7, 8]),
    closed_at=st.sampled_from([1000, 2000]),
    **SHARED,
)
CONTACT_PATCHES = optional(
    name=st.sampled_from(["A B", "C D"]), first_name=st.sampled_from(["I", "J"]), last_name=st.just("O"), **SHARED
)
TASK_PATCHES = optional(
    text=st.sampled_from(["call", "write"]),
    is_completed=st.booleans(),
    due_at=st.sampled_from([datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)]),
    responsible_user_id=st.integers(1, 3),
)


class TestMergedPatchesEndWherePatchesOneByOneDo:
    def compare(self, card: Callable[[], Card], writes: Sequence[Write]) -> None:
        one_by_one, together = card(), card()
        for write in writes:
            one_by_one.patch(write.body)
        for portion in portions(writes):
            document = pack([portion]).json
            assert isinstance(document, dict)
            together.patch(document)
        assert together.state() == one_by_one.state()

    @given(
        bodies=st.lists(LEAD_PATCHES, min_size=1, max_size=8),
        status=st.sampled_from([101, 102, 142, 143]),
        pipeline=st.sampled_from([1, 2]),
    )
    def test_of_a_lead_in_any_stage(self, bodies: list[dict[str, Any]], status: int, pipeline: int) -> None:
        lost, closed = status == 143, status in Card.closed
        self.compare(
            lambda: Card(
                pipeline_id=pipeline,
                status_id=status,
                loss_reason_id=9 if lost else None,
                closed_at="before" if closed else None,
            ),
            patches(*bodies),
        )

    @given(bodies=st.lists(CONTACT_PATCHES, min_size=1, max_size=8))
    def test_of_a_contact(self, bodies: list[dict[str, Any]]) -> None:
        self.compare(lambda: Card(first_name="X", last_name="Y", name="X Y"), patches(*bodies, kind="contacts"))

    @given(bodies=st.lists(TASK_PATCHES, min_size=1, max_size=8))
    def test_of_a_task(self, bodies: list[dict[str, Any]]) -> None:
        self.compare(Card, patches(*bodies, kind="tasks"))
