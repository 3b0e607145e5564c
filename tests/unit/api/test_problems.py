"""Every answer outside 200-299 becomes the error that says what to do."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kommo.api.problems import AFTER_LIMIT, DETAIL_LIMIT, VALIDATION_LIMIT, error_of
from kommo.errors import (
    AccessEnded,
    Action,
    ApiError,
    BadRequest,
    Blocked,
    Conflict,
    Forbidden,
    NeedsAttention,
    NotAllowed,
    NotFound,
    Overloaded,
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
    {400: BadRequest, 401: Unauthorized, 402: PaymentRequired, 404: NotFound, 405: NotAllowed, 408: ServerError}
    | {409: Conflict, 422: BadRequest, 425: ServerError, 429: RateLimited, 504: Overloaded}
)  # fmt: skip


def expected(status):
    if status in EXPECTED:
        return EXPECTED[status]
    if 300 <= status < 400:
        return NeedsAttention
    return Refused if 400 <= status < 500 else ServerError


@pytest.mark.parametrize("body", [b"", b"<html></html>", b'{"detail":"no"}', b"[]", b"null", b"busy"])
def test_every_status_has_its_class_whatever_the_body(body):
    for status in {*range(100, 200), *range(300, 600), 0, 999} - {304, 403}:
        error = problem(status, body)
        assert type(error) is expected(status)
        assert (error.method, error.path, error.status) == ("POST", "/api/v4/tasks", status)


# The 403 and its meanings


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"title": "Forbidden", "detail": "Invalid scope"}, {"content-type": "application/problem+json"}),
        ({"detail": "No rights to see the users"}, {"content-type": "text/html; charset=UTF-8"}),
        (b'\xef\xbb\xbf {"detail":"Invalid scope"}', {}),
        (b'{"title":"Forb', {}),
        (b"[]", {}),
        ({"error_code": 403, "error_type": "ORIGIN_INVALID_SIGNATURE", "status": 0}, {}),
        ({"code": 403, "status": "error", "detail": "Bearer token verification failed"}, {}),
    ],
)
def test_a_403_in_json_is_a_right_or_a_scope_that_is_missing(body, headers):
    error = problem(403, body, headers)
    assert (type(error), error.action, error.meaning) == (Forbidden, Action.GIVE_UP, "")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>\r\n<head><title>403 Forbidden</title></head></html>", {"content-type": "text/html"}),
        (b"\n <!DOCTYPE html>", {}),
        (b"Access denied", {"content-type": "text/plain"}),
        (b"", {}),
        (b" \r\n", {"content-type": "application/json"}),
        ({"response": {"error_code": "403", "error": "Account is blocked"}}, {}),
    ],
)
def test_a_403_without_a_reason_of_the_apis_is_a_block(body, headers):
    error = problem(403, body, headers)
    assert (type(error), error.action) == (Blocked, Action.STOP)


def test_a_block_says_how_long_it_lasts_when_kommo_does():
    assert problem(403, b"<html>", {"retry-after": "600"}).after == 600.0
    assert problem(403, b"<html>").after is None


def test_a_429_is_a_429_as_a_page_too():
    error = problem(429, b"<html>Too many</html>", {"content-type": "text/html"})
    assert (type(error), error.detail, error.after) == (RateLimited, "an HTML page instead of JSON", None)


# Access that has ended


@pytest.mark.parametrize("hint", ["Token has been revoked", "Token has been revoked.", " token has been revoked "])
def test_a_revoked_token_is_told_by_its_hint(hint):
    error = problem(401, {"hint": hint, "title": "Некорректный запрос", "detail": "Не вышло"})
    assert (type(error), error.action) == (AccessEnded, Action.PARK)
    assert error.hint == hint.strip()


@pytest.mark.parametrize(
    "body",
    [
        {"title": "Token has been revoked", "detail": "Token has been revoked"},
        {"hint": "Access token has been revoked"},
        {"hint": "Authorization code has expired"},
        {"title": "Некорректный клиент", "detail": "Авторизация клиента не прошла"},
    ],
)
def test_titles_and_other_hints_leave_it_to_a_new_token(body):
    assert problem(401, body).action is Action.RENEW


def test_a_revoked_code_of_the_consent_page_is_no_ended_access():
    error = problem(400, {"hint": "Authorization code has been revoked"})
    assert (type(error), error.hint) == (BadRequest, "Authorization code has been revoked")


@pytest.mark.parametrize(
    ("status", "code", "kind", "action"),
    [
        (401, 110, Unauthorized, Action.RENEW),
        (401, 101, Unauthorized, Action.RENEW),
        (401, 401, Unauthorized, Action.RENEW),
        (401, 111, AccessEnded, Action.PARK),
        (401, 112, AccessEnded, Action.PARK),
        (403, 113, AccessEnded, Action.PARK),
        (403, 110, Forbidden, Action.GIVE_UP),
        (401, 9999, Unauthorized, Action.RENEW),
        (400, 111, BadRequest, Action.GIVE_UP),
    ],
)
@pytest.mark.parametrize("shape", ["response", "error_code", "text", "code"])
def test_the_codes_of_authorization_say_whether_a_new_token_helps(status, code, kind, action, shape):
    shapes = {
        "response": {"response": {"error": "no", "error_code": str(code), "ip": "192.0.2.7"}},
        "error_code": {"error_code": code},
        "text": {"error_code": str(code)},
        "code": {"code": code, "detail": "no"},
    }
    error = problem(status, shapes[shape])
    assert (type(error), error.action, error.code) == (kind, action, str(code))


def test_an_address_in_an_answer_is_not_even_repeated():
    body = {"response": {"error": "Not authorized", "error_code": 401, "ip": "192.0.2.7", "domain": "evil.example"}}
    error = problem(401, body, {"location": "https://evil.example/"})
    assert "lives on another one" in error.meaning
    assert not any(address in f"{error}{vars(error)}" for address in ("192.0.2.7", "evil.example"))


# Codes


def failed(path, status, code):
    return error_of("POST", path, status, {}, json.dumps({"error_code": code, "detail": "no"}).encode())


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v4/contacts", 219),
        ("/api/v4/contacts", 203),
        ("/api/v4/companies", 210),
        ("/api/v4/catalogs/3", 281),
        ("/api/v4/catalogs/3/elements", 203),
    ],
)
@pytest.mark.parametrize("status", [400, 404, 405, 409, 422, 425])
def test_a_code_that_is_passing_is_tried_again_though_its_status_is_final(path, code, status):
    error = failed(path, status, code)
    assert (type(error), error.action, error.code) == (ServerError, Action.REPEAT, str(code))
    assert error.meaning in str(error)


@pytest.mark.parametrize("status", [401, 402, 403, 429])
def test_no_code_hides_what_the_status_says_of_access_payment_and_limits(status):
    assert failed("/api/v4/contacts", status, 219).action is failed("/api/v4/contacts", status, "X").action


def test_the_same_number_is_final_where_another_section_has_it():
    assert type(failed("/api/v4/leads", 400, 203)) is BadRequest


@pytest.mark.parametrize(("status", "code"), [(402, 402), (425, 425), (426, 426), (402, 426)])
def test_customers_that_are_not_paid_for_stop_no_other_write(status, code):
    error = failed("/api/v4/customers", status, code)
    assert (type(error), error.action) == (Forbidden, Action.GIVE_UP)
    assert type(failed("/api/v4/leads", 402, 402)) is PaymentRequired
    assert type(problem(402, {"title": "Payment Required", "status": 402})) is PaymentRequired


@pytest.mark.parametrize(
    "body",
    [
        {"detail": "Код ошибки 244. Если она повторится, напишите нам"},
        {"response": {"error": "Error code 244"}},
    ],
)
def test_a_code_may_stand_in_the_sentence(body):
    error = error_of("POST", "/api/v4/leads", 400, {}, json.dumps(body).encode())
    assert (error.code, error.meaning) == ("244", "no right to add leads")


@pytest.mark.parametrize("code", ["NotSupportedChoice", "12x", "-1", "1.5", "9" * 39, "٢١٩", True, None, [219], 1.5])
def test_what_is_no_number_has_no_meaning(code):
    assert failed("/api/v4/contacts", 400, code).meaning == ""


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
        ({"response": {"error": "Нет прав", "error_code": 244}}, "Нет прав"),
        ({"response": ["?"], "detail": "odd"}, "odd"),
        (b"", "Conflict"),
        ({"error_code": 219}, "Conflict"),
        (b"slow down", "Conflict, and 9 bytes that are no explanation"),
    ],
)
def test_the_detail_is_what_kommo_says(body, detail):
    assert problem(409, body).detail == detail


def test_a_long_detail_is_cut():
    assert len(problem(400, {"detail": "too long " * 999}).detail) == DETAIL_LIMIT


def test_a_secret_in_kommos_words_is_masked():
    header, rest, refresh = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiIsImp0aSI6", "a" * 300, "def50200" + "ab12" * 60
    body = {"detail": f"Cannot read {header}.{rest}.{rest}, nor {refresh}", "hint": refresh, "code": refresh}
    error = problem(401, {**body, "validation-errors": [{"request_id": "0", "errors": [{"path": refresh}]}]})
    assert error.detail == "Cannot read ….….…, nor … (…)"
    assert not any(secret in f"{error}{vars(error)}" for secret in (header, rest, refresh))


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


def test_items_are_the_validation_errors_by_request_id():
    wrong = {"path": "name", "detail": "Too long."}
    body = {
        "validation-errors": [
            {"request_id": "0", "errors": [{"path": "price", "detail": "A number."}, wrong]},
            {"request_id": 7, "errors": [wrong]},
            {"request_id": "0", "errors": [{"code": "X"}]},
            {"request_id": "empty", "errors": []},
            {"request_id": True, "errors": [wrong]},
            {"errors": [wrong]},
        ]
    }
    error = problem(400, body)
    assert error.items == {
        "0": ("price: A number.", "name: Too long.", "?: X"),
        "7": ("name: Too long.",),
        "empty": (),
    }
    assert (type(error), error.action) == (BadRequest, Action.TAKE_OUT)
    assert len(error.validation) == 6


def test_a_request_id_is_never_shortened():
    name = "write-" + "f" * 400
    assert list(problem(422, {"validation-errors": [{"request_id": name, "errors": []}]}).items) == [name]


def test_a_list_that_php_made_an_object_of_is_read_too():
    body = {"validation-errors": {"3": {"request_id": "3", "errors": {"1": {"path": "name", "detail": "No."}}}}}
    assert problem(400, body).items == {"3": ("name: No.",)}


@pytest.mark.parametrize("errors", [None, [], {}, "x", 5, [5], [{"errors": [{"path": "a"}]}]])
def test_without_a_named_item_there_is_nothing_to_take_out(errors):
    error = problem(400, {"validation-errors": errors})
    assert (error.items, error.action) == ({}, Action.GIVE_UP)


def test_items_count_only_where_the_request_was_found_wrong():
    body = {"validation-errors": [{"request_id": "0", "errors": []}]}
    for status in (401, 402, 403, 404, 429, 500, 504):
        assert problem(status, body).items == {}
    passing = {**body, "error_code": 219}
    assert error_of("GET", "/api/v4/contacts", 400, {}, json.dumps(passing).encode()).action is Action.REPEAT


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
