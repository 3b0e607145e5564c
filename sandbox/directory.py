"""The people and the pipelines of the account: what it begins with, and what is there now."""

from dataclasses import dataclass

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
    role_id: int | None = None
    group_id: int | None = None


@dataclass(frozen=True)
class Role:
    """A set of rights that users may share."""

    id: int
    name: str
    rights: dict[str, object]


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
    is_unsorted_on: bool = True

    def stage(self, status_id: int) -> Stage | None:
        """Return the stage with that id."""
        return next((one for one in self.stages if one.id == status_id), None)

    def has(self, status_id: int) -> bool:
        """Tell whether the pipeline has that stage: a status means nothing without its pipeline."""
        return self.stage(status_id) is not None

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


ROLES = (Role(40_001, "Sales", {"leads": {"view": "A", "edit": "D", "add": "A", "delete": "D", "export": "D"}}),)


def _stages(first_id: int, *names: str) -> tuple[Stage, ...]:
    colors = ("#c1c1c1", "#98cbff", "#fffd7f", "#ffce5a", "#ffc8c8")
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


class Directory:
    """What is there now; whoever changes it holds the lock of the state."""

    def __init__(self) -> None:
        self.users = list(USERS)
        self.roles = list(ROLES)
        self.pipelines = list(PIPELINES)

    def pipeline(self, pipeline_id: object) -> Pipeline | None:
        """Return the pipeline with that id."""
        return next((one for one in self.pipelines if one.id == pipeline_id), None)

    def main(self) -> Pipeline:
        """Return the pipeline that is used when none is named."""
        return next(one for one in self.pipelines if one.is_main)

    def put(self, pipeline: Pipeline) -> None:
        """Add a pipeline, or put it in the place of the one with its id; the order is that of `sort`."""
        kept = [one for one in self.pipelines if one.id != pipeline.id]
        self.pipelines = sorted([*kept, pipeline], key=lambda one: (one.sort, one.id))

    def user(self, user_id: object) -> User | None:
        """Return the user with that id."""
        return next((one for one in self.users if one.id == user_id), None)

    def role(self, role_id: object) -> Role | None:
        """Return the role with that id."""
        return next((one for one in self.roles if one.id == role_id), None)

    def may_own(self, user_id: object) -> bool:
        """Tell whether `responsible_user_id` may be that; 0 is nobody."""
        return user_id == ROBOT or self.user(user_id) is not None

    def stage_name(self, pipeline_id: int, status_id: int) -> str:
        """Return the name of a stage, for people."""
        found = self.pipeline(pipeline_id)
        stage = found.stage(status_id) if found else None
        return stage.name if stage else "?"
