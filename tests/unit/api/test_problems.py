"""Every answer outside 200-299 becomes the error that says what to do."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.problems import AFTER_LIMIT, DETAIL_LIMIT, VALIDATION_LIMIT, error_of
from kommo.errors import (
    ApiError,
    BadRequest,
    Forbidden,
    NeedsAttention,
    NotFound,
    PaymentRequired,
    RateLimited,
    Refused,
    ServerError,
    TryLater,
    Unauthorized,
)

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def problem(status, body=b"", headers=None, now=NOW):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return error_of("POST", "/api/v4/tasks", status, headers or {}, raw, now=now)


EXPECTED = (
    {400: BadRequest, 401: Unauthorized, 402: PaymentRequired, 403: Forbidden, 404: NotFound}
    | {408: ServerError, 422: BadRequest, 425: ServerError, 429: RateLimited}
)  # fmt: skip


def expected(status):
    if status in EXPECTED:
        return EXPECTED[status]
    if 300 <= status < 400:
        return NeedsAttention
    return Refused if 400 <= status < 500 else ServerError


@pytest.mark.parametrize("body", [b"", b"<html></html>", b'{"detail":"no"}', b"[]", b"null"])
def test_every_status_has_its_class_whatever_the_body(body):
    for status in [*range(100, 200), *range(300, 600), 0, 999]:
        error = problem(status, body)
        assert type(error) is expected(status)
        assert (error.method, error.path, error.status) == ("POST", "/api/v4/tasks", status)


def test_a_redirect_needs_a_person_and_names_the_settings():
    assert "KOMMO_SUBDOMAIN" in str(problem(301, b"<html></html>", {"location": "https://elsewhere.example/"}))
    assert "elsewhere" not in str(problem(302, headers={"location": "https://elsewhere.example/"}))


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"title": "Bad Request", "detail": "Request validation failed"}, "Request validation failed"),
        ({"title": "Unprocessable"}, "Unprocessable"),
        ({"detail": "refused", "hint": "Token has been revoked"}, "refused (Token has been revoked)"),
        ({"hint": "lonely"}, "lonely"),
        ({"error_description": "invalid signature", "error_type": "BAD"}, "invalid signature"),
        ({"message": " two\n lines "}, "two lines"),
        ({"detail": {"nested": 1}, "title": "T"}, "T"),
        (b"<!DOCTYPE html><title>busy</title>", "an HTML page instead of JSON"),
        (b"", "Conflict"),
        (b"slow down", "Conflict, and 9 bytes that are no explanation"),
    ],
)
def test_the_detail_is_what_kommo_says(body, detail):
    assert problem(409, body).detail == detail


def test_a_long_detail_is_cut():
    assert len(problem(400, {"detail": "x" * 9999}).detail) == DETAIL_LIMIT


def test_code_and_request_id_are_kept():
    error = problem(403, {"error_code": 110, "detail": "no"}, {"x-request-id": "abc"})
    assert (error.code, error.request_id) == ("110", "abc")
    assert problem(500, {"trace_id": "t-9"}).request_id == "t-9"
    assert problem(500).request_id is None


def test_validation_errors_are_flattened_over_all_requests():
    body = {
        "validation-errors": [
            {
                "request_id": "0",
                "errors": [{"code": "X", "path": "custom_fields_values.0.field_id", "detail": "Unknown."}],
            },
            {"request_id": "1", "errors": [{"code": "TooLong", "path": "text"}, {"detail": "Odd."}, "rubbish"]},
            "rubbish",
        ],
        "detail": "Request validation failed",
    }
    error = problem(400, body)
    assert error.validation == ("custom_fields_values.0.field_id: Unknown.", "text: TooLong", "?: Odd.")
    assert "text: TooLong" in str(error)


def test_a_flood_of_validation_errors_is_counted_instead_of_listed():
    errors = [{"path": f"f{number}", "detail": "no"} for number in range(VALIDATION_LIMIT + 5)]
    listed = problem(400, {"validation-errors": [{"errors": errors}]}).validation
    assert len(listed) == VALIDATION_LIMIT + 1
    assert listed[-1] == "and 5 more"


@pytest.mark.parametrize(
    ("headers", "body", "after"),
    [
        ({}, b"", None),
        ({}, {"retry_after": 300}, 300.0),
        ({}, {"retry_after": "12"}, 12.0),
        ({"retry-after": "7"}, {"retry_after": 300}, 7.0),
        ({"retry-after": " 1.5 "}, b"", 1.5),
        ({"retry-after": "Wed, 04 Mar 2026 05:06:17 GMT"}, b"", 10.0),
        ({"retry-after": "Wed, 04 Mar 2026 05:06:17 -0000"}, b"", 10.0),
        ({"retry-after": "Wed, 04 Mar 2026 05:00:00 GMT"}, b"", 0.0),
        ({"retry-after": "soon"}, {"retry_after": 3}, 3.0),
        ({"retry-after": "-1"}, b"", None),
        ({"retry-after": "nan"}, b"", None),
        ({"retry-after": "inf"}, b"", None),
        ({"retry-after": "9" * 400}, b"", None),
        ({"retry-after": "99999999"}, b"", AFTER_LIMIT),
        ({}, {"retry_after": True}, None),
        ({}, {"retry_after": [1]}, None),
        ({}, {"retry_after": -5}, None),
    ],
)
def test_how_long_to_wait_is_the_header_then_the_body(headers, body, after):
    assert problem(429, body, headers).after == after


def test_a_date_counts_from_the_answers_own_clock_when_no_other_is_given():
    headers = {"retry-after": "Thu, 01 Jan 2015 00:00:30 GMT", "date": "Thu, 01 Jan 2015 00:00:00 GMT"}
    assert problem(429, headers=headers, now=None).after == 30.0


def test_only_what_may_work_later_says_when():
    headers = {"retry-after": "5"}
    assert problem(503, headers=headers).after == 5.0
    assert problem(404, headers=headers).after is None


@given(
    st.integers(300, 599), st.binary(max_size=60), st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text())
)
def test_no_answer_whatever_breaks_the_reading(status, body, headers):
    error = problem(status, body, headers, now=None)
    assert isinstance(error, ApiError)
    assert error.after is None or (isinstance(error, TryLater) and 0 <= error.after <= AFTER_LIMIT)
