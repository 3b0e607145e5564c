"""Bodies that are almost deliveries: recorded ones, hurt in the ways in which senders and attackers hurt them."""

import json
from copy import deepcopy
from typing import Any, Final

from hypothesis import strategies as st

from kommo.hooks.form import decode
from tests.unit.hooks.deliveries import CASES, body_of

BODIES: Final = tuple(body_of(case) for case in CASES)
#: What stands where something else belongs.
_ODD: Final = st.one_of(
    st.sampled_from(
        ["", "0", "-1", "null", "true", "NaN", "1e99999", "9" * 40, "٣", "\0", "\x1b[2J", "[]", "{}", '{"a":' * 700]
    ),
    st.sampled_from([None, True, False, 0, -1, 1.5, 2**63, 10**40, float("inf"), [], {}, [[]], [{}], {"0": []}]),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
)
_VALUES: Final = st.recursive(
    _ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_PIECES: Final = st.sampled_from(
    [b"&", b"=", b"[", b"]", b"[]", b"%5B", b"%5D", b"%", b"%00", b"%ff", b"+", b"{", b"}", b'"', b"[0]", b"[-1]",
     b"[999999999999]", b"leads[add][0][id]=1", b"account[id]=", b"\xef\xbb\xbf", b"\0", b"\xed\xa0\x80"]
)  # fmt: skip


@st.composite
def hurt_forms(draw: st.DrawFn) -> bytes:
    """A recorded body with pieces put in, cut out and doubled."""
    body = draw(st.sampled_from(BODIES))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(body)))
        end = min(len(body), place + draw(st.integers(0, 12)))
        piece = draw(st.one_of(_PIECES, st.binary(max_size=4), st.just(body[place:end] * 2)))
        body = body[:place] + piece + body[end:]
    return body


@st.composite
def hurt_documents(draw: st.DrawFn) -> bytes:
    """A recorded body as JSON, with odd values in odd places; NaN, infinities and huge numbers included."""
    decoded = decode(draw(st.sampled_from(BODIES)))
    for _ in range(draw(st.integers(1, 4))):
        # A copy: what is sampled is the same list each time.
        _put(draw, decoded, deepcopy(draw(_VALUES)))
    return json.dumps(decoded).encode()


def _put(draw: st.DrawFn, node: Any, value: Any) -> None:
    """Go down a while and replace what is there, or add to it."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        inner = node[key]
        if not isinstance(inner, dict | list) or not inner or draw(st.integers(0, 4)) == 0:
            node[key] = value
            return
        node = inner
