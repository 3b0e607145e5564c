"""The pure protocol: what a call looks like on the wire, and what an answer means."""

import json
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.protocol import Request, build, decipher, encode, next_page, query_pairs, unix_seconds
from kommo.errors import Action, RateLimited, RequestError, ServerError

BASE = "https://acme.kommo.com"
GET = Request("GET", f"{BASE}/api/v4/leads?query=Ann", (), b"")
PATCH = Request("PATCH", f"{BASE}/api/v4/leads/1", (), b"{}")


def built(method="GET", path="/api/v4/leads", params=None, body=None, **options):
    return build(method, path, params, body, **{"base_url": BASE, "token": "t0ken", **options})


def test_a_get_has_the_token_in_a_header_and_no_body():
    request = built()
    assert (request.method, request.url, request.body) == ("GET", f"{BASE}/api/v4/leads", b"")
    assert dict(request.headers) == {
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Authorization": "Bearer t0ken",
        "User-Agent": "kommo-receiver",
    }


def test_without_a_token_a_request_does_not_say_who_it_comes_from():
    request = built("POST", "/oauth2/access_token", body={"code": "c"}, token=None)
    assert "Authorization" not in dict(request.headers)


def test_further_headers_go_along():
    assert ("If-Modified-Since", "never") in built(headers={"If-Modified-Since": "never"}).headers


def test_a_post_carries_compact_utf8_json():
    request = built("POST", body=[{"name": "Анна"}])
    assert request.body == '[{"name":"Анна"}]'.encode()
    assert ("Content-Type", "application/json") in request.headers


@pytest.mark.parametrize("body", [{}, []])
def test_an_empty_object_is_a_body_too(body):
    assert built("POST", body=body).body == json.dumps(body).encode()


def test_a_request_shows_neither_token_nor_body_nor_query():
    request = built("POST", params={"query": "private"}, body={"name": "private"}, token="s3cret")
    assert "s3cret" not in repr(request)
    assert "private" not in repr(request)
    assert request.path == "/api/v4/leads"


@pytest.mark.parametrize("method", ["get", "PUT", "", "GET /x"])
def test_a_method_that_the_api_lacks_is_refused(method):
    with pytest.raises(RequestError, match="method"):
        built(method)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "api/v4",
        "//evil.example/x",
        "/a?b=1",
        "/a#b",
        "/a b",
        "/a\r\nX: 1",
        "/api/../x",
        "/a/./b",
        "/a/..",
        "/ä",
    ],
)
def test_a_path_that_is_more_than_a_path_is_refused(path):
    with pytest.raises(RequestError, match="plain path"):
        built(path=path)


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Evil: 1", "a\n", "tökен", "a\x00"])
def test_a_token_that_would_break_the_header_is_refused_and_not_repeated(token):
    with pytest.raises(RequestError, match="token") as caught:
        built(token=token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "pairs"),
    [
        ({}, []),
        ({"limit": 250}, [("limit", "250")]),
        ({"filter": {"at": {"from": 1, "to": 2}}}, [("filter[at][from]", "1"), ("filter[at][to]", "2")]),
        ({"filter": {"id": [3, 1]}}, [("filter[id][]", "3"), ("filter[id][]", "1")]),
        ({"filter": {"id": {3, 1}}}, [("filter[id][]", "1"), ("filter[id][]", "3")]),
        ({"filter": {"id": range(2)}}, [("filter[id][]", "0"), ("filter[id][]", "1")]),
        ({"order": {"created_at": "asc"}}, [("order[created_at]", "asc")]),
        ({"with": "contacts,catalog_elements"}, [("with", "contacts,catalog_elements")]),
        ({"filter": {"statuses": [{"pipeline_id": 7, "status_id": 8}]}}, [
            ("filter[statuses][0][pipeline_id]", "7"), ("filter[statuses][0][status_id]", "8")]),
        ({"query": None, "filter": {"name": None}}, []),
        ({"a": True, "b": False, "c": 1.5, "d": ""}, [("a", "1"), ("b", "0"), ("c", "1.5"), ("d", "")]),
        ({"at": datetime(2026, 1, 2, tzinfo=UTC)}, [("at", "1767312000")]),
        ([("page", "2"), ("filter[id][]", "5")], [("page", "2"), ("filter[id][]", "5")]),
    ],
)  # fmt: skip
def test_parameters_are_nested_the_way_php_reads_them(params, pairs):
    assert list(query_pairs(params)) == pairs


NAIVE = datetime(2026, 1, 2)  # noqa: DTZ001 - naive is the point


@pytest.mark.parametrize("value", [object(), float("nan"), float("inf"), b"x", NAIVE])
def test_a_parameter_that_cannot_be_sent_is_refused_by_its_name(value):
    with pytest.raises(RequestError, match=r"filter\[x\]"):
        list(query_pairs({"filter": {"x": value}}))


def test_half_a_character_in_the_query_is_refused():
    with pytest.raises(RequestError, match="query parameter"):
        built(params={"query": "\ud800"})


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=5))
def test_any_text_survives_the_query(params):
    query = urlsplit(built(params=params).url).query
    assert dict(parse_qsl(query, keep_blank_values=True)) == params


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), "\ud800"])
def test_a_body_that_json_cannot_carry_is_refused(value):
    with pytest.raises(RequestError, match="JSON"):
        encode({"x": value})


def test_a_moment_is_whole_seconds_in_any_zone():
    moment = datetime(2026, 1, 2, 3, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=3)))
    assert unix_seconds(moment, "at") == 1767312000


@pytest.mark.parametrize("status", [200, 201, 202, 206, 299])
def test_any_success_gives_the_parsed_answer(status):
    assert decipher(GET, status, {}, b'{"id":1}') == {"id": 1}


@pytest.mark.parametrize("request_", [GET, PATCH])
@pytest.mark.parametrize("status", [204, 304])
def test_204_and_304_are_none(request_, status):
    assert decipher(request_, status, {}, b"") is None


def test_an_empty_success_of_a_write_is_none_and_of_a_read_unreadable():
    assert decipher(PATCH, 200, {}, b" \n") is None
    with pytest.raises(ServerError):
        decipher(GET, 200, {}, b"")


@pytest.mark.parametrize(
    "body", [b"<html>busy</html>", b'{"id":', b"\xff\xfe\xfa", b'{"id":NaN}', b"[" * 100_000, b"1" * 5000]
)
def test_a_success_that_is_not_json_is_a_server_error_without_its_bytes(body):
    with pytest.raises(ServerError) as caught:
        decipher(GET, 200, {"Content-Type": "text/html; charset=x", "X-Request-Id": "r1"}, body)
    error = caught.value
    assert (error.method, error.path, error.status, error.request_id) == ("GET", "/api/v4/leads", 200, "r1")
    assert error.detail == f"the answer is not JSON (text/html, {len(body)} bytes)"
    assert error.action is Action.REPEAT
    assert "busy" not in str(error)
    assert "Ann" not in str(error)


def test_what_is_wrong_raises_the_error_of_its_row_whatever_the_case_of_its_headers():
    with pytest.raises(RateLimited) as caught:
        decipher(PATCH, 429, {"Retry-After": "7", "X-Request-Id": "r2"}, b"<html>")
    assert (caught.value.after, caught.value.request_id, caught.value.path) == (7.0, "r2", "/api/v4/leads/1")


@pytest.mark.parametrize("number", [280, 2002])
def test_a_code_in_a_success_is_no_error(number):
    assert decipher(PATCH, 200, {}, f'{{"code":{number}}}'.encode()) == {"code": number}


def test_a_byte_order_mark_is_no_reason_to_fail():
    assert decipher(GET, 200, {}, b'\xef\xbb\xbf{"id":1}') == {"id": 1}


def linked(href):
    return {"_links": {"next": {"href": href}}}


def test_the_next_page_is_path_and_query_whatever_host_is_named():
    href = "https://evil.example/api/v4/leads?page=2&limit=50&filter%5Bid%5D%5B%5D=1&filter[id][]=2&query="
    pairs = [("page", "2"), ("limit", "50"), ("filter[id][]", "1"), ("filter[id][]", "2"), ("query", "")]
    assert next_page(linked(href)) == ("/api/v4/leads", pairs)


def test_a_link_may_be_a_bare_text():
    assert next_page({"_links": {"next": "/api/v4/leads?page=2"}}) == ("/api/v4/leads", [("page", "2")])


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"_links": None}, {"_links": {"next": None}}, linked(""), linked(None)]
)
def test_without_a_link_there_is_no_next_page(answer):
    assert next_page(answer) is None


@pytest.mark.parametrize("href", ["javascript:alert(1)", "https://acme.kommo.com", 5, "/a b", "//x"])
def test_a_link_that_is_no_page_is_an_error(href):
    with pytest.raises(ValueError, match="next page"):
        next_page(linked(href))
