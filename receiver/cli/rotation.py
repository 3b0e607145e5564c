"""After a leak: a new secret, new tokens and a new address for an account, in the order in which nothing gets lost.

The secret comes first: the tokens are renewed with it, and the address is signed with it. The previous one is accepted
of deliveries as long as it is stored, so that none is refused in between. Every step may be repeated.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from kommo.api.tokens.claims import claims_of
from kommo.cli.desk import Desk, told
from kommo.errors import KommoError, NotFound, SettingsError
from kommo.hooks.signature import webhook_url
from kommo.store.accounts import Account, Credentials
from kommo.variables import Secret


class RotationStopped(KommoError):
    """A step could not be done; `left` are the names of those that are not done yet, this one first."""

    def __init__(self, left: tuple[str, ...], error: KommoError) -> None:
        self.left = left
        super().__init__(
            f"not done: {left[0]}: {told(error)}\nLeft to do: {'; '.join(left)}. Mend that, and repeat the command: "
            "what is done stays done"
        )


@dataclass
class Rotation:
    """The steps for one account; `secret` and `token` are what a person has got from Kommo, "" to keep the present."""

    desk: Desk
    account_id: int
    secret: Secret
    token: Secret

    def run(self) -> Iterator[str]:
        """Do the steps, and say of each what was done.

        Raises:
            SettingsError: something for it is missing; nothing was done.
            RotationStopped: a step failed.
        """
        self._check()
        yield from _in_order(
            [
                ("store the new secret", self._store_secret),
                ("renew the tokens", self._renew),
                ("register the new address", self._register),
                ("remove the old address", self._remove),
            ]
        )

    def drop_previous(self) -> Iterator[str]:
        """Accept the previous secret no longer, after nothing comes to the old address; raises what `run` raises."""
        self._check()
        if not self._account().client_secret:
            sentence = "uses the integration of the environment: take KOMMO_CLIENT_SECRET_PREVIOUS out of every process"
            raise SettingsError([f"account {self.account_id} {sentence}"])
        yield from _in_order([("remove the old address", self._remove), ("drop the previous secret", self._drop)])

    def _check(self) -> None:
        account = self._account()
        problems = []
        if not self.desk.settings.public_url:
            problems.append("KOMMO_PUBLIC_URL is not set: the new address is made with it")
        if self.secret and not account.client_secret:
            problems.append(
                f"account {self.account_id} uses the integration of the environment: set KOMMO_CLIENT_SECRET to the "
                "new secret and KOMMO_CLIENT_SECRET_PREVIOUS to the old one for every process, then rotate without one"
            )
        if self.token and account.refresh_token:
            problems.append(f"account {self.account_id} has a token that is renewed; a long-lived one is not wanted")
        if problems:
            raise SettingsError(problems)

    def _account(self) -> Account:
        account = self.desk.accounts.get(self.account_id)
        if account is None:
            raise SettingsError(
                [
                    f"account {self.account_id} is not stored: kommo accounts list. The one of the environment has its "
                    "secret in KOMMO_CLIENT_SECRET"
                ]
            )
        return account

    def _changed(self, change: Callable[[Account], Account]) -> Account:
        """Store a change, as often as it takes to meet the version that was read."""
        while True:
            if stored := self.desk.accounts.update(change(self._account())):
                return stored

    def _store_secret(self) -> str:
        if not self._account().client_secret:
            return "The secret is that of the environment."
        if not self.secret or self.secret == self._account().client_secret:
            return "The secret is stored already."
        self._changed(
            lambda account: replace(account, client_secret=self.secret, previous_secret=account.client_secret)
        )
        return "Stored the new secret; deliveries with the previous one are still accepted."

    def _renew(self) -> str:
        if self._account().refresh_token:
            self.desk.tokens(self.account_id).renew()
            done = "Renewed the tokens with the new secret."
        else:
            done = self._take_token()
        self.desk.shared.parking.resume(self.account_id)
        return done

    def _take_token(self) -> str:
        given = self.token
        if given:
            ends, now = claims_of(given).expires_at, int(time.time())
            self._changed(
                lambda account: replace(
                    account, access_token=given, expires_at=ends, renewed_at=now, state="ready", reason=""
                )
            )
        self.desk.shared.parking.resume(self.account_id)
        self.desk.client(self._credentials()).account()
        return "The long-lived token works."

    def _register(self) -> str:
        events = self.desk.settings.webhook_events
        self.desk.client(self._credentials()).webhooks.register(self._url(newest=True), events)
        return f"Registered the new address for {len(events)} events."

    def _remove(self) -> str:
        if len(self.desk.accounts.proof(self.account_id).secrets) < 2:
            return "There is no previous secret, and so no old address."
        try:
            self.desk.client(self._credentials()).webhooks.remove(self._url(newest=False))
        except NotFound:
            return "The old address was not registered any more."
        return "Removed the old address. Digital Pipeline steps keep theirs: paste the new one there."

    def _drop(self) -> str:
        self._changed(lambda account: replace(account, previous_secret=Secret()))
        return "The previous secret is accepted no longer."

    def _credentials(self) -> Credentials:
        known = self.desk.accounts.credentials(self.account_id)
        if known is None:
            raise SettingsError([f"account {self.account_id} has no token: install again, or add it with a new token"])
        return known

    def _url(self, *, newest: bool) -> str:
        proof = self.desk.accounts.proof(self.account_id)
        if not proof.secrets:
            raise SettingsError([f"no secret is known for account {self.account_id}: set KOMMO_CLIENT_SECRET"])
        secret = proof.secrets[0 if newest else -1]
        return webhook_url(self.desk.settings.public_url, secret, proof.client_id, self.account_id)


def _in_order(steps: Sequence[tuple[str, Callable[[], str]]]) -> Iterator[str]:
    """Do steps, each with its name, and say of each what was done; raises RotationStopped at the first that fails."""
    for number, (_, step) in enumerate(steps):
        try:
            yield step()
        except KommoError as error:
            raise RotationStopped(tuple(name for name, _ in steps[number:]), error) from error
