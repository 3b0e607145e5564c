"""The people and the pipelines of the account, given at the start and not changed by the API yet."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: The user in whose name the API writes, and two who work at the company.
INTEGRATION_USER = 9_000_100
OWNER = 9_000_101
SELLER = 9_000_102
ROBOT = 0

WON, LOST = 142, 143


@dataclass(frozen=True)
class User:
    """Somebody who can be responsible for an entity."""

    id: int
    name: str
    email: str
    is_admin: bool


@dataclass(frozen=True)
class Stage:
    """A status of a pipeline; `type` 1 is the stage of incoming leads."""

    id: int
    name: str
    sort: int
    color: str
    type: int = 0
    is_editable: bool = True


@dataclass(frozen=True)
class Pipeline:
    """A pipeline with its stages in order."""

    id: int
    name: str
    sort: int
    is_main: bool
    stages: tuple[Stage, ...]

    def has(self, status_id: int) -> bool:
        """Tell whether the pipeline has that stage: a status means nothing without its pipeline."""
        return any(stage.id == status_id for stage in self.stages)

    @property
    def incoming(self) -> Stage:
        """The stage in which unsorted leads wait."""
        return next(stage for stage in self.stages if stage.type == 1)

    @property
    def first(self) -> Stage:
        """The stage that a lead gets when none was named."""
        return next(stage for stage in self.stages if stage.type == 0)


USERS = (
    User(INTEGRATION_USER, "Integration", "integration@sandbox.example", is_admin=True),
    User(OWNER, "Nora Lind", "nora@sandbox.example", is_admin=True),
    User(SELLER, "Tomás Prado", "tomas@sandbox.example", is_admin=False),
)


def _stages(first_id: int, *names: str) -> tuple[Stage, ...]:
    colors = ("#c1c1c1", "#99ccff", "#ffff99", "#ffcc66", "#ffcccc")
    own = tuple(
        Stage(first_id + index, name, 10 + index * 10, colors[index % len(colors)], type=int(index == 0))
        for index, name in enumerate(names)
    )
    closed = (
        Stage(WON, "Closed - won", 10_000, "#CCFF66", is_editable=False),
        Stage(LOST, "Closed - lost", 11_000, "#D5D8DB", is_editable=False),
    )
    return own + closed


PIPELINES = (
    Pipeline(
        7_100_001,
        "Sales",
        1,
        is_main=True,
        stages=_stages(61_000_001, "Incoming leads", "First contact", "Needs known", "Offer sent", "Contract"),
    ),
    Pipeline(
        7_100_002,
        "Service",
        2,
        is_main=False,
        stages=_stages(61_000_101, "Incoming leads", "Request taken", "In the workshop", "Ready"),
    ),
)


def pipeline(pipeline_id: int) -> Pipeline | None:
    """Return the pipeline with that id."""
    return next((one for one in PIPELINES if one.id == pipeline_id), None)


def main_pipeline() -> Pipeline:
    """Return the pipeline that is used when none is named."""
    return next(one for one in PIPELINES if one.is_main)


def user_ids() -> Iterator[int]:
    """Yield the ids that `responsible_user_id` may take; 0 is nobody."""
    yield ROBOT
    yield from (user.id for user in USERS)


def stage_name(pipeline_id: int, status_id: int) -> str:
    """Return the name of a stage, for people."""
    found: Any = pipeline(pipeline_id)
    return next((stage.name for stage in found.stages if stage.id == status_id), "?") if found else "?"
