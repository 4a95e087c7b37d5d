"""The page of a bot: how it is, how it was, what it may do, what waits, and new credentials."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bots import clients, lifecycle, tasks, who
from bots.admin import bot_credentials, bot_history
from bots.api import outside
from bots.connections import states
from bots.incidents import looking
from bots.models import Bot, Credential, Event, HeldSecret, Lane, State
from bots.tests import cast
from bots.tests.builders import (
    SECRET,
    make_bot,
    make_channel,
    make_event,
    make_job,
    make_space,
    run_lanes,
)
from bots.tests.trouble import down
from spaces.platforms.errors import Unavailable
from spaces.platforms.messages import Kind
from spaces.testing import faulty
from spaces.testing.mattermost import SimulatedMattermost

pytestmark = pytest.mark.django_db

WRONG = "not-the-password-42"


@pytest.fixture
def bot() -> Iterator[Bot]:
    yield make_bot(space=make_space(platform="faulty"))
    faulty.reset()


@pytest.fixture
def server() -> Iterator[SimulatedMattermost]:
    with SimulatedMattermost() as server:
        yield server
        clients.close_idle(older_than=0)


def page_of(bot: Bot) -> str:
    return reverse("admin:bots_bot_change", args=[bot.pk])


def credentials_of(bot: Bot) -> str:
    return reverse("admin:bots_bot_credentials", args=[bot.pk])


def piece_of(bot: Bot, name: str) -> str:
    return reverse("admin:bots_bot_piece", args=[bot.pk, name])


def text_of(answer) -> str:
    return html.unescape(answer.content.decode())


def changed(bot: Bot, state: State, was: State, *, hours_ago: float, reason: str = "") -> None:
    at = timezone.now() - timedelta(hours=hours_ago)
    data = {"state": state, "was": was, "reason": reason}
    make_event(bot, kind=Kind.CONNECTION_CHANGED, occurred_at=at, data=data)


# How it is and was ------------------------------------------------------------------------------


def test_the_page_says_since_when_it_is_lost_and_when_it_is_tried_again(bot):
    soon = timezone.now() + timedelta(seconds=50)
    row = bot.connection
    states.move(row, State.RECONNECTING, fence=None, reason="No answer.", attempts=7)
    type(row).objects.update(lease_until=soon, not_before=soon)

    page = text_of(cast.root().get(page_of(bot)))

    for told in ("reconnecting", "No answer.", "Failed attempts", "7", "Next try"):
        assert told in page


def test_open_incidents_stand_at_the_top(bot):
    down(bot)
    looking.look()
    bot.incidents.update(opened_at=timezone.now())

    assert "Open incidents" in text_of(cast.root().get(piece_of(bot, "state")))


def test_the_last_day_is_told_as_it_was(bot):
    changed(bot, State.LIVE, State.OFF, hours_ago=30)
    changed(bot, State.RECONNECTING, State.LIVE, hours_ago=12, reason="No answer.")
    changed(bot, State.LIVE, State.CATCHING_UP, hours_ago=6, reason="Connected.")
    soon = timezone.now() + timedelta(seconds=50)
    type(bot.connection).objects.update(state=State.LIVE, lease_until=soon)
    bot = Bot.objects.select_related("connection", "space").get(pk=bot.pk)

    history = bot_history.of(bot)

    assert [(one.tone, round(float(one.percent))) for one in history.band] == [
        ("ok", 50),
        ("warn", 25),
        ("ok", 25),
    ]
    assert [(one.state, one.lasted, one.times) for one in history.sums] == [
        ("live", "18 h", 2),
        ("reconnecting", "6 h", 1),
    ]
    page = text_of(cast.root().get(piece_of(bot, "history")))
    assert "No answer." in page
    assert "6 h, until now" in page


def test_a_bot_without_a_past_has_a_day_all_the_same(bot):
    lifecycle.stop(bot)

    history = bot_history.of(Bot.objects.select_related("connection").get(pk=bot.pk))

    assert {one.state for one in history.sums} <= {"off", "nothing known"}
    assert history.changes


def test_who_switched_it_off_is_told(bot):
    states.move(bot.connection, State.LIVE, fence=None)
    root = cast.root()
    root.post(reverse("admin:bots_bot_do", args=[bot.pk, "stop"]))
    states.move(bot.connection, State.OFF, fence=None)
    assert "Switched off by root." in text_of(root.get(piece_of(bot, "history")))

    root.post(reverse("admin:bots_bot_do", args=[bot.pk, "start"]))
    states.move(bot.connection, State.LIVE, fence=None)

    told = text_of(root.get(piece_of(bot, "history")))
    assert told.count("Switched off by") == 1


def test_who_switched_it_off_in_its_settings_is_told(bot):
    with who.acting(who.By(label="frida", key="user:9", door=who.Door.API)):
        bot.enabled = False
        lifecycle.changed(bot, fields=["enabled"], requested_by="frida")

    assert "Switched off by frida." in text_of(cast.root().get(piece_of(bot, "history")))


def test_its_chat_is_the_first_of_what_belongs_to_it(bot):
    page = text_of(cast.root().get(page_of(bot)))

    chat = f'<a class="text-link" href="{reverse("chat:rooms", args=[bot.slug])}">Chat</a>'
    assert chat in page
    assert page.index(chat) < page.index(">Channels</a>", page.index("Of this bot:"))


def test_a_day_with_too_many_changes_says_so(bot):
    for number in range(bot_history.READ + 1):
        to, was = (State.LIVE, State.STALE) if number % 2 else (State.STALE, State.LIVE)
        changed(bot, to, was, hours_ago=1 - number / 1000)

    assert "the beginning of the day is not shown" in text_of(
        cast.root().get(piece_of(bot, "history"))
    )


@pytest.mark.parametrize("name", ["state", "history", "work"])
def test_a_piece_is_sent_anew_only_when_something_changed(bot, name):
    root = cast.root()
    first = root.get(piece_of(bot, name))

    again = root.get(piece_of(bot, name), headers={"X-Mark": first["X-Mark"]})

    assert (first.status_code, again.status_code) == (200, 204)


def test_no_such_piece(bot):
    assert cast.root().get(piece_of(bot, "moon")).status_code == 404
    assert cast.charlie().get(piece_of(bot, "state")).status_code == 404


# Permissions ------------------------------------------------------------------------------------


def test_what_the_platform_does_not_allow_is_named(server):
    _, token = server.make.bot("helper-bot")
    clients.close_idle(older_than=0)
    bot = Bot(slug="helper", space=make_space("chat", platform="mattermost", url=server.url))
    lifecycle.create(bot, requested_by="test")
    lifecycle.set_credentials(bot, {"token": token}, user=None)
    with clients.borrow(bot):
        pass
    bot.refresh_from_db()
    known = bot.identity | {"permissions": ["create_post"]}
    Bot.objects.filter(pk=bot.pk).update(identity=known)

    page = text_of(cast.root().get(page_of(bot)))

    assert "The platform does not allow all that is allowed here." in page
    assert "Missing there: upload_file." in page
    assert "Missing there: add_reaction, remove_reaction." in page


def test_a_platform_that_does_not_tell_is_said_not_to(bot):
    assert "not told" in text_of(cast.root().get(page_of(bot)))


# Test -------------------------------------------------------------------------------------------


def told_by_a_test(client, bot: Bot) -> list[dict[str, str]]:
    answer = client.post(reverse("admin:bots_bot_test", args=[bot.pk]))
    lines = b"".join(answer.streaming_content).decode().splitlines()
    return [json.loads(line) for line in lines]


def test_a_test_tells_each_step_and_each_finding(bot):
    told = told_by_a_test(cast.root(), bot)

    assert told[0] == {"doing": "Logging in …"}
    assert told[1]["text"] == "Logged in as echo."
    assert [one["doing"] for one in told if "doing" in one][1] == "Reading channels …"
    assert told[-2]["remedy"]
    assert told[-1] == {"done": "The test is over: it works, with 1 warning."}


def test_a_test_that_fails_says_where_and_what_next(bot):
    faulty.script(faulty.before(Unavailable("Nobody there.")), operation="list_channels")

    told = told_by_a_test(cast.root(), bot)

    assert {"doing": "Reading channels …"} in told
    assert (told[-2]["level"], told[-2]["text"]) == ("error", "Nobody there.")
    assert "put right what is wrong" in told[-1]["done"]


def test_only_operators_test(bot):
    url = reverse("admin:bots_bot_test", args=[bot.pk])

    assert cast.bob(bot).post(url).status_code == 403
    assert cast.charlie().post(url).status_code == 404
    assert cast.root().get(url).url == page_of(bot)


# Credentials ------------------------------------------------------------------------------------


def test_new_credentials_are_tried_and_then_used(bot, monkeypatch):
    monkeypatch.setenv("BOT_ECHO", SECRET)
    root = cast.root()

    found = root.post(credentials_of(bot), {"credential_secret": "$BOT_ECHO"})
    assert "Logged in as echo" in text_of(found)
    assert "Use it from now on" in text_of(found)
    assert not Credential.objects.get().reference

    used = root.post(credentials_of(bot), {"use": "1"}, follow=True)

    assert "uses the new credentials" in text_of(used)
    row = Credential.objects.get()
    assert (row.reference, row.changed_by.get_username()) == ("$BOT_ECHO", "root")
    page = text_of(root.get(page_of(bot)))
    assert "Reference $BOT_ECHO, set" in page
    assert "by root" in page


def test_wrong_ones_change_nothing_and_say_why(bot):
    answer = cast.root().post(credentials_of(bot), {"credential_secret": WRONG})

    assert "Nothing was changed" in text_of(answer)
    assert "Use it from now on" not in text_of(answer)
    assert lifecycle.check(bot).ok


def test_what_is_entered_stands_nowhere_in_clear(bot):
    root = cast.root()

    answers = [
        root.post(credentials_of(bot), {"credential_secret": SECRET}),
        root.post(credentials_of(bot), {"credential_secret": WRONG}),
    ]
    root.post(credentials_of(bot), {"credential_secret": SECRET})
    kept = json.dumps(dict(root.session.items()))
    answers += [root.post(credentials_of(bot), {"use": "1"}), root.get(page_of(bot))]
    answers.append(root.get(reverse("admin:bots_bot_history", args=[bot.pk])))

    for text in (kept, *(answer.content.decode() for answer in answers)):
        assert SECRET not in text
        assert WRONG not in text


def test_after_ten_minutes_nothing_is_kept(bot, monkeypatch):
    root = cast.root()
    monkeypatch.setattr(bot_credentials, "KEPT_SECONDS", 0)
    root.post(credentials_of(bot), {"credential_secret": SECRET})
    before = Credential.objects.get().value

    answer = root.post(credentials_of(bot), {"use": "1"}, follow=True)

    assert "not kept any more" in text_of(answer)
    assert Credential.objects.get().value == before


def test_where_too_many_wait_nothing_is_lost(bot, settings, monkeypatch):
    monkeypatch.setattr(outside, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setenv("BOT_ECHO", SECRET)
    root = cast.root()
    other = cast.browser(User.objects.create_superuser("other", password="password"))
    entered = {"credential_secret": "$BOT_ECHO"}
    root.post(credentials_of(bot), entered)

    with ExitStack() as waiting:
        for _ in range(settings.BOTADMIN_WEB_THREADS // 2):
            waiting.enter_context(outside.place())
        answers = [
            root.post(credentials_of(bot), {"use": "1"}),
            other.post(credentials_of(bot), entered),
        ]
        told = told_by_a_test(root, bot)

    for answer in answers:
        assert "Too many requests are waiting for platforms" in text_of(answer)
    assert told[0]["level"] == "error"
    used = root.post(credentials_of(bot), {"use": "1"}, follow=True)
    assert "uses the new credentials" in text_of(used)


def test_what_nobody_came_back_for_is_removed(bot, monkeypatch):
    monkeypatch.setattr(bot_credentials, "KEPT_SECONDS", 0)
    cast.root().post(credentials_of(bot), {"credential_secret": SECRET})
    assert HeldSecret.objects.exists()

    tasks.tidy()

    assert not HeldSecret.objects.exists()


def test_what_was_tried_for_one_bot_is_not_used_for_another(bot):
    root, other = cast.root(), make_bot("other")
    root.post(credentials_of(bot), {"credential_secret": SECRET})

    answer = root.post(credentials_of(other), {"use": "1"}, follow=True)

    assert "not kept any more" in text_of(answer)


def test_it_is_used_once(bot):
    root = cast.root()
    root.post(credentials_of(bot), {"credential_secret": SECRET})
    root.post(credentials_of(bot), {"use": "1"})

    assert "not kept any more" in text_of(root.post(credentials_of(bot), {"use": "1"}, follow=True))


def test_nothing_entered_and_too_long_a_reference_are_errors_of_the_form(bot):
    root = cast.root()

    assert "Nothing was entered" in text_of(root.post(credentials_of(bot), {}))
    long = root.post(credentials_of(bot), {"credential_secret": "$" + "A" * 255})
    assert "at most 255 characters" in text_of(long)


def test_a_date_alone_is_changed_at_once(bot):
    answer = cast.root().post(credentials_of(bot), {"expires_secret": "2031-05-01"}, follow=True)

    assert "The date is changed" in text_of(answer)
    assert "Expires on 2031-05-01" in text_of(answer)


def test_the_date_goes_with_the_new_one(bot):
    root = cast.root()
    entered = {"credential_secret": SECRET, "expires_secret": "2031-05-01"}

    root.post(credentials_of(bot), entered)
    root.post(credentials_of(bot), {"use": "1"})

    assert f"{Credential.objects.get().expires_on}" == "2031-05-01"


def test_another_account_has_to_be_meant(server):
    _, token = server.make.bot("helper-bot")
    _, others = server.make.bot("other-bot")
    clients.close_idle(older_than=0)
    bot = Bot(slug="helper", space=make_space("chat", platform="mattermost", url=server.url))
    lifecycle.create(bot, requested_by="test")
    lifecycle.set_credentials(bot, {"token": token}, user=None)
    with clients.borrow(bot):
        pass
    root = cast.root()

    found = text_of(root.post(credentials_of(bot), {"credential_token": others}))
    assert "The bot becomes somebody else." in found
    root.post(credentials_of(bot), {"use": "1"})

    bot.refresh_from_db()
    assert bot.identity["person"]["username"] == "other-bot"


def test_the_history_names_the_field_and_not_the_secret(bot):
    cast.root().post(credentials_of(bot), {"credential_secret": SECRET})
    client = cast.browser(User.objects.get())
    client.post(credentials_of(bot), {"credential_secret": SECRET})
    client.post(credentials_of(bot), {"use": "1"})

    told = text_of(client.get(reverse("admin:bots_bot_history", args=[bot.pk])))

    assert all(word in told for word in ("Account password", "set", "changed"))


def test_who_may_only_look_replaces_nothing(bot):
    for client, code in ((cast.bob(bot), 403), (cast.charlie(), 404)):
        assert client.get(credentials_of(bot)).status_code == code
        assert client.post(credentials_of(bot), {"use": "1"}).status_code == code
    assert "Replace" not in text_of(
        cast.browser(User.objects.get(username="bob")).get(page_of(bot))
    )


# What it does -----------------------------------------------------------------------------------


def test_lanes_are_paused_and_resumed_right_there(bot):
    lane_id = make_job(bot, make_channel(bot)).lane_id
    root = cast.root()

    url = reverse("admin:bots_bot_lane", args=[bot.pk, lane_id, "pause"])
    assert "is paused" in text_of(root.post(url, follow=True))
    assert "Paused by root since" in text_of(root.get(piece_of(bot, "work")))

    root.post(reverse("admin:bots_bot_lane", args=[bot.pk, lane_id, "resume"]))
    assert Lane.objects.get(pk=lane_id).paused_at is None


def test_lanes_of_others_and_nonsense_are_refused(bot):
    lane_id = make_job(bot, make_channel(bot)).lane_id
    url = reverse("admin:bots_bot_lane", args=[bot.pk, lane_id, "pause"])
    other = make_bot("other")

    assert cast.root().get(url).url == f"{page_of(bot)}#bot-work"
    assert cast.bob(bot).post(url).status_code == 403
    assert cast.charlie().post(url).status_code == 404
    client = cast.browser(User.objects.get(username="root"))
    foreign = reverse("admin:bots_bot_lane", args=[other.pk, lane_id, "pause"])
    assert client.post(foreign).status_code == 404
    nonsense = reverse("admin:bots_bot_lane", args=[bot.pk, lane_id, "explode"])
    assert client.post(nonsense).status_code == 403


def test_channels_in_use_come_first(bot):
    quiet, busy = make_channel(bot, "quiet"), make_channel(bot, "busy")
    make_job(bot, busy)
    run_lanes()

    page = cast.root().get(page_of(bot))

    assert page.context["channels"].count == 2
    assert [channel.pk for channel, _, _ in page.context["channels"].newest] == [busy.pk, quiet.pk]


def test_who_may_only_look_sees_it_all_and_has_no_button(bot):
    make_job(bot, make_channel(bot))

    page = text_of(cast.bob(bot).get(page_of(bot)))

    assert "Lanes with work" in page
    assert "Latest changes" in page
    assert "data-steps" not in page
    assert "Send a message" not in page


def test_the_number_of_queries_does_not_grow(bot):
    root = cast.root()
    make_job(bot, make_channel(bot))
    run_lanes()
    make_job(bot, make_channel(bot, "other"))
    with CaptureQueriesContext(connection) as few:
        assert root.get(page_of(bot)).status_code == 200

    for number in range(8):
        channel = make_channel(bot, f"channel-{number}")
        make_job(bot, channel)
        run_lanes()
        make_job(bot, channel)
        changed(bot, State.STALE, State.LIVE, hours_ago=1)
    with CaptureQueriesContext(connection) as many:
        assert root.get(page_of(bot)).status_code == 200

    assert len(many) <= len(few)
    assert Event.objects.filter(bot=bot).count() > 8
