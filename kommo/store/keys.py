"""Name the keys in Redis. Keys of one script share a hash tag, so that the scripts run on Redis Cluster too.

A shard is an account modulo the number of shards; `{0}` in a key is the tag of shard 0.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueKeys:
    """Where a queue's loops find work: one set a shard (see loop_pick.lua and _wake.lua)."""

    ready: str
    awake: str
    flag: str


@dataclass(frozen=True, slots=True)
class ChainKeys:
    """One account's chains in a queue (see _chains.lua), in the order in which scripts take them."""

    ready: str
    due: str
    state: str
    items: str

    def all(self) -> tuple[str, str, str, str]:
        return self.ready, self.due, self.state, self.items


@dataclass(frozen=True, slots=True)
class AccountKeys:
    """Where a stored account lies (see account_store.lua), in the order in which scripts take them."""

    record: str
    lock: str
    known: str


class Keys:
    """All key names, for a given number of shards."""

    def __init__(self, shards: int = 1) -> None:
        self.shards = shards

    def shard(self, account_id: int) -> int:
        return account_id % self.shards

    def of_shard(self, shard: int, *parts: str) -> str:
        return f"kommo:{{{shard}}}:{':'.join(parts)}"

    def of_account(self, account_id: int, *parts: str) -> str:
        return self.of_shard(self.shard(account_id), *parts, str(account_id))

    def queue(self, name: str, shard: int) -> QueueKeys:
        return QueueKeys(*(self.of_shard(shard, name, part) for part in ("ready", "awake", "wake")))

    def chains(self, name: str, account_id: int) -> ChainKeys:
        return ChainKeys(
            self.of_shard(self.shard(account_id), name, "ready"),
            *(self.of_account(account_id, name, part) for part in ("due", "state", "items")),
        )

    def account(self, account_id: int) -> AccountKeys:
        return AccountKeys(
            self.of_account(account_id, "account"),
            self.of_account(account_id, "account", "lock"),
            self.known_accounts(self.shard(account_id)),
        )

    def known_accounts(self, shard: int) -> str:
        return self.of_shard(shard, "account", "known")

    def stats(self, account_id: int) -> str:
        return self.of_account(account_id, "stats")

    def open(self, account_id: int) -> str:
        return self.of_account(account_id, "open")

    def dead(self, account_id: int) -> tuple[str, str]:
        return self.of_account(account_id, "dead"), self.of_shard(self.shard(account_id), "dead", "index")
