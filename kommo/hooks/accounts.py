"""Find the accounts that a body names, without decoding it: to know whose secret a stranger's request is checked with.

What is found here proves nothing and is compared again with the decoded body.
"""

import codecs
import re
from collections.abc import Iterator

#: Distinct accounts after which the search ends: two are a contradiction already.
MAX_ACCOUNTS = 16

_OPEN, _CLOSE = rb"(?:\[|%5[Bb])", rb"(?:\]|%5[Dd])"
_ID = rb"([0-9]{1,19})(?![^&\r\n])"
# Every repetition is bounded and none overlaps with its neighbour, so that the search is linear in the body.
_FORM = re.compile(
    rb"(?:^|(?<=&))(?:"
    rb"account" + _OPEN + rb"id" + _CLOSE + rb"|account_id"
    rb"|[A-Za-z_]{1,40}(?:"
    + _OPEN
    + rb"\w{0,40}"
    + _CLOSE
    + rb"){1,3}"
    + _OPEN
    + rb"account_id"
    + _CLOSE
    + rb")="
    + _ID
)
_JSON = re.compile(
    rb'"account_id"\s{0,20}:\s{0,20}"?([0-9]{1,19})(?![0-9.eE])'
    rb'|"account"\s{0,20}:\s{0,20}\{(?:[^{}]|\{[^{}]{0,300}\}){0,300}?"id"\s{0,20}:\s{0,20}"?([0-9]{1,19})(?![0-9.eE])'
)


def accounts_named(body: bytes) -> set[int]:
    """Return the ids that a form or JSON body gives as its account: of the account block, the body, and its items."""
    found: set[int] = set()
    for account_id in _ids(body):
        found.add(account_id)
        if len(found) >= MAX_ACCOUNTS:
            break
    return found


def _ids(body: bytes) -> Iterator[int]:
    pattern = _JSON if body[:64].removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{") else _FORM
    for match in pattern.finditer(body):
        digits = next(group for group in match.groups() if group)
        if account_id := int(digits):
            yield account_id
