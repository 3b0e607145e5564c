"""Errors of the API, in the words of the service: problem+json bodies and the page of the front server.

Source: https://developers.kommo.com/docs/response-codes and the API reference.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

PROBLEM_TYPE = "application/problem+json"

#: What the front server shows to an address that went on after many a 429.
BLOCK_PAGE = (
    "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n"
    "<center><h1>403 Forbidden</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)


class Fault(NamedTuple):
    """One thing wrong with one item of a request."""

    path: str
    code: str
    detail: str


class ApiError(Exception):
    """Carry an error answer from where it is found to where it is rendered."""

    def __init__(self, status: int, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.extra = extra

    def body(self) -> dict[str, Any]:
        """Return the problem document."""
        return {
            **self.extra,
            "title": HTTPStatus(self.status).phrase,
            "type": f"https://httpstatus.es/{self.status}",
            "status": self.status,
            "detail": self.detail,
        }


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


def over_page_limit() -> ApiError:
    """Return the answer to more than 250 entities in one request."""
    return ApiError(422, "Limit 250 per page")


def too_many(retry_after: int) -> ApiError:
    """Return the 429; the wait is told in the body, no header tells it."""
    return ApiError(429, "Request limit exceeded, slow down", retry_after=retry_after)


def not_a_choice(path: str) -> Fault:
    """Return the fault of a value outside its list."""
    return Fault(path, "NotSupportedChoice", "The value you selected is not a valid choice.")


def missing(path: str) -> Fault:
    """Return the fault of a required field that was not given."""
    return Fault(path, "FieldMissing", "This field is missing.")


def wrong_type(path: str, wanted: str) -> Fault:
    """Return the fault of a value of another type."""
    return Fault(path, "InvalidType", f"This value should be of type {wanted}.")
