"""Errors that the API finds itself, in the words of the service.

Source: https://developers.kommo.com/docs/response-codes and the API reference.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sandbox.pages import Page, problem_page


class Fault(NamedTuple):
    """One thing wrong with one item of a request."""

    path: str
    code: str
    detail: str


class Refusal(Exception):
    """Carry an error answer from where it is found to where it is sent."""

    def __init__(self, page: Page) -> None:
        super().__init__(page.status)
        self.page = page


class ApiError(Refusal):
    """Refuse with a problem document."""

    def __init__(self, status: int, detail: str, **extra: Any) -> None:
        super().__init__(problem_page(status, detail, **extra))


def invalid(faults: Mapping[str, Sequence[Fault]]) -> ApiError:
    """Return the 400 that names the faults of each item by its `request_id`."""
    errors = [
        {
            "request_id": request_id,
            "errors": [{"code": fault.code, "path": fault.path, "detail": fault.detail} for fault in found],
        }
        for request_id, found in faults.items()
    ]
    return ApiError(400, "Request validation failed", **{"validation-errors": errors})


def unauthorized() -> ApiError:
    """Return the answer to a missing or unknown token."""
    return ApiError(401, "Invalid or missing access token")


def not_found(what: str = "Resource") -> ApiError:
    """Return the answer to a change of something that is not there."""
    return ApiError(404, f"{what} not found")


def over_page_limit(limit: int = 250) -> ApiError:
    """Return the answer to more entities in one request than the service takes."""
    return ApiError(422, f"Limit {limit} per page")


def not_a_choice(path: str) -> Fault:
    """Return the fault of a value outside its list."""
    return Fault(path, "NotSupportedChoice", "The value you selected is not a valid choice.")


def missing(path: str) -> Fault:
    """Return the fault of a required field that was not given."""
    return Fault(path, "FieldMissing", "This field is missing.")


def wrong_type(path: str, wanted: str) -> Fault:
    """Return the fault of a value of another type."""
    return Fault(path, "InvalidType", f"This value should be of type {wanted}.")


#: What the service calls the types that it asks for.
_TYPE_NAMES = {str: "string", int: "int", dict: "array", list: "array"}


def mistyped(item: Mapping[str, Any], **wanted: type) -> Iterator[Fault]:
    """Yield the fields of an item that are given and have another type than they should."""
    for name, kind in wanted.items():
        if item.get(name) is not None and not isinstance(item[name], kind):
            yield wrong_type(name, _TYPE_NAMES[kind])


def too_long(path: str, limit: int) -> Fault:
    """Return the fault of a text above its limit."""
    return Fault(path, "TooLong", f"This value is too long. It should have {limit} characters or less.")
