"""The chat page: what is written there, as the bot and as a person, and what is done with
messages."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from bots import clients, demo, lifecycle, pausing
from bots.admin.posting import NOTHING_DONE
from bots.api import outside
from bots.chat import speaking
from bots.connections import poller
from bots.models import AuditEntry, Bot, Job, JobKind, Lane, Message
from bots.tests import cast
from bots.tests.builders import SECRET, make_bot, make_channel, make_job, make_space, run_lanes
from spaces import sync
from spaces.models import Channel, LocalAccount, LocalMessage, Person
from spaces.platforms.errors import Unavailable
from spaces.platforms.messages import ChannelKind
from spaces.testing import faulty

pytestmark = pytest.mark.django_db

PIECE = {"HX-Request": "true"}
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


@pytest.fixture
def bot() -> Bot:
    bot = make_bot("echo", name="Echo", receive="poll", handlers=["echo"])
    poller.poll(bot.pk)  # from here on it hears everything
    return bot


@pytest.fixture
def lobby(bot) -> Channel:
    return make_channel(bot, "lobby", people=["dora"])


@pytest.fixture
def alice(bot) -> Client:
    return cast.alice(bot)


def url(name: str, *args: object) -> str:
    return reverse(f"chat:{name}", args=args)


def say(client: Client, room: Channel, bot: Bot, **fields: object):
    words = {"once": uuid4().hex, "text": "", **fields}
    return client.post(url("say", bot.slug, room.pk), words, headers=PIECE)


def hear(bot: Bot) -> None:
    """The bot hears what was said, and answers."""
    poller.poll(bot.pk)
    run_lanes()
    poller.poll(bot.pk)


# As the bot ---------------------------------------------------------------------------------------


def test_a_message_is_queued_once_however_often_the_form_is_sent(alice, bot, lobby):
    words = {"once": "the same", "text": "**hello**"}

    first = say(alice, lobby, bot, **words)
    second = say(alice, lobby, bot, **words)
    run_lanes()

    assert "chat:told" in first["HX-Trigger"]
    assert "chat:told" in second["HX-Trigger"]
    job = Job.objects.get()
    assert job.requested_by == "alice"
    assert Message.objects.get().text == "**hello**"
    assert "the same" not in second.content.decode()


def test_whoever_writes_is_told_when_it_is_not_sent_now(alice, bot, lobby):
    pausing.pause(Lane.objects.get(pk=make_job(bot, lobby).lane_id), by=cast.somebody("bob"))

    answer = say(alice, lobby, bot, text="hello")

    told = json.loads(answer["HX-Trigger"])["chat:told"]["text"]
    waits = "waits: its lane is paused by bob. Resume the lane on its page."
    assert told == f"Job {Job.objects.latest('pk').pk} {waits}"


def test_without_javascript_it_goes_back_to_the_room(alice, bot, lobby):
    words = {"once": "1", "text": "hello"}

    answer = alice.post(url("say", bot.slug, lobby.pk), words)

    assert answer.url == url("room", bot.slug, lobby.pk)
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"text": "  \n"}, "There is nothing to send."),
        ({"text": "x" * 100_001}, "at most 100000 characters"),
        ({"card_title": "x", "card_fields": "no colon"}, "a name, a colon and a value"),
        ({"card_title": "x", "card_link": "javascript:alert(1)"}, "A link begins with"),
        ({"card_title": "x", "card_color": "url(x)"}, "Select a valid choice"),
        ({"text": "x", "speaker": "nobody"}, "Select a valid choice"),
        ({"text": "x", "speaker": "+"}, "Say who writes."),
        ({"card_title": "x", "speaker": "dora"}, "you write text only"),
        ({"text": "a\0b"}, "Null characters are not allowed."),
    ],
)
def test_what_cannot_be_sent_says_why(alice, bot, lobby, fields, told):
    answer = say(alice, lobby, bot, **fields)

    assert answer.status_code == 200
    assert told in answer.content.decode()
    assert "HX-Trigger" not in answer
    assert not Job.objects.exists()


def test_only_whoever_chose_files_is_asked_to_choose_them_again(alice, bot, lobby):
    lost = "Choose the files again"
    picture = SimpleUploadedFile("cat.png", PNG, "image/png")

    assert lost not in say(alice, lobby, bot, text=" ").content.decode()
    assert lost in say(alice, lobby, bot, speaker="dora", uploads=picture).content.decode()


def test_a_card_goes_out_with_its_fields(alice, bot, lobby):
    say(
        alice,
        lobby,
        bot,
        card_title="Release",
        card_body="It is *out*.",
        card_fields="Version: 2.4: final\n\nOwner: Bob",
        card_link="https://example.com/",
        card_color="#2e7d32",
    )
    run_lanes()

    card = Message.objects.get().card
    assert card["title"] == "Release"
    assert card["fields"] == [["Version", "2.4: final"], ["Owner", "Bob"]]
    assert card["color"] == "#2e7d32"


def test_files_go_out_and_can_be_fetched_again(alice, bot, lobby):
    picture = SimpleUploadedFile("cat.png", PNG, "image/png")
    notes = SimpleUploadedFile("notes.html", b"<script>alert(1)</script>", "text/html")

    say(alice, lobby, bot, text="look", uploads=[picture, notes])
    run_lanes()
    hear(bot)

    message = Message.objects.get()
    html = alice.get(url("log", bot.slug, lobby.pk)).content.decode()
    image = url("image", bot.slug, lobby.pk, message.pk, 0)
    assert f'<img src="{image}" alt="cat.png"' in html
    shown = alice.get(image)
    assert shown.content == PNG
    assert shown["Content-Type"] == "image/png"
    assert shown["X-Content-Type-Options"] == "nosniff"

    page = url("file", bot.slug, lobby.pk, message.pk, 1)
    assert f'href="{page}"' in html
    fetched = alice.get(page)
    assert b"".join(fetched.streaming_content) == b"<script>alert(1)</script>"
    assert fetched["Content-Disposition"] == 'attachment; filename="notes.html"'
    assert fetched["Content-Type"] == "application/octet-stream"
    assert fetched["X-Content-Type-Options"] == "nosniff"
    assert alice.get(url("image", bot.slug, lobby.pk, message.pk, 1)).status_code == 404
    assert alice.get(url("file", bot.slug, lobby.pk, message.pk, 2)).status_code == 404


def test_a_file_that_is_too_large_is_refused_before_it_is_stored(alice, bot, lobby):
    large = SimpleUploadedFile("large.bin", b"x" * (10 * 1024 * 1024 + 1))

    answer = say(alice, lobby, bot, text="look", uploads=[large]).content.decode()

    assert "large.bin is larger than" in answer
    assert "Choose the files again" in answer
    assert not Job.objects.exists()


def test_a_platform_that_is_away_is_told_and_nothing_breaks(db):
    bot = make_bot("clumsy", space=make_space("shaky", platform="faulty"))
    room = make_channel(bot, "lobby")
    message = Message.objects.create(
        bot=bot,
        channel=room,
        remote_id="1",
        direction="in",
        sent_at="2026-11-20T00:00Z",
        files=[{"id": "7", "name": "cat.png", "content_type": "image/png", "size": 9}],
    )
    root = cast.root()
    for _ in range(2):
        faulty.script(faulty.before(Unavailable("It is away.")), operation="download_file")

    image = root.get(url("image", "clumsy", room.pk, message.pk, 0))
    file = root.get(url("file", "clumsy", room.pk, message.pk, 0), follow=True)

    assert image.status_code == 502
    told = file.content.decode()
    assert "The file was not fetched. It is away. Try again in a moment." in told


def test_a_picture_of_unknown_size_is_no_picture_in_its_place(alice, bot, lobby):
    message = Message.objects.create(
        bot=bot,
        channel=lobby,
        remote_id="1",
        direction="in",
        sent_at="2026-11-20T00:00Z",
        files=[{"id": "7", "name": "cat.png", "content_type": "image/png", "size": 0}],
    )

    page = alice.get(url("log", bot.slug, lobby.pk)).content.decode()

    assert "cat.png" in page
    assert "<img" not in page
    assert alice.get(url("image", bot.slug, lobby.pk, message.pk, 0)).status_code == 404


def test_pictures_wait_for_their_turn_and_not_for_long(alice, bot, lobby, settings, monkeypatch):
    say(alice, lobby, bot, uploads=[SimpleUploadedFile("cat.png", PNG, "image/png")])
    run_lanes()
    hear(bot)
    picture = url("image", bot.slug, lobby.pk, Message.objects.get().pk, 0)

    with ExitStack() as waiting:
        for _ in range(settings.BOTADMIN_WEB_THREADS // 2):
            waiting.enter_context(outside.place())
        soon = threading.Timer(0.2, waiting.close)
        soon.start()
        in_time = alice.get(picture).status_code
        soon.join()
    monkeypatch.setattr(outside, "PATIENCE_SECONDS", 0.01)
    with ExitStack() as waiting:
        for _ in range(settings.BOTADMIN_WEB_THREADS // 2):
            waiting.enter_context(outside.place())
        too_late = alice.get(picture).status_code

    assert (in_time, too_late) == (200, 503)


def test_what_a_platform_says_holds_no_secret(db):
    bot = make_bot("clumsy", space=make_space("shaky", platform="faulty"))
    room, root = make_channel(bot, "lobby"), cast.root()
    with clients.borrow(bot):  # from here on its secrets are known
        pass
    faulty.script(faulty.before(Unavailable(f"No answer to {SECRET}.")), operation="history")

    answer = root.post(url("older", "clumsy", room.pk), follow=True).content.decode()

    assert "No answer to" in answer
    assert SECRET not in answer


def test_only_one_person_sees_what_is_for_them(alice, bot, lobby):
    answer = say(alice, lobby, bot, text="psst", only_for="dora")
    run_lanes()

    assert Job.objects.get().state == "succeeded"
    assert "it is in no list" in json.loads(answer["HX-Trigger"])["chat:told"]["text"]
    assert not Message.objects.exists()


def test_a_bot_that_may_not_write_says_so_and_has_no_form(alice, bot, lobby):
    bot.renew(permissions=["direct"])

    page = alice.get(url("room", bot.slug, lobby.pk)).content.decode()
    answer = say(alice, lobby, bot, text="hello").content.decode()

    assert "has no permission" in page
    assert "data-desk" not in page
    assert "has no permission" in answer
    assert not Job.objects.exists()


def test_an_answer_goes_into_the_thread(alice, bot, lobby):
    say(alice, lobby, bot, text="the question")
    run_lanes()
    top = Message.objects.get()

    alice.post(
        url("thread_say", bot.slug, lobby.pk, top.pk),
        {"once": "2", "text": "the answer"},
        headers=PIECE,
    )
    run_lanes()

    assert Message.objects.get(text="the answer").thread == top.remote_id


def test_what_is_only_sent_leads_to_its_room_when_it_is_looked_at(alice, bot, lobby):
    for name in ("say", "preview", "older"):
        answer = alice.get(url(name, bot.slug, lobby.pk), follow=True)
        assert answer.redirect_chain[-1][0] == url("room", bot.slug, lobby.pk)
        assert NOTHING_DONE in answer.content.decode()
    assert alice.get(url("say", bot.slug, 999_999)).status_code == 404


# As a person --------------------------------------------------------------------------------------


def test_a_person_says_something_and_a_handler_answers(alice, bot, lobby):
    words = {"once": "1", "text": "ping", "speaker": "dora"}

    say(alice, lobby, bot, **words)
    say(alice, lobby, bot, **words)
    hear(bot)

    assert LocalMessage.objects.filter(author__username="dora").count() == 1
    html = alice.get(url("log", bot.slug, lobby.pk)).content.decode()
    assert html.index("<strong>Dora</strong>") < html.index("<strong>Echo</strong>")
    assert html.count("<p>ping</p>") == 2


def test_the_audit_log_says_who_wrote_as_whom_and_where(alice, bot, lobby):
    private = make_channel(bot, "private", kind=ChannelKind.PRIVATE)
    AuditEntry.objects.all().delete()

    for _ in range(2):
        say(alice, lobby, bot, once="1", text="hush", speaker="dora")
    say(alice, lobby, bot, text="hush", speaker="+", newcomer="emil")
    say(alice, private, bot, text="hush", speaker="+", newcomer="fred")
    say(alice, private, bot, text="hush", speaker="+", newcomer="echo")  # who is a bot

    entries = AuditEntry.objects.order_by("pk")
    assert [(one.actor_label, one.action, one.bot) for one in entries] == [
        ("alice", "bot.written_to", bot)
    ] * 3
    assert [one.note for one in entries] == [
        "As dora, in lobby.",
        "As emil, who joined for it, in lobby.",
        "As fred, directly.",
    ]
    assert "hush" not in json.dumps(list(entries.values("label", "note", "changes")))


def test_words_that_were_corrected_are_not_taken_for_the_first_ones(alice, bot, lobby):
    for text in ("helo", "hello"):
        say(alice, lobby, bot, once="1", text=text, speaker="dora")

    assert set(LocalMessage.objects.values_list("text", flat=True)) == {"helo", "hello"}


def test_a_member_who_is_on_no_list_is_one_all_the_same(alice, bot):
    private = make_channel(bot, "private", kind=ChannelKind.PRIVATE, people=["zora"])
    crowd = [
        Person(space=bot.space, remote_id=f"p{number}", username=f"a{number}")
        for number in range(speaking.MOST)
    ]
    sync.take_parts((private.pk, person.pk) for person in Person.objects.bulk_create(crowd))

    say(alice, private, bot, text="hi", speaker="+", newcomer="zora")

    assert LocalMessage.objects.get().room.name == "private"


def test_somebody_new_joins_a_public_room(alice, bot, lobby):
    say(alice, lobby, bot, text="hi", speaker="+", newcomer="@emil")
    hear(bot)

    assert LocalAccount.objects.get(username="emil").is_bot is False
    assert lobby.participants.filter(person__username="emil").exists()


def test_somebody_new_writes_to_the_bot_directly_where_nobody_is_let_in(alice, bot):
    private = make_channel(bot, "private", kind=ChannelKind.PRIVATE)

    answer = say(alice, private, bot, text="hi", speaker="+", newcomer="emil")
    hear(bot)

    assert "emil wrote to Echo directly" in answer["HX-Trigger"]
    assert not LocalMessage.objects.filter(room__name="private").exists()
    assert "Emil" in alice.get(url("rooms", bot.slug)).content.decode().title()


def test_nobody_speaks_as_another_bot(alice, bot, lobby):
    make_bot("other")

    answer = say(alice, lobby, bot, text="hi", speaker="+", newcomer="other").content.decode()

    assert "It was not sent." in answer
    assert "other is a bot here." in answer
    assert not LocalMessage.objects.exists()


def test_people_write_for_themselves_on_other_platforms(db):
    bot = make_bot("clumsy", space=make_space("shaky", platform="faulty"))
    room = make_channel(bot, "lobby", people=[])

    page = cast.root().get(url("room", "clumsy", room.pk)).content.decode()

    assert "data-speaker" not in page


def test_the_demo_answers_its_people(db):
    clients.close_idle(older_than=0)  # of bots of other tests
    bot = demo.seed()
    Bot.objects.filter(pk=bot.pk).update(receive="poll")
    lobby = Channel.objects.get(name="lobby")

    say(cast.root(), lobby, bot, text="good evening", speaker="alice")
    hear(bot)

    assert Message.objects.filter(text__contains="good evening", direction="out").exists()


# With messages ------------------------------------------------------------------------------------


@pytest.fixture
def said(alice, bot, lobby) -> Message:
    say(alice, lobby, bot, text="helo")
    run_lanes()
    return Message.objects.get()


def act(client: Client, message: Message, name: str, /, **fields: str):
    address = url("act", message.bot.slug, message.channel_id, message.pk, name)
    return client.post(address, {"once": "1", **fields}, headers=PIECE)


def test_own_messages_are_changed_reacted_to_pinned_and_deleted(alice, bot, lobby, said):
    assert act(alice, said, "edit", text="hello").status_code == 204
    assert act(alice, said, "react", name=":tada:").status_code == 204
    assert act(alice, said, "pin").status_code == 204
    run_lanes()
    hear(bot)

    html = alice.get(url("log", bot.slug, lobby.pk)).content.decode()
    assert "<p>hello</p>" in html
    assert "tada 1" in html
    sheet = alice.get(url("message", bot.slug, lobby.pk, said.pk), headers=PIECE).content.decode()
    assert ">Pin</button>" in sheet
    assert ">Unpin</button>" in sheet
    assert "Only the platform knows whether it is pinned" in sheet
    assert url("pinned", bot.slug, lobby.pk) in sheet
    pinned = alice.get(url("pinned", bot.slug, lobby.pk), headers=PIECE).content.decode()
    assert "<p>hello</p>" in pinned
    there = url("message", bot.slug, lobby.pk, said.pk) + "?pinned"
    assert there in pinned
    sheet = alice.get(there, headers=PIECE).content.decode()
    assert ">Unpin</button>" in sheet
    assert ">Pin</button>" not in sheet
    assert "Only the platform knows whether it is pinned" not in sheet

    assert act(alice, said, "unreact", name="tada").status_code == 204
    assert act(alice, said, "unpin").status_code == 204
    assert act(alice, said, "delete").status_code == 204
    run_lanes()
    hear(bot)
    assert "This message was deleted." in alice.get(url("log", bot.slug, lobby.pk)).content.decode()
    assert not Job.objects.exclude(state="succeeded").exists()


def test_a_click_that_comes_twice_is_one_job(alice, said):
    act(alice, said, "react", name="tada")
    act(alice, said, "react", name="tada")

    assert Job.objects.filter(kind=JobKind.REACT).count() == 1


def test_what_is_asked_for_shows_beside_its_message(alice, bot, lobby, said):
    act(alice, said, "edit", text="hello")

    html = alice.get(url("log", bot.slug, lobby.pk)).content.decode()

    assert "Edit queued" in html


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("edit", {"text": " "}, "There is nothing left."),
        ("react", {"name": "::"}, "Name the reaction"),
    ],
)
def test_an_act_that_lacks_something_says_what(alice, said, name, fields, told):
    answer = act(alice, said, name, **fields)

    assert told in answer.content.decode()
    assert Job.objects.exclude(kind=JobKind.POST).count() == 0


def test_the_words_of_others_are_not_changed(alice, bot, lobby):
    say(alice, lobby, bot, text="mine", speaker="dora")
    hear(bot)
    message = Message.objects.get(direction="in")

    sheet = alice.get(url("message", bot.slug, lobby.pk, message.pk), headers=PIECE)
    answer = act(alice, message, "edit", text="yours")

    assert "sheet-react" in sheet.content.decode()
    assert "sheet-edit" not in sheet.content.decode()
    assert "sheet-delete" not in sheet.content.decode()
    assert "Only messages of the bot" in answer.content.decode()
    assert act(alice, message, "fly").status_code == 404


def test_what_the_bot_may_not_is_shown_with_the_reason(alice, bot, lobby, said):
    bot.renew(permissions=["post"])

    sheet = alice.get(url("message", bot.slug, lobby.pk, said.pk)).content.decode()

    assert "echo has no permission &#x27;edit&#x27;." in sheet
    assert url("act", bot.slug, lobby.pk, said.pk, "delete") not in sheet


def test_older_messages_are_read_from_the_platform(alice, bot, lobby):
    lifecycle.stop(bot)
    say(alice, lobby, bot, text="before the bot listened", speaker="dora")

    answer = alice.post(url("older", bot.slug, lobby.pk), follow=True).content.decode()

    assert "Read from the platform: 1 more message." in answer
    assert "before the bot listened" in answer
    again = alice.post(url("older", bot.slug, lobby.pk), follow=True).content.decode()
    assert "nothing new" in again


# Before it is sent --------------------------------------------------------------------------------


def preview(client: Client, bot: Bot, room: Channel, **fields: str) -> str:
    address = url("preview", bot.slug, room.pk)
    return client.post(address, {"once": "1", **fields}, headers=PIECE).content.decode()


def test_a_preview_shows_where_a_long_text_is_split_on_each_platform(alice, bot, lobby):
    text = "word " * 1_600  # 8,000 characters

    html = preview(alice, bot, lobby, text=text, on="every")

    on_local, on_mattermost = html.split('aria-label="On Mattermost"')
    assert 'aria-label="On Local"' in on_local
    assert "On Local: 2 messages" in on_local
    assert "Message 2 of 2" in on_local
    assert "All of message 2" in on_local
    assert "one holds at most 4,000 characters" in on_local
    assert "One message" in on_mattermost.split("</section>")[0]
    assert not Job.objects.exists()


def test_a_preview_is_what_is_sent(alice, bot, lobby):
    text = "para\n\n" * 1_500

    html = preview(alice, bot, lobby, text=text)
    say(alice, lobby, bot, text=text)
    run_lanes()

    assert f"Message 1 of {Message.objects.count()}" in html
    for message in Message.objects.all():
        assert f", {len(message.text)} characters" in html


def test_a_preview_shows_cards_and_files(alice, bot, lobby):
    files = [{"name": f"{n}.txt", "size": 1} for n in range(11)]
    large = [{"name": "film.mov", "size": 10**9}]

    html = preview(
        alice,
        bot,
        lobby,
        card_title="Release",
        card_fields="Version: 2",
        attached=json.dumps(files + large),
    )

    assert "The card goes out as a card." in html
    assert "Release" in html
    assert "It would be refused.</strong> A message carries at most 10 files here." in html
    assert "film.mov is larger than the 10,485,760 bytes allowed here." in html


@pytest.mark.parametrize("attached", ["", "x", "{}", "[1]", '[{"name": 1}]', "[" * 100_000])
def test_nonsense_about_files_is_left_out(alice, bot, lobby, attached):
    assert "One message" in preview(alice, bot, lobby, text="x", attached=attached)
