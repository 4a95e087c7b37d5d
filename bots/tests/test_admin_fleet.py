"""The front page: how the fleet is, who needs somebody, what is going on, what waits."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bots import clients, demo, lifecycle, processes, sequence, tallies
from bots.admin.fleet.tour import FEW
from bots.admin.front import PIECES
from bots.connections import states
from bots.models import Bot, Connection, Job, Process, Receive, State, WorkState
from bots.tests import cast
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_event,
    make_job,
    make_space,
    run_lanes,
)
from spaces.platforms.errors import CredentialsRefused, Misconfigured

pytestmark = pytest.mark.django_db

FRONT = reverse("admin:index")
BOTS = reverse("admin:bots_bot_changelist")


@pytest.fixture(autouse=True)
def _somebody_works():
    processes.worked()
    processes.beat(connections=100)


def page(client: Client, url: str = FRONT) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def piece(client: Client, name: str) -> str:
    return page(client, reverse("fleet", args=[name]))


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def write(bot: Bot, **row: Any) -> None:
    """These things stand in the row of its connection, whose holder is alive."""
    held = {"lease_until": timezone.now() + timedelta(minutes=1)}
    Connection.objects.filter(bot=bot).update(**held | row)


def make_fleet() -> None:
    """More bots than the tour is for, one in each of some states."""
    long_ago = timezone.now() - timedelta(hours=1)
    for n in range(2):
        write(make_bot(f"live{n}"), state=State.LIVE)
    write(make_bot("lost"), state=State.RECONNECTING, reason="No answer.", since=long_ago)
    states.refuse(make_bot("refused"), CredentialsRefused("No entry."))
    states.refuse(make_bot("wrong"), Misconfigured("No such server."))
    lifecycle.stop(make_bot("stopped"))


# How they are -----------------------------------------------------------------------------------


def test_each_state_is_counted_and_leads_to_its_bots():
    make_fleet()
    root = cast.root()

    front = page(root)

    assert "6 bots" in text_of(front)
    for words in ("2 live", "1 reconnecting", "1 bad credentials", "1 misconfigured", "1 off"):
        assert words in text_of(front)
    assert f'href="{BOTS}?state=live"' in front
    live = text_of(page(root, f"{BOTS}?state=live"))
    assert "live0" in live
    assert "refused" not in live.replace("Credentials refused", "")


def test_what_waits_is_counted_with_the_age_of_the_oldest():
    bot = make_bot()
    channel = make_channel(bot)
    jobs = [make_job(bot, channel) for _ in range(4)]
    hours_ago = timezone.now() - timedelta(hours=3)
    Job.objects.filter(pk=jobs[0].pk).update(created_at=hours_ago)
    Job.objects.filter(pk=jobs[1].pk).update(not_before=timezone.now() + timedelta(days=2))
    Job.objects.filter(pk=jobs[2].pk).update(state=WorkState.UNCERTAIN)

    told = text_of(piece(cast.root(), "work"))

    assert "2 jobs waiting oldest: 3 h, 1 for later" in told
    assert "0 jobs running" in told
    assert "1 job uncertain oldest: 0 s" in told


def test_a_crowd_of_jobs_is_not_counted_to_its_end(monkeypatch):
    monkeypatch.setattr("bots.admin.fleet.work.COUNTED", 2)
    bot = make_bot()
    channel = make_channel(bot)
    for _ in range(4):
        make_job(bot, channel)

    assert "2+ jobs waiting" in text_of(piece(cast.root(), "work"))


def test_a_crowd_for_later_hides_nothing_that_waits_now(monkeypatch):
    monkeypatch.setattr("bots.admin.fleet.work.COUNTED", 2)
    bot = make_bot()
    channel = make_channel(bot)
    for _ in range(3):
        make_job(bot, channel, not_before=timezone.now() + timedelta(days=1))
    make_job(bot, channel)
    hours_ago = timezone.now() - timedelta(hours=3)
    retried = make_job(bot, channel)
    Job.objects.filter(pk=retried.pk).update(
        created_at=hours_ago, attempts=2, not_before=timezone.now() + timedelta(minutes=1)
    )

    assert "2 jobs waiting oldest: 3 h, 2+ for later" in text_of(piece(cast.root(), "work"))


def test_failures_lead_to_the_jobs_that_failed():
    bot = make_bot()
    sequence.number()
    tallies.count()
    error = {"code": "not&found", "detail": "No such channel."}
    data = {"kind": "message.post", "state": "failed", "error": error}
    make_event(bot, kind="job.finished", data=data)
    sequence.number()
    tallies.count()
    root = cast.root()

    told = piece(root, "work")

    assert "not&amp;found 1" in text_of(told)
    jobs = reverse("admin:bots_job_changelist")
    assert f'href="{jobs}?state__exact=failed&amp;error_code=not%26found&amp;since=day"' in told


def test_messages_of_the_last_day_are_told_in_words_and_for_the_drawing():
    bot = make_bot()
    sequence.number()
    tallies.count()
    root = cast.root()
    assert "No message came in or went out" in text_of(piece(root, "traffic"))
    for _ in range(3):
        make_event(bot)
    make_job(bot, make_channel(bot))
    run_lanes()
    sequence.number()
    tallies.count()

    told = text_of(piece(root, "traffic"))

    assert "3 in the last day" in told
    assert "1 in the last day" in told
    assert '"heard":' in told


# Who needs somebody -----------------------------------------------------------------------------


def test_who_needs_somebody_is_named_with_the_reason_and_the_way_beside_it():
    make_fleet()
    alice = cast.alice(*Bot.objects.all())

    told = piece(alice, "attention")

    assert "3 bots need somebody" in text_of(told)
    for words in ("No answer.", "No entry.", "No such server.", "Set new credentials"):
        assert words in text_of(told)
    lost, refused = (Bot.objects.get(slug=slug) for slug in ("lost", "refused"))
    assert reverse("admin:bots_bot_do", args=[lost.pk, "reconnect"]) in told
    assert f"{reverse('admin:bots_bot_change', args=[refused.pk])}#test" in told
    assert reverse("admin:bots_bot_credentials", args=[refused.pk]) in told
    assert "live0" not in told


def test_who_has_no_credentials_is_led_to_where_they_are_set():
    bot = make_bot()
    bot.credentials.all().delete()
    states.refuse(bot, Misconfigured("The credential 'Account password' is not set."))
    page_of_bot = reverse("admin:bots_bot_change", args=[bot.pk])
    root = cast.root()

    told = piece(root, "attention")

    assert f'href="{reverse("admin:bots_bot_credentials", args=[bot.pk])}"' in told
    assert "Set credentials" in text_of(told)
    assert "Change settings" not in text_of(told)
    assert "Set credentials" in text_of(page(root, page_of_bot))


def test_a_button_beside_a_bot_does_what_it_says():
    make_fleet()
    bot = Bot.objects.get(slug="lost")
    alice = cast.alice(bot)
    (url,) = re.findall(r'action="([^"]*/do/reconnect/)"', piece(alice, "attention"))

    assert alice.post(url).status_code == 302

    assert Bot.objects.get(pk=bot.pk).generation == bot.generation + 1


@pytest.mark.parametrize(
    "foreign", ["", "https://elsewhere.example/", "//elsewhere.example", "nonsense", "a.b"]
)
def test_after_a_button_one_is_back_where_it_stands(foreign):
    bot = make_bot()
    write(bot, state=State.RECONNECTING, since=timezone.now() - timedelta(hours=1))
    root = cast.root()
    url = reverse("admin:bots_bot_do", args=[bot.pk, "reconnect"])
    assert f'<input type="hidden" name="next" value="{FRONT}">' in piece(root, "attention")

    assert root.post(url, {"next": FRONT}).url == FRONT
    assert root.post(url, {"next": foreign}).url == reverse("admin:bots_bot_change", args=[bot.pk])


def test_who_only_watches_sees_everything_and_has_no_buttons():
    make_fleet()
    bob = cast.bob(*Bot.objects.all())

    front = page(bob)

    assert "3 bots need somebody" in text_of(front)
    assert "/do/" not in front
    assert "Set credentials" not in front


def test_of_many_ten_are_shown_and_a_link_leads_to_the_others():
    for n in range(12):
        states.refuse(make_bot(f"bot{n}"), CredentialsRefused("No entry."))
    root = cast.root()

    told = piece(root, "attention")

    assert "12 bots need somebody" in text_of(told)
    assert told.count("No entry.") == 10
    assert f'href="{BOTS}?state=needs_somebody"' in told
    assert "bot11" in page(root, f"{BOTS}?state=needs_somebody")


# Whose figures ----------------------------------------------------------------------------------


def test_operators_see_the_figures_of_their_bots_alone():
    mine, other = make_bot("mine"), make_bot("other")
    sequence.number()
    tallies.count()
    for bot, count in ((mine, 1), (other, 5)):
        channel = make_channel(bot, f"of-{bot.slug}")
        for _ in range(count):
            make_event(bot)
            make_job(bot, channel)
        states.refuse(bot, CredentialsRefused(f"Not you, {bot.slug}."))
    sequence.number()
    tallies.count()

    told = text_of(page(cast.alice(mine)))

    for words in ("1 bot ", "1 bot needs somebody", "1 job waiting", "1 in the last day"):
        assert words in told
    assert "other" not in told.replace("other codes", "")
    for words in ("process holds", "worker runs"):
        assert words not in told  # how many there are tells of the bots of others
    everything = text_of(page(cast.root()))
    for words in ("2 bots", "6 jobs waiting", "6 in the last day"):
        assert words in everything


@pytest.mark.parametrize("name", PIECES)
def test_pieces_are_for_those_who_may_see_bots(name):
    url = reverse("fleet", args=[name])

    assert Client().get(url).status_code == 302
    assert cast.browser(cast.person("dora", ())).get(url).status_code == 403
    assert cast.charlie().get(url).status_code == 200


def test_there_are_no_other_pieces():
    assert cast.root().get(reverse("fleet", args=["nonsense"])).status_code == 404


def test_who_may_see_no_bots_is_told_whom_to_ask():
    dora = cast.browser(cast.person("dora", (), make_bot("treasury")))

    front = page(dora)

    assert "You see no bots yet." in front
    assert "treasury" not in front


# Who works --------------------------------------------------------------------------------------


def test_processes_at_work_are_told_in_a_line():
    make_bot()

    told = text_of(piece(cast.root(), "now"))

    assert "1 worker runs the periodic tasks" in told
    assert "1 process holds 0 of up to 100 connections" in told


def test_what_is_missing_is_told_with_what_to_do():
    make_bot()
    Process.objects.update(
        seen_at=timezone.now() - timedelta(minutes=5),
        worked_at=timezone.now() - timedelta(minutes=5),
    )

    told = text_of(piece(cast.root(), "now"))

    assert "nobody looks No worker ran a periodic task for 5 min" in told
    assert "nobody connects" in told
    assert "--connections 500" in told


def test_too_few_places_are_told():
    for n in range(3):
        make_bot(f"bot{n}")
    processes.beat(connections=2, held=2)

    assert "3 are wanted" in text_of(piece(cast.root(), "now"))


def test_where_no_bot_wants_a_connection_nobody_has_to_hold_one():
    make_bot(receive=Receive.OFF)
    Process.objects.update(connections=0)

    assert "No bot wants a connection to be held." in text_of(piece(cast.root(), "now"))


# The tour ---------------------------------------------------------------------------------------


def tour(client: Client) -> str:
    return piece(client, "tour").replace("\n", " ")


def done(client: Client) -> int:
    return tour(client).count('class="done"')


def test_the_tour_leads_from_an_empty_install_to_a_bot_that_talks():
    root = cast.root()
    assert "waiting" not in text_of(page(root))
    seen = [done(root)]

    make_space()
    seen.append(done(root))
    bot = make_bot()
    seen.append(done(root))
    write(bot, state=State.LIVE)
    seen.append(done(root))
    channel = make_channel(bot)
    seen.append(done(root))
    assert seen == [0, 1, 2, 3, 4]
    assert reverse("admin:bots_bot_ask", args=[bot.pk, "send"]) in tour(root)

    make_job(bot, channel)
    run_lanes()

    assert "From nothing" not in tour(root)
    assert "From nothing" not in page(root)


def test_the_bot_of_the_demo_ticks_no_step_of_the_tour():
    clients.close_idle(older_than=0)  # of bots of other stories
    echo = demo.seed()
    make_job(echo, make_channel(echo, "kitchen"))
    run_lanes()
    root = cast.root()
    assert done(root) == 1  # there is a space
    assert reverse("admin:bots_bot_add") in tour(root)

    own = make_bot("own")
    assert done(root) == 2
    make_job(own, make_channel(own))
    run_lanes()

    assert "From nothing" not in page(root)


def test_who_may_add_bots_has_the_button_for_it_at_the_top():
    add = f'href="{reverse("admin:bots_bot_add")}"'
    root = cast.root()
    assert add in page(root)
    for n in range(FEW + 1):
        make_bot(f"bot{n}")

    assert add in page(root)
    assert add not in page(cast.bob(*Bot.objects.all()))


def test_each_step_has_one_button_and_only_the_next_one():
    root = cast.root()
    urls = [reverse("admin:spaces_space_add"), reverse("admin:bots_bot_add")]

    assert [url in tour(root) for url in urls] == [True, False]
    make_space()
    assert [url in tour(root) for url in urls] == [False, True]

    bot = make_bot()
    assert f"{reverse('admin:bots_bot_change', args=[bot.pk])}#test" in tour(root)
    lifecycle.stop(bot)
    assert reverse("admin:bots_bot_do", args=[bot.pk, "start"]) in tour(root)
    assert tour(root).count("<form") == 1


def test_who_may_not_take_a_step_is_told_so():
    make_space()

    told = tour(cast.bob())

    assert "Somebody who may do this has to take this step." in told
    assert "<form" not in told
    assert reverse("admin:bots_bot_add") not in told


def test_who_has_several_bots_knows_the_way():
    for n in range(FEW + 1):
        make_bot(f"bot{n}")

    assert "From nothing" not in page(cast.root())


# Following --------------------------------------------------------------------------------------


def test_a_piece_is_sent_again_only_when_it_changed():
    bot = make_bot()
    write(bot, state=State.LIVE)
    root = cast.root()
    url = reverse("fleet", args=["now"])
    mark = root.get(url)["X-Mark"]

    assert root.get(url, headers={"X-Mark": mark}).status_code == 204

    lifecycle.stop(bot)
    again = root.get(url, headers={"X-Mark": mark})
    assert again.status_code == 200
    assert "1 off" in text_of(again.content.decode())


@pytest.mark.parametrize("name", ["index", *PIECES])
def test_the_number_of_queries_does_not_grow(name):
    root = cast.root()
    url = FRONT if name == "index" else reverse("fleet", args=[name])

    def queries() -> int:
        page(root, url)  # what is looked up once per process
        with CaptureQueriesContext(connection) as captured:
            page(root, url)
        return len(captured)

    def grow(first: int, last: int) -> None:
        for n in range(first, last):
            bot = make_bot(f"bot{n}")
            make_job(bot, make_channel(bot, f"room{n}"))
            make_event(bot)
            states.refuse(bot, CredentialsRefused("No entry."))
        sequence.number()
        tallies.count()

    grow(0, FEW + 1)
    few = queries()
    grow(FEW + 1, 20)

    assert queries() == few


def test_what_platforms_say_is_shown_and_not_interpreted():
    states.refuse(make_bot("bot"), CredentialsRefused("<script>alert(1)</script>"))

    assert "<script>alert(1)" not in page(cast.root())
