"""Every dead letter says what to do about it."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

import workers
from kommo.errors import DecodeError
from kommo.store.dead import DeadLetter, Kind
from workers.remedies import remedy_of

FOLDER = Path(workers.__file__).parent
#: Where reasons stand in the code: an argument of what makes the dead letters.
_REASON = re.compile(r'(?:reason=|dead\([^"\n]*?, |_given_up\([^"\n]*?)"([a-z_]+)"')


def letter(kind: Kind, reason: str) -> DeadLetter:
    return DeadLetter("x", kind, 7, reason, "it went wrong", 1, "d1")


def reasons(*files: str) -> set[str]:
    return {reason for file in files for reason in _REASON.findall((FOLDER / file).read_text("utf-8"))}


def kinds_of(error: type[DecodeError]) -> set[str]:
    return {error.reason}.union(*(kinds_of(kind) for kind in error.__subclasses__()))


OTHERWISE = remedy_of(letter("step", "no such reason"))


@pytest.mark.parametrize("reason", sorted(reasons("outcome.py")))
def test_every_reason_of_a_step_has_a_remedy_of_its_own(reason: str) -> None:
    assert remedy_of(letter("step", reason)) != OTHERWISE


@pytest.mark.parametrize("reason", sorted(reasons("sending.py", "request.py") | {"sending_failed"}))
def test_every_reason_of_a_write_has_a_remedy_of_its_own(reason: str) -> None:
    assert remedy_of(letter("write", reason)) != OTHERWISE


def test_the_reasons_are_found_in_the_code() -> None:
    assert {"rejected", "crashed", "handler_gone", "attempts_exhausted"} <= reasons("outcome.py")
    assert {"depends_on_failed", "in_doubt", "crashed", "refused"} <= reasons("sending.py")


def test_what_cannot_be_decoded_is_told_from_a_wrong_account_and_from_a_fault_of_ours() -> None:
    said = {reason: remedy_of(letter("delivery", reason)) for reason in kinds_of(DecodeError)}
    assert said.pop("account_mismatch") not in said.values()
    assert len(set(said.values())) == 1
    assert "fault of this program" in remedy_of(letter("delivery", "normalising_failed"))


@pytest.mark.parametrize("kind", ["step", "write"])
def test_what_another_version_stored_is_for_that_version(kind: Kind) -> None:
    assert "Another version" in remedy_of(letter(kind, "unreadable"))


def test_a_reason_that_nobody_knows_has_a_remedy_all_the_same() -> None:
    assert all(one == other for one, other in pairwise(remedy_of(letter(kind, "?")) for kind in ("step", "write")))
