"""Channels that were only named get a name soon, and who hears them is in them."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import pytest
from celery import Task

from bots import clients, syncing, tasks
from bots.bulkhead import bulkhead
from bots.models import Bot
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_job,
    make_person,
    make_space,
    run_lanes,
    take_queued,
)
from bots.tests.test_inbox import ALICE, BOB, LOBBY, NOON, receive, told
from spaces.models import Channel
from spaces.platforms.errors import Unavailable
from spaces.platforms.messages import ChannelKind, Incoming, Kind, NewChannel, PersonInfo, PersonRef
from spaces.testing import faulty

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clean():
    queued()  # other stories leave theirs
    yield
    faulty.reset()


def queued(task: Task = tasks.describe_channels) -> list[list]:
    return take_queued(task)


def named(bot: Bot, channel_id: str, **changes) -> Channel:
    """The channel after the bot was told of a message in it, with no more than its id."""
    receive(bot, told(id=f"in {channel_id}", channel=None, channel_id=channel_id, **changes))
    return Channel.objects.get(remote_id=channel_id)


def people_in(channel: Channel) -> set[str]:
    return set(channel.participants.values_list("person__username", flat=True))


def unheard_of(bot: Bot) -> str:
    """A room with Alice on the platform that nobody told us of; its id."""
    make_person("alice", space=bot.space)
    people = (PersonRef(username="alice"),)
    new = NewChannel(key="", kind=ChannelKind.PUBLIC, name="hall", title="Hall", people=people)
    with clients.borrow(bot) as platform:
        info, _ = platform.create_channel(new)
    return info.id


def test_a_bot_is_in_the_channels_that_it_hears():
    bot = make_bot()

    channel = named(bot, "somewhere")

    assert people_in(channel) == {bot.person.username}


def test_a_named_channel_is_of_the_kind_and_with_the_peer_that_its_events_tell():
    bot = make_bot()

    channel = named(bot, "d1", channel_kind=ChannelKind.DIRECT, peer=ALICE)

    assert channel.kind == ChannelKind.DIRECT
    assert people_in(channel) == {bot.person.username, "alice"}
    assert named(bot, "d2").kind == ChannelKind.PRIVATE


def test_a_bot_that_was_removed_is_in_the_channel_no_more():
    bot = make_bot()
    me = PersonInfo(id=bot.person.remote_id)
    receive(bot, told(id="1"))
    channel = Channel.objects.get(remote_id=LOBBY.id)

    receive(
        bot,
        told(id="2"),
        told(Kind.PARTICIPANT_LEFT, id="3", people=(me,)),
        told(id="4", text="alice removed the bot", system=True),
    )
    assert people_in(channel) == set()

    receive(bot, told(Kind.PARTICIPANT_JOINED, id="5", people=(me, BOB)))
    assert people_in(channel) == {bot.person.username, "bob"}


def test_a_channel_that_was_deleted_and_restored_in_one_go_is_as_it_was_told_last():
    bot = make_bot()
    gone = told(Kind.CHANNEL_DELETED, id="1", channel=None, channel_id=LOBBY.id)
    back = told(Kind.CHANNEL_CHANGED, id="2")

    receive(bot, gone, back)
    assert not Channel.objects.get(remote_id=LOBBY.id).archived

    receive(bot, told(Kind.CHANNEL_DELETED, id="3"))
    assert Channel.objects.get(remote_id=LOBBY.id).archived


def test_a_new_channel_is_described_by_a_worker(django_capture_on_commit_callbacks):
    bot = make_bot()
    with django_capture_on_commit_callbacks(execute=True):
        channel = named(bot, unheard_of(bot))
    with django_capture_on_commit_callbacks(execute=True):
        receive(bot, told(id="again", channel=None, channel_id=channel.remote_id))
    (arguments,) = queued()
    assert arguments == [bot.pk, [channel.pk]]

    tasks.describe_channels(*arguments)
    tasks.describe_channels(*arguments)

    channel.refresh_from_db()
    assert (channel.name, channel.title, channel.kind) == ("hall", "Hall", ChannelKind.PUBLIC)
    assert people_in(channel) == {bot.person.username, "alice"}


def test_a_channel_that_changed_into_nobody_said_what_is_asked_for(
    django_capture_on_commit_callbacks,
):
    bot = make_bot()
    channel = named(bot, unheard_of(bot))
    queued()
    tasks.describe_channels(bot.pk, [channel.pk])
    Channel.objects.filter(pk=channel.pk).update(archived=True)

    with django_capture_on_commit_callbacks(execute=True):
        change = told(id="2", kind=Kind.CHANNEL_CHANGED, channel=None, channel_id=channel.remote_id)
        receive(bot, change)
    (asked,) = queued()
    tasks.describe_channels(*asked)

    channel.refresh_from_db()
    assert (channel.archived, channel.title) == (False, "Hall")


@pytest.mark.parametrize("kind", [Kind.CHANNEL_CHANGED, Kind.CHANNEL_DELETED])
@pytest.mark.parametrize("info", [None, replace(LOBBY, id="elsewhere")])
def test_what_becomes_of_a_channel_is_told_to_bots_that_are_not_in_it(kind, info):
    bot = make_bot()

    receive(bot, told(kind, channel=info, channel_id="elsewhere"))

    assert people_in(Channel.objects.get(remote_id="elsewhere")) == set()


def changed(id: str, seconds: float = 0, **changes) -> Incoming:
    """The lobby changed; `BARE`: and nobody said into what."""
    return told(Kind.CHANNEL_CHANGED, id, occurred_at=NOON + timedelta(seconds=seconds), **changes)


BARE = {"channel": None, "channel_id": LOBBY.id}


def test_a_change_that_was_told_without_what_it_is_now_is_not_told_again_when_caught_up_with():
    bot = make_bot()
    receive(bot, changed("restored", **BARE))

    receive(bot, changed("lobby at noon", -0.5), catch_up=True)
    receive(bot, changed("lobby later", 60), catch_up=True)
    receive(bot, changed("elsewhere", channel=replace(LOBBY, id="e")), catch_up=True)

    assert [e.dedupe_key for e in bot.events.order_by("pk")] == [
        "restored",
        "lobby later",
        "elsewhere",
    ]


def test_a_change_that_was_told_with_what_it_is_now_needs_no_other_telling():
    bot = make_bot()

    receive(bot, changed("private now"), changed("converted", 0.5, **BARE))
    receive(bot, changed("restored", 1, **BARE), changed("much later", 60, **BARE))

    assert [e.dedupe_key for e in bot.events.order_by("pk")] == ["private now", "much later"]


def test_changes_that_follow_each_other_closely_are_all_told():
    bot = make_bot()

    receive(bot, changed("restored", **BARE), changed("renamed", 1), changed("topic", 2))

    assert bot.events.count() == 3


def test_a_bot_that_leaves_a_team_has_its_channels_read_anew(django_capture_on_commit_callbacks):
    bot = make_bot()
    kept, lost = make_channel(bot, "kept"), named(bot, "of the team")
    queued(tasks.list_channels)
    me, left = PersonInfo(id=bot.person.remote_id), Kind.PARTICIPANT_LEFT
    with django_capture_on_commit_callbacks(execute=True):
        receive(bot, told(left, "bob", channel=None, people=(BOB,)))
        receive(bot, told(left, "bot", channel=None, people=(me,)))

    (arguments,) = queued(tasks.list_channels)
    tasks.list_channels(*arguments)

    assert people_in(kept) == {bot.person.username}
    assert people_in(lost) == set()
    assert bot.events.filter(kind=left).count() == 2


def test_a_direct_channel_that_a_message_opened_is_described():
    bot = make_bot()
    make_person("alice", space=bot.space)
    make_job(bot, None, person=PersonRef(username="alice"))

    run_lanes()
    (arguments,) = queued()
    tasks.describe_channels(*arguments)

    channel = bot.messages.get().channel
    assert arguments == [bot.pk, [channel.pk]]
    assert people_in(channel) == {bot.person.username, "alice"}
    assert channel.synced_at


def test_what_cannot_be_described_is_left_to_the_next_sync(caplog):
    bot = make_bot(space=make_space(platform="faulty"))
    channel = named(bot, unheard_of(bot))
    faulty.script(faulty.before(Unavailable("gone fishing")), operation="find_channel")

    with caplog.at_level(logging.WARNING):
        syncing.describe(bot.pk, [channel.pk])
        assert "gone fishing" in caplog.text
        syncing.describe(bot.pk, [channel.pk, named(bot, "not there").pk])

    channel.refresh_from_db()
    assert channel.title == "Hall"


def test_describing_waits_while_the_bot_has_its_share_of_the_threads():
    bot = make_bot()
    channel = named(bot, unheard_of(bot))
    while bulkhead().enter_poll(bot):
        pass
    try:
        syncing.describe(bot.pk, [channel.pk])
    finally:
        bulkhead.cache_clear()

    assert queued() == [[bot.pk, [channel.pk]]]
    channel.refresh_from_db()
    assert channel.title == ""
