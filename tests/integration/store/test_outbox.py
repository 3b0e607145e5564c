"""The outbox: which writes go together, in order per entity, and what is recorded of them."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest
from redis import Redis

from kommo.store.connection import connect
from kommo.store.dead import DeadLetter, DeadLetters
from kommo.store.inbox import Inbox
from kommo.store.keys import Keys
from kommo.store.lanes import AskedWrite, Lanes, StepOutcome
from kommo.store.outbox import COMPANY_MS, FAILED, Outbox, Pile, PileOutcome, Piles, item_of
from kommo.store.server import PrivateServer
from tests.buried import letters
from tests.integration.store.conftest import ACCOUNT, one_event
from tests.waiting import wait_for

PATCH, NEW, TASK = "leads:update", "leads:create", "tasks:create"
Ask = Callable[..., None]
Expire = Callable[[str], None]


@pytest.fixture
def ask(inbox: Inbox, lanes: Lanes) -> Ask:
    """Ask for writes: (chain, kind, name) each."""
    numbers = iter(range(1, 1_000_000))

    def put(*writes: tuple[str, str, str], account: int = ACCOUNT) -> None:
        one_event(inbox, next(numbers), "lead:1:asks", account=account)
        (lease,) = lanes.take(account, "asks").leases
        asked = [AskedWrite(chain, item_of(kind, name.encode())) for chain, kind, name in writes]
        lanes.finish(StepOutcome(lease, "done", "r", "0-0", writes=asked))

    return put


@pytest.fixture
def take(outbox: Outbox) -> Callable[..., Piles]:
    """Take writes under a token of their own."""
    numbers = iter(range(1, 1_000_000))

    def taken(*, most: int = 50, depth: int = 200, account: int = ACCOUNT) -> Piles:
        return outbox.take_piles(account, f"t{next(numbers)}", most=most, depth=depth)

    return taken


Take = Callable[..., Piles]


def names(taken: Piles) -> list[list[str]]:
    return [[item.decode() for item in pile.items] for pile in taken.piles]


def end(outbox: Outbox, taken: Piles, verb: str = "done", sender: str = "s", **more: object) -> list[bool]:
    """End all piles of a take in the same way; done is done with all of a pile."""
    outcomes = [ended(pile, verb, **more) for pile in taken.piles]
    return outbox.finish_piles(ACCOUNT, taken.token, sender, outcomes)


def ended(pile: Pile, verb: str = "done", **more: object) -> PileOutcome:
    finished = {"done": len(pile.items), "dead": 1}.get(verb, 0)
    return replace(PileOutcome(pile.lease, verb, done=finished), **more)  # type: ignore[arg-type]  # the test's own verb


class TestWhatGoesTogether:
    def test_the_heads_of_chains_of_one_kind(self, ask: Ask, take: Take) -> None:
        ask(("lead:1", PATCH, "a"), ("new:t", TASK, "t"), ("lead:2", PATCH, "b"), ("new:u", TASK, "u"))
        taken = take()
        assert names(taken) == [["a"], ["b"]]
        assert taken.more == 2
        assert names(take()) == [["t"], ["u"]]

    def test_with_what_of_their_kind_follows_in_their_own_chain(self, ask: Ask, take: Take) -> None:
        ask(("lead:1", PATCH, "a"), ("lead:1", PATCH, "b"), ("lead:1", TASK, "t"), ("lead:1", PATCH, "c"))
        assert names(take()) == [["a", "b"]]

    def test_patches_of_an_entity_count_as_one_and_creations_each(self, ask: Ask, take: Take) -> None:
        ask(*(("lead:1", PATCH, f"p{n}") for n in range(9)), ("lead:2", PATCH, "q"), ("lead:3", PATCH, "r"))
        assert names(take(most=2)) == [[f"p{n}" for n in range(9)], ["q"]]
        ask(*(("lead:8", TASK, f"t{n}") for n in range(4)), ("lead:9", TASK, "u"))
        assert names(take(most=1)) == [["r"]]
        assert names(take(most=3)) == [["t0", "t1", "t2"]]

    def test_of_one_entity_no_more_patches_than_are_worth_merging(self, ask: Ask, take: Take) -> None:
        ask(*(("lead:1", PATCH, f"p{n}") for n in range(5)))
        assert names(take(depth=3)) == [["p0", "p1", "p2"]]

    def test_the_longest_waiting_come_first_whatever_their_kind(self, ask: Ask, take: Take, redis: Redis) -> None:
        ask(("new:t", TASK, "t"))
        redis.zincrby(Keys().chains("outbox", ACCOUNT).due, -10_000, "new:t")
        ask(("lead:1", PATCH, "a"))
        assert names(take()) == [["t"]]

    @pytest.mark.parametrize("mark", ["!", "?"])
    def test_what_is_marked_goes_alone(self, ask: Ask, take: Take, mark: str) -> None:
        ask(("lead:1", mark + NEW, "a"), ("lead:1", mark + NEW, "b"), ("lead:2", mark + NEW, "c"))
        (pile,) = take().piles
        assert pile.items == [b"a"]
        assert (pile.alone, pile.doubtful) == (True, mark == "?")

    def test_an_item_of_a_version_without_kinds_goes_alone(
        self, ask: Ask, take: Take, redis: Redis, keys: Keys, outbox: Outbox
    ) -> None:
        ask(("lead:1", PATCH, "a"), ("lead:2", PATCH, "b"))
        redis.hset(keys.chains("outbox", ACCOUNT).items, "lead:1|1", b'{"id": "old"}')
        taken = take()
        assert [(pile.alone, pile.items) for pile in taken.piles] == [(True, [b'{"id": "old"}'])]
        end(outbox, taken, "postpone", mark="!", marked=1)
        assert sorted([*names(take()), *names(take())]) == [["b"], ['{"id": "old"}']]

    def test_fewer_go_together_after_kommo_could_not_cope_and_never_less_than_one(
        self, ask: Ask, take: Take, outbox: Outbox, redis: Redis
    ) -> None:
        ask(*((f"lead:{n}", PATCH, str(n)) for n in range(9)))
        outbox.shrink(ACCOUNT, 3)
        assert len(take().piles) == 3
        outbox.shrink(ACCOUNT, 25)
        assert len(take().piles) == 3, "a larger request that failed later says nothing new"
        outbox.shrink(ACCOUNT, 0)
        assert len(take().piles) == 1
        (key,) = redis.keys("*size*")
        assert 590 <= redis.ttl(key) <= 600


class TestOrder:
    def test_an_entity_with_a_write_under_way_is_in_no_second_request(self, ask: Ask, take: Take) -> None:
        ask(("lead:1", PATCH, "a"), ("lead:2", PATCH, "b"))
        take(most=1)
        ask(("lead:1", PATCH, "c"))
        assert names(take()) == [["b"]]
        assert names(take()) == []

    def test_what_is_not_done_keeps_its_place(self, ask: Ask, take: Take, outbox: Outbox) -> None:
        ask(("lead:1", PATCH, "a"), ("lead:1", PATCH, "b"), ("lead:1", PATCH, "c"))
        taken = take()
        outbox.finish_piles(ACCOUNT, taken.token, "s", [ended(taken.piles[0], done=2)])
        assert names(take()) == [["c"]]

    def test_one_that_is_marked_leaves_those_behind_it_as_they_are(self, ask: Ask, take: Take, outbox: Outbox) -> None:
        ask(*(("lead:1", PATCH, name) for name in "abcd"))
        end(outbox, take(), "postpone", mark="!", marked=2)
        sent = []
        while (taken := take()).piles:
            sent += names(taken)
            end(outbox, taken)
        assert sent == [["a"], ["b"], ["c", "d"]]

    def test_marks_never_reach_beyond_the_end(self, ask: Ask, take: Take, outbox: Outbox, redis: Redis) -> None:
        ask(("lead:1", PATCH, "a"))
        end(outbox, take(), "postpone", mark="!", marked=9)
        assert redis.hlen(Keys().chains("outbox", ACCOUNT).items) == 1

    def test_a_doubt_stays_a_doubt(self, ask: Ask, take: Take, outbox: Outbox) -> None:
        ask(("new:a", NEW, "a"))
        end(outbox, take(), "failed", mark="?", marked=1)
        end(outbox, take(), "failed", mark="?", marked=1)
        taken = take()
        assert (taken.piles[0].doubtful, names(taken)) == (True, [["a"]])
        end(outbox, taken, "postpone", mark="!", marked=1)
        assert take().piles[0].doubtful


class TestEndings:
    def test_a_failure_counts_and_waits(self, ask: Ask, take: Take, outbox: Outbox, expire_leases: Expire) -> None:
        ask(("lead:1", PATCH, "a"))
        end(outbox, take(), "failed", delay_ms=60_000)
        assert names(take()) == []
        expire_leases("outbox")
        lease = take().piles[0].lease
        assert (lease.runs, lease.failures, lease.crashes) == (1, 1, 0)

    def test_what_is_postponed_was_not_tried_and_goes_at_once(self, ask: Ask, take: Take, outbox: Outbox) -> None:
        ask(("lead:1", PATCH, "a"))
        end(outbox, take(), "postpone")
        lease = take().piles[0].lease
        assert (lease.runs, lease.failures, lease.crashes) == (0, 0, 0)

    def test_each_pile_of_a_take_ends_in_its_own_way(self, ask: Ask, take: Take, outbox: Outbox) -> None:
        ask(*((f"new:{name}", NEW, name) for name in "abc"))
        taken = take()
        first, second, third = taken.piles
        letter = DeadLetter("b", "write", ACCOUNT, "refused", "400", 1, "d1")
        outcomes = [
            ended(first, results={"a": "71"}),
            ended(second, "dead", results={"b": FAILED}, dead=[letter]),
            ended(third, "failed", delay_ms=0),
        ]
        assert outbox.finish_piles(ACCOUNT, taken.token, "s", outcomes) == [True, True, True]
        assert outbox.results(ACCOUNT, ["a", "b", "c", "a"]) == {"a": "71", "b": FAILED}
        assert outbox.results(ACCOUNT, []) == {}
        assert names(take()) == [["c"]]
        assert outbox.waiting(ACCOUNT) == 1

    def test_a_write_given_up_leaves_a_dead_letter_and_lets_the_next_one_go(
        self, ask: Ask, take: Take, outbox: Outbox, redis: Redis, keys: Keys
    ) -> None:
        ask(("lead:1", PATCH, "a"), ("lead:1", PATCH, "b"))
        letter = DeadLetter("a", "write", ACCOUNT, "refused", "400", 1, "d1", item={"id": "a"})
        end(outbox, take(), "dead", dead=[letter])
        assert letters(redis, keys, ACCOUNT) == [letter]
        assert names(take()) == [["b"]]

    def test_recording_it_again_after_a_lost_answer_changes_nothing(
        self, ask: Ask, take: Take, outbox: Outbox, redis: Redis, keys: Keys
    ) -> None:
        ask(("lead:1", PATCH, "a"), ("lead:2", PATCH, "b"), ("lead:2", TASK, "t"))
        taken = take()
        for _ in range(2):
            assert end(outbox, taken) == [True, True]
        assert names(take()) == [["t"]]
        assert redis.hget(keys.stats(ACCOUNT), "writes_done") == b"2"

    def test_nothing_is_left_of_what_is_done(self, ask: Ask, take: Take, outbox: Outbox, redis: Redis) -> None:
        ask(("lead:1", PATCH, "a"), ("new:b", NEW, "b"))
        while (taken := take()).piles:
            end(outbox, taken)
        chains = Keys().chains("outbox", ACCOUNT)
        assert redis.exists(*chains.all()) == 0


class TestALeaseThatEnds:
    def test_lets_somebody_else_take_over_and_what_its_holder_says_later_changes_nothing(
        self, ask: Ask, take: Take, outbox: Outbox, expire_leases: Expire, redis: Redis, keys: Keys
    ) -> None:
        ask(("lead:1", PATCH, "a"), ("lead:2", PATCH, "b"))
        slow = take()
        expire_leases("outbox")
        fast = take(most=1)
        assert fast.piles[0].lease.crashes == 1
        letter = DeadLetter("a", "write", ACCOUNT, "refused", "400", 1, "d1")
        came = end(outbox, slow, "dead", sender="slow", results={"a": FAILED}, dead=[letter])
        assert came == [False, True], "the second one had been taken over by nobody"
        assert DeadLetters(redis, keys).count(ACCOUNT) == 1
        assert end(outbox, fast, sender="fast") == [True]

    def test_puts_every_creation_that_was_out_in_doubt_and_no_other(
        self, ask: Ask, take: Take, outbox: Outbox, expire_leases: Expire
    ) -> None:
        ask(*(("lead:1", TASK, name) for name in "abc"))
        take(most=2)
        expire_leases("outbox")
        seen = []
        while (taken := take()).piles:
            seen += [(pile.doubtful, names(taken)[0]) for pile in taken.piles]
            end(outbox, taken)
        assert seen == [(True, ["a"]), (True, ["b"]), (False, ["c"])]

    def test_puts_no_patch_in_doubt_since_it_can_be_repeated(self, ask: Ask, take: Take, expire_leases: Expire) -> None:
        ask(("lead:1", PATCH, "a"), ("lead:1", PATCH, "b"))
        take()
        expire_leases("outbox")
        taken = take()
        assert (names(taken), taken.piles[0].doubtful) == ([["a", "b"]], False)

    def test_is_counted_until_the_write_is_done(
        self, ask: Ask, take: Take, expire_leases: Expire, outbox: Outbox
    ) -> None:
        ask(("lead:1", PATCH, "a"), ("lead:1", TASK, "t"))
        for crashes in range(3):
            assert take().piles[0].lease.crashes == crashes
            expire_leases("outbox")
        end(outbox, take())
        assert take().piles[0].lease.crashes == 0

    def test_can_be_prolonged_by_its_holder_only(self, ask: Ask, take: Take, outbox: Outbox, redis: Redis) -> None:
        ask(("lead:1", PATCH, "a"))
        lease = take().piles[0].lease
        redis.zadd(Keys().chains("outbox", ACCOUNT).due, {"lead:1": 1})
        assert outbox.renew([lease, replace(lease, token="thief")]) == {
            lease: True,
            replace(lease, token="thief"): False,
        }
        assert names(take()) == []


class TestCompany:
    def test_a_lone_write_waits_a_little_for_it(self, ask: Ask, outbox: Outbox, redis: Redis, keys: Keys) -> None:
        ask(("lead:1", PATCH, "a"))
        asked_at = redis.zscore(keys.chains("outbox", ACCOUNT).due, "lead:1")
        assert not outbox.has_work(ACCOUNT)
        ready_at = redis.zscore(keys.queue("outbox", 0).ready, str(ACCOUNT))
        assert (asked_at, ready_at) == (ready_at and ready_at - COMPANY_MS, ready_at)
        wait_for(lambda: outbox.has_work(ACCOUNT), seconds=1, what="it has waited long enough")

    def test_and_no_longer_once_some_has_come(self, ask: Ask, outbox: Outbox) -> None:
        ask(("lead:1", PATCH, "a"))
        assert not outbox.has_work(ACCOUNT, company_ms=60_000)
        ask(("lead:2", PATCH, "b"))
        assert outbox.has_work(ACCOUNT, company_ms=60_000)

    @pytest.mark.parametrize("other", ["lead:1", "lead:2"])
    def test_several_do_not_wait(self, ask: Ask, outbox: Outbox, other: str) -> None:
        ask(("lead:1", PATCH, "a"), (other, PATCH, "b"))
        assert outbox.has_work(ACCOUNT, company_ms=60_000)

    def test_nor_does_one_while_others_are_under_way(self, ask: Ask, outbox: Outbox, take: Take) -> None:
        ask(("lead:1", PATCH, "a"))
        take()
        ask(("lead:2", PATCH, "b"))
        assert outbox.has_work(ACCOUNT, company_ms=60_000)

    def test_nor_one_that_was_tried_before(self, ask: Ask, outbox: Outbox, take: Take) -> None:
        ask(("lead:1", PATCH, "a"))
        end(outbox, take(), "failed")
        assert outbox.has_work(ACCOUNT, company_ms=60_000)

    def test_there_is_no_work_in_an_empty_outbox_or_while_all_is_under_way(
        self, ask: Ask, outbox: Outbox, take: Take
    ) -> None:
        assert not outbox.has_work(ACCOUNT)
        ask(("lead:1", PATCH, "a"), ("lead:2", PATCH, "b"))
        take()
        assert not outbox.has_work(ACCOUNT)


class TestHolding:
    def ready_in(self, redis: Redis, keys: Keys) -> float | None:
        at = redis.zscore(keys.queue("outbox", 0).ready, str(ACCOUNT))
        seconds, micros = redis.time()
        return None if at is None else at / 1000 - seconds - micros / 1e6

    def test_an_account_that_may_not_call_is_looked_at_later(
        self, ask: Ask, outbox: Outbox, redis: Redis, keys: Keys
    ) -> None:
        ask(("lead:1", PATCH, "a"))
        outbox.hold(ACCOUNT, seconds=60)
        assert self.ready_in(redis, keys) == pytest.approx(60, abs=0.5)

    def test_an_account_without_writes_is_not_looked_at_at_all(self, outbox: Outbox, redis: Redis, keys: Keys) -> None:
        outbox.hold(ACCOUNT, seconds=60)
        assert self.ready_in(redis, keys) is None


def test_a_full_redis_lets_writes_be_taken_and_finished(ask: Ask, take: Take, outbox: Outbox, redis: Redis) -> None:
    ask(("lead:1", PATCH, "a"))
    redis.config_set("maxmemory", "1")
    try:
        assert end(outbox, take()) == [True]
    finally:
        redis.config_set("maxmemory", "0")


def test_racing_takers_keep_the_order_of_every_entity_and_never_send_one_twice_at_once(
    ask: Ask, redis_server: PrivateServer, redis: Redis, keys: Keys
) -> None:
    entities, each = 40, 12
    for start in range(0, each, 4):
        ask(*((f"lead:{n}", PATCH, f"{n}/{place}") for n in range(entities) for place in range(start, start + 4)))
    under_way: set[str] = set()
    done: defaultdict[str, list[tuple[int, list[int]]]] = defaultdict(list)
    lock = threading.Lock()
    faults: list[str] = []

    def send(piles: Sequence[Pile], client: Redis) -> None:
        chains = [pile.lease.chain for pile in piles]
        with lock:
            faults.extend(chain for chain in chains if chain in under_way)
            under_way.update(chains)
        # So that others have their turn in between.
        client.ping()
        with lock:
            under_way.difference_update(chains)

    def record(piles: Iterable[Pile], came: Iterable[bool]) -> None:
        with lock:
            for pile, recorded in zip(piles, came, strict=True):
                if recorded:
                    entity, _, _ = pile.items[0].decode().partition("/")
                    # By its place in the chain: two threads may come here in another order than they sent in.
                    places = [int(item.decode().partition("/")[2]) for item in pile.items]
                    done[entity].append((pile.lease.seq, places))

    def work(name: str) -> None:
        with connect(redis_server.url) as client:
            own, number = Outbox(client, keys), 0
            while own.waiting(ACCOUNT):
                number += 1
                taken = own.take_piles(ACCOUNT, f"{name}-{number}", most=9, depth=3)
                if number % 5 == 0:
                    # It dies with its leases, and they end.
                    for pile in taken.piles:
                        client.zadd(keys.chains("outbox", ACCOUNT).due, {pile.lease.chain: 1})
                    continue
                send(taken.piles, client)
                outcomes = [ended(pile) for pile in taken.piles]
                record(taken.piles, own.finish_piles(ACCOUNT, taken.token, name, outcomes))

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    sent = {entity: [place for _, places in sorted(piles) for place in places] for entity, piles in done.items()}
    assert sent == {str(n): list(range(each)) for n in range(entities)}
