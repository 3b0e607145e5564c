"""What the pages of an installation say. Pure: facts in, a page out."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from receiver.installs.pages import Page

_AGAIN: Final = "Start again at /oauth/start, or install the integration in Kommo once more."

#: Why an installation failed: status, title, sentences, what to do.
_FAILURES: Final[Mapping[str, tuple[int, str, str, tuple[str, ...]]]] = {
    "code_refused": (
        400,
        "The code was not accepted",
        "A code is good for 20 minutes and for one use; this one is used, too old, or not of this integration.",
        (_AGAIN,),
    ),
    "code_lost": (
        502,
        "Kommo's answer was lost",
        "Kommo has taken the code, which is good for one use, but its answer did not arrive. Nothing was stored.",
        (_AGAIN,),
    ),
    "too_late": (
        504,
        "Kommo could not be reached in time",
        "Kommo did not answer the exchange of the code, and a code is sent three times at most, within its 20 minutes. "
        "Nothing was stored.",
        (_AGAIN,),
    ),
    "client_refused": (
        502,
        "Kommo does not know these keys",
        "Kommo does not accept the integration's id, secret and redirect address together.",
        (
            "Compare KOMMO_CLIENT_ID and KOMMO_CLIENT_SECRET with the integration's keys in Kommo.",
            "The redirect address has to be the same there and here (KOMMO_REDIRECT_URI).",
            _AGAIN,
        ),
    ),
    "refused": (
        502,
        "Kommo has refused the installation",
        "The account could not be read with the access that it has just given. Nothing was stored.",
        ("Mend what the answer below names.", _AGAIN),
    ),
    "other_account": (
        409,
        "This integration belongs to another account",
        "It is private to the account that it is stored for, and this is another one. Nothing was changed.",
        ("Make a private integration in this account too, and add it with `kommo accounts add`.",),
    ),
    "other_integration": (
        409,
        "This account is served by another integration",
        "Its deliveries are proven with the keys of that integration; taking its place would shut them out. "
        "Nothing was changed.",
        ("To change over, remove the account first: `kommo accounts remove`.", _AGAIN),
    ),
    "unknown_client": (
        400,
        "This integration is not known here",
        "The address names an integration whose keys this receiver does not have.",
        (
            "For the public integration, set KOMMO_CLIENT_ID and KOMMO_CLIENT_SECRET.",
            "For a private one, add its account with `kommo accounts add`.",
        ),
    ),
    "settings": (
        503,
        "The receiver cannot store accounts",
        "Its settings do not allow it. The log of the receiver says which.",
        ("Correct the settings and restart the receiver.", _AGAIN),
    ),
}

#: Redirects that cannot be used: status and title.
_UNUSABLE: Final[Mapping[str, tuple[int, str]]] = {
    "denied": (200, "Access was not granted"),
    "error": (400, "The installation was not completed"),
    "code": (400, "There is nothing to install from"),
    "referer": (400, "This is not an account of Kommo's"),
    "twice": (400, "This address is ambiguous"),
    "hint": (401, "This call proves nothing"),
}


def probed() -> Page:
    """Answer a visit without anything in it, such as Kommo's when it probes the address."""
    return Page(
        title="Installations end here",
        text=("Kommo leads people back to this address after they have agreed to install the integration.",),
        todo=("To install it, go to /oauth/start.",),
    )


def under_way(*, reload: int) -> Page:
    """Say that an installation goes on without anybody watching."""
    return Page(
        status=202,
        tone="wait",
        title="The installation is under way",
        text=("The account is being connected. This goes on in the background, even if you close the window.",),
        reload=reload,
    )


def unusable(reason: str, sentence: str) -> Page:
    """Say why a redirect cannot be used."""
    status, title = _UNUSABLE[reason]
    if reason == "denied":
        text = (sentence, "Nothing was stored or changed.")
        return Page(title=title, text=text, todo=("If that was a mistake, start again at /oauth/start.",))
    return Page(status=status, tone="bad", title=title, text=(sentence,), todo=(_AGAIN,))


def state_refused(*, expired: bool) -> Page:
    """Say that the visit does not belong to one that began here, in this browser."""
    why = (
        "More than 20 minutes have passed since the start."
        if expired
        else "It did not begin in this browser, or the browser has not kept its cookie."
    )
    return Page(
        status=400,
        tone="bad",
        title="This installation did not begin here",
        text=(why, "Nothing was done."),
        todo=(_AGAIN,),
    )


def misses(names: Sequence[str]) -> Page:
    """Name the settings without which nothing can be installed."""
    return Page(
        status=503,
        tone="bad",
        title="Installations are not set up",
        text=("The receiver works, but it cannot install accounts by OAuth yet.",),
        todo=(*names, "Restart the receiver, then go to /oauth/start."),
    )


def too_many() -> Page:
    """Turn away a visit, since there were too many within a minute."""
    return Page(
        status=429, tone="wait", title="Too many installations at once", text=("Nothing was done.",),
        todo=("Load this page anew in a minute, or go to /oauth/start.",),
    )  # fmt: skip


def crowded() -> Page:
    """Turn away a visit, since too many installations wait already."""
    return Page(
        status=503, tone="wait", title="Too many installations are waiting",
        text=("The receiver keeps no more of them at the same time. Nothing was done, and the code was not used.",),
        todo=("Load this page anew in a few minutes: the code is good for 20.",),
    )  # fmt: skip


def state_used() -> Page:
    """Say that a start is good for one installation."""
    return Page(
        status=400, tone="bad", title="This start was used already",
        text=("A visit to /oauth/start is good for one code, and another one came with it before. Nothing was done.",),
        todo=(_AGAIN,),
    )  # fmt: skip


def unset() -> Page:
    """Say that the settings stand in the way, and name none of them: what they say may be about others."""
    return Page(
        status=503, tone="bad", title="The receiver's settings do not allow this",
        text=("The log of the receiver says which. Nothing was done.",),
        todo=("Correct the settings and restart the receiver.",),
    )  # fmt: skip


def store_away() -> Page:
    """Say that nothing can be stored just now, and that nothing was spent."""
    return Page(
        status=503, tone="wait", title="The receiver cannot store anything just now",
        text=("Its Redis cannot be reached. Nothing was lost.",), todo=("Load this page anew in a moment.",),
    )  # fmt: skip


def unknown_client() -> Page:
    """Say that an integration is not known, before anything was tried."""
    return ended({"what": "unknown_client"})


def ended(outcome: Mapping[str, Any]) -> Page:
    """Say how an installation ended."""
    named = (("Account", "account_id"), ("Address", "host"))
    facts = {title: str(outcome[name]) for title, name in named if name in outcome}
    problem = str(outcome.get("problem", ""))
    if outcome["what"] == "installed":
        return _without_webhook(facts, problem) if problem else _installed(facts)
    status, title, sentence, todo = _FAILURES[outcome["what"]]
    return Page(status=status, tone="bad", title=title, text=(sentence,), facts=facts, todo=todo, said=problem)


def _installed(facts: Mapping[str, str]) -> Page:
    text = (
        "Kommo now sends this account's changes here, and the handlers may answer.",
        "What waited for the account goes on. You can close this window.",
    )
    return Page(tone="good", title="The account is connected", text=text, facts=facts)


def _without_webhook(facts: Mapping[str, str], problem: str) -> Page:
    return Page(
        tone="wait",
        title="The account is connected, its webhook is not",
        text=("The handlers may call this account, but Kommo does not report its changes here yet.",),
        facts=facts,
        todo=(
            "Kommo registers up to 100 webhooks, for administrators, on the plans Advanced, Pro and Enterprise.",
            "If it names an event that it does not offer, leave that out in KOMMO_WEBHOOK_EVENTS.",
            "Then install once more as an administrator, or enter the address by hand: docs/install-in-kommo.md, "
            "“By hand”.",
        ),
        said=problem,
    )
