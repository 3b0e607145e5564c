"""Moments on the command line."""

from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from kommo.cli.moments import milliseconds, moment, shown, time_range

NOW = datetime(2026, 3, 4, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("2h ago", timedelta(hours=2)),
        ("3 d", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
        ("1h30m", timedelta(minutes=90)),
        ("1H 30M Ago", timedelta(minutes=90)),
        (" now ", timedelta()),
    ],
)
def test_how_long_ago_is_counted_from_now(text: str, before: timedelta) -> None:
    assert moment(text, NOW) == NOW - before


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T08:05", datetime(2026, 3, 1, 8, 5, tzinfo=UTC)),
        ("2026-03-01 08:05:07Z", datetime(2026, 3, 1, 8, 5, 7, tzinfo=UTC)),
        ("2026-03-01T08:05+03:00", datetime(2026, 3, 1, 5, 5, tzinfo=UTC)),
    ],
)
def test_an_iso_time_is_utc_unless_it_names_a_zone(text: str, at: datetime) -> None:
    assert moment(text, NOW) == at


@pytest.mark.parametrize("text", ["", "soon", "10", "h", "10 minutes", "-5m", "2026-13-01", "99999999999w", "٣h"])
def test_what_is_no_time_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no time: write"):
        moment(text, NOW)


def test_longer_ago_than_there_are_dates_is_refused() -> None:
    with pytest.raises(ValueError, match="longer ago"):
        moment("999999999w", NOW)


@given(st.integers(0, 253_370_764_799_999))
def test_what_a_table_shows_is_read_again_to_the_second(at_ms: int) -> None:
    again = moment(shown(at_ms), NOW)
    assert milliseconds(again) == at_ms // 1000 * 1000


@click.command()
@time_range
def _ranged(since_ms: int, until_ms: int | None) -> None:
    click.echo(f"{since_ms} {until_ms}")


def test_a_time_range_is_open_unless_it_is_given() -> None:
    assert CliRunner().invoke(_ranged, []).output == "0 None\n"


def test_a_time_range_is_given_in_milliseconds() -> None:
    given = CliRunner().invoke(_ranged, ["--since", "1970-01-01T00:00:01", "--until", "1970-01-02"])
    assert given.output == "1000 86400000\n"


def test_a_wrong_time_names_its_option() -> None:
    refused = CliRunner().invoke(_ranged, ["--until", "teatime"])
    assert refused.exit_code == 2
    assert "--until" in refused.output
    assert "'teatime' is no time" in refused.output
