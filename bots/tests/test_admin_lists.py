"""Lists and pages: all of them open, in a number of queries that does not grow with the rows."""

import html
import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bots import processes
from bots.models import (
    ApiToken,
    AuditEntry,
    Bot,
    Event,
    HandlerRun,
    Job,
    Lane,
    LaneKind,
    Message,
    Process,
)
from bots.tests import cast
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_event,
    make_job,
    make_space,
    make_token,
    run_lanes,
)
from spaces.models import Channel, Person
from spaces.platforms.messages import ChannelKind

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


def list_of(model) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def seed(number: int) -> Bot:
    """A bot with a little of everything."""
    bot = make_bot(f"bot{number}", name=f"Bot {number}")
    channel = make_channel(bot, f"room{number}", people=[f"person{number}"])
    make_job(bot, channel, f"text {number}")
    run_lanes()
    event = Event.objects.create(
        bot=bot,
        kind="message.posted",
        dedupe_key="1",
        occurred_at=bot.created_at,
        channel=channel,
        raw={"ciphertext": f"raw {number}"},
    )
    lane = Lane.objects.create(kind=LaneKind.HANDLERS, bot=bot, key="echo bot")
    HandlerRun.objects.create(bot=bot, event=event, lane=lane, handler="echo")
    make_token(bots=[bot], name=f"token {number}")
    Process.objects.create(name=f"process {number}", seen_at=bot.created_at)
    User.objects.create(username=f"user{number}")
    Group.objects.create(name=f"group {number}")
    return bot


def queries_for(client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


def test_no_list_of_many_takes_more_queries_than_one_of_few():
    root = cast.root()
    for number in range(2):
        seed(number)
    root.get(list_of(Bot))  # what is looked up once per process
    few = {model: queries_for(root, list_of(model)) for model in MODELS}
    for number in range(2, 5):
        seed(number)

    assert {model: queries_for(root, list_of(model)) for model in MODELS} == few


def test_every_page_and_its_history_open():
    seed(1)
    root = cast.root()

    for model in MODELS:
        for row in model._default_manager.all()[:2]:
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            assert root.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200, row
            assert root.get(reverse(f"{name}_history", args=[row.pk])).status_code == 200, row


@pytest.mark.parametrize("words", ["text", "1", "'\"%<x>", "9" * 30, "\x00", "²"])
def test_every_list_can_be_searched_for_anything(words):
    seed(1)
    root = cast.root()

    for model in MODELS:
        assert root.get(list_of(model), {"q": words}).status_code == 200, model


@pytest.mark.parametrize(
    ("model", "query", "shown", "hidden"),
    [
        ("bots_bot", "space__id__exact={bot.space_id}", "Bot 1", "Nothing matches"),
        ("bots_job", "bot__space__id__exact={bot.space_id}", "succeeded", "Nothing matches"),
        ("spaces_person", "space__id__exact={bot.space_id}", "person1", "Nothing matches"),
        ("bots_bot", "state=live", "Nothing matches", "Bot 1"),
        ("bots_job", "state__exact=succeeded", "succeeded", "Nothing matches"),
        ("bots_job", "state__exact=failed", "Nothing matches", "message.post"),
        ("bots_job", "bot__id__exact={bot.pk}", "succeeded", "Nothing matches"),
        ("bots_message", "channel__id__exact={channel.pk}", "text 1", "Nothing matches"),
        ("bots_message", "direction__exact=in", "Nothing matches", "text 1"),
        ("bots_event", "kind__exact=message.posted", "message.posted", "Nothing matches"),
        ("spaces_channel", "bot={bot.pk}", "room1", "Nothing matches"),
        ("spaces_channel", "bot=x", "Nothing matches", "room1"),
        ("spaces_person", "channel={channel.pk}", "person1", "Nothing matches"),
        ("spaces_person", "channel=x", "Nothing matches", "person1"),
        ("bots_lane", "bot__id__exact={bot.pk}", "echo: the bot as a whole", "Nothing matches"),
        ("bots_handlerrun", "state__exact=queued", "queued", "Nothing matches"),
    ],
)
def test_lists_are_filtered(model, query, shown, hidden):
    bot = seed(1)
    channel = Channel.objects.get(name="room1")
    url = reverse(f"admin:{model}_changelist")

    answer = cast.root().get(f"{url}?{query.format(bot=bot, channel=channel)}")

    rows = html.unescape(answer.content.decode()).partition('id="changelist-form"')[2]
    rows = rows.partition('id="changelist-filter"')[0]
    assert shown in rows
    assert hidden not in re.sub(r"<option.*?</option>", "", rows)


@pytest.mark.parametrize("model", [Bot, Job, Channel, Person], ids=lambda m: m._meta.label)
def test_spaces_are_looked_up_and_not_all_named_on_the_page(model):
    make_space("belfry", name="Belfry")
    root = cast.root()

    assert "Belfry" not in root.get(list_of(model)).content.decode()
    asked = {"app_label": "bots", "model_name": "bot", "field_name": "space", "term": "belf"}
    assert "Belfry" in root.get(reverse("admin:autocomplete"), asked).content.decode()


@pytest.mark.parametrize(
    "model",
    # The log is never empty: it says who added whoever looks.
    [m for m in MODELS if m not in (User, Group, AuditEntry)],
    ids=lambda model: model._meta.label,
)
def test_an_empty_list_says_what_to_do_first(model):
    page = html.unescape(cast.root().get(list_of(model)).content.decode())

    assert admin.site.get_model_admin(model).empty_hint in page
    assert admin.site.get_model_admin(model).empty_hint


HUGE = "9" * 25  # more than any database counts


@pytest.mark.parametrize(
    "query",
    [
        *(f"{name}={HUGE}" for name in ("bot", "event__exact", "subscription", "id__in", "page")),
        *(f"{name}=%00" for name in ("kind__exact", "state__exact", "code", "name", "e")),
        "bot__id__exact=x",
        "id__exact=1&id__exact=2",
        "created_at__year=99999999",
        "secret__startswith=a",
    ],
)
def test_a_filter_that_makes_no_sense_is_no_error_in_any_list(query):
    seed(1)
    root = cast.root()

    for model in MODELS:
        answer = root.get(f"{list_of(model)}?{query}", follow=True)
        # 400 is Django's own answer to what is no filter of a list.
        assert answer.status_code in (200, 400), model


@pytest.mark.parametrize("kind", ["job", "event", "message", "channel", "bot"])
def test_a_conversation_is_called_as_who_is_in_it_by_few_queries(kind):
    bot, root = make_bot(), cast.root()
    model = {"channel": "spaces_channel", "bot": "bots_bot"}.get(kind, f"bots_{kind}")
    address = reverse(f"admin:{model}_changelist")
    if kind == "bot":
        address = reverse("admin:bots_bot_piece", args=[bot.pk, "work"])

    def talk(name: str) -> None:
        channel = make_channel(bot, "", kind=ChannelKind.DIRECT, people=[name])
        make_job(bot, channel)
        run_lanes()
        event = make_event(bot, channel)
        now = timezone.now()
        Message.objects.create(
            bot=bot, channel=channel, remote_id=name, direction="in", sent_at=now, event=event
        )

    talk("frida")
    root.get(address)  # what is looked up once per process
    few = queries_for(root, address)
    for name in ("gerda", "hugo"):
        talk(name)

    page = html.unescape(root.get(address).content.decode())
    assert all(name in page for name in ("Frida", "Gerda", "Hugo"))
    assert queries_for(root, address) == few


def test_growing_tables_are_never_counted():
    seed(1)
    root = cast.root()
    for model in ("bots_job", "bots_event", "bots_message", "spaces_channel", "spaces_person"):
        with CaptureQueriesContext(connection) as captured:
            root.get(reverse(f"admin:{model}_changelist"))
        counts = [q["sql"] for q in captured if q["sql"].startswith("SELECT COUNT(")]
        assert counts == [], model


def test_a_raw_payload_is_shown_and_not_interpreted():
    bot = seed(1)
    event = Event.objects.get(kind="message.posted", bot=bot)
    Event.objects.filter(pk=event.pk).update(raw={"text": "<script>alert(1)</script>"})

    page = cast.root().get(reverse("admin:bots_event_change", args=[event.pk])).content.decode()

    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_page_of_a_channel_shows_who_is_there_and_what_was_said():
    seed(1)
    channel = Channel.objects.get(name="room1")

    page = cast.root().get(reverse("admin:spaces_channel_change", args=[channel.pk]))

    for told in ("person1", "text 1", "Bot 1", "moderator"):
        assert told in page.content.decode()


def test_the_page_of_a_channel_says_that_more_bots_are_in_it(monkeypatch):
    monkeypatch.setattr("bots.admin.channel.LATEST", 1)
    bot = make_bot("echo")
    channel = make_channel(bot, "lobby")
    root = cast.root()
    page = reverse("admin:spaces_channel_change", args=[channel.pk])
    everyone = f"{reverse('admin:bots_bot_changelist')}?channel={channel.pk}"
    assert everyone not in root.get(page).content.decode()

    bell = make_bot("bell")
    make_bot("elsewhere")
    channel.participants.create(person=bell.person)

    assert everyone in root.get(page).content.decode()
    assert set(root.get(everyone).context["cl"].result_list) == {bot, bell}


def test_what_is_asked_on_the_page_of_a_channel_is_for_no_other_of_its_name():
    bot = make_bot()
    lobby = make_channel(bot, "lobby")
    hall = make_channel(bot, "hall", title="Where all meet")
    make_channel(bot, "foyer", title="lobby")
    root = cast.root()

    def offered(channel: Channel) -> str:
        page = root.get(reverse("admin:spaces_channel_change", args=[channel.pk])).content.decode()
        (link,) = re.findall(r'href="([^"]+)">Send a message', page)
        form = root.get(html.unescape(link)).context["form"]
        return str(form["channel"].value())

    assert offered(lobby) == str(lobby.pk)
    assert offered(hall) == "hall"


def test_the_page_of_a_person_shows_their_channels():
    seed(1)
    person = Person.objects.get(username="person1")

    page = cast.root().get(reverse("admin:spaces_person_change", args=[person.pk]))

    assert "room1" in page.content.decode()


def test_processes_are_alive_or_silent():
    processes.beat(connections=5, held=2)
    seed(1)
    Process.objects.filter(name="process 1").update(seen_at="2020-01-01T00:00Z")

    page = cast.root().get(list_of(Process)).content.decode()

    assert "alive" in page
    assert "silent" in page


def test_a_crowd_in_a_lane_is_not_counted_to_its_end(monkeypatch):
    monkeypatch.setattr("bots.admin.counting.MOST", 2)
    bot = make_bot()
    channel = make_channel(bot)
    for _ in range(4):
        make_job(bot, channel)
    lane = Lane.objects.get(bot=bot, key__startswith="channel:")
    root = cast.root()

    for url in (list_of(Lane), reverse("admin:bots_lane_change", args=[lane.pk])):
        assert "more than 2" in root.get(url).content.decode()


def test_lanes_tell_how_much_waits():
    bot = make_bot()
    channel = make_channel(bot)
    for _ in range(3):
        make_job(bot, channel)

    lane = Lane.objects.get(key=f"channel:{channel.remote_id}")
    row = admin.site.get_model_admin(Lane)
    page = cast.root().get(reverse("admin:bots_lane_change", args=[lane.pk])).content.decode()

    assert row.waiting.short_description == "Waiting"
    assert re.search(r"Waiting.*?\b3\b", page, re.DOTALL)


def test_no_page_names_another_host():
    bot = seed(1)
    root = cast.root()
    pages = [list_of(model) for model in MODELS]
    pages.append(reverse("admin:bots_bot_change", args=[bot.pk]))

    for visitor, url in [*((root, page) for page in pages), (Client(), reverse("admin:login"))]:
        page = visitor.get(url).content.decode()
        loaded = re.findall(r"""<(?:script|link|img|iframe)[^>]*(?:src|href)=["']([^"']+)""", page)
        assert loaded
        assert [one for one in loaded if not one.startswith("/")] == [], url


def test_a_token_tells_no_more_than_how_it_begins():
    text = make_token(name="ci")

    page = cast.root().get(list_of(ApiToken)).content.decode()

    assert text[:7] in page
    assert text not in page
    assert ApiToken.objects.get().digest not in page
