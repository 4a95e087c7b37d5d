"""Counts say what came and went, each event once, and of the last day only."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F, QuerySet, Sum
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bots import sequence, tallies, tasks
from bots.models import Bot, Event, Job, Tally, TallyClock, WorkState
from bots.models.tally import INSTALL, Minutes
from bots.tests.builders import (
    database_cut_off_at,
    make_bot,
    make_channel,
    make_event,
    make_job,
    run_lanes,
)
from spaces.platforms.messages import Kind

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def bot() -> Bot:
    """A bot of an install that counts from now on."""
    bot = make_bot()
    count()
    return bot


def count() -> int:
    sequence.number()
    return tallies.count()


def counts(bot: Bot | None = None) -> dict[tuple[str, str], int]:
    """By what is counted and its code: the sums of a day, and of short times, are the same."""
    of_it = Tally.objects.filter(bot_id=bot.pk if bot else INSTALL).order_by()
    few, many = (
        dict(_by_code(of_it.filter(minutes=minutes))) for minutes in (Minutes.FEW, Minutes.MANY)
    )
    assert few == many
    return few


def _by_code(rows: QuerySet[Tally]) -> Iterable[tuple[tuple[str, str], int]]:
    sums = rows.values_list("what", "code").annotate(number=Sum("count"))
    return (((what, code), number) for what, code, number in sums)


def tell_ended(bot: Bot, *, state: WorkState, code: str = "", kind: str = "message.post") -> Event:
    error = {"code": code, "detail": "It did not work."} if code else None
    data = {"job": "1", "kind": kind, "state": state, "result": {}, "error": error}
    return make_event(bot, kind=Kind.JOB_FINISHED, data=data)


def test_what_people_wrote_counts_as_heard(bot):
    make_event(bot)
    make_event(bot)
    make_event(bot, data={"message": {"text": "mine"}, "own": True})
    make_event(bot, data={"message": {"text": "bob joined", "system": True}})
    make_event(bot, kind=Kind.MESSAGE_EDITED)

    count()

    assert counts(bot) == {("heard", ""): 2}


def test_messages_that_went_out_count_as_sent_and_jobs_that_failed_by_their_code(bot):
    channel = make_channel(bot)
    for _ in range(3):
        make_job(bot, channel)
    run_lanes()
    tell_ended(bot, state=WorkState.SUCCEEDED, kind="reaction.add")
    tell_ended(bot, state=WorkState.FAILED, code="forbidden", kind="participants.add")
    tell_ended(bot, state=WorkState.FAILED, code="forbidden")
    tell_ended(bot, state=WorkState.FAILED)
    tell_ended(bot, state=WorkState.UNCERTAIN, code="outcome_unknown")

    count()

    assert Job.objects.filter(state=WorkState.SUCCEEDED).count() == 3
    assert counts(bot) == {("sent", ""): 3, ("failed", "forbidden"): 2, ("failed", ""): 1}


def test_the_install_has_the_sum_of_all_bots(bot):
    other = make_bot("other")
    for one in (bot, other, other):
        make_event(one)

    count()

    assert counts(bot) == {("heard", ""): 1}
    assert counts(other) == {("heard", ""): 2}
    assert counts() == {("heard", ""): 3}


def test_each_event_is_counted_once_however_often_somebody_counts(bot):
    for expected in (1, 2, 3):
        make_event(bot)
        count()
        assert count() == 0
        assert counts(bot) == {("heard", ""): expected}


def test_who_is_cut_off_in_the_middle_has_counted_nothing(bot):
    make_event(bot)
    sequence.number()

    with database_cut_off_at("UPDATE"), pytest.raises(Exception, match="terminating connection"):
        tallies.count()
    assert counts() == {}

    tasks.count_events()
    assert counts() == {("heard", ""): 1}


def test_an_install_that_was_upgraded_begins_with_what_happens_now():
    bot = make_bot()
    make_event(bot)
    sequence.number()

    assert tallies.count() == 0
    make_event(bot)
    count()

    assert counts() == {("heard", ""): 1}


def test_where_nothing_is_new_nothing_is_written(bot, django_assert_num_queries):
    make_event(bot)
    count()

    with django_assert_num_queries(2) as asked:  # how far it is, and how far there is to go
        assert tallies.count() == 0

    assert all(query["sql"].startswith("SELECT") for query in asked.captured_queries)


def test_many_events_are_counted_in_several_steps(bot, monkeypatch):
    monkeypatch.setattr(tallies, "BATCH", 2)
    for _ in range(7):
        make_event(bot)
    sequence.number()

    assert tallies.count() == 7

    assert counts(bot) == {("heard", ""): 7}
    assert TallyClock.objects.get().position == sequence.head()


def test_what_was_caught_up_counts_when_it_was_stored(bot):
    long_ago = timezone.now() - timedelta(days=3)
    make_event(bot, occurred_at=long_ago, catch_up=True)

    count()

    row = Tally.objects.get(bot_id=bot.pk, minutes=Minutes.FEW)
    assert timezone.now() - row.at < 6 * MINUTE


def test_an_event_whose_bot_is_gone_hinders_nobody(bot):
    gone = make_bot("gone")
    make_event(gone)
    sequence.number()
    gone.delete()
    make_event(bot)

    count()

    assert counts() == {("heard", ""): 1}


def test_counting_takes_as_many_queries_for_many_bots_as_for_one(bot):
    def queries(bots: Iterable[Bot]) -> int:
        for one in bots:
            make_event(one)
            tell_ended(one, state=WorkState.FAILED, code=uuid4().hex)
        sequence.number()
        with CaptureQueriesContext(connection) as captured:
            tallies.count()
        return len(captured)

    assert queries([bot]) == queries([make_bot(f"bot{n}") for n in range(20)])


def test_what_is_older_than_a_day_is_forgotten_an_hour_at_a_time():
    for age in (0, 23, 30, 32, 34):
        put(INSTALL, timedelta(hours=age))

    left = []
    for _ in range(5):
        left.append(Tally.objects.filter(minutes=Minutes.MANY).count())
        tallies.tidy()

    assert left == [5, 4, 3, 2, 2]
    assert Tally.objects.filter(minutes=Minutes.FEW).count() == 2


def test_of_bots_only_the_last_hour_is_kept_in_detail():
    for age in (0, 3):
        put(7, timedelta(hours=age))

    tallies.tidy()

    assert Tally.objects.filter(minutes=Minutes.FEW).count() == 1
    assert Tally.objects.filter(minutes=Minutes.MANY).count() == 2


# Rates ------------------------------------------------------------------------------------------


def put(
    bot_id: int, age: timedelta, what: str = "heard", number: int = 30, *, code: str = ""
) -> None:
    """As if so many had been counted then."""
    for minutes in Minutes.values:
        at = tallies.begin(timezone.now() - age, minutes * MINUTE)
        key = {"bot_id": bot_id, "minutes": minutes, "at": at, "what": what, "code": code}
        row, _ = Tally.objects.get_or_create(**key, defaults={"count": 0})
        Tally.objects.filter(pk=row.pk).update(count=F("count") + number)


def test_a_rate_is_per_minute_of_late(bot, django_assert_num_queries):
    idle = make_bot("idle")
    put(bot.pk, timedelta(0), "heard", 10)
    put(bot.pk, 5 * MINUTE, "heard", 20)
    put(bot.pk, timedelta(0), "sent", 15)
    put(bot.pk, 60 * MINUTE, "heard", 1000)

    with django_assert_num_queries(1):
        rates = tallies.rate([bot, idle])

    assert 30 / 15 <= rates[bot.pk].heard <= 30 / 10
    assert 15 / 15 <= rates[bot.pk].sent <= 15 / 10
    assert rates[idle.pk] == tallies.Rate()


def test_the_last_day_has_a_span_for_every_quarter_of_an_hour():
    put(INSTALL, timedelta(hours=3), "sent", 45)
    put(INSTALL, timedelta(hours=26), "sent", 45)
    put(7, timedelta(hours=2), "heard", 45)

    spans = list(tallies.history_of_install())

    assert len(spans) == 96
    assert spans[0].begins_at > timezone.now() - tallies.DAY
    assert spans[-1].begins_at <= timezone.now() < spans[-1].begins_at + 15 * MINUTE
    assert [span.rate for span in spans if span.sent or span.heard] == [tallies.Rate(sent=3.0)]


def test_the_span_that_is_not_over_counts_the_minutes_it_has(bot):
    put(INSTALL, timedelta(0), "heard", 10)

    last = list(tallies.history_of_install())[-1]

    assert 10 / 15 <= last.rate.heard <= 10


def test_failures_are_those_of_the_last_day_the_most_frequent_first():
    for age, code, number in ((1, "a", 1), (2, "b", 5), (3, "a", 2), (25, "c", 9)):
        put(INSTALL, timedelta(hours=age), "failed", number, code=code)

    assert tallies.failures_of_install() == [("b", 5), ("a", 3)]


def test_somebody_who_sees_some_bots_gets_their_figures_alone(bot):
    other = make_bot("other")
    for one, number in ((bot, 15), (other, 150)):
        put(one.pk, timedelta(hours=1), "heard", number)
        put(one.pk, timedelta(hours=1), "failed", number)

    mine = [bot.pk]

    spans = list(tallies.history_of_bots(mine))
    assert len(spans) == 48
    assert sum(span.heard for span in spans) == 15
    assert tallies.failures_of_bots(mine) == [("", 15)]


def test_steps_begin_where_a_clock_would_say():
    moment = datetime(2026, 3, 4, 5, 59, 59, 999, tzinfo=UTC)

    assert tallies.begin(moment, 5 * MINUTE) == datetime(2026, 3, 4, 5, 55, tzinfo=UTC)
    assert tallies.begin(moment, 15 * MINUTE) == datetime(2026, 3, 4, 5, 45, tzinfo=UTC)
