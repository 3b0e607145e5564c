import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.errors import BodyTooLarge, TooDeep, TooManyFields
from kommo.hooks import form
from kommo.hooks.form import decode

Tree = dict[str, Any]


def http_build_query(value: Tree | list[Any], prefix: str | None = None) -> str:
    """Encode as Kommo does: nested keys, everything percent-encoded."""
    return "&".join(f"{quote_plus(key)}={quote_plus(leaf)}" for key, leaf in _leaves(value, prefix))


def _leaves(value: Tree | list[Any], prefix: str | None) -> Iterator[tuple[str, str]]:
    members = value.items() if isinstance(value, dict) else ((str(index), inner) for index, inner in enumerate(value))
    for key, inner in members:
        path = key if prefix is None else f"{prefix}[{key}]"
        if isinstance(inner, str):
            yield path, inner
        else:
            yield from _leaves(inner, path)


_names = st.from_regex(r"[a-zA-Zж][a-zA-Z0-9_ж]{0,8}", fullmatch=True)
_trees = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=4)
        | st.dictionaries(_names | st.sampled_from(["07", "-1", "990017", "a b", "a.b"]), inner, min_size=1, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(_names, _trees, max_size=4))
def test_what_http_build_query_encodes_decodes_to_the_same(tree: Tree) -> None:
    assert decode(http_build_query(tree).encode()) == tree


@given(st.binary(max_size=300))
def test_arbitrary_bytes_decode_without_an_error(body: bytes) -> None:
    assert isinstance(decode(body), dict)


@pytest.mark.parametrize(
    ("body", "decoded"),
    [
        (b"", {}),
        (b"leads%5Badd%5D%5B0%5D%5Bid%5D=7", {"leads": {"add": [{"id": "7"}]}}),
        (b"a[linked_leads_id][9982719][ID]=9982719", {"a": {"linked_leads_id": {"9982719": {"ID": "9982719"}}}}),
        (b"a[4000000000]=x", {"a": {"4000000000": "x"}}),
        (b"a[1]=second&a[0]=first", {"a": ["first", "second"]}),
        (b"a[0]=1&a[2]=3", {"a": {"0": "1", "2": "3"}}),
        (b"a[note][type]=3&a[note][type][uuid]=u", {"a": {"note": {"type": {"uuid": "u"}}}}),
        (b"a[type][uuid]=u&a[type]=3", {"a": {"type": "3"}}),
        (b"text=a%26b%3Dc+d%2Be&more=1", {"text": "a&b=c d+e", "more": "1"}),
        (b"0=a&1=b", {"0": "a", "1": "b"}),
    ],
)
def test_bodies_as_kommo_sends_them(body: bytes, decoded: Tree) -> None:
    assert decode(body) == decoded


def test_bytes_that_are_not_utf8_become_replacement_characters() -> None:
    assert decode(b"a=%FFx%D0&b\xff[c\xfe]=\xd0%B6") == {"a": "\ufffdx\ufffd", "b\ufffd": {"c\ufffd": "ж"}}


def test_a_nul_is_data_in_a_value_and_ends_a_key() -> None:
    assert decode(b"a%00b=1%002&c=\x003") == {"a": "1\x002", "c": "\x003"}


class TestLimits:
    def test_a_body_of_exactly_the_limits_is_decoded(self) -> None:
        assert decode(b"a[b]=1&c=2", max_bytes=10, max_fields=2, max_depth=1) == {"a": {"b": "1"}, "c": "2"}

    def test_more_bytes_are_refused_with_both_numbers(self) -> None:
        with pytest.raises(BodyTooLarge, match="11 bytes; 10 are allowed"):
            decode(b"a=123456789", max_bytes=10)

    def test_more_fields_are_refused_with_both_numbers(self) -> None:
        with pytest.raises(TooManyFields, match="3 fields; 2 are allowed"):
            decode(b"a&b&c", max_fields=2)

    @pytest.mark.parametrize("key", ["a" + "[b]" * 33, "a" + "[]" * 33, "a" + "[b]" * 33 + "x", "a[" + "][" * 90_000])
    def test_deeper_keys_are_refused_with_the_limit(self, key: str) -> None:
        with pytest.raises(TooDeep, match="32"):
            decode(f"{key}]=1".encode())

    def test_the_default_limits_hold_without_being_asked_for(self) -> None:
        with pytest.raises(BodyTooLarge):
            decode(b"a" * (form.MAX_BYTES + 1))
        with pytest.raises(TooManyFields):
            decode(b"&" * form.MAX_FIELDS)

    def test_short_keys_with_many_brackets_cannot_fill_the_memory(self) -> None:
        with pytest.raises(TooManyFields, match="containers"):
            decode(b"&".join([b"a" + b"[]" * 32] * 10_000))

    def test_a_depth_limit_beyond_the_interpreters_recursion_limit_does_not_recurse(self) -> None:
        depth = 20_000
        decoded: Any = decode(b"a" + b"[b]" * depth + b"=1", max_depth=depth)["a"]
        for _ in range(depth - 1):
            decoded = decoded["b"]
        assert decoded == {"b": "1"}


def _lines_executed(call: Callable[[], object]) -> int:
    """Count the lines of Python that a call runs: a measure of work that does not depend on the machine."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "hostile",
    [
        lambda n: b"&" * n,
        lambda n: b"&".join([b"a[]=1"] * n),
        lambda n: b"&".join(b"a[%d]=1&a[]=2" % (7 * i) for i in range(n // 2)),
        lambda n: b"&".join([b"a[b][c]=1&a=1"] * (n // 2)),
        lambda n: b"&".join(b"a[%d][b]=1&a[%d]=2" % (i, i) for i in range(n // 2)),
        lambda n: b"&".join(b"a[x%d]=1" % i for i in range(n)),
    ],
)
def test_the_work_grows_no_faster_than_the_fields(hostile: Callable[[int], bytes]) -> None:
    small, large = (_lines_executed(lambda n=n: decode(hostile(n))) for n in (500, 4000))  # type: ignore[misc] # bound
    assert large <= 8 * small * 1.1


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        b"a[" * 2**19,
        b"a" + b"[]x" * 2**18,
        b"a=" + b"%" * 2**20,
        b"%5B" * 2**18,
        b"a[b" + b" " * 2**20,
        b" " * 2**20 + b"=1",
        b"a=" + b"%D0%B6" * 2**17,
    ],
)
def test_a_hostile_mebibyte_is_read_in_one_go(body: bytes) -> None:
    # Quadratic work on a key this long would take minutes, not the seconds that are allowed.
    assert len(decode(body)) <= 1
