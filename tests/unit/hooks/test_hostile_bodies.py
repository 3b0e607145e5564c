"""Whatever bytes come: events or a declared error, and work that grows with the body and not faster."""

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kommo.errors import TooDeep
from kommo.hooks import form, scalars
from kommo.hooks.accounts import accounts_named
from kommo.hooks.body import decode_body
from kommo.hooks.normalise import LOOKED_INTO_BYTES, LOOKED_INTO_PARTS, has_timeless_item, normalise
from tests.unit.hooks.decoding import go_the_whole_way
from tests.unit.hooks.deliveries import ACCOUNT, CASES, body_of, events_in, json_events
from tests.unit.hooks.mutations import hurt_documents, hurt_forms

TYPES = st.sampled_from([None, "", "application/json", "application/x-www-form-urlencoded", "text/json", "x" * 300])


@given(st.binary(max_size=400), TYPES)
def test_any_bytes_give_events_or_a_declared_error(body: bytes, content_type: str | None) -> None:
    go_the_whole_way(body, content_type)


@settings(max_examples=400, deadline=None)
@given(hurt_forms(), TYPES)
def test_a_recorded_form_that_was_hurt_does_too(body: bytes, content_type: str | None) -> None:
    go_the_whole_way(body, content_type)


@settings(max_examples=400, deadline=None)
@given(hurt_documents(), TYPES)
def test_a_recorded_document_that_was_hurt_does_too(body: bytes, content_type: str | None) -> None:
    go_the_whole_way(body, content_type)


ODD: tuple[Any, ...] = (
    [], {}, [[]], {"0": {}}, "", " ", "9" * 10_000, 10**400, -1, 0, 1.5, True, None, "true", "\0", "\ud800".encode(
        "utf-8", "surrogatepass").decode("utf-8", "replace"), {"value": {"value": []}}, '{"a":' * 3000, "1e99999",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_no_field_of_any_recorded_delivery_may_be_of_any_type(case: str) -> None:
    body = body_of(case)
    whole = json.loads(body) if body.startswith(b"{") else form.decode(body)
    for path in _paths(whole):
        for odd in ODD:
            text = json.dumps(_replaced(whole, path, odd))
            go_the_whole_way(text.encode(), "application/json")


def _paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    found = [path] if path else []
    return found + [inner for key, value in members for inner in _paths(value, (*path, key))]


def _replaced(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[path[0]] = _replaced(node[path[0]], path[1:], value)
    return copy


class TestTextsThatAreDocuments:
    """A note's metadata, a call's text: JSON inside a value, which the limits of the body do not reach."""

    @pytest.mark.parametrize("depth", [40, 300, 700, 900, 5_000, 100_000])
    @pytest.mark.parametrize(("start", "end"), [('{"a":', "}"), ("[", "]")])
    def test_one_that_is_too_deep_reads_as_nothing(self, depth: int, start: str, end: str) -> None:
        bomb = '{"a":' + start * depth + "1" + end * depth + "}"
        (event,) = json_events({"leads": {"note": [{"note": {"element_id": 1, "metadata": bomb, "text": "hello"}}]}})
        assert event.note is not None
        assert event.note.metadata is None
        assert event.note.text == "hello"
        assert json.dumps(event.as_dict())

    def test_one_as_kommo_sends_it_is_read(self) -> None:
        assert scalars.json_object('{"event_source":{"id":5,"type":1}}') == {"event_source": {"id": 5, "type": 1}}

    def test_the_limit_is_the_same_on_every_python(self) -> None:
        at_limit = '{"a":' * 32 + "{}" + "}" * 32
        assert scalars.json_object(at_limit) is not None
        assert scalars.json_object('{"a":' + at_limit + "}") is None

    @given(st.integers(0, 40), st.integers(0, 40))
    def test_depth_is_what_it_says(self, depth: int, limit: int) -> None:
        value: Any = "leaf"
        for _ in range(depth):
            value = [value]
        assert scalars.is_deeper(value, limit) == (depth > limit + 1)


class TestMarks:
    def test_a_document_behind_a_bom_is_a_document_whatever_its_type(self) -> None:
        body = b"\xef\xbb\xbf" + json.dumps({"account_id": ACCOUNT, "leads": {"add": [{"id": 5}]}}).encode()
        assert [event.entity_id for event in events_in(body)] == [5]
        assert accounts_named(body) == {ACCOUNT}


class TestRepetitions:
    """A body that came before is looked into while Kommo waits, so that not every one is."""

    DATED = b"leads[add][0][updated_at]=1795000000"

    def test_a_large_one_counts_as_timeless(self) -> None:
        pad = b"&leads[add][0][name]="
        assert not has_timeless_item(self.DATED + pad + b"x" * 1000, None)
        assert has_timeless_item(self.DATED + pad + b"x" * LOOKED_INTO_BYTES, None)

    @pytest.mark.parametrize("part", [b"&a[b]=1", b"&a%5Bb%5D=1", b"&leads[add][0][x][][]=1"])
    def test_one_of_many_parts_counts_as_timeless(self, part: bytes) -> None:
        assert has_timeless_item(self.DATED + part * LOOKED_INTO_PARTS, None)

    def test_so_does_a_document_of_many_parts(self) -> None:
        body = json.dumps({"leads": {"add": [{"updated_at": 1_795_000_000, "x": [0] * LOOKED_INTO_PARTS}]}}).encode()
        assert has_timeless_item(body, "application/json")


def operations(call: Callable[[], object]) -> int:
    """Count the lines of Python that a call runs: its work, without a clock."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
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


GROWING = {
    "fields": lambda n: b"&".join(b"leads[add][0][k%d]=1" % i for i in range(n)),
    "items": lambda n: b"&".join(b"leads[add][%d][id]=1" % i for i in range(n)),
    "sparse items": lambda n: b"&".join(b"leads[add][%d][id]=1" % (i * 7_919_993) for i in range(n)),
    "appends": lambda n: b"&".join([b"a[][][]=1"] * n),
    "overwritten lists": lambda n: b"&".join([b"a[b][c]=1&a[b]=2"] * n),
    "overwritten lists far down": lambda n: b"&".join([b"a" + b"[b]" * 20 + b"=1&a[b]=2"] * n),
    "multiples of what hashing without a seed folds to one": lambda n: b"&".join(
        b"%d=1" % (i * (2**61 - 1)) for i in range(n)
    ),
    "members": lambda n: json.dumps({"leads": {"add": [{"id": i} for i in range(n)]}}).encode(),
    "blocks that name an account": lambda n: b"{" + b'"account":{"a":{}},' * n + b'"x":1}',
}


@pytest.mark.parametrize("shape", GROWING)
def test_work_grows_with_the_body_and_not_faster(shape: str) -> None:
    def work(size: int) -> int:
        body = GROWING[shape](size)
        return operations(lambda: normalise(body, content_type=None, account_id=ACCOUNT, delivery_id="d"))

    assert work(800) <= 4 * 1.3 * max(work(200), 100)


def test_a_body_that_is_too_deep_is_refused_however_it_is_written() -> None:
    for body in (b"a" + b"[b]" * 40 + b"=1", b'{"a":' * 40 + b"1" + b"}" * 40):
        with pytest.raises(TooDeep):
            decode_body(body, None)
