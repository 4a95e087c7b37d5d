"""The chat page: who sees which rooms, what is shown of them, and at what cost."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bots import lifecycle, pausing
from bots.chat import markdown, timeline
from bots.chat.waiting import waits
from bots.models import Bot, Direction, Job, Lane, Message
from bots.tests import cast
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_event,
    make_job,
    make_space,
    run_lanes,
)
from spaces.models import Channel, Person
from spaces.platforms.errors import Rejected
from spaces.platforms.messages import ChannelKind
from spaces.testing import faulty

pytestmark = pytest.mark.django_db

TRIES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[a](javascript:alert(1))",
    "[a](JaVaScRiPt:alert(1))",
    "[a](&#106;avascript:alert(1))",
    "[a](java\tscript:alert(1))",
    "[a](data:text/html,<script>alert(1)</script>)",
    "[a](vbscript:x)",
    "![a](javascript:alert(1))",
    "![a](https://tracker.example/pixel.png)",
    '[a](https://a.example/"onmouseover="alert(1))',
    '![" onerror="alert(1)](https://a.example/x.png)',
    "<https://a.example/<script>>",
    "```<script>\n</script>\n```",
    "# <svg onload=alert(1)>",
    "| <b onclick=x>a</b> |\n|---|\n| [x](javascript:1) |",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<a href='javascript:alert(1)'>x</a>",
]


@pytest.fixture
def bot() -> Bot:
    return make_bot("treasury", name="Treasury")


@pytest.fixture
def vault(bot) -> Channel:
    return make_channel(bot, "vault", people=["dagobert"])


def say(bot: Bot, channel: Channel, text: str, **changes) -> Message:
    """A message as the inbox stores it."""
    number = Message.objects.count()
    values = {
        "remote_id": f"m{number}",
        "direction": Direction.IN,
        "sent_at": timezone.now() - timedelta(days=30) + timedelta(seconds=number),
    }
    return Message.objects.create(bot=bot, channel=channel, text=text, **(values | changes))


def url(name: str, *args: object) -> str:
    return reverse(f"chat:{name}", args=args)


def every_url(bot: Bot, channel: Channel, message: Message, job: Job) -> dict[str, list[str]]:
    room = [bot.slug, channel.pk]
    one = [*room, message.pk]
    return {
        "GET": [
            url("rooms", bot.slug),
            url("rooms_piece", bot.slug),
            url("state_piece", bot.slug),
            url("room", *room),
            url("log", *room),
            url("thread", *one),
            url("thread_log", *one),
            url("pinned", *room),
            url("message", *one),
            url("file", *one, 0),
            url("image", *one, 0),
        ],
        "POST": [
            url("say", *room),
            url("thread_say", *one),
            url("preview", *room),
            url("thread_preview", *one),
            url("older", *room),
            url("steer", *room, job.pk, "retry"),
            url("steer", *room, job.pk, "cancel"),
            *(url("act", *one, name) for name in ("react", "unreact", "edit", "delete", "pin")),
        ],
    }


@pytest.fixture
def urls(bot, vault) -> dict[str, list[str]]:
    message = say(bot, vault, "sesame", direction=Direction.OUT)
    return every_url(bot, vault, message, make_job(bot, vault))


# Who sees what ------------------------------------------------------------------------------------


def test_nobody_gets_in_without_logging_in(client, urls):
    for address in [url("choose"), *urls["GET"]]:
        answer = client.get(address)
        assert answer.status_code == 302
        assert answer.url.startswith(reverse("admin:login"))
    for address in urls["POST"]:
        assert client.post(address).status_code == 302
    assert Job.objects.count() == 1


def test_the_bots_of_others_do_not_exist(urls):
    charlie = cast.charlie()

    assert "Treasury" not in charlie.get(url("choose")).content.decode()
    for address in urls["GET"]:
        assert charlie.get(address).status_code == 404, address
    for address in urls["POST"]:
        assert charlie.post(address).status_code == 404, address


def test_who_may_only_look_sees_everything_and_changes_nothing(bot, urls):
    bob = cast.bob(bot)

    for address in urls["GET"][:9]:
        assert bob.get(address).status_code == 200, address
    for address in urls["POST"]:
        assert bob.post(address, {"text": "x", "name": "tada"}).status_code == 403, address
    assert Job.objects.count() == 1
    page = bob.get(urls["GET"][3]).content.decode()
    assert "You may read here and not write." in page
    assert "data-post" not in page
    assert "data-desk" not in page


def test_who_may_see_no_bots_gets_in_nowhere(bot, urls):
    dora = cast.browser(cast.person("dora", (), bot))

    for address in [url("choose"), *urls["GET"]]:
        assert dora.get(address).status_code == 403


def test_a_room_that_the_bot_is_not_in_does_not_exist(bot):
    other = make_bot("other")
    room = make_channel(other, "elsewhere")

    assert cast.root().get(url("room", bot.slug, room.pk)).status_code == 404


def test_nonsense_in_an_address_is_answered(bot, vault):
    root = cast.root()
    room = url("room", bot.slug, vault.pk)

    assert root.get(f"/chat/{bot.slug}/{10**30}/").status_code == 404
    assert root.get(f"{room}{10**30}/").status_code == 404
    for text in ("x", "-", "9" * 18 + "-1", "1-9999999999999999999", "\0"):
        assert root.get(f"{room}log/", {"before": text}).status_code == 200
        assert root.get(f"{room}log/", {"from": text}).status_code == 200
    piece = url("rooms_piece", bot.slug)
    for query in ({"rooms": "-1"}, {"rooms": "9" * 30}, {"q": "\0%_"}, {"here": "x"}):
        assert root.get(piece, query).status_code == 200


# Choosing -----------------------------------------------------------------------------------------


def test_an_empty_install_says_what_to_do_first(db):
    page = cast.root().get(url("choose")).content.decode()

    assert "There is no bot you may see." in page
    assert reverse("admin:bots_bot_add") in page


def test_the_last_bot_is_remembered(bot):
    root = cast.root()
    assert root.get(url("choose")).status_code == 200

    root.get(url("rooms", bot.slug))

    assert root.get(url("choose")).url == url("rooms", bot.slug)
    assert "Treasury" in root.get(url("choose"), {"choose": ""}).content.decode()
    assert "Treasury" not in root.get(url("choose"), {"q": "echo"}).content.decode()


def test_a_bot_without_rooms_says_how_to_get_one(bot):
    page = cast.root().get(url("rooms", bot.slug)).content.decode()

    assert "Treasury is in no room yet." in page
    assert reverse("admin:bots_bot_ask", args=[bot.pk, "create-channel"]) in page


def test_a_bot_that_is_off_says_so_and_what_to_do(bot, vault):
    lifecycle.stop(bot)

    page = cast.root().get(url("room", bot.slug, vault.pk)).content.decode()

    assert "The bot is switched off." in page
    assert "Press Start." in page


# Rooms --------------------------------------------------------------------------------------------


def test_the_room_with_the_newest_message_comes_first(bot):
    quiet, busy = make_channel(bot, "quiet"), make_channel(bot, "busy")
    say(bot, quiet, "long ago")
    say(bot, busy, "just now, *really*")

    page = cast.root().get(url("rooms", bot.slug)).content.decode()

    assert page.index(f"room-{busy.pk}") < page.index(f"room-{quiet.pk}")
    assert "just now, really" in page


def test_rooms_are_found_by_name_and_direct_ones_by_person(bot):
    make_channel(bot, "vault")
    with_dagobert = make_channel(bot, "", kind=ChannelKind.DIRECT, people=["dagobert"])
    root = cast.root()

    found = root.get(url("rooms_piece", bot.slug), {"q": "dago"}).content.decode()

    assert f"room-{with_dagobert.pk}" in found
    assert "Dagobert" in found
    assert "vault" not in found
    nothing = root.get(url("rooms_piece", bot.slug), {"q": "zzz"}).content.decode()
    assert "No room is called like that." in nothing


def test_archived_rooms_are_folded_away(bot, vault):
    Channel.objects.filter(pk=vault.pk).update(archived=True)

    page = cast.root().get(url("rooms", bot.slug)).content.decode()

    assert page.index("<summary>Archived rooms</summary>") < page.index(f"room-{vault.pk}")
    room = cast.browser(cast.person("alice", cast.RUNS, bot)).get(url("room", bot.slug, vault.pk))
    assert "This room is archived." in room.content.decode()


def test_many_rooms_cost_as_many_queries_as_few(bot):
    root = cast.root()
    say(bot, make_channel(bot, "first"), "x")
    address = url("rooms", bot.slug)
    root.get(address)
    with CaptureQueriesContext(
        connection,
    ) as few:
        root.get(address)
    rooms = [
        Channel.objects.create(space=bot.space, remote_id=f"r{n}", kind="public", name=f"room {n}")
        for n in range(120)
    ]
    for room in rooms:
        room.participants.create(person=bot.person)
        say(bot, room, "hello")

    with CaptureQueriesContext(connection) as many:
        page = root.get(address).content.decode()

    assert len(many) == len(few)
    assert page.count('class="chat-room"') == 50
    more = root.get(url("rooms_piece", bot.slug), {"rooms": 200}).content.decode()
    assert more.count('class="chat-room"') == 121


# Conversations ------------------------------------------------------------------------------------


def test_ten_thousand_messages_are_read_piece_by_piece_at_the_same_cost(bot, vault):
    root, page = cast.root(), url("room", bot.slug, vault.pk)
    now = timezone.now()
    rows = [
        Message(
            bot=bot,
            channel=vault,
            remote_id=f"m{n}",
            direction=Direction.IN,
            text=f"number {n}.",
            sent_at=now - timedelta(seconds=10_000 - n),
        )
        for n in range(10_000)
    ]
    Message.objects.bulk_create(rows[:60])
    root.get(page)
    with CaptureQueriesContext(connection) as few:
        root.get(page)
    Message.objects.bulk_create(rows[60:])

    with CaptureQueriesContext(connection) as many:
        html = root.get(page).content.decode()

    assert len(many) == len(few)
    assert html.count("<article") == 50
    seen = 50
    while "data-earlier" in html and seen < 300:
        cursor = html.split("before=")[1].split('"')[0]
        with CaptureQueriesContext(connection) as older:
            html = root.get(url("log", bot.slug, vault.pk), {"before": cursor}).content.decode()
        assert len(older) <= len(few)
        assert f"number {9_999 - seen}." in html
        assert f"number {10_000 - seen}." not in html
        seen += html.count("<article")
    assert seen == 300


def test_messages_of_one_moment_are_neither_lost_nor_shown_twice(bot, vault):
    moment = timezone.now()
    for n in range(120):
        say(bot, vault, f"n{n}", sent_at=moment)
    log = url("log", bot.slug, vault.pk)
    root, found = cast.root(), []

    html = root.get(log).content.decode()
    while True:
        found += [part.split('"')[0] for part in html.split('id="message-')[1:]]
        if "before=" not in html:
            break
        cursor = html.split("before=")[1].split('"')[0]
        html = root.get(log, {"before": cursor}).content.decode()

    assert len(found) == len(set(found)) == 120


def test_the_page_is_told_only_what_changed(bot, vault):
    first = say(bot, vault, "hello")
    root, log = cast.root(), url("log", bot.slug, vault.pk)
    seen = root.get(log)
    mark = seen["X-Mark"]
    cursor = seen.content.decode().split('data-cursor="')[1].split('"')[0]

    def news():
        return root.get(log, {"from": cursor}, headers={"X-Mark": mark})

    assert news().status_code == 204
    say(bot, vault, "and again")
    answer = news()
    assert "and again" in answer.content.decode()
    mark = answer["X-Mark"]
    assert news().status_code == 204

    Message.objects.filter(pk=first.pk).update(text="hello!", edited_at=timezone.now())
    answer = news()
    assert "hello!" in answer.content.decode()
    assert "edited" in answer.content.decode()

    mark = answer["X-Mark"]
    Message.objects.filter(pk=first.pk).update(deleted_at=timezone.now())
    assert "This message was deleted." in news().content.decode()
    assert "hello!" not in news().content.decode()


def test_other_bots_of_a_room_are_told_from_people(bot, vault):
    other = make_bot("helper", space=bot.space)
    by_bot = say(bot, vault, "beep", sender=other.person)
    by_person = say(bot, vault, "hello", sender=Person.objects.get(username="dagobert"))

    html = cast.root().get(url("log", bot.slug, vault.pk)).content.decode()

    first, second = html.split(f'id="message-{by_bot.pk}"')[1].split(f'id="message-{by_person.pk}"')
    assert '<span class="chat-tag">bot</span>' in first
    assert '<span class="chat-tag">bot</span>' not in second


@pytest.fixture
def helper(bot) -> Bot:
    """Another bot of the space, whose platform does not say that it is one."""
    helper = make_bot("helper", name="Helping Hand", space=bot.space)
    Person.objects.filter(pk=helper.person_id).update(name="", is_bot=False)
    return helper


def test_another_bot_is_called_as_here_where_the_platform_does_not_say_so(bot, vault, helper):
    top = say(bot, vault, "beep", sender=helper.person, reactions=[])
    reaction = {"person": helper.person.remote_id, "name": "tada"}
    say(bot, vault, "answer", thread=top.remote_id, reactions=[reaction])
    last = say(bot, vault, "boop", sender=helper.person)
    root = cast.root()

    page = root.get(url("room", bot.slug, vault.pk)).content.decode()
    sheet = root.get(url("message", bot.slug, vault.pk, last.pk)).content.decode()

    assert page.count('<strong>Helping Hand</strong> <span class="chat-tag">bot</span>') == 2
    assert "Answers <bdi>Helping Hand: beep" in page
    assert "tada: Helping Hand." in page
    assert '<span class="chat-line">Helping Hand: boop</span>' in page
    assert "Message of Helping Hand" in sheet
    assert not Person.objects.get(pk=helper.person_id).is_bot


def test_a_bot_that_somebody_may_not_see_is_called_as_on_the_platform(bot, vault, helper):
    say(bot, vault, "beep", sender=helper.person)

    page = cast.alice(bot).get(url("room", bot.slug, vault.pk)).content.decode()

    assert "<strong>helper</strong> <time" in page
    assert "Helping Hand" not in page


def test_many_other_bots_cost_as_many_queries_as_one(bot, vault, helper):
    root, page = cast.root(), url("room", bot.slug, vault.pk)
    say(bot, vault, "beep", sender=helper.person)
    root.get(page)
    with CaptureQueriesContext(connection) as few:
        root.get(page)
    for n in range(5):
        say(bot, vault, "boop", sender=make_bot(f"helper-{n}", space=bot.space).person)

    with CaptureQueriesContext(connection) as many:
        html = root.get(page).content.decode()

    assert "<strong>Helper-4</strong>" in html
    assert len(many) == len(few)


def test_a_message_in_one_line_is_without_its_marks(bot, vault):
    top = say(bot, vault, "# News\n\n**Version 2** is [out](https://a.example/), `pip` *has* it")
    say(bot, vault, "thanks", thread=top.remote_id)
    root, said = cast.root(), "News Version 2 is out, pip has it"

    log = root.get(url("log", bot.slug, vault.pk)).content.decode()
    Message.objects.exclude(pk=top.pk).delete()
    rooms = root.get(url("rooms", bot.slug)).content.decode()

    assert f"Answers <bdi>Somebody: {said}" in log
    assert f"Somebody: {said}" in rooms


def test_reactions_say_who_and_how_many(bot, vault):
    bob_id = vault.participants.get(person__username="dagobert").person.remote_id
    own_id = bot.person.remote_id
    given = [{"person": bob_id, "name": "tada"}, {"person": own_id, "name": "tada"}]
    message = say(bot, vault, "out!", reactions=given)

    html = cast.root().get(url("log", bot.slug, vault.pk)).content.decode()

    assert "tada 2" in html
    assert "Dagobert, Treasury" in html
    assert url("act", bot.slug, vault.pk, message.pk, "unreact") in html


def test_it_says_who_read_up_to_where(bot, vault):
    person = vault.participants.get(person__username="dagobert").person
    first, second = say(bot, vault, "one"), say(bot, vault, "two")
    for message in (first, second):
        make_event(
            bot,
            vault,
            kind="message.read",
            data={"person": {"id": person.remote_id}, "message": {"remote_id": message.remote_id}},
        )

    html = cast.root().get(url("log", bot.slug, vault.pk)).content.decode()

    assert html.count("Read up to here by <bdi>Dagobert") == 1
    assert html.index("two") < html.index("Read up to here")


def test_a_thread_has_a_page_of_its_own(bot, vault):
    top = say(bot, vault, "the question")
    answer = say(bot, vault, "the answer", thread=top.remote_id)
    root = cast.root()

    room = root.get(url("room", bot.slug, vault.pk)).content.decode()
    thread = root.get(url("thread_log", bot.slug, vault.pk, answer.pk)).content.decode()

    assert "1 answer" in room
    assert "Answers <bdi>Somebody: the question" in room
    assert thread.index("the question") < thread.index("the answer")
    page = root.get(url("thread", bot.slug, vault.pk, top.pk)).content.decode()
    assert 'aria-label="Thread"' in page


def test_answers_are_counted_as_far_as_somebody_counts(bot, vault):
    top = say(bot, vault, "the question")
    few = say(bot, vault, "another")
    say(bot, vault, "the answer", thread=few.remote_id)
    Message.objects.bulk_create(
        Message(
            bot=bot,
            channel=vault,
            remote_id=f"a{number}",
            direction=Direction.IN,
            sent_at=top.sent_at - timedelta(days=1),
            thread=top.remote_id,
        )
        for number in range(timeline.MOST_ANSWERS + 20)
    )

    room = cast.root().get(url("room", bot.slug, vault.pk)).content.decode()

    assert "More than 100 answers" in room
    assert "1 answer</a>" in room


def test_a_page_that_changes_nothing_writes_no_session(bot, vault):
    root = cast.root()
    page = url("room", bot.slug, vault.pk)

    assert "sessionid" in root.get(page).cookies
    assert "sessionid" not in root.get(page).cookies


def test_what_is_queued_shows_and_becomes_the_message(bot, vault):
    root, log = cast.root(), url("log", bot.slug, vault.pk)
    job = make_job(bot, vault, "on its way")

    queued = root.get(log).content.decode()
    run_lanes()
    sent = root.get(log).content.decode()

    assert f'id="job-{job.pk}"' in queued
    assert "Message queued" in queued
    assert f'id="job-{job.pk}"' not in sent
    assert sent.count("on its way") == 1


def test_what_waits_says_why_and_leads_to_what_helps(bot, vault):
    root, log = cast.root(), url("log", bot.slug, vault.pk)
    job = make_job(bot, vault, "later")
    queued = root.get(log)

    pausing.pause(job.lane, by=cast.somebody("bob"))
    paused = root.get(log, headers={"X-Mark": queued["X-Mark"]}).content.decode()
    lifecycle.stop(bot)
    stopped = root.get(log).content.decode()

    assert "It waits" not in queued.content.decode()
    assert "It waits: its lane is paused by bob." in paused
    assert reverse("admin:bots_lane_change", args=[job.lane_id]) in paused
    assert "It waits: the bot is switched off." in stopped
    assert reverse("admin:bots_bot_change", args=[bot.pk]) in stopped


def test_what_waits_behind_another_says_what_helps_there_and_leads_to_it(bot, vault):
    first, second = make_job(bot, vault), make_job(bot, vault, "later")
    Lane.objects.filter(pk=first.lane_id).update(due_at=None)

    wait = waits([second])[second.pk]

    helps = "No worker is alive: start one. manage.py doctor says what is missing."
    assert wait.reason.startswith(f"behind job {first.pk} of the same lane. There: It is due")
    assert wait.reason.endswith(helps)
    assert wait.next_step == f"Look at job {first.pk}."
    assert wait.help_url == reverse("admin:bots_job_change", args=[first.pk])


def test_many_that_wait_cost_as_many_queries_as_one(bot, vault):
    root, log = cast.root(), url("log", bot.slug, vault.pk)
    pausing.pause(make_job(bot, vault).lane, by=cast.somebody("bob"))
    root.get(log)
    with CaptureQueriesContext(connection) as few:
        root.get(log)
    for n in range(30):
        make_job(bot, vault, f"number {n}")

    with CaptureQueriesContext(connection) as many:
        html = root.get(log).content.decode()

    assert html.count("It waits") == 31
    assert len(many) == len(few)


def test_what_failed_says_why_and_can_be_retried():
    space_bot = make_bot("clumsy", space=make_space("shaky", platform="faulty"))
    room = make_channel(space_bot, "lobby")
    faulty.script(faulty.before(Rejected("No swearing here.", code="swearing")))
    job = make_job(space_bot, room, "darn")
    run_lanes()
    root = cast.root()

    html = root.get(url("log", "clumsy", room.pk)).content.decode()
    assert "No swearing here. (swearing)" in html
    retry = url("steer", "clumsy", room.pk, job.pk, "retry")
    assert retry in html
    assert root.post(retry, headers={"HX-Request": "true"}).status_code == 204

    run_lanes()
    job.refresh_from_db()
    assert job.state == "succeeded"
    again = root.post(retry, headers={"HX-Request": "true"})
    assert "chat:failed" in again["HX-Trigger"]


@pytest.fixture
def shaky() -> Message:
    """A message of a bot on a platform that does as it is told."""
    bot = make_bot("clumsy", space=make_space("shaky", platform="faulty"))
    make_job(bot, make_channel(bot, "lobby"), "helo")
    run_lanes()
    return Message.objects.get()


@pytest.fixture
def root() -> Client:
    return cast.root()


def act(client: Client, message: Message, name: str, /, **fields: str) -> None:
    address = url("act", message.bot.slug, message.channel_id, message.pk, name)
    assert client.post(address, fields, headers={"HX-Request": "true"}).status_code == 204
    run_lanes()


def fail_to_react(client: Client, message: Message) -> None:
    faulty.script(faulty.before(Rejected("Not that.", code="bad")), operation="react")
    act(client, message, "react", name="tada")


def fail_to_edit(client: Client, message: Message) -> None:
    faulty.script(faulty.before(Rejected("Not that.", code="bad")), operation="edit_message")
    act(client, message, "edit", text="hi")


def log_of(client: Client, message: Message) -> str:
    answer = client.get(url("log", message.bot.slug, message.channel_id))
    return answer.content.decode()


def test_a_change_that_failed_is_told_until_a_later_one_of_its_kind_is_done(shaky, root):
    fail_to_react(root, shaky)
    fail_to_edit(root, shaky)
    assert "Reaction failed" in log_of(root, shaky)
    assert "Edit failed" in log_of(root, shaky)

    act(root, shaky, "edit", text="hello")
    assert "Edit failed" not in log_of(root, shaky)
    assert "Reaction failed" in log_of(root, shaky)

    fail_to_edit(root, shaky)
    assert "Edit failed" in log_of(root, shaky)


def test_a_change_that_failed_long_ago_is_among_the_jobs_of_the_room(shaky, root):
    fail_to_react(root, shaky)
    failed = Job.objects.filter(kind="reaction.add")
    failed.update(finished_at=timezone.now() - timedelta(minutes=61))

    assert "Reaction failed" not in log_of(root, shaky)
    room = root.get(url("room", shaky.bot.slug, shaky.channel_id)).content.decode()
    link = re.search(r'href="([^"]+)">Jobs</a>', room)
    assert link is not None
    jobs = root.get(unescape(link[1])).content.decode()
    assert reverse("admin:bots_job_change", args=[failed.get().pk]) in jobs


# What people write --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TRIES)
def test_what_people_write_runs_nothing(bot, vault, text):
    card = {"title": text, "body": text, "link": "javascript:alert(1)", "fields": [[text, text]]}
    card |= {"image": "data:text/html,x", "color": "red;background:url(//x)"}
    say(bot, vault, text, card=card, files=[{"id": "1", "name": text, "size": 1}])

    html = cast.root().get(url("log", bot.slug, vault.pk)).content.decode()

    lowered = html.lower()
    for word in ("<script", "<svg", "<img", "<b ", "url(//", 'href="data:', 'href="vbscript:'):
        assert word not in lowered
    assert 'href="javascript:' not in lowered
    assert "<a href='" not in lowered
    for tag in lowered.split("<")[1:]:
        inside = tag.split(">")[0]
        assert not any(f" {handler}=" in inside for handler in ("onerror", "onload", "onclick"))
        assert " onmouseover=" not in inside


def test_markdown_is_shown_and_headings_are_none_of_the_page():
    html = markdown.rendered("# Big\n\n*a* **b** `c` https://a.example/x\n\n- one")

    assert "<h1" not in html
    assert "<strong>Big</strong>" in html
    assert "<em>a</em> <strong>b</strong> <code>c</code>" in html
    assert 'href="https://a.example/x" target="_blank" rel="noopener noreferrer nofollow"' in html


def test_texts_that_nobody_reads_in_a_bubble_stay_as_they_were_written():
    html = markdown.rendered("**a** <b> " + "http://a" * 2_000)

    assert html.startswith("<p>**a** &lt;b&gt; http://ahttp")
