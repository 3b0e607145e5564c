"""The dead letters that lie in Redis, as tests look at them."""

from redis import Redis

from kommo.store.dead import DeadLetter
from kommo.store.keys import Keys


def letters(redis: Redis, keys: Keys, account: int) -> list[DeadLetter]:
    """Give an account's dead letters, in no particular order."""
    return [DeadLetter.from_json(record) for record in redis.hvals(keys.dead(account)[0])]
