"""Channels that a bot was taken out of while nobody listened: told once, with their gaps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bots import clients, lifecycle, syncing
from bots.connections import poller
from bots.models import Bot, Connection, Event, Receive, State
from bots.tests.builders import make_bot, make_channel, make_space
from bots.tests.test_inbox import LOBBY, NOON, receive, told
from spaces.models import Channel, Participant
from spaces.platforms.messages import ChannelsNow, Kind
from spaces.testing.mattermost import SimulatedMattermost

pytestmark = pytest.mark.django_db


@pytest.fixture
def server() -> Iterator[SimulatedMattermost]:
    with SimulatedMattermost() as server:
        server.make.user("alice")
        yield server
        clients.close_idle(older_than=0)


def make_mattermost_bot(server: SimulatedMattermost) -> Bot:
    """A bot that is polled, in the team acme and in its channel builds, and caught up."""
    _, token = server.make.bot("helper-bot")
    server.make.team("acme", "alice", "helper-bot")
    server.make.channel("acme", "builds", "alice", "helper-bot")
    space = make_space("chat", platform="mattermost", url=server.url)
    bot = Bot(slug="helper", name="Helper", space=space, receive=Receive.POLL)
    lifecycle.create(bot, requested_by="test")
    lifecycle.set_credentials(bot, {"token": token}, user=None)
    for _ in range(2):
        poller.poll(bot.pk)
    bot = Bot.objects.select_related("space", "connection").get(pk=bot.pk)
    with clients.borrow(bot) as platform:
        syncing.sync_channels(bot, platform)
    return bot


def events(bot: Bot, *kinds: Kind) -> list[Event]:
    return list(bot.events.filter(kind__in=kinds).select_related("channel").order_by("pk"))


def departures(bot: Bot) -> list[tuple[str, str]]:
    """Gaps and people who left, by channel."""
    found = events(bot, Kind.GAP, Kind.PARTICIPANT_LEFT)
    return [(one.kind, one.channel.name) for one in found if one.channel]


def is_in(bot: Bot) -> set[str]:
    return set(
        Channel.objects.filter(participants__person=bot.person).values_list("name", flat=True)
    )


def builds(server: SimulatedMattermost):
    return next(one for one in server.world.channels.values() if one.name == "builds")


def test_a_bot_taken_out_of_a_channel_while_it_was_away_says_so_once(server):
    bot = make_mattermost_bot(server)
    server.make.post("alice", builds(server), "never heard")
    server.make.leave_channel(builds(server), "helper-bot", remover="alice")

    poller.poll(bot.pk)
    poller.poll(bot.pk)

    assert departures(bot) == [(Kind.GAP, "builds"), (Kind.PARTICIPANT_LEFT, "builds")]
    assert "builds" not in is_in(bot)
    assert {"town-square", "off-topic"} <= is_in(bot)


def test_a_bot_taken_out_of_a_team_while_it_was_away_has_left_its_channels(server):
    bot = make_mattermost_bot(server)
    before = is_in(bot)
    server.make.leave_team("acme", "helper-bot")

    poller.poll(bot.pk)

    gone = {channel for kind, channel in departures(bot) if kind == Kind.PARTICIPANT_LEFT}
    assert {"builds", "town-square", "off-topic"} <= before
    assert gone == before
    assert is_in(bot) == set()


def test_an_archived_channel_is_not_one_the_bot_was_taken_out_of(server):
    bot = make_mattermost_bot(server)
    server.world.users[bot.person.remote_id].roles = "system_admin system_user"
    with clients.borrow(bot) as platform:
        platform.archive_channel(builds(server).id)

    poller.poll(bot.pk)

    assert departures(bot) == []
    assert len(events(bot, Kind.CHANNEL_DELETED)) == 1


def test_a_sync_before_the_bot_is_back_does_not_keep_it_from_telling(server):
    bot = make_mattermost_bot(server)
    server.make.leave_channel(builds(server), "helper-bot", remover="alice")
    with clients.borrow(bot) as platform:
        syncing.sync_channels(bot, platform)

    poller.poll(bot.pk)

    assert departures(bot) == [(Kind.GAP, "builds"), (Kind.PARTICIPANT_LEFT, "builds")]


def test_the_gap_begins_where_listening_ended():
    bot = make_bot()
    receive(bot, told(id="1"))

    receive(bot, channels=ChannelsNow(ids=frozenset(), since=NOON))

    (gap,) = events(bot, Kind.GAP)
    assert gap.data["since"] == NOON.isoformat()
    assert gap.channel.remote_id == LOBBY.id
    assert not Participant.objects.filter(person=bot.person).exists()


def test_channels_the_bot_is_in_are_nothing_to_tell():
    bot = make_bot()
    receive(bot, told(id="1"))

    receive(bot, channels=ChannelsNow(ids=frozenset([LOBBY.id, "another"]), since=NOON))

    assert departures(bot) == []
    assert Participant.objects.filter(person=bot.person).exists()


def test_a_gap_is_no_proof_that_the_bot_is_in_a_channel():
    bot = make_bot()
    receive(bot, told(Kind.GAP, id="1", since=NOON))

    assert not Participant.objects.filter(person=bot.person).exists()


@pytest.mark.parametrize(
    ("state", "forgotten"), [(State.LIVE, True), (State.RECONNECTING, False), (State.OFF, False)]
)
def test_a_sync_forgets_only_what_the_bot_has_heard_of(state, forgotten):
    bot = make_bot(receive=Receive.WEBSOCKET)
    channel = make_channel(bot)
    Connection.objects.filter(bot=bot).update(state=state, cursor={"seq": 1})
    stale = Channel.objects.create(space=bot.space, remote_id="gone", kind="private")
    Participant.objects.create(channel=stale, person=bot.person)
    bot = Bot.objects.select_related("space", "connection").get(pk=bot.pk)

    with clients.borrow(bot) as platform:
        syncing.sync_channels(bot, platform)

    known = Participant.objects.filter(person=bot.person).values_list("channel", flat=True)
    assert channel.pk in known
    assert (stale.pk not in known) is forgotten
