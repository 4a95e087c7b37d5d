"""The page of a bot: its form, its credentials, its connection and its buttons."""

import html
from contextlib import ExitStack

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from bots import clients, lifecycle
from bots.api import outside
from bots.connections import states
from bots.models import Bot, Job, JobKind, State
from bots.tests import cast
from bots.tests.builders import (
    SECRET,
    make_bot,
    make_channel,
    make_job,
    make_space,
    make_subscription,
    run_lanes,
)
from spaces.models import Channel
from spaces.testing import faulty  # noqa: F401 - registers the platform `plain`

pytestmark = pytest.mark.django_db

NEW_SECRET = "open-sesame-42"
FORM = {
    "name": "Echo",
    "receive": "websocket",
    "enabled": "on",
    "read_receipts": "on",
    "permissions": ["post", "direct", "channels", "participants"],
}


@pytest.fixture
def bot() -> Bot:
    return make_bot("echo", name="Echo")


def page_of(bot: Bot) -> str:
    return reverse("admin:bots_bot_change", args=[bot.pk])


def history_of(bot: Bot) -> str:
    return reverse("admin:bots_bot_history", args=[bot.pk])


def text_of(answer) -> str:
    return html.unescape(answer.content.decode())


def job_url(answer) -> str:
    return reverse("admin:bots_job_change", args=[Job.objects.latest("pk").pk])


# Changing ---------------------------------------------------------------------------------------


def test_a_field_left_empty_stays_out_of_the_options(bot):
    cast.root().post(page_of(bot), FORM | {"option_poll_seconds": "", "option_username": "echo"})

    bot.refresh_from_db()
    assert bot.options == {"username": "echo"}


def test_an_option_out_of_bounds_is_an_error_at_its_field(bot):
    answer = cast.root().post(page_of(bot), FORM | {"option_poll_seconds": "0"})

    assert answer.context["adminform"].form.errors == {
        "option_poll_seconds": ["poll_seconds must be at least 1."]
    }


@pytest.mark.parametrize("value", ["often", "nan", "inf"])
def test_an_option_of_another_type_is_an_error_at_its_field(value, bot):
    answer = cast.root().post(page_of(bot), FORM | {"option_poll_seconds": value})

    assert "option_poll_seconds" in answer.context["adminform"].form.errors


def test_what_the_space_says_is_shown_where_the_bot_says_nothing(bot):
    bot.space.options = {"poll_seconds": 77}
    bot.space.save()

    form = cast.root().get(page_of(bot)).context["adminform"].form

    assert form.fields["option_poll_seconds"].widget.attrs["placeholder"] == "77"
    assert form["option_poll_seconds"].value() is None


def test_all_choices_are_offered_in_words_and_the_default_can_be_pinned(bot):
    root = cast.root()

    form = root.get(page_of(bot)).context["adminform"].form
    assert form.fields["option_event_handling"].choices == [
        ("", "Default: In order"),
        ("in_order", "In order"),
        ("concurrently", "Concurrently"),
    ]

    root.post(page_of(bot), FORM | {"option_event_handling": "in_order"})

    bot.refresh_from_db()
    assert bot.options == {"event_handling": "in_order"}  # whatever the space says later
    form = root.get(page_of(bot)).context["adminform"].form
    assert form["option_event_handling"].value() == "in_order"


def test_slug_and_space_stay_what_they_are(bot):
    cast.root().post(page_of(bot), FORM | {"slug": "other", "space": make_space("second").pk})

    bot.refresh_from_db()
    assert bot.slug == "echo"
    assert bot.space.slug == "acme"


def test_whoever_holds_the_bot_learns_of_the_change(bot):
    before = bot.generation

    cast.root().post(page_of(bot), FORM | {"name": "Parrot"})

    bot.refresh_from_db()
    assert bot.name == "Parrot"
    assert bot.generation > before


def test_groups_say_who_sees_the_bot(bot):
    group = Group.objects.create(name="support")

    cast.root().post(page_of(bot), FORM | {"groups": [group.pk]})

    assert list(bot.groups.all()) == [group]


def test_handlers_are_offered_with_what_they_do(bot):
    assert "echo: Say again what people say" in text_of(cast.root().get(page_of(bot)))


def test_a_bot_whose_platform_went_away_stays_visible_and_is_left_alone(bot):
    type(bot.space).objects.update(platform="gone")
    root = cast.root()

    answer = root.get(page_of(bot))

    assert answer.status_code == 200
    assert "gone (not installed)" in text_of(answer)
    assert root.post(page_of(bot), FORM).status_code == 403
    assert root.get(reverse("admin:bots_bot_changelist")).status_code == 200


def test_the_page_leads_to_the_subscriptions_that_get_the_bots_events(bot):
    make_subscription(name="Shop", bots=[bot])
    make_subscription(name="Bank", bots=[make_bot("other")])
    root = cast.root()
    url = f"{reverse('admin:bots_subscription_changelist')}?bot={bot.pk}"

    assert url in text_of(root.get(page_of(bot)))
    listed = text_of(root.get(url))
    assert "Shop" in listed
    assert "Bank" not in listed


def test_deleting_a_bot_does_not_read_its_whole_history_aloud(bot):
    channel = make_channel(bot)
    page = text_of(cast.root().get(reverse("admin:bots_bot_delete", args=[bot.pk])))
    assert "with its connection, messages, jobs and events" in page
    assert channel.remote_id

    cast.browser(cast.person("dan", cast.RUNS, bot)).post(
        reverse("admin:bots_bot_delete", args=[bot.pk]), {"post": "yes"}
    )

    assert not Bot.objects.exists()


# Read receipts ----------------------------------------------------------------------------------


def test_read_receipts_are_changed_on_the_platform(bot):
    cast.root().post(page_of(bot), {k: v for k, v in FORM.items() if k != "read_receipts"})

    bot.refresh_from_db()
    assert not bot.read_receipts
    with clients.borrow(bot) as platform:
        assert platform.connect().read_receipts is False


def test_a_refusal_is_an_error_of_the_form_and_nothing_else_is_lost(bot):
    bot.space.options = {"read_receipts_locked": True}
    lifecycle.space_changed(bot.space, fields=["options"])
    entered = {k: v for k, v in FORM.items() if k != "read_receipts"} | {"name": "Parrot"}

    answer = cast.root().post(page_of(bot), entered)

    form = answer.context["adminform"].form
    assert list(form.errors) == ["read_receipts"]
    assert form["name"].value() == "Parrot"
    bot.refresh_from_db()
    assert bot.read_receipts
    assert bot.name == "Echo"


def test_where_too_many_wait_for_platforms_nothing_more_is_asked_of_one(bot, settings):
    root = cast.root()
    entered = {k: v for k, v in FORM.items() if k != "read_receipts"}
    with ExitStack() as waiting:
        for _ in range(settings.BOTADMIN_WEB_THREADS // 2):
            waiting.enter_context(outside.place())
        tested = root.post(reverse("admin:bots_bot_do", args=[bot.pk, "test"]), follow=True)
        saved = root.post(page_of(bot), entered)

    assert "Too many requests are waiting for platforms" in text_of(tested)
    assert list(saved.context["adminform"].form.errors) == ["read_receipts"]


def test_a_form_with_another_error_leaves_the_platform_alone(bot):
    entered = {k: v for k, v in FORM.items() if k != "read_receipts"} | {"name": ""}

    cast.root().post(page_of(bot), entered)

    bot.refresh_from_db()
    assert bot.read_receipts


# Credentials ------------------------------------------------------------------------------------


def test_the_form_of_a_bot_that_is_there_takes_no_credential(bot):
    root = cast.root()

    assert 'type="password"' not in text_of(root.get(page_of(bot)))
    root.post(page_of(bot), FORM | {"credential_secret": NEW_SECRET, "remove_secret": "on"})

    assert lifecycle.check(bot).ok


def test_a_name_of_whoever_set_it_is_shown_and_not_interpreted(bot):
    user = cast.person("<b>eve</b>", cast.RUNS, bot)
    lifecycle.set_credentials(bot, {"secret": SECRET}, user=user)

    assert "<b>eve</b>" not in cast.root().get(page_of(bot)).content.decode()


# Connection and buttons -------------------------------------------------------------------------


def test_the_page_says_how_the_connection_is_and_what_to_do(bot):
    states.move(
        bot.connection,
        State.BAD_CREDENTIALS,
        fence=None,
        reason="Wrong password.",
        next_step="Set a new one.",
        generation=bot.generation,
    )

    page = text_of(cast.root().get(page_of(bot)))

    for told in ("bad credentials", "Wrong password.", "Set a new one.", "botadmin local"):
        assert told in page


def press(client, bot: Bot, name: str):
    return client.post(reverse("admin:bots_bot_do", args=[bot.pk, name]), follow=True)


def test_a_test_tells_its_findings_line_by_line(bot):
    assert "Logged in as echo." in text_of(press(cast.root(), bot, "test"))


def test_a_test_of_a_bot_that_cannot_log_in_tells_the_remedy(bot):
    lifecycle.set_credentials(bot, {"secret": "wrong-wrong"}, user=None)

    page = text_of(press(cast.root(), bot, "test"))

    assert "Set new credentials on the bot" in page
    assert "wrong-wrong" not in page


def test_stop_and_start(bot):
    root = cast.root()

    press(root, bot, "stop")
    bot.refresh_from_db()
    assert not bot.enabled

    press(root, bot, "start")
    bot.refresh_from_db()
    assert bot.enabled


def test_reconnect_lets_go_of_the_old_connection(bot):
    press(cast.root(), bot, "reconnect")

    assert Bot.objects.get().generation > bot.generation


def test_sync_becomes_a_job(bot):
    press(cast.root(), bot, "sync")

    job = Job.objects.get()
    assert job.kind == "bot.sync"
    assert job.requested_by == "root"


def test_no_such_button(bot):
    assert cast.root().post(reverse("admin:bots_bot_do", args=[bot.pk, "x"])).status_code == 403


# Operations -------------------------------------------------------------------------------------


def ask(client, bot: Bot, operation: str, /, **entered):
    url = reverse("admin:bots_bot_ask", args=[bot.pk, operation])
    once = client.get(url).context["form"]["once"].value()
    return client.post(url, {"once": once, **entered})


def test_a_message_is_sent_and_its_job_comes_next(bot):
    make_channel(bot, "lobby")

    answer = ask(cast.root(), bot, "send", channel="lobby", text="  hello\r\nworld")

    assert answer.url == job_url(answer)
    run_lanes()
    job = Job.objects.get()
    assert job.state == "succeeded"
    assert job.payload["text"] == "  hello\nworld"
    assert job.requested_by == "root"


def test_a_message_to_a_person(bot):
    make_channel(bot, "lobby", people=["dagobert"])

    ask(cast.root(), bot, "send", person="@dagobert", text="psst")
    run_lanes()

    assert Job.objects.get().state == "succeeded"
    assert Channel.objects.filter(kind="direct").exists()


def test_the_same_form_sent_twice_is_one_job(bot):
    make_channel(bot, "lobby")
    root = cast.root()
    url = reverse("admin:bots_bot_ask", args=[bot.pk, "send"])
    entered = {
        "once": root.get(url).context["form"]["once"].value(),
        "channel": "lobby",
        "text": "hello",
    }

    first, second = root.post(url, entered), root.post(url, entered)
    third = root.post(url, entered | {"text": "something else"})

    assert first.url == second.url != third.url
    assert Job.objects.count() == 2


@pytest.mark.parametrize(
    ("entered", "told"),
    [
        ({"channel": "nowhere", "text": "x"}, "is in no channel called 'nowhere'"),
        ({"channel": "lobby", "text": "  "}, "There is nothing to send."),
        ({"channel": "lobby"}, "This field is required."),
        ({"text": "x"}, "Name a channel or a person"),
        ({"text": "x", "channel": "lobby", "person": "@x"}, "Name a channel or a person"),
    ],
)
def test_what_cannot_be_sent_is_told_on_the_form(entered, told, bot):
    make_channel(bot, "lobby")

    answer = ask(cast.root(), bot, "send", **entered)

    assert answer.status_code == 200
    assert told in text_of(answer)
    assert not Job.objects.exists()


def test_a_bot_without_the_permission_is_told_on_the_button_and_the_form(bot):
    make_channel(bot, "lobby")
    bot.permissions = []
    lifecycle.changed(bot, fields=["permissions"], requested_by="test")
    root = cast.root()

    page = text_of(root.get(page_of(bot)))
    answer = ask(root, bot, "send", channel="lobby", text="x")

    assert "echo has no permission 'post'." in page
    assert "echo has no permission 'post'." in text_of(answer)


def test_a_channel_is_created(bot):
    make_channel(bot, "lobby", people=["dagobert"])

    ask(
        cast.root(),
        bot,
        "create-channel",
        channel_kind="private",
        name="vault",
        topic="Coins",
        people="@dagobert\n",
    )
    run_lanes()

    channel = Channel.objects.get(name="vault")
    assert channel.kind == "private"
    assert channel.topic == "Coins"
    assert channel.participants.count() == 2


def test_a_channel_is_changed_and_what_is_left_empty_stays(bot):
    channel = make_channel(bot, "lobby", title="The lobby")

    ask(
        cast.root(),
        bot,
        "change-channel",
        channel="lobby",
        name="hall",
        purpose="To meet",
        channel_kind="private",
    )
    run_lanes()

    channel.refresh_from_db()
    assert (channel.name, channel.purpose, channel.kind) == ("hall", "To meet", "private")
    assert channel.title == "The lobby"


def test_a_change_of_nothing_is_refused(bot):
    make_channel(bot, "lobby")

    answer = ask(cast.root(), bot, "change-channel", channel="lobby")

    assert "Enter what to change." in text_of(answer)
    assert not Job.objects.exists()


def test_an_archived_channel_is_offered_and_restored(bot):
    channel = make_channel(bot, "lobby")
    make_job(bot, channel, kind=JobKind.ARCHIVE_CHANNEL, payload={})
    lifecycle.sync(bot, requested_by="alice")
    run_lanes()
    root = cast.root()

    offered = root.get(f"/admin/bots/bot/{bot.pk}/ask/restore-channel/").content.decode()
    ask(root, bot, "restore-channel", channel="lobby")
    run_lanes()

    channel.refresh_from_db()
    assert 'value="lobby"' in offered
    assert not channel.archived


def test_a_message_may_be_for_one_person_in_a_channel(bot):
    make_channel(bot, "lobby", people=["dagobert"])
    root = cast.root()

    refused = ask(root, bot, "send", person="dagobert", only_for="dagobert", text="psst")
    ask(root, bot, "send", channel="lobby", only_for="@dagobert", text="psst")

    assert "Name the channel they are in" in text_of(refused)
    assert Job.objects.get().payload["only_for"]["username"] == "dagobert"


def test_forms_leave_out_what_the_platform_cannot_do():
    plain = make_bot("plain", space=make_space("plain", platform="plain"))
    root = cast.root()

    forms = {
        name: root.get(f"/admin/bots/bot/{plain.pk}/ask/{name}/").context["form"]
        for name in ("send", "create-channel", "change-channel")
    }

    assert "only_for" not in forms["send"].fields
    assert "purpose" not in forms["create-channel"].fields
    assert set(forms["change-channel"].fields) == {"once", "channel", "title", "topic"}
    assert "Restore channel" not in text_of(root.get(page_of(plain)))


def test_the_outcome_of_each_added_person_is_on_the_page_of_the_job(bot):
    make_bot("second", space=bot.space)
    make_channel(bot, "lobby")
    root = cast.root()

    answer = ask(
        root, bot, "add-participants", channel="lobby", people="@second\n\nnobody\n", moderator="on"
    )
    run_lanes()

    page = text_of(root.get(answer.url))
    assert Job.objects.latest("pk").payload["moderator"] is True
    assert "There is nobody called nobody." in page
    assert "remote_not_found" in page
    assert "second" in page


def test_participants_are_removed(bot):
    channel = make_channel(bot, "lobby", people=["dagobert"])

    ask(cast.root(), bot, "remove-participants", channel="lobby", people="dagobert")
    run_lanes()

    assert channel.participants.count() == 1


def test_an_operation_from_the_page_of_a_channel_knows_the_channel(bot):
    channel = make_channel(bot, "lobby")
    root = cast.root()
    page = text_of(root.get(reverse("admin:spaces_channel_change", args=[channel.pk])))
    url = f"{reverse('admin:bots_bot_ask', args=[bot.pk, 'send'])}?channel={channel.pk}"

    assert url in page
    assert root.get(url).context["form"]["channel"].value() == "lobby"


def test_no_such_operation(bot):
    assert cast.root().get(reverse("admin:bots_bot_ask", args=[bot.pk, "fly"])).status_code == 404


def test_saving_one_field_does_not_look_around(bot):
    Job.objects.all().delete()

    answer = cast.root().post(page_of(bot), FORM | {"name": "Other"})

    bot.refresh_from_db()
    assert answer.status_code == 302
    assert bot.name == "Other"
    assert not Job.objects.exists()
