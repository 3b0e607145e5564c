"""Stories: written by the scripts that record an outcome, and dropped with their delivery."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from redis import Redis

from kommo.store.inbox import Batch, Inbox, RoutedEvent, Step
from kommo.store.keys import Keys
from kommo.store.lanes import AskedWrite, Finished, Lanes, StepOutcome, Verb
from kommo.store.outbox import Outbox, PileOutcome
from kommo.store.stories import ECHO, REPEATED, EventTold, Line, StepTold, Stories, Story, WriteTold, story_key
from tests.integration.store.conftest import ACCOUNT, delivery

EVENT = "9c41d7e0b2a85f36" * 2
HANDLER = "shop.won"
LIFE = 4000
WRITE = WriteTold("done", "leads:update", "5", 1_772_000_000_500)
Drain = Callable[..., str]


@pytest.fixture
def stories(redis: Redis, keys: Keys) -> Stories:
    return Stories(redis, keys)


@pytest.fixture
def drained(inbox: Inbox) -> Drain:
    """Store a delivery and put one event of it into a lane; give its id."""

    def drain(
        number: int = 1, *, event: str = EVENT, lanes: tuple[str, ...] = ("lead:5:h",), echo: bool = False
    ) -> str:
        stored = delivery(number)
        inbox.add(stored)
        cursor = inbox.cursor(ACCOUNT)
        (entry,) = inbox.read(ACCOUNT, after=cursor, limit=1)
        routed = RoutedEvent(event, entry.stream_id, [Step(lane, b"item") for lane in lanes], echo, stored.id)
        batch = Batch(ACCOUNT, cursor, entry.stream_id, [routed], [], story_seconds=LIFE)
        assert inbox.commit(batch, hold_ms=0).moved
        return stored.id

    return drain


def _told(verb: Verb = "done", **more: object) -> StepTold:
    return StepTold(verb, 1, 1_772_000_000_000, 17, **more)  # type: ignore[arg-type]


def _end(lanes: Lanes, inbox: Inbox, delivery_id: str, told: StepTold, token: str = "t", **more: object) -> Finished:
    (lease,) = lanes.take(ACCOUNT, token).leases
    line = told.line(delivery_id, EVENT, HANDLER)
    stream_id = inbox.cursor(ACCOUNT)
    verb: Verb = told.verb  # type: ignore[assignment]  # a verb of this test's own
    outcome = StepOutcome(lease, verb, "r", stream_id, told=line, story_seconds=LIFE, **more)  # type: ignore[arg-type]
    return lanes.finish(outcome)[0]


def _story(stories: Stories, delivery_id: str) -> Story:
    (story,) = stories.read(ACCOUNT, [delivery_id])
    return story


class TestSteps:
    @pytest.mark.parametrize("verb", ["done", "failed", "again", "postpone", "dead"])
    def test_a_step_that_ends_is_told_of(
        self, inbox: Inbox, lanes: Lanes, stories: Stories, drained: Drain, verb: Verb
    ) -> None:
        name = drained()
        told = _told(verb, error="" if verb == "done" else "KeyError: 'phone'")
        assert _end(lanes, inbox, name, told) is Finished.RECORDED
        assert _story(stories, name).step(EVENT, HANDLER) == told

    def test_only_its_latest_run_is_told(self, inbox: Inbox, lanes: Lanes, stories: Stories, drained: Drain) -> None:
        name = drained()
        _end(lanes, inbox, name, _told("failed", error="first"))
        _end(lanes, inbox, name, replace(_told(), attempt=2), "t2")
        assert _story(stories, name).step(EVENT, HANDLER) == replace(_told(), attempt=2)

    def test_a_story_lives_for_as_long_as_it_was_told_to(
        self, inbox: Inbox, lanes: Lanes, redis: Redis, keys: Keys, drained: Drain
    ) -> None:
        name = drained()
        _end(lanes, inbox, name, _told())
        assert LIFE - 60 < redis.ttl(story_key(keys, ACCOUNT, name)) <= LIFE

    def test_a_step_that_came_too_late_tells_nothing(self, lanes: Lanes, stories: Stories, drained: Drain) -> None:
        name = drained()
        (lease,) = lanes.take(ACCOUNT, "t").leases
        late = StepOutcome(replace(lease, token="gone"), "done", "r", "0-0", told=_told().line(name, EVENT, HANDLER))
        assert lanes.finish(late)[0] is Finished.STALE
        assert _story(stories, name) == Story()

    def test_without_a_line_no_story_is_begun(self, lanes: Lanes, redis: Redis, keys: Keys, drained: Drain) -> None:
        name = drained()
        (lease,) = lanes.take(ACCOUNT, "t").leases
        lanes.finish(StepOutcome(lease, "done", "r", "0-0", writes=[AskedWrite("lead:5", b"w")]))
        assert not redis.exists(story_key(keys, ACCOUNT, name))
        assert redis.hlen(keys.chains("outbox", ACCOUNT).items) == 1

    def test_a_line_and_writes_go_together(
        self, inbox: Inbox, lanes: Lanes, outbox: Outbox, stories: Stories, drained: Drain
    ) -> None:
        name = drained()
        told = _told(writes=2, chains=("lead:5",))
        _end(lanes, inbox, name, told, writes=[AskedWrite("lead:5", b"a\n1"), AskedWrite("lead:5", b"a\n2")])
        assert _story(stories, name).step(EVENT, HANDLER) == told
        assert outbox.waiting(ACCOUNT) == 2

    def test_the_last_of_several_steps_closes_the_delivery(
        self, inbox: Inbox, lanes: Lanes, redis: Redis, keys: Keys, drained: Drain
    ) -> None:
        name = drained(lanes=("lead:5:a", "lead:5:b", "lead:5:c"))
        left = []
        for token in ("t1", "t2", "t3"):
            _end(lanes, inbox, name, _told(), token)
            left.append(redis.hget(keys.open(ACCOUNT), inbox.cursor(ACCOUNT)))
        assert left == [b"2", b"1", None]


class TestEvents:
    def test_an_echo_is_told_of(self, stories: Stories, drained: Drain) -> None:
        name = drained(echo=True, lanes=())
        assert _story(stories, name).event(EVENT) == EventTold(ECHO)

    def test_a_repeated_event_tells_when_it_came_first(self, inbox: Inbox, stories: Stories, drained: Drain) -> None:
        first = drained(1)
        stored_ms = int(inbox.cursor(ACCOUNT).partition("-")[0])
        second = drained(2, echo=True)
        assert _story(stories, second).event(EVENT) == EventTold(REPEATED, stored_ms)
        assert _story(stories, first) == Story()

    def test_an_event_that_goes_its_way_costs_nothing(self, redis: Redis, keys: Keys, drained: Drain) -> None:
        assert not redis.exists(story_key(keys, ACCOUNT, drained()))

    def test_what_is_told_of_an_event_lives_as_long_as_a_story(self, redis: Redis, keys: Keys, drained: Drain) -> None:
        name = drained(echo=True)
        assert LIFE - 60 < redis.ttl(story_key(keys, ACCOUNT, name)) <= LIFE

    def test_each_event_of_a_batch_is_told_of_in_its_own_story(self, inbox: Inbox, stories: Stories) -> None:
        for number in range(4):
            inbox.add(delivery(number))
        entries = inbox.read(ACCOUNT, after="0-0", limit=9)
        routed = [
            RoutedEvent(f"{place:032x}"[::-1], entry.stream_id, [], place % 2 == 0, entry.delivery.id)
            for place, entry in enumerate(entries)
        ]
        assert inbox.commit(Batch(ACCOUNT, "0-0", entries[-1].stream_id, routed, []), hold_ms=0).moved
        told = stories.read(ACCOUNT, [entry.delivery.id for entry in entries])
        assert [bool(story.events) for story in told] == [True, False, True, False]

    def test_an_event_without_a_delivery_tells_nothing(self, inbox: Inbox, redis: Redis) -> None:
        inbox.add(delivery(1))
        (entry,) = inbox.read(ACCOUNT, after="0-0", limit=1)
        routed = [RoutedEvent(EVENT, entry.stream_id, [], is_echo=True)] * 2
        assert inbox.commit(Batch(ACCOUNT, "0-0", entry.stream_id, routed, []), hold_ms=0).fresh == 1
        assert list(redis.scan_iter("*:story:*")) == []


class TestWrites:
    def _send(self, outbox: Outbox, *told: Line, results: dict[str, str] | None = None, token: str = "s") -> list[bool]:
        taken = outbox.take_piles(ACCOUNT, token, most=50, depth=50)
        outcomes = [
            PileOutcome(pile.lease, "done", done=len(pile.items), told=told, results=results or {})
            for pile in taken.piles
        ]
        return outbox.finish_piles(ACCOUNT, token, "sender", outcomes)

    def _asked(self, inbox: Inbox, lanes: Lanes, name: str, token: str = "t") -> None:
        _end(lanes, inbox, name, _told(writes=1, chains=("lead:5",)), token, writes=[AskedWrite("lead:5", b"a\n1")])

    def test_a_write_that_was_sent_is_told_of(
        self, inbox: Inbox, lanes: Lanes, outbox: Outbox, stories: Stories, drained: Drain
    ) -> None:
        name = drained()
        self._asked(inbox, lanes, name)
        assert self._send(outbox, WRITE.line(name, EVENT, HANDLER, "w1"), results={"w1": "5", "w2": "6"}) == [True]
        assert _story(stories, name).writes_of(EVENT, HANDLER) == {"w1": WRITE}
        assert outbox.results(ACCOUNT, ["w1", "w2"]) == {"w1": "5", "w2": "6"}

    def test_one_request_tells_of_writes_of_several_deliveries(
        self, inbox: Inbox, lanes: Lanes, outbox: Outbox, stories: Stories, drained: Drain
    ) -> None:
        names = [drained(1), drained(2, event="7" * 32, lanes=("lead:6:h",))]
        for name in names:
            self._asked(inbox, lanes, name, f"t-{name}")
        lines = [WRITE.line(name, EVENT, HANDLER, f"w-{name}-{place}") for name in names for place in range(2)]
        assert self._send(outbox, *lines) == [True]
        kept = [list(_story(stories, name).writes_of(EVENT, HANDLER)) for name in names]
        assert kept == [[f"w-{name}-0", f"w-{name}-1"] for name in names]

    def test_a_write_whose_lease_was_lost_is_not_told_of(
        self, inbox: Inbox, lanes: Lanes, outbox: Outbox, stories: Stories, drained: Drain
    ) -> None:
        name = drained()
        self._asked(inbox, lanes, name)
        (pile,) = outbox.take_piles(ACCOUNT, "s", most=5, depth=5).piles
        outcome = PileOutcome(pile.lease, "done", done=1, told=[WRITE.line(name, EVENT, HANDLER, "w1")])
        assert outbox.finish_piles(ACCOUNT, "another", "sender", [outcome]) == [False]
        assert _story(stories, name).writes == {}

    def test_a_story_that_is_gone_is_not_begun_again(
        self, inbox: Inbox, lanes: Lanes, outbox: Outbox, redis: Redis, keys: Keys, drained: Drain
    ) -> None:
        name = drained()
        self._asked(inbox, lanes, name)
        redis.delete(story_key(keys, ACCOUNT, name))
        assert self._send(outbox, WRITE.line(name, EVENT, HANDLER, "w1")) == [True]
        assert not redis.exists(story_key(keys, ACCOUNT, name))


class TestRetention:
    def test_a_story_goes_with_its_delivery_and_no_sooner(
        self, inbox: Inbox, lanes: Lanes, redis: Redis, keys: Keys, drained: Drain
    ) -> None:
        done, open_ = drained(1), drained(2, event="3" * 32, lanes=("lead:9:h",))
        (first, second) = [entry.stream_id for entry in inbox.between(ACCOUNT)]
        for lease in lanes.take(ACCOUNT, "t", limit=2).leases:
            mine, verb, stream = (done, "done", first) if lease.chain == "lead:5:h" else (open_, "failed", second)
            line = _told("failed" if verb == "failed" else "done").line(mine, EVENT, HANDLER)
            lanes.finish(StepOutcome(lease, verb, "r", stream, told=line))  # type: ignore[arg-type]  # two verbs
        assert inbox.trim(ACCOUNT, received_after_ms=2**53, max_bytes=0) == 1
        left = [bool(redis.exists(story_key(keys, ACCOUNT, name))) for name in (done, open_)]
        assert left == [False, True]

    def test_many_pages_are_trimmed_with_their_stories(self, inbox: Inbox, redis: Redis, drained: Drain) -> None:
        for number in range(120):
            drained(number, event=f"{number:032x}"[::-1], lanes=(), echo=True)
        assert len(list(redis.scan_iter("*:story:*", count=1000))) == 120
        assert inbox.trim(ACCOUNT, received_after_ms=2**53, max_bytes=0) == 120
        assert list(redis.scan_iter("*:story:*", count=1000)) == []


def test_stories_are_read_in_the_order_asked_for(stories: Stories, drained: Drain) -> None:
    name = drained(echo=True)
    assert [bool(story.events) for story in stories.read(ACCOUNT, ["none", name, "none"])] == [False, True, False]
    assert stories.read(ACCOUNT, []) == []
