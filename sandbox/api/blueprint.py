"""The parts of the API under one address."""

from flask import Blueprint

from sandbox.api import (
    account,
    calls,
    catalog_elements,
    catalogs,
    complex_leads,
    custom_fields,
    element_links,
    events,
    field_groups,
    incoming_leads,
    links,
    loss_reasons,
    notes,
    pipelines,
    records,
    roles,
    short_links,
    sources,
    tags,
    talks,
    users,
    webhooks,
)

api = Blueprint("api", __name__, url_prefix="/api/v4")

_PARTS = (
    account,
    users,
    roles,
    pipelines,
    custom_fields,
    tags,
    links,
    field_groups,
    incoming_leads,
    loss_reasons,
    complex_leads,
    events,
    calls,
    catalog_elements,
    element_links,
    catalogs,
    sources,
    short_links,
    talks,
    webhooks,
    notes,
    records,
)
for _part in _PARTS:
    api.register_blueprint(_part.routes)
