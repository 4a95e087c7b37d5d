"""Incidents open once, and close by themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db import connections as databases
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bots import incidents, jobs, lane_names, lifecycle, postoffice, sequence, subscriptions
from bots.connections import states
from bots.incidents import conditions
from bots.models import (
    Bot,
    Connection,
    Event,
    Incident,
    IncidentCode,
    Job,
    JobKind,
    Lane,
    LaneKind,
    Receive,
    State,
    Subscription,
    WorkState,
)
from bots.tests.builders import SECRET, make_channel, make_job, make_subscription, run_lanes
from bots.tests.trouble import (
    LONG,
    MINUTE,
    credentials_refused,
    down,
    live,
    look,
    make_live_bot,
    opened,
    subscription_ended,
    time_passes,
    told_events,
)
from spaces.platforms.errors import Misconfigured
from spaces.platforms.messages import Kind

pytestmark = pytest.mark.django_db


# Conditions -------------------------------------------------------------------------------------


def connection_down(bot: Bot) -> Callable[[], object]:
    down(bot)
    return lambda: live(bot)


def connection_without_a_holder(bot: Bot) -> Callable[[], object]:
    Connection.objects.filter(bot=bot).update(lease_until=timezone.now() - MINUTE)
    return lambda: live(bot)


def polls_overdue(bot: Bot) -> Callable[[], object]:
    now = timezone.now()
    mine = Connection.objects.filter(bot=bot)
    Bot.objects.filter(pk=bot.pk).update(receive=Receive.POLL)
    mine.update(lease_until=None, not_before=now - 2 * MINUTE)
    return lambda: mine.update(not_before=now)


def misconfigured(bot: Bot) -> Callable[[], object]:
    states.refuse(bot, Misconfigured("There is no such URL."))
    return lambda: live(bot)


def credentials_expiring(bot: Bot) -> Callable[[], object]:
    soon = (timezone.now() + timedelta(days=13)).date()
    lifecycle.set_expiries(bot, {"secret": soon})
    return lambda: lifecycle.set_credentials(bot, {"secret": SECRET}, user=None)


def lane_late(bot: Bot) -> Callable[[], object]:
    job = make_job(bot, make_channel(bot))
    Job.objects.filter(pk=job.pk).update(created_at=timezone.now() - 6 * MINUTE)
    return run_lanes


def lane_growing(bot: Bot, where: str = "lobby") -> Callable[[], object]:
    request = jobs.Request(
        kind=JobKind.POST, channel=make_channel(bot, where), payload={"text": "one of many"}
    )
    many = jobs.submit_many(bot, [request] * (conditions.CROWD + 1), requested_by="test")
    return lambda: jobs.cancel(many[0])


def rate_limited(bot: Bot) -> Callable[[], object]:
    mine = Bot.objects.filter(pk=bot.pk)
    mine.update(limited_until=timezone.now() + MINUTE)
    return lambda: mine.update(limited_until=timezone.now() - 2 * MINUTE)


def jobs_uncertain(bot: Bot) -> Callable[[], object]:
    job = make_job(bot, make_channel(bot))
    run_lanes()
    Job.objects.update(state=WorkState.UNCERTAIN)
    return lambda: jobs.resolve_sent(Job.objects.get(pk=job.pk))


def subscription_failing(bot: Bot) -> Callable[[], object]:
    subscription, _ = make_subscription()
    mine = Subscription.objects.filter(pk=subscription.pk)
    mine.update(failing_since=timezone.now() - 16 * MINUTE, error_detail="It answered 500.")
    return lambda: mine.update(failing_since=None)


@pytest.mark.parametrize(
    ("code", "happens"),
    [
        (IncidentCode.CONNECTION_DOWN, connection_down),
        (IncidentCode.CONNECTION_DOWN, connection_without_a_holder),
        (IncidentCode.CONNECTION_DOWN, polls_overdue),
        (IncidentCode.CREDENTIALS_REFUSED, credentials_refused),
        (IncidentCode.MISCONFIGURED, misconfigured),
        (IncidentCode.CREDENTIALS_EXPIRING, credentials_expiring),
        (IncidentCode.LANE_LATE, lane_late),
        (IncidentCode.LANE_GROWING, lane_growing),
        (IncidentCode.RATE_LIMITED, rate_limited),
        (IncidentCode.JOBS_UNCERTAIN, jobs_uncertain),
        (IncidentCode.SUBSCRIPTION_FAILING, subscription_failing),
        (IncidentCode.SUBSCRIPTION_ENDED, subscription_ended),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_is_wrong_opens_once_and_closes_by_itself(code, happens):
    bot = make_live_bot()
    look()
    assert not Incident.objects.exists()

    put_right = happens(bot)
    look()
    look()
    incident = Incident.objects.get(closed_at=None)
    assert incident.code == code
    assert incident.opened_at is not None
    assert incident.subject
    assert incident.detail
    assert incident.next_step

    put_right()
    look()
    incident.refresh_from_db()
    assert incident.closed_at is not None
    assert incident.lasted >= LONG
    assert told_events() == [(Kind.INCIDENT_OPENED, code), (Kind.INCIDENT_CLOSED, code)]


@pytest.mark.parametrize("happens", [connection_down, lane_late, rate_limited])
def test_what_does_not_last_is_no_incident(happens):
    put_right = happens(make_live_bot())
    incidents.look()
    time_passes(timedelta(seconds=50))
    incidents.look()
    put_right()
    look()

    assert not Incident.objects.exists()
    assert told_events() == []


def test_a_bot_that_tries_again_and_again_has_been_down_all_the_time():
    bot = make_live_bot()
    for _ in range(3):  # each try begins a new state
        down(bot, State.STARTING, reason="")
        incidents.look()
        time_passes(timedelta(seconds=25))
        down(bot)
        incidents.look()

    assert Incident.objects.get(opened_at__isnull=False).detail == "No answer."


@pytest.mark.parametrize("changes", [{"enabled": False}, {"receive": Receive.OFF}])
def test_what_nobody_wants_connected_is_not_down(changes):
    bot = make_live_bot()
    down(bot)
    Bot.objects.filter(pk=bot.pk).update(**changes)
    look()

    assert opened() == []


def test_a_job_that_was_put_off_is_not_late_before_its_time():
    bot = make_live_bot()
    job = make_job(bot, make_channel(bot), not_before=timezone.now() + timedelta(hours=1))
    Job.objects.filter(pk=job.pk).update(created_at=timezone.now() - timedelta(days=1))
    look()

    assert opened() == []


def test_a_full_lane_is_not_a_crowd():
    bot = make_live_bot()
    cancel_one = lane_growing(bot)
    cancel_one()
    look()

    assert opened() == []


def test_the_lane_of_a_crowd_is_called_as_on_its_page():
    bot = make_live_bot("first")
    lane_growing(bot)
    with CaptureQueriesContext(connection) as one:
        (told,) = conditions.examine(timezone.now())
    lane_growing(make_live_bot("second"), "attic")
    with CaptureQueriesContext(connection) as two:
        assert len(list(conditions.examine(timezone.now()))) == 2

    lane = Lane.objects.get(bot=bot)
    assert told.detail == f"More than 1,000 jobs wait in the lane “{lane_names.name(lane)}”."
    assert lane.key not in told.detail
    assert len(two) == len(one)


def test_what_waits_is_named():
    bot = make_live_bot()
    channel = make_channel(bot)
    long_ago = timezone.now() - 6 * MINUTE
    lane = Lane.objects.create(kind=LaneKind.HANDLERS, bot=bot, key="echo", due_at=long_ago)
    look()
    incident = Incident.objects.get()
    assert incident.detail.startswith("Handler runs wait in 1 lane,")
    assert "handler runs say why" in incident.next_step

    Job.objects.filter(pk=make_job(bot, channel).pk).update(created_at=long_ago)
    look()
    incident.refresh_from_db()
    assert incident.detail.startswith("Jobs and handler runs wait in 2 lanes,")
    assert "jobs and handler runs say why" in incident.next_step

    lane.delete()
    look()
    incident.refresh_from_db()
    assert incident.detail.startswith("Jobs wait in 1 lane,")


def crowd(bot: Bot, **changes: Any) -> None:
    """More deliveries in one lane than it should have, of a subscription like this."""
    subscription, _ = make_subscription(ordered=True)
    sequence.store(
        [
            Event(bot=bot, kind=Kind.GAP, dedupe_key=str(n), occurred_at=timezone.now())
            for n in range(conditions.CROWD + 1)
        ]
    )
    postoffice.sort()
    Subscription.objects.filter(pk=subscription.pk).update(**changes)


def test_a_receiver_that_is_too_slow_makes_a_lane_grow():
    crowd(make_live_bot())
    look()

    assert opened() == [IncidentCode.LANE_GROWING]


def test_a_receiver_that_takes_nothing_is_one_incident_whatever_waits_for_it():
    now = timezone.now()
    failing = {"failing_since": now - 16 * MINUTE, "error_detail": "It answered 503."}
    crowd(make_live_bot(), **failing, rest_until=now + 5 * MINUTE)
    Lane.objects.filter(kind=LaneKind.DELIVERIES).update(due_at=now - 16 * MINUTE)
    look()

    assert opened() == [IncidentCode.SUBSCRIPTION_FAILING]


def test_credentials_that_have_expired_are_worse_than_those_that_will():
    bot = make_live_bot()
    today = timezone.now().date()
    lifecycle.set_expiries(bot, {"secret": today + timedelta(days=1)})
    incidents.look()
    assert Incident.objects.get().severity == "warning"

    lifecycle.set_expiries(bot, {"secret": today - timedelta(days=1)})
    incidents.look()
    assert Incident.objects.get().severity == "error"


def test_an_event_tells_all_of_an_incident():
    bot = make_live_bot("treasury")
    down(bot)
    look()
    time_passes(LONG)
    live(bot)
    look()

    first, second = Event.objects.filter(kind__startswith="incident.").order_by("pk")
    assert first.bot == bot
    assert first.data["subject"] == "bot treasury"
    assert (first.data["severity"], first.data["detail"]) == ("error", "No answer.")
    assert (first.data["closed_at"], first.data["seconds"]) == (None, None)
    assert second.data["incident"] == first.data["incident"]
    assert second.data["seconds"] >= LONG.total_seconds()


def test_an_incident_about_no_bot_is_an_event_about_none():
    subscription_ended(make_live_bot())
    look()

    assert Event.objects.get(kind=Kind.INCIDENT_OPENED).bot is None


def test_what_opens_again_soon_is_the_same_incident():
    bot = make_live_bot()
    for _ in range(3):
        down(bot)
        look(2 * MINUTE)
        live(bot)
        look(2 * MINUTE)

    assert Incident.objects.get().times == 3
    assert len(told_events()) == 6


def test_what_opens_again_much_later_is_another():
    bot = make_live_bot()
    for _ in range(2):
        down(bot)
        look()
        live(bot)
        look()

    assert [incident.times for incident in Incident.objects.all()] == [1, 1]


def test_incidents_are_forgotten_months_after_they_were_over():
    bot = make_live_bot()
    down(bot)
    look()
    live(bot)
    look()
    time_passes(timedelta(days=89))
    incidents.tidy()
    assert Incident.objects.exists()

    time_passes(timedelta(days=2))
    incidents.tidy()
    assert not Incident.objects.exists()


def test_a_bot_that_is_deleted_closes_its_incidents():
    bot = make_live_bot("treasury")
    credentials_refused(bot)
    look()

    lifecycle.delete(bot)

    told = Event.objects.get(kind=Kind.INCIDENT_CLOSED)
    assert (told.bot, told.data["subject"]) == (None, "bot treasury")
    assert told.data["seconds"] >= LONG.total_seconds()
    look()
    assert Incident.objects.get().closed_at is not None
    assert told_events() == [(Kind.INCIDENT_CLOSED, IncidentCode.CREDENTIALS_REFUSED)]


def test_a_subscription_that_is_removed_closes_its_incidents():
    subscription_ended(make_live_bot())
    look()

    subscriptions.remove(Subscription.objects.get())

    assert told_events() == [
        (Kind.INCIDENT_OPENED, IncidentCode.SUBSCRIPTION_ENDED),
        (Kind.INCIDENT_CLOSED, IncidentCode.SUBSCRIPTION_ENDED),
    ]
    look()
    assert opened() == []
    assert len(told_events()) == 2


def test_what_was_only_noticed_of_a_bot_that_is_deleted_is_forgotten():
    bot = make_live_bot()
    down(bot)
    incidents.look()

    lifecycle.delete(bot)

    assert not Incident.objects.exists()
    assert told_events() == []


@contextmanager
def meanwhile(happens: Callable[[], object]) -> Iterator[None]:
    """When somebody who looks has asked what is wrong, and is about to compare, this happens."""
    to_happen = [happens]

    def wait(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT") and 'FROM "bots_incident"' in sql and to_happen:
            to_happen.pop()()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wait):
        yield
    assert not to_happen, "nobody looked"


def test_who_found_what_is_put_right_since_does_not_open_it_again():
    bot = make_live_bot()
    put_right = credentials_refused(bot)
    incidents.look()

    def put_right_and_looked_at() -> None:
        put_right()
        incidents.look()

    with meanwhile(put_right_and_looked_at):
        incidents.look()
    incidents.look()

    assert [kind for kind, _ in told_events()] == [Kind.INCIDENT_OPENED, Kind.INCIDENT_CLOSED]
    assert Incident.objects.get().times == 1


def test_who_began_before_it_went_wrong_does_not_close_it():
    bot = make_live_bot()

    def wrong_and_looked_at() -> None:
        credentials_refused(bot)
        incidents.look()

    with meanwhile(wrong_and_looked_at):
        incidents.look()
    incidents.look()

    assert [kind for kind, _ in told_events()] == [Kind.INCIDENT_OPENED]
    assert Incident.objects.get().closed_at is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("goes", ["bot", "subscription"])
def test_what_is_deleted_while_somebody_looks_stops_nobody(goes):
    bot, other = make_live_bot(), make_live_bot("other")
    subscription_ended(bot)
    subscription = Subscription.objects.get()
    credentials_refused(bot)
    credentials_refused(other)
    removals = {
        "bot": lambda: lifecycle.delete(bot),
        "subscription": lambda: subscriptions.remove(subscription),
    }

    with meanwhile(removals[goes]):
        incidents.look()
    incidents.look()

    left = {"bot other", "bot echo" if goes == "subscription" else str(subscription)}
    assert set(Incident.objects.filter(closed_at=None).values_list("subject", flat=True)) == left


@pytest.mark.django_db(transaction=True)
def test_several_that_look_at_the_same_time_open_it_once():
    credentials_refused(make_live_bot())
    together = threading.Barrier(4)

    def run() -> None:
        together.wait()
        try:
            incidents.look()
        finally:
            databases.close_all()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Incident.objects.count() == 1
    assert told_events() == [(Kind.INCIDENT_OPENED, IncidentCode.CREDENTIALS_REFUSED)]


def queries(call: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        call()
    return len(captured)


def test_looking_takes_as_many_queries_for_many_bots_as_for_one(settings, mailoutbox):
    settings.EMAIL_HOST, settings.BOTADMIN_INCIDENT_MAIL = "mail", ["root@example.org"]

    def course(bots: list[Bot]) -> list[int]:
        for bot in bots:
            down(bot)
        counts = [queries(incidents.look)]
        time_passes()
        counts += [queries(incidents.look), queries(incidents.look)]
        time_passes()
        counts.append(queries(incidents.tell))
        for bot in bots:
            live(bot)
        counts.append(queries(incidents.look))
        time_passes()
        counts += [queries(incidents.tell), queries(incidents.tell)]
        return counts

    one = course([make_live_bot("first")])
    time_passes(timedelta(hours=1))
    fifty = course([make_live_bot(f"bot{n}") for n in range(50)])

    assert fifty == one
    assert len(mailoutbox) == 4
