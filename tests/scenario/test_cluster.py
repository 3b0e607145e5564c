"""The whole program with its work in a Redis Cluster and its hints in a Redis of their own; a node of it dies."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

import pytest

from kommo.settings import Settings
from kommo.store.accounts import Account, Accounts
from kommo.store.connection import connect
from kommo.store.keys import Keys
from kommo.variables import Secret
from sandbox import Sandbox
from tests.buried import letters
from tests.cluster import PrivateCluster
from tests.scenario.calling import command
from tests.scenario.fleet import CLIENT, SECRET, Program
from tests.waiting import wait_for

pytestmark = pytest.mark.scenario

TOKEN_KEY = "YS1rZXktZm9yLXRoZS1ub2Rlcy1vZi1hLWNsdXN0ZXI="
SHARDS = 3
#: One in each shard, and so one on each node.
ACCOUNTS = (31_000_002, 31_000_003, 31_000_004)
UPDATES = 60
#: As many of them are sent before the node dies; the rest while it is dead.
BEFORE = 40


class OnACluster(Program):
    """The program with three accounts and three shards, all on one sandbox; the private Redis is the broker."""

    def __init__(self, box: Sandbox) -> None:
        super().__init__(
            KOMMO_API_BASE=box.url,
            KOMMO_SHARDS=str(SHARDS),
            KOMMO_TOKEN_KEYS=TOKEN_KEY,
            KOMMO_HANDLERS="tests.scenario.sharded",
        )
        self.cluster = PrivateCluster()
        self.keys = Keys(SHARDS)

    @property
    def environ(self) -> Mapping[str, str]:
        return {**super().environ, "REDIS_URL": self.cluster.url, "KOMMO_BROKER_URL": self.redis_server.url}

    def __enter__(self) -> Self:
        self.cluster.start()
        super().__enter__()
        self.redis.close()
        self.redis = connect(self.cluster.url)
        settings = Settings(
            client_id=CLIENT, client_secret=Secret(SECRET), token_keys=(Secret(TOKEN_KEY),), shards=SHARDS
        )
        accounts = Accounts(settings, self.redis, self.keys)
        for number in ACCOUNTS:
            accounts.save(Account(account_id=number, subdomain="scenario", access_token=Secret("scenario-token")))
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self.cluster.stop()

    def settled(self) -> bool:
        return not any(
            self.redis.exists(self.keys.queue(queue, shard).ready)
            for queue in ("inbox", "lanes", "outbox")
            for shard in range(SHARDS)
        )

    def handled(self, account: int) -> list[int]:
        """Say which updates of an account's lead ran, in order and each once."""
        found = self.redis.lrange(self.keys.of_account(account, "test"), 0, -1)
        return list(dict.fromkeys(int(price) for price in found))


@pytest.fixture
def kommo() -> Iterator[Sandbox]:
    with Sandbox(account_id=ACCOUNTS[0], subdomain="scenario", tokens=("scenario-token",)) as box:
        yield box


def _update(lead: int, number: int) -> str:
    fields = {"id": lead, "price": number, "updated_at": 1_700_000_000 + number}
    return "&".join(f"leads[update][0][{name}]={value}" for name, value in fields.items())


def _send(program: OnACluster, leads: Mapping[int, int], numbers: range) -> None:
    for number in numbers:
        for account, lead in leads.items():
            began = time.monotonic()
            assert program.post(_update(lead, number), account=account) == 200, program.log("web")
            assert time.monotonic() - began < 2


def test_a_node_dies_and_returns_nothing_is_lost_and_the_other_shards_go_on_meanwhile(kommo: Sandbox) -> None:
    with OnACluster(kommo) as program:
        program.web()
        program.worker("one")
        leads = {account: command(kommo, "lead.create", name=f"Of {account}")["id"] for account in ACCOUNTS}
        struck = next(account for account in ACCOUNTS if program.keys.shard(account) == 1)
        others = sorted(set(ACCOUNTS) - {struck})
        node = program.cluster.node_of(program.keys.stats(struck))
        _send(program, leads, range(1, BEFORE + 1))

        node.kill()
        wait_for(lambda: _all_done(program, others, BEFORE), seconds=30, what=program.log("one"))
        wait_for(lambda: _tasks(others, BEFORE) <= _made(kommo), seconds=30, what=program.log("one"))
        _send(program, leads, range(BEFORE + 1, UPDATES + 1))
        assert [program.processes[name].poll() for name in ("web", "one")] == [None, None]

        node.start()
        program.cluster.wait()
        wait_for(lambda: _all_done(program, ACCOUNTS, UPDATES), seconds=40, what=program.log("one"))
        wait_for(program.settled, seconds=40, what=program.log("one"))
        assert [one for account in ACCOUNTS for one in letters(program.redis, program.keys, account)] == []
    assert _made(kommo) == _tasks(ACCOUNTS, UPDATES)
    assert kommo.peak <= 7


def _all_done(program: OnACluster, accounts: Iterable[int], updates: int) -> bool:
    return all(program.handled(account) == list(range(1, updates + 1)) for account in accounts)


def _tasks(accounts: Iterable[int], updates: int) -> set[str]:
    return {f"{account}: {number}" for account in accounts for number in range(1, updates + 1)}


def _made(kommo: Sandbox) -> set[str]:
    return {task.fields["text"] for task in list(kommo.world.state.records["tasks"].values())}
