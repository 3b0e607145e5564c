"""What the tests of flushing share: asking for writes, listening on the wire, flushing until nothing is left."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from kommo.api.bulk import kind_of, pack
from kommo.api.clients import Clients
from kommo.api.later import Later
from kommo.api.later import Step as AskedBy
from kommo.api.protocol import Request, Response
from kommo.api.transport import HttpTransport
from kommo.api.writes import Write
from kommo.hooks.events import Event
from kommo.router import Router
from kommo.store.accounts import Accounts, Credentials
from kommo.store.inbox import Batch, RoutedEvent, Step
from kommo.store.lanes import AskedWrite, StepOutcome
from kommo.store.outbox import item_of
from kommo.variables import Secret
from sandbox import Sandbox, changes
from sandbox.directory import OWNER
from tests.integration.workers.working import ACCOUNT, MakeWorker, Worker
from tests.waiting import wait_for
from workers.flush import flush
from workers.run import run

FAST = {"integration": 1000, "account": 1000, "ip": 1000}
Act = Callable[[Any], object]
Before = Callable[[Request], Response | None]


@dataclass
class Asking:
    """Makes workers in whose outbox lies what handlers asked for on one event."""

    worker: MakeWorker
    box: Sandbox

    def __call__(self, *acts: Act, on_doubt: Any = "look", **given: Any) -> Worker:
        """One handler for each act, called `asks`, `asks2`, …"""
        router = Router()
        for number, act in enumerate(acts, 1):
            router.on("lead.*", handler=f"asks{number if number > 1 else ''}", on_doubt=on_doubt)(_handler(act))
        settings = {"access_token": Secret(self.box.token), "api_base": self.box.url, "rate_limits": FAST, **given}
        here = self.worker(router, **settings)
        here.come(900_001)
        run(here.runtime)
        assert here.dead() == []
        return here


def _handler(act: Act) -> Callable[[Event, Any], None]:
    def asks(event: Event, kommo: Any) -> None:
        act(kommo)

    return asks


def nothing(_kommo: object) -> None:
    """Ask for no write."""


def made(box: Sandbox, kind: str, **fields: Any) -> int:
    """Make an entity in the sandbox, without a call."""
    record, _ = changes.create(box.world.state, kind, fields, by=OWNER)
    return int(record.id)


def leads(box: Sandbox, number: int) -> list[int]:
    return [made(box, "leads", name=f"lead {place}") for place in range(number)]


def kept(box: Sandbox, kind: str) -> list[dict[str, Any]]:
    """What the sandbox has of a kind."""
    if kind == "notes":
        return list(box.world.state.notes.values())
    return [{"id": one.id, **one.fields} for one in box.world.state.records[kind].values()]


def sent(box: Sandbox, method: str, path: str | None = None) -> list[dict[str, Any]]:
    """The requests that came in, with what they carried."""
    return box.requests(method=method, path=path, bodies=True)


def put(worker: Worker, account: int, act: Callable[[Later], object], *, event: str = "e1") -> None:
    """Put writes into an account's outbox as if a handler had asked for them."""
    runtime = worker.runtime
    later = Later(AskedBy(account, event, "asks", "d1"))
    act(later)
    cursor = runtime.inbox.cursor(account)
    worker.deliver(b"", account=account, id_=f"{event}-{account}")
    (entry,) = runtime.inbox.read(account, after=cursor, limit=1)
    routed = RoutedEvent(event, entry.stream_id, [Step("lane", b"")])
    assert runtime.inbox.commit(Batch(account, cursor, entry.stream_id, [routed], []), hold_ms=0).moved
    (lease,) = runtime.lanes.take(account, "t").leases
    records = ((write, json.dumps(write.to_record()).encode()) for write in later.writes)
    writes = [AskedWrite(write.chain, item_of(kind_of(write), record)) for write, record in records]
    runtime.lanes.finish(StepOutcome(lease, "done", "r", entry.stream_id, writes=writes))


def die_after_sending(worker: Worker, most: int = 50) -> None:
    """Send what is due, as a process that dies before it can record what came of it; then let its leases end."""
    runtime = worker.runtime
    taken = runtime.outbox.take_piles(ACCOUNT, runtime.token(), most=most, depth=50)
    batch = pack([[Write.from_record(json.loads(item)) for item in pile.items] for pile in taken.piles])
    runtime.clients.caller(ACCOUNT)(batch.method, batch.path, None, batch.json)
    worker.pass_time("outbox")


def is_empty(worker: Worker) -> bool:
    return not worker.runtime.redis.exists(worker.runtime.keys.queue("outbox", 0).ready)


def flush_out(worker: Worker, seconds: float = 8) -> None:
    """Flush until the outbox is empty; what waits for another write comes again by itself."""

    def flushed() -> bool:
        flush(worker.runtime)
        return is_empty(worker)

    wait_for(flushed, seconds=seconds, what="the outbox is empty")


def used(worker: Worker) -> list[int]:
    """The slots that are taken, scope by scope."""
    runtime = worker.runtime
    return [runtime.shared.brakes.state(scope).taken for scope in runtime.clients.turnstile(ACCOUNT).scopes]


class FakeTransport:
    """Keeps what is sent, and does what it is told before it lets a request through, or instead."""

    def __init__(self, before: Before) -> None:
        self._before = before
        self._real = HttpTransport()
        self._lock = threading.Lock()
        self.sent: list[Request] = []

    def send(self, request: Request) -> Response:
        with self._lock:
            self.sent.append(request)
        return self._before(request) or self._real.send(request)

    def close(self) -> None:
        self._real.close()

    def bodies(self, method: str, path: str = "") -> list[Any]:
        return [json.loads(one.body) for one in self.sent if one.method == method and (not path or one.path == path)]


def listen(worker: Worker, before: Before = lambda _request: None) -> FakeTransport:
    """Put a transport of ours between the worker and Kommo."""
    runtime, transport = worker.runtime, FakeTransport(before)
    runtime.clients.close()
    runtime.clients = Clients(runtime.accounts, runtime.shared, runtime.settings.api_base, transport)
    return transport


def problem(status: int, **says: Any) -> Response:
    """An answer of the API that is no success."""
    body = json.dumps({"title": "No", "status": status, "detail": "No.", **says}).encode()
    return Response(status, {"content-type": "application/problem+json"}, body)


class EveryAccount(Accounts):
    """Has the same token for whatever account is asked for."""

    def credentials(self, account_id: int) -> Credentials | None:
        return Accounts(replace(self._settings, account_id=account_id)).credentials(account_id)
