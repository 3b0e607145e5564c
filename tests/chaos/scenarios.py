"""The scenarios: what is sent, what is killed meanwhile, and what has to come of it."""

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from sandbox import Sandbox
from tests.chaos.reckoning import Event, Reckoning, longest_wait, reckon
from tests.chaos.site import KINDS, Site
from tests.chaos.traffic import Traffic
from tests.scenario.calling import command
from tests.scenario.fleet import ACCOUNT
from tests.waiting import wait_for

#: Leads that the events are about: as many lanes.
LEADS = 40


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What happens. Times are in seconds."""

    name: str
    events: int
    rate: float
    kinds: Sequence[str] = ()
    kills: int = 0
    #: Seconds between two kills, at least and at most.
    pause: tuple[float, float] = (1.0, 2.5)
    #: Redis is away for so long, once.
    away: float = 0.0
    #: Leads, by place, and the numbers of their events that end whoever handles them.
    poison: Sequence[Event] = ()
    #: Leads, by place, whose handler takes 0 to 3 s; and how many seconds an event of another lead may wait.
    slow: Sequence[int] = ()
    wait_seconds: float = float("inf")
    #: The threads of the one worker, and whether there is another one with children.
    threads: int = 8
    children: bool = True
    with_notes: bool = True
    #: What the answers have to keep to while nothing but Redis is away.
    only_200: bool = False
    p99_ms: float = float("inf")
    settle_seconds: float = 90.0


@dataclass
class Run:
    """What came of a scenario."""

    scenario: Scenario
    killed: int = 0
    seconds: float = 0.0
    traffic: Traffic | None = None
    result: Reckoning | None = None
    #: Seconds that an event of a lead that is not slow waited at most.
    waited: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return self.result is not None and self.result.is_good and not self.wrong


SHORT = (
    Scenario(name="everything", events=400, rate=30, kinds=KINDS, kills=8, pause=(0.8, 1.6)),
    Scenario(name="Redis away", events=900, rate=200, away=3.0, with_notes=False, only_200=True, p99_ms=500),
)
LONG = (
    Scenario(name="everything", events=5000, rate=35, kinds=KINDS, kills=60, pause=(1.5, 3.0), settle_seconds=180),
    Scenario(name="workers", events=1500, rate=40, kinds=KINDS[:4], kills=20, pause=(1.0, 2.0)),
    Scenario(name="receivers", events=1500, rate=60, kinds=["web child", "web all"], kills=20, pause=(0.7, 1.5)),
    Scenario(name="Redis", events=2500, rate=40, kinds=["redis"], kills=20, pause=(1.5, 3.5)),
    Scenario(
        name="slow handlers",
        events=480,
        rate=8,
        kinds=["worker"],
        kills=3,
        pause=(12.0, 17.0),
        slow=range(0, LEADS, 2),
        wait_seconds=12,
        threads=16,
        children=False,
        settle_seconds=180,
    ),
    Scenario(name="poison", events=400, rate=40, poison=((3, 2), (10, 4), (25, 1)), settle_seconds=180),
    Scenario(
        name="Redis away for ten minutes",
        events=122_000,
        rate=200,
        away=600.0,
        with_notes=False,
        only_200=True,
        p99_ms=100,
        settle_seconds=600,
    ),
)


def play(scenario: Scenario, seed: int) -> Run:
    """Play a scenario; the same seed kills the same things at the same times."""
    run = Run(scenario)
    began = time.monotonic()
    with _surroundings(scenario) as (site, box, leads):
        site.begin()
        run.traffic = Traffic(site.port, leads, scenario.events, scenario.rate)
        run.traffic.start()
        try:
            run.killed = _harm(site, scenario, run.traffic, random.Random(seed))
            wait_for(run.traffic.is_over, seconds=scenario.events / scenario.rate + 120, what="all is sent")
            _settle(run, site, box)
        finally:
            site.finish()
        run.result = _reckoned(run, site, box)
        run.waited = _longest_wait(run, site)
    _judge(run)
    run.seconds = time.monotonic() - began
    return run


@contextmanager
def _surroundings(scenario: Scenario) -> Iterator[tuple[Site, Sandbox, list[int]]]:
    with Sandbox(account_id=ACCOUNT, subdomain="scenario", tokens=("scenario-token",), retry_after=1) as box:
        leads = [command(box, "lead.create", name=f"Lead {place}")["id"] for place in range(LEADS)]
        environ = {
            "KOMMO_API_BASE": box.url,
            "KOMMO_HANDLERS": "tests.chaos.handlers",
            "CHAOS_NOTES": "1" if scenario.with_notes else "",
            "CHAOS_POISON": " ".join(f"{leads[place]}:{number}" for place, number in scenario.poison),
            "CHAOS_SLOW": " ".join(str(leads[place]) for place in scenario.slow),
        }
        with Site(threads=scenario.threads, children=scenario.children, **environ) as site:
            yield site, box, leads


def _harm(site: Site, scenario: Scenario, traffic: Traffic, dice: random.Random) -> int:
    if scenario.away:
        time.sleep(min(3.0, scenario.away))
        site.redis_server.kill()
        time.sleep(scenario.away)
        site.redis_server.start()
        return 1
    killed = 0
    while killed < scenario.kills and not (traffic.is_over() and killed):
        time.sleep(dice.uniform(*scenario.pause))
        site.kill_one_of(list(scenario.kinds), dice)
        killed += 1
    return killed


def _settle(run: Run, site: Site, box: Sandbox) -> None:
    """Wait until nothing is missing and nothing waits, or as long as may be."""
    ends = time.monotonic() + run.scenario.settle_seconds
    while time.monotonic() < ends:
        if _reckoned(run, site, box).is_good and _is_settled(site):
            return
        time.sleep(0.5)
    run.wrong.append(f"not settled within {run.scenario.settle_seconds:g} s")


def _is_settled(site: Site) -> bool:
    try:
        return site.settled()
    except RedisError:
        return False


def _reckoned(run: Run, site: Site, box: Sandbox) -> Reckoning:
    assert run.traffic is not None
    ran = [event for event, _ in _booked(site)]
    notes = None
    if run.scenario.with_notes:
        notes = [_event(*note["params"]["text"].split(":")) for note in list(box.world.state.notes.values())]
    poison = [(run.traffic.leads[place], number) for place, number in run.scenario.poison]
    return reckon(run.traffic.sent, ran, notes, poison)


def _longest_wait(run: Run, site: Site) -> float:
    assert run.traffic is not None
    slow = {run.traffic.leads[place] for place in run.scenario.slow}
    return longest_wait(run.traffic.taken, [(event, at) for event, at in _booked(site) if event[0] not in slow])


def _booked(site: Site) -> list[tuple[Event, float]]:
    """Read what ran, in its order, and when."""
    lines = site.book.read_text("ascii").splitlines() if site.book.exists() else []
    return [(_event(lead, number), float(at)) for lead, number, at in map(str.split, lines)]


def _event(lead: str, number: str) -> Event:
    return int(lead), int(number)


def _judge(run: Run) -> None:
    assert run.traffic is not None
    if run.scenario.only_200 and run.traffic.bad:
        run.wrong.append(f"{run.traffic.bad} answers were not 200")
    if run.traffic.p99_ms() > run.scenario.p99_ms:
        run.wrong.append(f"p99 of the answers above {run.scenario.p99_ms:g} ms")
    if run.waited > run.scenario.wait_seconds:
        run.wrong.append(f"an event waited {run.waited:.1f} s, allowed are {run.scenario.wait_seconds:g} s")
