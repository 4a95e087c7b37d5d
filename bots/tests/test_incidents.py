"""Incidents open once, close by themselves, and are told to those who want to know."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db import connections as databases
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bots import incidents, jobs, lifecycle, subscriptions
from bots.connections import states
from bots.incidents import conditions
from bots.models import (
    Bot,
    Connection,
    Ended,
    Event,
    Incident,
    IncidentCode,
    Job,
    JobKind,
    Message,
    Receive,
    State,
    Subscription,
    Telling,
    Way,
    WorkState,
)
from bots.tests.builders import (
    SECRET,
    make_bot,
    make_channel,
    make_job,
    make_space,
    make_subscription,
    run_lanes,
)
from spaces.platforms.errors import CredentialsRefused, Misconfigured
from spaces.platforms.messages import Kind

pytestmark = pytest.mark.django_db

SMTP = "django.core.mail.backends.smtp.EmailBackend"
MINUTE = timedelta(minutes=1)
LONG = timedelta(minutes=11)  # longer than anything is waited for


def live(bot: Bot) -> None:
    row = Connection.objects.get(bot=bot)
    later = timezone.now() + timedelta(hours=1)
    states.move(
        row, State.LIVE, fence=row.fence, reason="Connected and caught up.", lease_until=later
    )


def make_live_bot(slug: str = "echo", **changes: Any) -> Bot:
    bot = make_bot(slug, **changes)
    live(bot)
    return bot


def down(bot: Bot, to: State = State.RECONNECTING, reason: str = "No answer.") -> None:
    row = Connection.objects.get(bot=bot)
    states.move(row, to, fence=row.fence, reason=reason, next_step="Nothing to do.")


def time_passes(time: timedelta = LONG) -> None:
    """For incidents, and what is to be told of them."""
    Incident.objects.update(
        noticed_at=F("noticed_at") - time,
        opened_at=F("opened_at") - time,
        closed_at=F("closed_at") - time,
    )
    Telling.objects.update(not_before=F("not_before") - time, try_at=F("try_at") - time)


def look(after: timedelta = LONG) -> None:
    """Notice, and see what lasted."""
    incidents.look()
    time_passes(after)
    incidents.look()


def tell() -> None:
    time_passes(MINUTE)
    incidents.tell()


def opened() -> list[str]:
    return [incident.code for incident in Incident.objects.filter(closed_at=None)]


def told_events() -> list[tuple[str, str]]:
    kinds = [Kind.INCIDENT_OPENED, Kind.INCIDENT_CLOSED]
    rows = Event.objects.filter(kind__in=kinds).order_by("pk")
    return [(event.kind, event.data["code"]) for event in rows]


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


def credentials_refused(bot: Bot) -> Callable[[], object]:
    states.refuse(bot, CredentialsRefused("No entry."))

    def put_right() -> None:
        lifecycle.set_credentials(bot, {"secret": SECRET}, user=None)
        live(bot)

    return put_right


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


def lane_growing(bot: Bot) -> Callable[[], object]:
    request = jobs.Request(
        kind=JobKind.POST, channel=make_channel(bot), payload={"text": "one of many"}
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


def subscription_ended(bot: Bot) -> Callable[[], object]:
    subscription, _ = make_subscription()
    subscriptions.end(subscription, Ended.GONE, code="status_410", detail="It answered 410.")
    return lambda: subscriptions.resume(Subscription.objects.get())


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


# Telling ----------------------------------------------------------------------------------------


@pytest.fixture
def mail(settings, mailoutbox):
    settings.EMAIL_HOST = "mail.example.org"
    settings.BOTADMIN_INCIDENT_MAIL = ["ops@example.org", "boss@example.org"]
    settings.DEFAULT_FROM_EMAIL = "bots@example.org"
    return mailoutbox


def test_a_mail_tells_that_it_opened_and_one_that_it_closed(mail):
    bot = make_live_bot("treasury")
    down(bot)
    look()
    tell()
    tell()
    (first,) = mail
    assert first.to == ["ops@example.org", "boss@example.org"]
    assert first.from_email == "bots@example.org"
    assert first.subject == "[botadmin] Opened: Not connected: bot treasury"
    assert "No answer." in first.body

    live(bot)
    look()
    tell()
    tell()
    assert len(mail) == 2
    assert mail[1].subject == "[botadmin] Closed: Not connected: bot treasury"
    assert "after 2" in mail[1].body  # so many minutes


def test_many_at_once_become_one_mail(mail):
    space = make_space()
    bots = [make_live_bot(f"bot{n:03}", space=space) for n in range(30)]
    for bot in bots:
        down(bot)
    look()
    tell()

    (only,) = mail
    assert only.subject == "[botadmin] Incidents: 30 opened"
    assert only.body.count("Not connected: bot ") == 20
    assert "and 10 more" in only.body


def test_what_comes_within_a_moment_is_waited_for(mail):
    bots = [make_live_bot("one"), make_live_bot("two")]
    down(bots[0])
    look()
    incidents.tell()
    assert mail == []

    down(bots[1])
    look(MINUTE)
    incidents.tell()
    (only,) = mail
    assert only.subject == "[botadmin] Incidents: 2 opened"


def test_what_was_over_before_anybody_was_told_is_told_as_closed(mail):
    bot = make_live_bot()
    down(bot)
    look()
    live(bot)
    look(timedelta())
    tell()

    (only,) = mail
    assert only.subject == "[botadmin] Closed: Not connected: bot echo"


def test_one_that_comes_and_goes_is_told_once(mail):
    bot = make_live_bot()
    for _ in range(3):
        down(bot)
        look(2 * MINUTE)
        tell()
        live(bot)
        look(2 * MINUTE)
        tell()

    assert [message.subject.split()[1] for message in mail] == ["Opened:", "Closed:"]


def test_one_that_comes_again_and_stays_is_told_again(mail):
    bot = make_live_bot()
    for _ in range(2):
        down(bot)
        look(2 * MINUTE)
        tell()
        live(bot)
        look(2 * MINUTE)
        tell()
    down(bot)
    look(2 * MINUTE)
    look()
    tell()

    told = [message.subject.split()[1] for message in mail]
    assert told == ["Opened:", "Closed:", "Opened:"]


def test_a_mail_server_that_is_away_is_asked_again_and_holds_up_nobody(mail, settings, caplog):
    working, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, SMTP
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        settings.EMAIL_HOST, settings.EMAIL_PORT = closed_soon.getsockname()
    bot = make_live_bot()
    down(bot)
    look()
    tell()
    assert "could not be told by mail" in caplog.text
    live(bot)
    look()
    assert Incident.objects.get().closed_at is not None

    settings.EMAIL_BACKEND = working
    incidents.tell()
    tell()
    assert [message.subject for message in mail] == ["[botadmin] Closed: Not connected: bot echo"]


def test_what_came_and_went_while_the_mail_server_was_away_is_told_as_it_is_now(mail, settings):
    working, settings.EMAIL_BACKEND = settings.EMAIL_BACKEND, SMTP
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        settings.EMAIL_HOST, settings.EMAIL_PORT = closed_soon.getsockname()
    bot = make_live_bot()
    for _ in range(2):
        down(bot)
        look(2 * MINUTE)
        tell()
        live(bot)
        look(2 * MINUTE)
        tell()
    down(bot)
    look(2 * MINUTE)
    look()

    settings.EMAIL_BACKEND = working
    tell()
    tell()
    assert [message.subject.split()[1] for message in mail] == ["Opened:"]


def test_who_dies_while_telling_leaves_it_to_be_told_again(mail):
    down(make_live_bot())
    look()
    time_passes(MINUTE)
    Telling.objects.update(try_at=timezone.now() + MINUTE)  # somebody took it and never came back
    incidents.tell()
    assert mail == []

    tell()
    tell()
    assert len(mail) == 1


def test_nothing_is_told_where_no_way_is_set_up(mailoutbox):
    down(make_live_bot())
    look()
    tell()

    assert mailoutbox == []
    assert not Telling.objects.exists()


def test_what_waits_for_a_way_that_is_gone_is_forgotten(mail, settings):
    down(make_live_bot())
    look()
    settings.BOTADMIN_INCIDENT_MAIL = []
    incidents.tidy()

    assert not Telling.objects.exists()


def test_no_secret_is_told(mail):
    bot = make_live_bot()
    down(bot, reason=f"Refused: {SECRET} is wrong.")
    look()
    tell()

    assert SECRET not in mail[0].body
    assert SECRET not in str(Event.objects.get(kind=Kind.INCIDENT_OPENED).data)


# Through a bot ----------------------------------------------------------------------------------


@pytest.fixture
def herald(settings) -> Bot:
    bot = make_live_bot("herald")
    make_channel(bot, "ops")
    settings.BOTADMIN_INCIDENT_BOT, settings.BOTADMIN_INCIDENT_CHANNEL = "herald", "ops"
    return bot


def said(bot: Bot) -> list[str]:
    run_lanes()
    return list(Message.objects.filter(bot=bot).order_by("pk").values_list("text", flat=True))


def test_a_bot_tells_the_others(herald):
    bot = make_live_bot()
    down(bot, reason="No answer of @all, see [this](http://evil.example).")
    look()
    tell()
    tell()

    (text,) = said(herald)
    assert "Not connected: bot echo" in text
    assert "@all" not in text
    assert "[this]" not in text


def test_a_bot_is_not_asked_to_tell_of_itself(herald, mail):
    down(herald)
    look()
    tell()

    assert said(herald) == []
    assert len(mail) == 1


def test_a_bot_that_may_not_is_asked_again_later(herald, caplog):
    Bot.objects.filter(pk=herald.pk).update(permissions=[])
    down(make_live_bot())
    look()
    tell()
    assert "has no permission" in caplog.text

    Bot.objects.filter(pk=herald.pk).update(permissions=["post"])
    tell()
    assert len(said(herald)) == 1


def test_a_bot_or_channel_that_is_not_there_is_said_in_the_log(herald, settings, caplog):
    down(make_live_bot())
    look()
    settings.BOTADMIN_INCIDENT_CHANNEL = "nowhere"
    tell()
    assert "nowhere" in caplog.text

    settings.BOTADMIN_INCIDENT_BOT = "nobody"
    tell()
    assert "There is no bot nobody" in caplog.text
    assert Telling.objects.get(way=Way.BOT).told_at is None
