"""What the account holds, in memory: entities, notes, chats, incoming leads, list elements, tags."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from threading import RLock
from typing import Any

from sandbox.custom_fields import CUSTOM_FIELDS, CustomField
from sandbox.directory import Directory

Json = dict[str, Any]

#: The list that is there from the start.
PRODUCTS = 33_001

#: Entities of the API, by their plural names.
KINDS = ("leads", "contacts", "companies", "customers", "tasks")
#: Those that may have notes, tags, links and custom fields.
CARDS = KINDS[:-1]

SINGULAR = {"leads": "lead", "contacts": "contact", "companies": "company", "customers": "customer", "tasks": "task"}

#: The numbers that deliveries and old methods use for entities.
ELEMENT_TYPES = {"contacts": 1, "leads": 2, "companies": 3, "customers": 12}

#: Events kept; what is older is forgotten.
EVENTS_KEPT = 50_000

_FIRST_IDS = {
    "leads": 15_400_001,
    "contacts": 17_700_001,
    "companies": 18_800_001,
    "customers": 1_330_001,
    "tasks": 1_570_001,
    "notes": 4_610_001,
    "tags": 310_001,
    "talks": 201,
    "catalog_elements": 350_001,
    "catalogs": 33_002,
    "sources": 36_601,
    "pipelines": 7_100_101,
    "statuses": 61_100_001,
    "custom_fields": 771_901,
    "enums": 908_901,
    "users": 9_000_201,
    "roles": 40_101,
    "calls": 5_500_001,
    "webhooks": 80_001,
    "loss_reasons": 14_701,
    "field_groups": 6_201,
    "unsorted": 1,
}


def _products(now: int) -> Json:
    plain = {"name": "Products", "created_by": 0, "updated_by": 0, "created_at": now, "updated_at": now, "sort": 10}
    more = {"type": "products", "can_add_elements": True, "can_show_in_cards": True, "can_link_multiple": True}
    return {"id": PRODUCTS, **plain, **more}


@dataclass
class Record:
    """A lead, contact, company or task: its plain fields as the API names them, and what hangs on it."""

    kind: str
    id: int
    fields: Json
    custom: list[Json] = field(default_factory=list)
    tags: list[Json] = field(default_factory=list)
    #: Of a lead: `{id, is_main}`; of a company: `{id}`.
    contacts: list[Json] = field(default_factory=list)
    companies: list[int] = field(default_factory=list)
    #: The leads that name this contact or company.
    leads: list[int] = field(default_factory=list)
    #: Elements of lists: `{id, catalog_id, quantity}`.
    elements: list[Json] = field(default_factory=list)
    #: The stage before the last change of stage.
    last_status_id: int | None = None

    @property
    def is_deleted(self) -> bool:
        """Whether it lies in the bin."""
        return bool(self.fields.get("is_deleted"))


class State:
    """Everything that can be read or changed; take `lock` around whatever must be seen whole."""

    def __init__(self, *, account_id: int, subdomain: str, clock: Callable[[], float]) -> None:
        self.account_id = account_id
        self.subdomain = subdomain
        self.lock = RLock()
        self.started_at = int(clock())
        self.records: dict[str, dict[int, Record]] = {kind: {} for kind in KINDS}
        self.notes: dict[int, Json] = {}
        self.talks: dict[int, Json] = {}
        self.unsorted: dict[str, Json] = {}
        #: Incoming leads that somebody has accepted or declined, for the summary.
        self.sorted_out: list[Json] = []
        self.catalog_elements: dict[int, Json] = {}
        self.catalogs: dict[int, Json] = {PRODUCTS: _products(self.started_at)}
        self.sources: dict[int, Json] = {}
        self.loss_reasons: dict[int, Json] = {}
        #: By kind: groups of custom fields, without those that every account has.
        self.field_groups: dict[str, dict[str, Json]] = defaultdict(dict)
        self.directory = Directory()
        self.events: deque[Json] = deque(maxlen=EVENTS_KEPT)
        self._fields = {kind: list(fields) for kind, fields in CUSTOM_FIELDS.items()}
        self.tags: dict[str, dict[str, Json]] = defaultdict(dict)
        self._clock = clock
        self._ids = {name: count(first) for name, first in _FIRST_IDS.items()}

    def now(self) -> int:
        """Return the time in epoch seconds, the only grain that the service knows."""
        return int(self._clock())

    def next_id(self, name: str) -> int:
        """Return the next id of that kind."""
        return next(self._ids[name])

    def fields(self, kind: str) -> list[CustomField]:
        """Return the definitions of a kind, to be read or changed; those of a list are under `catalogs/{id}`."""
        if kind not in self._fields:
            self._fields[kind] = list(CUSTOM_FIELDS["catalog_elements"])
        return self._fields[kind]

    def regroup(self, kind: str, group_id: str | None, field_ids: Collection[int]) -> None:
        """Put fields into a group, or with None back into the main one."""
        fields = self.fields(kind)
        fields[:] = [replace(one, group_id=group_id) if one.id in field_ids else one for one in fields]

    def find(self, kind: str, entity_id: int) -> Record | None:
        """Return an entity that is not deleted."""
        record = self.records[kind].get(entity_id)
        return None if record is None or record.is_deleted else record

    def visible(self, kind: str, *, deleted: bool = False) -> Iterator[Record]:
        """Yield the entities of a kind, or instead those in the bin."""
        return (record for record in self.records[kind].values() if record.is_deleted is deleted)

    def tag(self, kind: str, name: str) -> Json:
        """Return the tag of that name, made on first use."""
        tags = self.tags[kind]
        if name not in tags:
            tags[name] = {"id": self.next_id("tags"), "name": name, "color": None}
        return tags[name]

    def link(self, lead: Record, kind: str, entity_id: int) -> None:
        """Remember on a contact or company that a lead names it."""
        linked = self.records[kind].get(entity_id)
        if lead.kind == "leads" and linked is not None and lead.id not in linked.leads:
            linked.leads.append(lead.id)

    def unlink(self, lead: Record, kind: str, entity_id: int) -> None:
        """Forget on a contact or company that a lead named it."""
        linked = self.records[kind].get(entity_id)
        if lead.kind == "leads" and linked is not None and lead.id in linked.leads:
            linked.leads.remove(lead.id)
