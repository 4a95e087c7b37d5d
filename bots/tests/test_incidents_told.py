"""Incidents are told to those who want to know: by mail, and through a bot."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from datetime import timedelta

import pytest
from django.utils import timezone

from bots import incidents, lifecycle, receivers, subscriptions
from bots.models import Bot, Ended, Event, Incident, Message, Subscription, Telling, Way
from bots.tests.builders import SECRET, make_channel, make_space, make_subscription, run_lanes
from bots.tests.trouble import (
    MINUTE,
    credentials_refused,
    down,
    live,
    look,
    make_live_bot,
    subscription_ended,
    tell,
    time_passes,
)
from spaces.platforms.messages import Kind

pytestmark = pytest.mark.django_db

SECONDS = 5.0  # a mail server of ours waits for so long
SMTP = "django.core.mail.backends.smtp.EmailBackend"


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


def test_that_it_closed_is_told_also_when_what_it_was_about_is_gone(mail):
    bot = make_live_bot("treasury")
    credentials_refused(bot)
    subscription_ended(bot)
    look()
    tell()

    lifecycle.delete(bot)
    subscriptions.remove(Subscription.objects.get())
    tell()

    assert [message.subject for message in mail] == [
        "[botadmin] Incidents: 2 opened",
        "[botadmin] Incidents: 2 closed",
    ]
    assert "bot treasury" in mail[1].body


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


class OpenMailServer:
    """A mail server that offers a login and takes whatever comes."""

    def __enter__(self) -> OpenMailServer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(SECONDS)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        caller, _ = self._listener.accept()
        caller.settimeout(SECONDS)
        with caller, caller.makefile("rwb") as file, suppress(TimeoutError):
            file.write(b"220 here\r\n")
            file.flush()
            for line in file:
                offers = line.upper().startswith(b"EHLO")
                file.write(b"250-here\r\n250 AUTH PLAIN LOGIN\r\n" if offers else b"250 yes\r\n")
                file.flush()


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


def test_what_a_bot_tells_calls_nobody_and_leads_nowhere(herald):
    make_subscription(name="*|@all|* #shop ~town-square www.evil.example &#64;here")
    subscription = Subscription.objects.get()
    receivers.end(subscription, Ended.GONE, code="status_410", detail="It answered 410.")
    down(
        make_live_bot(), reason="See ![x](https://evil.example/a) <!channel> `_at_` http://10.0.0.1"
    )
    look()
    tell()

    (text,) = said(herald)
    assert "evil" in text
    for harmful in ("@all", "&#64;", "#shop", "~town", "|", "<", "`", "![", "](", "_at"):
        assert harmful not in text, harmful
    for linked in ("://", "www.evil"):
        assert linked not in text, linked
    told = [line for line in text.splitlines() if line.startswith("- ")]
    assert "*" not in "".join(told)


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


def test_a_password_that_no_mail_server_takes_stops_the_mail_alone(herald, mail, settings, caplog):
    settings.EMAIL_BACKEND = SMTP
    settings.EMAIL_USE_TLS = False
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "ada", "pässwört"
    down(make_live_bot())
    look()

    with OpenMailServer() as server:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        tell()

    assert len(said(herald)) == 1
    assert "unusual characters" in caplog.text
    assert Telling.objects.get(way=Way.MAIL).told_at is None


def test_a_way_that_breaks_stops_no_other_and_is_tried_again(herald, mail, settings, caplog):
    settings.BOTADMIN_INCIDENT_MAIL = ["ops@example.org\nboss@example.org"]
    down(make_live_bot())
    look()
    tell()
    assert len(said(herald)) == 1
    assert "BadHeaderError" in caplog.text

    settings.BOTADMIN_INCIDENT_MAIL = ["ops@example.org"]
    tell()
    assert len(mail) == 1
    assert len(said(herald)) == 1
