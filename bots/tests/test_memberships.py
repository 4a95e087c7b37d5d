"""Channels that were only named get a name soon, and who hears them is in them."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest
from celery import current_app

from bots import clients, lanes, syncing, tasks
from bots.models import Bot
from bots.tests.builders import make_bot, make_person, make_space
from bots.tests.test_inbox import ALICE, BOB, LOBBY, receive, told
from spaces.models import Channel
from spaces.platforms.errors import Unavailable
from spaces.platforms.messages import ChannelKind, Kind, NewChannel, PersonInfo, PersonRef
from spaces.testing import faulty

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _clean():
    yield
    queued()
    faulty.reset()


def queued() -> list[list]:
    """The arguments of the tasks that wait in the broker to describe channels; it forgets them."""
    found = []
    with current_app.connection_for_read() as broker:
        queue = broker.SimpleQueue(current_app.conf.task_default_queue)
        with suppress(queue.Empty):
            while message := queue.get(block=False):
                message.ack()
                if message.headers["task"] == tasks.describe_channels.name:
                    found.append(message.payload[0])
        queue.close()
    return found


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
    while lanes.bulkhead().enter_poll(bot):
        pass
    try:
        syncing.describe(bot.pk, [channel.pk])
    finally:
        lanes.bulkhead.cache_clear()

    assert queued() == [[bot.pk, [channel.pk]]]
    channel.refresh_from_db()
    assert channel.title == ""
