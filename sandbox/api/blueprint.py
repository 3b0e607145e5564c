"""The parts of the API under one address."""

from flask import Blueprint

from sandbox.api import (
    account,
    calls,
    catalog_elements,
    catalogs,
    complex_leads,
    custom_fields,
    events,
    links,
    notes,
    pipelines,
    records,
    sources,
    tags,
    webhooks,
)

api = Blueprint("api", __name__, url_prefix="/api/v4")

_PARTS = (
    account,
    pipelines,
    custom_fields,
    tags,
    links,
    complex_leads,
    events,
    calls,
    catalog_elements,
    catalogs,
    sources,
    webhooks,
    notes,
    records,
)
for _part in _PARTS:
    api.register_blueprint(_part.routes)
