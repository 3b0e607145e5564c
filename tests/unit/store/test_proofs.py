"""What is remembered of proofs, and for how long; time is a number here."""

import threading

import pytest

from kommo.errors import SettingsError, StoreUnavailable
from kommo.store.breaker import Breaker
from kommo.store.proofs import AWAY_SECONDS, SEEN_SECONDS, Proof, Proofs

ONE, TWO = Proof("c", ("first",)), Proof("c", ("second", "first"))


class Store:
    """Answers from memory, counts, and can be away."""

    def __init__(self) -> None:
        self.proofs: dict[int, Proof] = {}
        self.error: Exception | None = None
        self.reads = 0
        self.now = 100.0

    def read(self, account_id: int) -> Proof | None:
        self.reads += 1
        if self.error:
            raise self.error
        return self.proofs.get(account_id)

    def memory(self, **given: int) -> Proofs:
        return Proofs(self.read, clock=lambda: self.now, **given)


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_proof_is_read_once_in_some_seconds_stored_or_not(store: Store) -> None:
    store.proofs[7] = ONE
    memory = store.memory()
    assert [memory.of(7), memory.of(7), memory.of(8), memory.of(8)] == [ONE, ONE, None, None]
    assert store.reads == 2


def test_a_change_made_elsewhere_is_seen_within_five_seconds(store: Store) -> None:
    memory = store.memory()
    assert memory.of(7) is None
    store.proofs[7] = TWO
    store.now += SEEN_SECONDS
    assert memory.of(7) == TWO
    del store.proofs[7]
    store.now += SEEN_SECONDS
    assert memory.of(7) is None
    assert SEEN_SECONDS < 5


def test_a_change_made_here_is_seen_at_once(store: Store) -> None:
    memory = store.memory()
    memory.of(7)
    store.proofs[7] = ONE
    memory.forget(7)
    assert memory.of(7) == ONE


@pytest.mark.parametrize("error", [StoreUnavailable("away"), SettingsError(["no key opens it"])])
def test_what_was_read_last_is_used_while_it_cannot_be_read(store: Store, error: Exception) -> None:
    store.proofs[7] = ONE
    memory = store.memory()
    memory.of(7)
    memory.of(8)
    store.error = error
    for _ in range(5):
        store.now += SEEN_SECONDS
        assert (memory.of(7), memory.of(8)) == (ONE, None)
    store.error, store.proofs[7] = None, TWO
    store.now += SEEN_SECONDS
    assert memory.of(7) == TWO


@pytest.mark.parametrize("error", [StoreUnavailable("away"), SettingsError(["no key opens it"])])
def test_what_was_never_read_cannot_be_told_and_the_reason_is(store: Store, error: Exception) -> None:
    store.error = error
    with pytest.raises(StoreUnavailable, match=str(error)):
        store.memory().of(7)


def test_a_redis_that_is_away_is_not_asked_for_every_request(store: Store) -> None:
    store.error = StoreUnavailable("away")
    memory = store.memory()
    for account_id in range(50):
        with pytest.raises(StoreUnavailable):
            memory.of(account_id)
    assert store.reads == 1
    store.error = None
    store.now += AWAY_SECONDS
    assert memory.of(7) is None


class TestWithABreaker:
    def test_redis_is_not_asked_while_it_is_open(self, store: Store) -> None:
        breaker = Breaker()
        memory = Proofs(store.read, clock=lambda: store.now, breaker=breaker)
        store.proofs[7] = ONE
        memory.of(7)
        breaker.trip("away")
        store.now += 100 * SEEN_SECONDS
        assert memory.of(7) == ONE
        with pytest.raises(StoreUnavailable):
            memory.of(8)
        assert store.reads == 1
        breaker.close()
        assert memory.of(8) is None

    def test_whoever_finds_redis_away_opens_it(self, store: Store) -> None:
        breaker = Breaker()
        memory = Proofs(store.read, clock=lambda: store.now, breaker=breaker)
        store.error = SettingsError(["no key opens it"])
        with pytest.raises(StoreUnavailable):
            memory.of(7)
        assert not breaker.is_open
        store.error = StoreUnavailable("away")
        with pytest.raises(StoreUnavailable):
            memory.of(7)
        assert breaker.is_open


def test_each_account_that_is_read_is_told_of_and_none_that_cannot_be_read(store: Store) -> None:
    told: list[tuple[int, Proof | None]] = []
    memory = Proofs(store.read, clock=lambda: store.now, noticed=lambda account, proof: told.append((account, proof)))
    store.proofs[7] = ONE
    for account in (7, 7, 8):
        memory.of(account)
    store.error = StoreUnavailable("away")
    store.now += SEEN_SECONDS
    memory.of(7)
    assert told == [(7, ONE), (8, None)]


def test_strangers_cannot_fill_the_memory_nor_drive_out_what_is_stored(store: Store) -> None:
    store.proofs[7] = ONE
    memory = store.memory(strangers=100)
    memory.of(7)
    for stranger in range(1000, 1500):
        memory.of(stranger)
    assert len(memory._strangers) <= 100
    reads = store.reads
    assert memory.of(7) == ONE
    assert store.reads == reads


def test_threads_may_ask_at_once(store: Store) -> None:
    store.proofs[7] = ONE
    memory, found = store.memory(strangers=5), []

    def ask() -> None:
        for number in range(200):
            memory.of(number % 13)
            found.append(memory.of(7))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [ONE] * 1600


def test_its_repr_shows_no_secret() -> None:
    assert "first" not in repr(ONE)
