import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.errors import BodyTooLarge, DecodeError, TooDeep, TooManyFields
from kommo.hooks import form
from kommo.hooks.body import decode_body

JSON_TYPES = ["application/json", "Application/JSON; charset=utf-8", "application/hal+json", "text/json"]


@pytest.mark.parametrize("content_type", JSON_TYPES)
def test_json_is_decoded_where_the_type_says_so(content_type: str) -> None:
    assert decode_body(b' {"leads": {"add": [{"id": 7}]}}', content_type) == {"leads": {"add": [{"id": 7}]}}


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/x-www-form-urlencoded"])
def test_json_is_recognised_without_its_type(content_type: str | None) -> None:
    assert decode_body(b'\r\n {"account_id": 5}', content_type) == {"account_id": 5}
    assert decode_body(b"account_id=5", content_type) == {"account_id": "5"}


def test_a_body_that_only_begins_like_json_is_a_form() -> None:
    assert decode_body(b"{a=1&b=2", None) == {"{a": "1", "b": "2"}


@pytest.mark.parametrize("content_type", [None, *JSON_TYPES])
def test_an_empty_body_is_an_empty_delivery(content_type: str | None) -> None:
    assert decode_body(b"", content_type) == {}


@pytest.mark.parametrize("body", [b"{", b"[1]", b"7", b"null", b'"x"', b"a=1", b'{"a": 1} x', b"\xff"])
def test_what_is_no_json_object_cannot_be_decoded_as_json(body: bytes) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_body(body, "application/json")
    assert caught.value.reason == "undecodable"
    assert "a=1" not in str(caught.value)


@pytest.mark.parametrize("content_type", [None, "application/json"])
@pytest.mark.parametrize("depth", [40, 900, 150_000])
def test_json_nested_too_deep_is_refused_without_recursing(depth: int, content_type: str | None) -> None:
    with pytest.raises(TooDeep):
        decode_body(b'{"a":' * depth + b"1" + b"}" * depth, content_type)
    with pytest.raises(TooDeep):
        decode_body(b'{"a":' + b"[" * depth + b"]" * depth + b"}", content_type)


def test_json_with_too_many_members_is_refused() -> None:
    with pytest.raises(TooManyFields):
        decode_body(b'{"a":[' + b"{}," * form.MAX_CONTAINERS + b"1]}", None)


@pytest.mark.parametrize("content_type", [None, "application/json"])
def test_a_body_that_is_too_large_is_refused_whatever_it_is(content_type: str | None) -> None:
    with pytest.raises(BodyTooLarge):
        decode_body(b"{" + b" " * form.MAX_BYTES, content_type)


def test_invalid_bytes_and_lone_surrogates_are_replaced() -> None:
    decoded = decode_body(b'{"a": "\xff", "b": "\\ud83d", "c": "\\ud83d\\ude00", "\\uDC00": 1}', None)

    assert decoded["a"] == "\ufffd"
    assert decoded["c"] == "\U0001f600"
    assert json.dumps(decoded, ensure_ascii=False).encode("utf-8")


def test_a_byte_order_mark_is_no_part_of_the_document() -> None:
    assert decode_body(b'\xef\xbb\xbf{"a": 1}', "application/json") == {"a": 1}


@given(st.binary(max_size=200), st.sampled_from([None, "application/json"]), st.sampled_from([b"", b"{", b'{"a":']))
def test_arbitrary_bytes_are_decoded_or_refused(body: bytes, content_type: str | None, start: bytes) -> None:
    try:
        decoded: Any = decode_body(start + body, content_type)
    except DecodeError:
        return
    assert json.loads(json.dumps(decoded, allow_nan=False)) == decoded
