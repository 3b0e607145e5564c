"""Leads created together with their contact and company: https://developers.kommo.com/reference (complex leads)

Does no I/O.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from kommo.api.bounds import COMPLEX_LIMIT, COMPLEX_VALUES_LIMIT, check_amount
from kommo.api.pages import Json
from kommo.api.values import to_json
from kommo.errors import RequestError, ServerError

#: What comes with a lead, and where it goes.
_COMPANIONS: Final = {"contact": "contacts", "company": "companies"}

#: Makes the body of one entity of a resource of what was given for it.
Body = Callable[[str, Mapping[str, Any]], Json]


def complex_items(leads: Sequence[Mapping[str, Any]], body: Body) -> list[Json]:
    """Return the array of a request of up to 50 leads; raises RequestError.

    A lead is what `create` takes, and `contact=` and `company=`: a dict of what a new one has, or {"id": 5} for one
    that is there. Each entity has at most 40 custom field values.
    """
    check_amount(leads, COMPLEX_LIMIT, "leads in a complex request")
    items = [_item(lead, body) for lead in leads]
    named = [{**item, "request_id": str(item.get("request_id", place))} for place, item in enumerate(items)]
    if len({item["request_id"] for item in named}) < len(named):
        raise RequestError("every request_id= may be given once")
    return named


def _item(lead: Mapping[str, Any], body: Body) -> Json:
    own = {name: value for name, value in lead.items() if name not in (*_COMPANIONS, "metadata")}
    item = body("leads", own)
    embedded: dict[str, Any] = dict(item.pop("_embedded", {}))
    if "metadata" in lead:
        embedded["metadata"] = to_json(lead["metadata"], "metadata")
    for name, resource in _COMPANIONS.items():
        if name in lead:
            embedded[resource] = [_companion(lead[name], resource, body)]
        check_amount(embedded.get(resource, ()), 1, f"{name} of a complex lead")
    _check_values(item, "lead")
    return {**item, "_embedded": embedded} if embedded else item


def _companion(given: object, resource: str, body: Body) -> Json:
    if not isinstance(given, Mapping) or not given:
        raise RequestError(f'a complex lead takes a dict of its {resource}, such as {{"name": "N"}} or {{"id": 5}}')
    if "id" in given:
        return {"id": given["id"]}
    made = body(resource, given)
    _check_values(made, resource)
    return made


def _check_values(item: Json, what: str) -> None:
    count = sum(len(field.get("values") or ()) for field in item.get("custom_fields_values") or ())
    check_amount(range(count), COMPLEX_VALUES_LIMIT, f"custom field values of one entity ({what})")


def complex_answers(answer: object, items: Sequence[Json], path: str) -> list[Json]:
    """Return {"id", "contact_id", "company_id", "merged", …} of each lead, in the order of the items.

    Raises ServerError when a lead is not answered: it may be there.
    """
    by_request = {name: found for found in _dicts(answer) for name in _request_ids(found)}
    missing = [item["request_id"] for item in items if item["request_id"] not in by_request]
    if missing:
        detail = f"the answer does not say what became of {', '.join(missing)}"
        raise ServerError(detail, method="POST", path=path)
    return [by_request[item["request_id"]] for item in items]


def _dicts(answer: object) -> list[Json]:
    return [item for item in answer if isinstance(item, dict)] if isinstance(answer, list) else []


def _request_ids(found: Json) -> Iterator[str]:
    """They come as a list, since leads that Kommo takes for one are answered once."""
    given = found.get("request_id")
    yield from map(str, given if isinstance(given, list) else [given])
