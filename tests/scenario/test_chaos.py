"""The short form of the chaos: `make chaos ARGS=--long` plays the long one."""

import pytest

from tests.chaos.scenarios import SHORT, Scenario, play

pytestmark = pytest.mark.scenario


@pytest.mark.parametrize("scenario", SHORT, ids=lambda scenario: scenario.name)
def test_nothing_is_lost_or_out_of_order_whatever_dies(scenario: Scenario) -> None:
    run = play(scenario, seed=20)

    assert not run.wrong, run.result
    assert run.is_good, run.result
    assert run.result is not None
    assert run.result.sent == scenario.events
