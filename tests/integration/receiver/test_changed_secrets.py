"""A changed secret is told from noise, also after a restart, and by nobody's invention."""

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from redis import Redis

from kommo.hooks.signature import url_signature
from kommo.settings import Settings
from kommo.store.connection import connect
from kommo.store.fleet import Fleet
from kommo.store.server import PrivateServer
from kommo.variables import Secret
from receiver import app as receiver_app
from receiver import create_app
from receiver.changed_secrets import REASON, REPEATED, ChangedSecrets
from tests.integration.receiver.conftest import DEAD_BROKER, NoBroker
from tests.integration.receiver.wire import ACCOUNT, CLIENT, SECRET, SIGNATURE, body_proof, lead
from tests.integration.workers.logs import Lines
from tests.waiting import wait_for

SENTENCE = "deliveries fail their proof: was the secret changed? register the webhook again"
KOMMO = "amoCRM-WebHook-client/2.0"
GUESS = "ab" * 32


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(redis: Redis, redis_server: PrivateServer, clock: Clock) -> Iterator[ChangedSecrets]:
    client = connect(redis_server.url)
    yield ChangedSecrets(client, own=None, clock=clock)
    client.close()


def told(lines: Lines) -> list[int]:
    return [line["account"] for line in lines.saying(SENTENCE)]


def settle(watch: ChangedSecrets, lines: Lines, *, by: int = 9_999) -> None:
    """Wait until everything so far has been looked into: one more that is certain comes last."""
    watch.proved(by, f"{by:064x}")
    watch.failed(by, f"{by:064x}", "")
    wait_for(lambda: by in told(lines), what="the last failure is told")


def prove(redis: Redis, watch: ChangedSecrets, signature: str = SIGNATURE) -> None:
    watch.proved(ACCOUNT, signature)
    wait_for(lambda: redis.exists(f"kommo:{{proofs}}:proven:{ACCOUNT}"), what="the proof is noted")


class TestWhatHasProvenBefore:
    def test_it_is_told_at_once_and_once_in_ten_minutes(
        self, redis: Redis, watch: ChangedSecrets, lines: Lines
    ) -> None:
        prove(redis, watch)
        for _ in range(5):
            watch.failed(ACCOUNT, SIGNATURE, "anybody/1.0")
        settle(watch, lines)
        assert told(lines).count(ACCOUNT) == 1
        assert lines.saying(SENTENCE)[0]["level"] == "error"
        assert watch.reasons() == [REASON]

    def test_it_is_known_to_a_process_that_starts_later(
        self, redis: Redis, watch: ChangedSecrets, redis_server: PrivateServer, lines: Lines
    ) -> None:
        prove(redis, watch)
        later = ChangedSecrets(connect(redis_server.url), own=None)
        later.failed(ACCOUNT, SIGNATURE, "")
        wait_for(lambda: told(lines) == [ACCOUNT], what="it is told")
        later._redis.close()

    def test_no_signature_lies_in_redis(self, redis: Redis, watch: ChangedSecrets) -> None:
        prove(redis, watch)
        (digest,) = redis.smembers(f"kommo:{{proofs}}:proven:{ACCOUNT}")
        assert digest.decode() not in SIGNATURE
        assert SIGNATURE not in digest.decode()

    def test_what_proves_anew_ends_the_reason(self, redis: Redis, watch: ChangedSecrets) -> None:
        prove(redis, watch)
        watch.failed(ACCOUNT, SIGNATURE, "")
        wait_for(watch.reasons, what="the reason is given")
        watch.proved(ACCOUNT, url_signature("another secret", CLIENT, ACCOUNT))
        wait_for(lambda: not watch.reasons(), what="the reason is gone")


class TestNoise:
    def test_guesses_at_a_known_account_are_noise(self, redis: Redis, watch: ChangedSecrets, lines: Lines) -> None:
        prove(redis, watch)
        for number in range(15):
            watch.failed(ACCOUNT, f"{number:064x}", "curl/8")
        settle(watch, lines)
        assert ACCOUNT not in told(lines)

    def test_accounts_that_nobody_knows_are_noise_however_often(self, watch: ChangedSecrets, lines: Lines) -> None:
        for _ in range(15):
            watch.failed(ACCOUNT, GUESS, KOMMO)
        settle(watch, lines)
        assert told(lines) == [9_999]

    def test_while_the_account_proves_itself_repeated_guesses_are_noise(
        self, redis: Redis, watch: ChangedSecrets, lines: Lines
    ) -> None:
        prove(redis, watch)
        for _ in range(15):
            watch.failed(ACCOUNT, GUESS, KOMMO)
        settle(watch, lines)
        assert ACCOUNT not in told(lines)

    def test_a_flood_of_failures_is_looked_into_at_a_bounded_rate(self, watch: ChangedSecrets) -> None:
        for number in range(100_000):
            watch.failed(number, GUESS, KOMMO)
        assert watch._seen.qsize() <= 20


class TestAnAccountThatHasGoneSilent:
    @pytest.mark.parametrize(
        ("signatures", "agent"),
        [([GUESS] * REPEATED, "anybody/1.0"), ([f"{n:064x}" for n in range(REPEATED)], KOMMO)],
        ids=["the same one again and again", "by Kommo's name"],
    )
    def test_what_fails_again_and_again_is_told(
        self, redis: Redis, watch: ChangedSecrets, clock: Clock, lines: Lines, signatures: list[str], agent: str
    ) -> None:
        prove(redis, watch)
        clock.now += 3600
        for signature in signatures[:-1]:
            watch.failed(ACCOUNT, signature, agent)
        settle(watch, lines)
        assert ACCOUNT not in told(lines)
        watch.failed(ACCOUNT, signatures[-1], agent)
        wait_for(lambda: ACCOUNT in told(lines), what="it is told")

    @pytest.mark.usefixtures("redis")
    def test_the_account_of_the_environment_is_known_without_having_proven(
        self, redis_server: PrivateServer, lines: Lines
    ) -> None:
        own = ChangedSecrets(connect(redis_server.url), own=ACCOUNT)
        for _ in range(REPEATED):
            own.failed(ACCOUNT, GUESS, "")
        wait_for(lambda: told(lines) == [ACCOUNT], what="it is told")
        own._redis.close()


class TestARedisThatIsAway:
    def test_nothing_waits_and_nothing_is_lost_for_good(self, lone_server: PrivateServer) -> None:
        watch = ChangedSecrets(connect(lone_server.url), own=None)
        lone_server.kill()
        for _ in range(3):
            watch.proved(ACCOUNT, SIGNATURE)
        wait_for(lambda: not watch.has_proven(SIGNATURE), what="the note has failed")
        lone_server.start()
        wait_for(lambda: _noted(watch, lone_server), what="a later delivery notes it")
        watch._redis.close()


def _noted(watch: ChangedSecrets, server: PrivateServer) -> bool:
    watch.proved(ACCOUNT, SIGNATURE)
    client = connect(server.url)
    try:
        return bool(client.exists(f"kommo:{{proofs}}:proven:{ACCOUNT}"))
    finally:
        client.close()


class TestTheReceiver:
    def receiver(self, url: str, secret: str, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
        monkeypatch.setattr(receiver_app, "publisher", lambda _broker: NoBroker())
        given = Settings(
            redis_url=Secret(url), broker_url=Secret(DEAD_BROKER), client_id=CLIENT, client_secret=Secret(secret)
        )
        return create_app(given).test_client()

    def test_a_restart_with_another_secret_is_told_with_the_first_delivery(
        self, redis: Redis, redis_server: PrivateServer, monkeypatch: pytest.MonkeyPatch, lines: Lines
    ) -> None:
        Fleet(redis).announce("w1", {"inbox": 1}, [], sweep_ms=900)
        before = self.receiver(redis_server.url, SECRET, monkeypatch)
        assert before.post(f"/webhooks/{ACCOUNT}/{SIGNATURE}/", data=lead()).status_code == 200
        wait_for(lambda: redis.exists(f"kommo:{{proofs}}:proven:{ACCOUNT}"), what="the proof is noted")

        after = self.receiver(redis_server.url, "another secret", monkeypatch)
        for number in range(20):
            assert after.post(f"/webhooks/{ACCOUNT}/{number:064x}/", data=b"").status_code == 401
        assert REASON not in after.get("/health/ready").get_json()["reasons"]
        answer = after.post(f"/webhooks/{ACCOUNT}/{SIGNATURE}/", data=lead(), headers={"User-Agent": KOMMO})
        assert answer.status_code == 401
        # The guesses have used up what is looked into at once.
        wait_for(
            lambda: after.post(f"/webhooks/{ACCOUNT}/{SIGNATURE}/", data=b"") and told(lines) == [ACCOUNT],
            what="it is told",
        )
        told_now = after.get("/health/ready")
        assert (told_now.status_code, told_now.get_json()["status"]) == (200, "degraded")
        assert REASON in told_now.get_json()["reasons"]
        assert str(ACCOUNT) not in told_now.text

    def test_a_header_proves_without_being_noted_as_a_signature(
        self, redis: Redis, redis_server: PrivateServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = self.receiver(redis_server.url, SECRET, monkeypatch)
        for number in range(3):
            body = lead(number)
            assert client.post(f"/webhooks/{ACCOUNT}/", data=body, headers=body_proof(body)).status_code == 200
        wait_for(lambda: redis.exists(f"kommo:{{proofs}}:proven:{ACCOUNT}"), what="the account is noted")
        assert redis.scard(f"kommo:{{proofs}}:proven:{ACCOUNT}") == 1
