"""What a new pair of tokens makes of an account, and how long the old one is good."""

from dataclasses import replace
from typing import Final

from kommo.api.oauth import ACCESS_SECONDS, TokenPair
from kommo.api.tokens.claims import claims_of
from kommo.store.accounts import Account

#: Seconds for which a refresh token is good: three months. https://developers.kommo.com/docs/oauth-20
REFRESH_SECONDS: Final = 90 * 86_400
#: An access token is renewed when less than this part of its life is left, or than so many seconds.
LAST_PART: Final = 0.1
LAST_SECONDS: Final = 300


def with_pair(account: Account, pair: TokenPair, *, now: float) -> Account:
    """Give the account as it is once it has this pair: ready, and its times reckoned from `now` (unix seconds)."""
    return replace(
        account,
        access_token=pair.access_token,
        refresh_token=pair.refresh_token,
        expires_at=int(now) + pair.expires_in,
        refresh_expires_at=int(now) + REFRESH_SECONDS,
        renewed_at=int(now),
        api_domain=claims_of(pair.access_token).api_domain or account.api_domain,
        state="ready",
        reason="",
    )


def with_pair_of(account: Account, other: Account) -> Account:
    """Give the account with the pair that another state of it has."""
    return replace(
        account,
        access_token=other.access_token,
        refresh_token=other.refresh_token,
        expires_at=other.expires_at,
        refresh_expires_at=other.refresh_expires_at,
        renewed_at=other.renewed_at,
        api_domain=other.api_domain,
        state="ready",
        reason="",
    )


def is_nearly_over(account: Account, *, now: float) -> bool:
    """Say whether an access token is better renewed before it is used."""
    if not account.expires_at:
        return False
    life = max(0, account.expires_at - account.renewed_at) if account.renewed_at else ACCESS_SECONDS
    # Half of the life at most: a token of a minute would else be renewed with every call.
    return account.expires_at - now < max(LAST_PART * life, min(LAST_SECONDS, life / 2))
