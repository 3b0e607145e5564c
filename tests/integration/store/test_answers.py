"""Bad answers are counted by the minute for two hours; a time without a receiver is noticed."""

from collections import Counter
from collections.abc import Callable

import pytest
from redis import Redis

from kommo.store.answers import AWAY_SECONDS, RULE_SECONDS, Answers, Standing, Tally


@pytest.fixture
def answers(redis: Redis) -> Answers:
    return Answers(redis)


@pytest.fixture
def now(now_ms: Callable[[], int]) -> int:
    return now_ms() // 1000


def bad(at: float, account: int = 7, status: str = "503", number: int = 1) -> Tally:
    return Tally(Counter({(int(at // 60), account, status): number}), {}, {account: at})


def good(at: float, account: int = 7) -> Tally:
    return Tally(good_at={account: at})


class TestStandings:
    def test_without_bad_answers_there_are_none(self, answers: Answers, now: int) -> None:
        answers.add(good(now))
        assert answers.standings() == {}

    def test_those_of_all_processes_are_added_up_by_status(self, answers: Answers, now: int) -> None:
        for tally in (bad(now - 600, number=3), bad(now - 60), bad(now - 60, status="slow"), bad(now, account=8)):
            answers.add(tally)
        assert answers.standings() == {
            7: Standing(5, {"503": 4, "slow": 1}, latest_is_bad=True),
            8: Standing(1, {"503": 1}, latest_is_bad=True),
        }

    def test_what_is_older_than_the_rule_does_not_count(self, answers: Answers, now: int) -> None:
        answers.add(bad(now - RULE_SECONDS - 120, number=90))
        assert answers.standings() == {}
        answers.add(bad(now))
        assert answers.standings()[7].bad == 1

    def test_a_good_answer_after_the_bad_ones_is_seen(self, answers: Answers, now: int) -> None:
        answers.add(bad(now - 30, number=90))
        answers.add(good(now - 10))
        assert answers.standings()[7] == Standing(90, {"503": 90}, latest_is_bad=False)

    def test_one_that_is_told_late_does_not_pass_for_the_latest(self, answers: Answers, now: int) -> None:
        answers.add(bad(now - 10))
        answers.add(good(now - 30))
        answers.add(bad(now - 60))
        assert answers.standings()[7].latest_is_bad

    def test_all_of_it_goes_by_itself(self, answers: Answers, redis: Redis, now: int) -> None:
        answers.add(bad(now))
        answers.add(good(now))
        answers.lived(seconds=1)
        assert all(redis.ttl(key) > 0 for key in redis.keys("*"))


def test_tallies_of_a_process_are_merged_and_the_latest_times_stay() -> None:
    tally = Tally(Counter({(5, 7, "503"): 2}), {7: 400.0}, {7: 310.0})
    tally.merge(Tally(Counter({(5, 7, "503"): 1, (6, 7, "401"): 1}), {7: 390.0}, {7: 370.0, 8: 1.0}))
    assert tally == Tally(Counter({(5, 7, "503"): 3, (6, 7, "401"): 1}), {7: 400.0}, {7: 370.0, 8: 1.0})
    assert tally
    assert not Tally()


class TestTimesWithoutAReceiver:
    @pytest.fixture
    def last(self, redis: Redis, now: int) -> Callable[[int], None]:
        """Let a receiver have said last, so many seconds ago, that it lives."""
        return lambda seconds: redis.set("kommo:{answers}:lived", now - seconds) and None

    def test_the_first_one_ever_misses_nothing(self, answers: Answers) -> None:
        assert not answers.lived(seconds=3)
        assert answers.away() == []

    def test_a_short_time_is_none_since_kommo_tries_again(self, answers: Answers, last: Callable[[int], None]) -> None:
        last(AWAY_SECONDS)
        assert not answers.lived(seconds=3)
        assert answers.away() == []

    def test_a_long_one_is_kept_until_somebody_has_seen_to_it(
        self, answers: Answers, last: Callable[[int], None], now: int
    ) -> None:
        last(9000)
        assert answers.lived(seconds=4)
        assert not answers.lived(seconds=5)
        ((since, until),) = answers.away()
        assert since == now - 9000
        assert now - 4 <= until <= now - 2
        answers.seen_to((since, until))
        assert answers.away() == []

    def test_one_that_could_take_deliveries_and_not_say_so_was_not_away(
        self, answers: Answers, last: Callable[[int], None]
    ) -> None:
        last(9000)
        assert not answers.lived(seconds=8000)
        assert answers.away() == []
