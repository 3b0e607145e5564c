"""Matching events to handlers, and every mistake that is found at import."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.errors import HandlersError
from kommo.hooks.events import EVENT_TYPES, Event, fields_of
from kommo.router import ATTEMPTS, EVENT_FIELDS, NAME_LIMIT, ON_DOUBT, RESERVED, TIMEOUT_SECONDS, Router


def event(type_="lead.added", entity_id=31, account_id=9, **raw):
    return Event(
        id="e",
        type=type_,
        account_id=account_id,
        entity_type=type_.partition(".")[0],
        entity_id=entity_id,
        occurred_at=None,
        raw={"id": str(entity_id), **raw},
        delivery_id="d",
    )


def handle(event, kommo):
    """Do nothing."""


def other(event, kommo):
    """Do nothing else."""


def names(router, what):
    return [handler.name for handler in router.matching(what)]


def on(*types, **options):
    router = Router()
    router.on(*types, handler="h", **options)(handle)
    return router


def matches(what, *types, **options):
    return names(on(*types, **options), what) == ["h"]


# Registering


def test_a_decorator_returns_the_function_itself():
    assert Router().on("lead.added")(handle) is handle


def test_a_handler_has_its_options_or_their_defaults():
    router = Router()
    router.on("lead.added")(handle)
    router.on("lead.added", handler="other", attempts=3, timeout=timedelta(minutes=2))(other)
    first, second = router.handlers.values()
    assert first.name == f"{__name__}.handle"
    assert (first.function, first.attempts, first.timeout_seconds) == (handle, ATTEMPTS, TIMEOUT_SECONDS)
    assert (second.name, second.attempts, second.timeout_seconds) == ("other", 3, 120.0)
    assert router.handlers["other"] is second


def test_a_handler_hears_no_echoes_and_has_what_is_in_doubt_looked_for_unless_it_says_otherwise():
    router = Router()
    router.on("lead.added")(handle)
    router.on("lead.added", echoes=True, on_doubt="park")(other)
    first, second = router.handlers.values()
    assert (first.echoes, first.on_doubt) == (False, "look")
    assert (second.echoes, second.on_doubt) == (True, "park")


@pytest.mark.parametrize("choice", ON_DOUBT)
def test_every_choice_for_what_is_in_doubt_is_taken(choice):
    assert on("lead.added", on_doubt=choice).handlers["h"].on_doubt == choice


@pytest.mark.parametrize("name", ["echoes", "on_doubt", "attempts", "handler", "timeout"])
def test_a_field_that_is_called_like_an_option_is_filtered_through_where(name):
    assert matches(event("unknown.x_add", **{name: "1"}), "unknown.*", where={name: 1})
    assert not matches(event("unknown.x_add", **{name: "2"}), "unknown.*", where={name: 1})


def test_handlers_cannot_be_changed_from_outside():
    with pytest.raises(TypeError):
        Router().handlers["x"] = None


def test_a_function_under_several_routes_runs_once():
    router = Router()
    for types in (("lead.added",), ("lead.*", "task.added"), ("*",)):
        router.on(*types)(handle)
    assert len(router.handlers) == 1
    assert len(names(router, event())) == 1
    assert len(names(router, event("task.added"))) == 1


def test_options_of_a_function_may_be_said_in_any_of_its_routes():
    router = Router()
    router.on("lead.added", attempts=3)(handle)
    router.on("lead.updated", handler="h", timeout=5, attempts=3, echoes=True)(handle)
    (handler,) = router.handlers.values()
    assert (handler.name, handler.attempts, handler.timeout_seconds, handler.echoes) == ("h", 3, 5.0, True)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"attempts": 3}, {"attempts": 4}),
        ({"timeout": 3}, {"timeout": 4}),
        ({"handler": "a"}, {"handler": "b"}),
        ({"echoes": True}, {"echoes": False}),
        ({"on_doubt": "look"}, {"on_doubt": "park"}),
    ],
)
def test_options_of_a_function_that_contradict_each_other_are_refused(one, two):
    router = Router()
    router.on("lead.added", **one)(handle)
    with pytest.raises(HandlersError, match=r"handle has two values of"):
        router.on("lead.updated", **two)(handle)


def test_two_functions_under_one_name_are_refused_with_the_remedy():
    router = on("lead.added")
    with pytest.raises(HandlersError, match=r"handle.*other.*both called h.*handler='\.\.\.'"):
        router.on("lead.updated", handler="h")(other)
    assert list(router.handlers) == ["h"]


def made_here():
    def handle(event, kommo):
        """Stands in for what a factory makes."""

    return handle


def test_functions_from_a_factory_need_names_of_their_own():
    router = Router()
    router.on("lead.added", handler="one")(made_here())
    router.on("lead.added", handler="two")(made_here())
    router.on("lead.added")(made_here())
    assert list(router.handlers) == ["one", "two", f"{__name__}.handle"]
    with pytest.raises(HandlersError, match="both called"):
        router.on("lead.added")(made_here())


class Shop:
    """Something with methods."""

    def won(self, event, kommo):
        """Do nothing."""

    def __call__(self, event, kommo):
        """Do nothing."""


def test_methods_partials_and_objects_can_be_handlers():
    router, shop = Router(), Shop()
    router.on("lead.added")(shop.won)
    router.on("lead.updated")(shop.won)
    router.on("lead.added", handler="object")(shop)
    router.on("lead.added", handler="partial")(partial(lambda greeting, _event, _kommo: greeting, "hello"))
    assert list(router.handlers) == [f"{__name__}.won", "object", "partial"]


@pytest.mark.parametrize("nameless", [Shop(), partial(handle), lambda _event, _kommo: None])
def test_what_has_no_name_needs_one(nameless):
    with pytest.raises(HandlersError, match=r"no name of its own.*handler='\.\.\.'"):
        Router().on("lead.added")(nameless)


async def asynchronous(event, kommo):
    """Be refused."""


def generator(event, kommo):
    yield event, kommo


async def asynchronous_generator(event, kommo):
    yield event, kommo


class Asynchronous:
    """Be refused."""

    async def __call__(self, event, kommo):
        """Be refused."""


@pytest.mark.parametrize(
    "function", [asynchronous, generator, asynchronous_generator, Asynchronous(), partial(asynchronous)]
)
def test_a_function_that_would_not_run_when_called_is_refused(function):
    with pytest.raises(HandlersError, match="plain function"):
        Router().on("lead.added", handler="h")(function)


@pytest.mark.parametrize(
    "function",
    [
        lambda: None,
        lambda _event: None,
        lambda _event, _kommo, _more: None,
        lambda _event, *, _kommo: None,
        lambda _event, _kommo, *, _more: None,
        partial(handle, 1),
    ],
)
def test_a_function_that_takes_other_arguments_is_refused(function):
    with pytest.raises(HandlersError, match=r"cannot be called as handler\(event, kommo\)"):
        Router().on("lead.added", handler="h")(function)


@pytest.mark.parametrize(
    "function",
    [lambda *_: None, lambda _a, _b, _c=1: None, lambda _a, _b, *_c, **_d: None, lambda _a, /, _b: None],
)
def test_a_function_that_can_take_event_and_kommo_is_accepted(function):
    Router().on("lead.added", handler="h")(function)


def test_what_is_no_function_is_refused():
    with pytest.raises(HandlersError, match="not a function"):
        Router().on("lead.added", handler="h")(5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"handler": ""}, "1-120"),
        ({"handler": "a b"}, "1-120"),
        ({"handler": "ä"}, "1-120"),
        ({"handler": "a\n"}, "1-120"),
        ({"handler": "x" * (NAME_LIMIT + 1)}, "1-120"),
        ({"handler": 5}, "1-120"),
        ({"attempts": 0}, "1 to 100"),
        ({"attempts": 101}, "1 to 100"),
        ({"attempts": True}, "1 to 100"),
        ({"attempts": 1.0}, "1 to 100"),
        ({"attempts": "3"}, "1 to 100"),
        ({"timeout": 0}, "above 0"),
        ({"timeout": -1}, "above 0"),
        ({"timeout": True}, "above 0"),
        ({"timeout": "5"}, "above 0"),
        ({"timeout": float("nan")}, "above 0"),
        ({"timeout": float("inf")}, "above 0"),
        ({"timeout": timedelta(0)}, "above 0"),
        ({"echoes": 1}, r"echoes= is True or False.*where="),
        ({"echoes": "yes"}, r"echoes= is True or False.*where="),
        ({"on_doubt": "ask"}, r"on_doubt= is one of 'look', 'repeat', 'park'.*where="),
        ({"on_doubt": ["look"]}, r"on_doubt= is one of"),
        ({"on_doubt": True}, r"on_doubt= is one of"),
    ],
)
def test_an_option_out_of_range_is_refused_where_it_is_given(options, sentence):
    with pytest.raises(HandlersError, match=sentence):
        Router().on("lead.added", **options)


def test_the_bounds_themselves_are_allowed():
    Router().on("lead.added", handler="x" * NAME_LIMIT, attempts=1, timeout=0.001)
    Router().on("lead.added", handler="aZ09_.:-", attempts=100, timeout=timedelta(days=1))


@pytest.mark.parametrize(
    ("event_type", "hint"),
    [
        ("lead.statuschanged", "'lead.status_changed'"),
        ("leads.added", "'lead.added'"),
        ("leed.*", "'lead.*'"),
        ("Lead.added", "'lead.added'"),
        ("lead.add*", "'lead.added'"),
        ("lead", "'lead"),
        ("unknown", "'unknown.*'"),
        ("", "there are:"),
        ("qqqq", "there are:"),
        ("unknown.a*", "'unknown.*'"),
    ],
)
def test_an_event_that_does_not_exist_is_refused_with_a_suggestion(event_type, hint):
    with pytest.raises(HandlersError) as caught:
        Router().on("lead.added", event_type)
    assert hint in str(caught.value)


def test_on_without_types_or_with_something_else_is_refused():
    with pytest.raises(HandlersError, match="needs types"):
        Router().on()
    with pytest.raises(HandlersError, match="are texts"):
        Router().on(handle)
    with pytest.raises(HandlersError, match="are texts"):
        Router().on(["lead.added"])


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_an_option_of_a_later_version_is_refused_but_a_field_may_have_its_name(name):
    with pytest.raises(HandlersError, match=f"{name}= is not available in this version"):
        Router().on("*", **{name: True})
    assert matches(event("unknown.x_add", **{name: "1"}), "unknown.*", where={name: 1})


@pytest.mark.parametrize(
    ("types", "name", "hint"),
    [
        (("lead.added",), "pipeline", "'pipeline_id'"),
        (("lead.*", "contact.*"), "first_nam", "'first_name'"),
        (("task.added",), "price", "there are:"),
        (("lead.note_added",), "price", "there are:"),
        (("account.disconnected",), "price", "there are:"),
        (("*",), "pipline_id", "'pipeline_id'"),
    ],
)
@pytest.mark.parametrize("in_where", [True, False])
def test_a_filter_on_a_field_that_no_entity_has_is_refused_with_a_suggestion(types, name, hint, in_where):
    options = {"where": {name: 1}} if in_where else {name: 1}
    with pytest.raises(HandlersError, match="there is no field") as caught:
        Router().on(*types, **options)
    assert hint in str(caught.value)


@pytest.mark.parametrize("event_type", sorted(EVENT_TYPES))
def test_every_field_of_every_type_may_be_filtered(event_type):
    for name in fields_of(event_type) | EVENT_FIELDS:
        Router().on(event_type, where={name: 1})


def test_a_field_cannot_be_filtered_twice():
    with pytest.raises(HandlersError, match="given twice"):
        Router().on("lead.added", price=1, where={"price": 2})


@pytest.mark.parametrize("wanted", [object(), {"a": 1}, [[1]], {(1, 2)}, b"x", lambda: None, []])
def test_a_filter_takes_plain_values_only_as_nothing_else_compares_safely(wanted):
    with pytest.raises(HandlersError, match="price="):
        Router().on("lead.added", price=wanted)


# Matching


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("lead.added", ["lead.added"], ["lead.updated", "contact.added", "unknown.lead.added"]),
        ("lead.*", ["lead.added", "lead.note_added"], ["contact.added", "unknown.lead_x"]),
        ("*", ["lead.added", "account.disconnected", "unknown.x_y"], []),
        ("unknown.*", ["unknown.x_y", "unknown.z"], ["lead.added"]),
        ("unknown.x_y", ["unknown.x_y"], ["unknown.x_yz", "unknown.x"]),
    ],
)
def test_a_pattern_covers_its_types(pattern, yes, no):
    assert all(matches(event(type_), pattern) for type_ in yes)
    assert not any(matches(event(type_), pattern) for type_ in no)


@pytest.mark.parametrize(
    ("wanted", "matched"),
    [
        (321, True),
        (322, False),
        ([320, 321], True),
        ((320,), False),
        ({321}, True),
        (frozenset({1}), False),
        (range(300, 400), True),
        (range(300), False),
        (Decimal(321), True),
        (None, False),
        ([None, 321], True),
    ],
)
def test_a_filter_is_a_value_or_a_collection_of_values(wanted, matched):
    assert matches(event(pipeline_id="321"), "lead.added", pipeline_id=wanted) is matched


@pytest.mark.parametrize(
    ("wanted", "matched"), [(None, True), ([None, 5], True), (0, False), ("", False), (5, False), (range(9), False)]
)
def test_a_field_that_is_missing_matches_only_none(wanted, matched):
    assert matches(event(), "lead.added", price=wanted) is matched


def test_all_filters_have_to_match():
    what = event("lead.status_changed", pipeline_id="321", status_id="142")
    assert matches(what, "lead.status_changed", pipeline_id=321, status_id=142)
    assert not matches(what, "lead.status_changed", pipeline_id=321, status_id=143)
    assert not matches(what, "lead.status_changed", pipeline_id=320, where={"status_id": 142})


def test_any_route_may_match():
    router = Router()
    router.on("lead.added", price=1)(handle)
    router.on("lead.added", price=2)(handle)
    assert [len(names(router, event(price=price))) for price in ("1", "2", "3")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("options", "matched"),
    [({"account_id": 9}, True), ({"account_id": 8}, False), ({"entity_id": 31}, True), ({"entity_type": "lead"}, True)],
)
def test_what_every_event_has_may_be_filtered(options, matched):
    for pattern in ("lead.added", "lead.*", "*"):
        assert matches(event(account_id=9), pattern, **options) is matched


def test_the_account_is_the_proven_one_whatever_the_body_says():
    body = Event("e", "lead.added", 9, "lead", 31, None, {"id": "31", "account_id": "8"}, "d")
    assert matches(body, "lead.added", account_id=9)
    assert not matches(body, "lead.added", account_id=8)


def test_a_tasks_own_fields_come_before_the_events():
    task = event("task.completed", 5, element_type="2", element_id="40")
    assert matches(task, "task.*", entity_id=40, entity_type="lead")
    assert not matches(task, "task.*", entity_id=5)


def test_a_field_that_only_some_of_the_types_have_is_none_for_the_others():
    assert matches(event("contact.added"), "lead.added", "contact.added", price=None)
    assert not matches(event("contact.added"), "lead.added", "contact.added", price=5)
    assert matches(event("account.disconnected", None), "*", price=None)


def test_an_event_of_an_unknown_type_is_filtered_on_what_it_brought():
    what = event("unknown.invoices_add", 31, sum="500", state="open")
    assert matches(what, "unknown.*", sum=500, state="open")
    assert matches(what, "unknown.invoices_add", sum=range(400, 600))
    assert not matches(what, "unknown.*", sum=5)
    assert matches(what, "unknown.*", missing=None)
    assert matches(what, "unknown.*", account_id=9, entity_id=31, entity_type="unknown")
    assert matches(what, "*", "unknown.*", price=None)
    assert not matches(event("unknown.x_add", size="9" * 5000), "unknown.*", size=range(9))


@pytest.mark.parametrize(("price", "matched"), [("5", True), ("5.5", False), ("5.0", True), ("junk", False)])
def test_a_huge_range_is_never_counted_through(price, matched):
    assert matches(event(price=price), "lead.added", price=range(10**15)) is matched
    assert not matches(event(name=price), "lead.added", name=range(10**15))
    assert not matches(event("unknown.x_add", size="big"), "unknown.*", size=range(10**15))


class Broken:
    """An event whose entity cannot be read."""

    type = "lead.added"
    account_id = 9

    @property
    def entity(self):
        raise ValueError("unreadable")


def test_an_event_whose_field_cannot_be_read_is_given_to_the_handler_and_not_lost():
    assert names(on("lead.added", price=5), Broken()) == ["h"]


def test_the_entity_is_not_read_unless_a_filter_needs_it():
    assert names(on("lead.*"), Broken()) == ["h"]
    assert names(on("lead.added", account_id=9), Broken()) == ["h"]
    assert names(on("lead.added", account_id=8), Broken()) == []
    lazy = event(price="5")
    names(on("lead.*", account_id=9), lazy)
    assert "entity" not in vars(lazy)


def test_handlers_come_in_the_order_of_their_registration():
    router = Router()
    for position in range(20):
        router.on("*" if position % 2 else "lead.added", handler=f"h{position}")(made_here())
    assert names(router, event()) == [f"h{position}" for position in range(20)]


# Merging


def test_routers_are_merged_in_order_and_a_handler_keeps_its_routes_from_both():
    one, two = Router(), Router()
    one.on("lead.added")(handle)
    two.on("contact.added")(other)
    two.on("contact.added")(handle)
    merged = Router(one, two)
    assert [handler.function for handler in merged.handlers.values()] == [handle, other]
    assert [handler.function for handler in merged.matching(event("contact.added"))] == [handle, other]


def test_the_same_router_twice_is_the_router_once():
    one = on("lead.added", price=5)
    assert Router(one, Router(one), one).handlers == one.handlers


def test_merging_leaves_the_parts_as_they_were():
    one, two = on("lead.added"), Router()
    two.on("contact.added")(handle)
    Router(one, two)
    assert names(one, event("contact.added")) == []


def test_two_functions_under_one_name_in_two_routers_are_refused():
    two = Router()
    two.on("lead.updated", handler="h")(other)
    with pytest.raises(HandlersError, match="both called h"):
        Router(on("lead.added"), two)


def test_a_handler_that_comes_after_its_router_was_merged_is_refused_and_not_lost_in_silence():
    one = on("lead.added")
    merged = Router(one)
    with pytest.raises(HandlersError, match="part of another one already"):
        one.on("lead.updated")(other)
    merged.on("lead.updated")(other)


def test_only_routers_can_be_included():
    with pytest.raises(HandlersError, match="includes routers"):
        Router(handle)


# Against a naive matcher

PATTERNS = [
    "*",
    "lead.*",
    "task.*",
    "unknown.*",
    "unknown.x_y",
    "lead.added",
    "lead.updated",
    "task.added",
    "note.deleted",
]
TYPES = ["lead.added", "lead.updated", "lead.note_added", "task.added", "note.deleted", "unknown.x_y", "unknown.z"]
SMALL = st.integers(0, 3)
ROUTES = st.tuples(
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3),
    st.dictionaries(
        st.sampled_from(["account_id", "entity_id", "responsible_user_id"]),
        SMALL | st.none() | st.lists(SMALL | st.none(), min_size=1) | st.sets(SMALL, min_size=1),
    ),
)


def naive(route, what):
    patterns, filters = route
    covered = any(p in ("*", what.type) or (p[-1] == "*" and what.type.split(".")[0] == p[:-2]) for p in patterns)

    def value(name):
        if name == "account_id":
            return what.account_id
        if what.type.startswith("unknown."):
            return what.entity_id if name == "entity_id" else int(what.raw[name]) if name in what.raw else None
        return getattr(what.entity, name, getattr(what, name, None))

    return covered and all(
        value(name) in (wanted if isinstance(wanted, (list, set)) else [wanted]) for name, wanted in filters.items()
    )


def registered(routes_by_handler):
    router = Router()
    for position, routes in enumerate(routes_by_handler):
        function = made_here()
        for patterns, filters in routes:
            router.on(*patterns, handler=f"h{position}", **filters)(function)
    return router


@given(
    st.lists(st.lists(ROUTES, min_size=1, max_size=3), max_size=4),
    st.sampled_from(TYPES),
    SMALL,
    SMALL,
    st.none() | SMALL,
)
def test_matching_is_what_a_naive_matcher_says(handlers, type_, account, entity, person):
    raw = {} if person is None else {"responsible_user_id": str(person)}
    what = event(type_, entity, account, **raw)
    expected = [f"h{n}" for n, routes in enumerate(handlers) if any(naive(route, what) for route in routes)]
    assert names(registered(handlers), what) == expected


def test_a_moment_can_be_filtered():
    moment = datetime(2026, 5, 6, tzinfo=UTC)
    assert matches(event(created_at="1778025600"), "lead.added", created_at=moment)


@pytest.mark.parametrize("filters", [{"pipeline_id": "7001"}, {"status_id": [142, "143"]}])
def test_a_text_for_a_field_of_numbers_is_refused_since_it_would_never_match(filters):
    with pytest.raises(HandlersError, match=r"is a whole number, and .* is a text: it would never match"):
        Router().on("lead.status_changed", **filters)


def test_the_id_of_what_has_texts_for_ids_may_be_a_text():
    Router().on("unsorted.added", entity_id="4278accf80c5")
