"""What channels and lanes are called, and for whom."""

from __future__ import annotations

import pytest

from bots import access, lane_names, naming
from bots.admin import lane_search
from bots.models import Lane, LaneKind
from bots.tests import cast
from bots.tests.builders import make_bot, make_channel, make_subscription
from spaces.models import Participant
from spaces.platforms.messages import ChannelKind

pytestmark = pytest.mark.django_db


def test_a_conversation_is_called_by_who_is_in_it_and_by_nobody_once_the_bot_left():
    bot = make_bot()
    room = make_channel(bot, "", kind=ChannelKind.GROUP, people=["dora", "emil"])
    bot.refresh_from_db()
    assert naming.name(bot, room) == "Dora, Emil"

    Participant.objects.filter(channel=room, person=bot.person_id).delete()

    assert naming.name(bot, room) == f"Room {room.remote_id}"


def test_a_lane_names_no_channel_that_somebody_may_not_see():
    mine, other = make_bot("mine"), make_bot("other")
    hidden = make_channel(other, "merger")
    subscription, _ = make_subscription(bots=[mine])
    lane = Lane.objects.create(
        kind=LaneKind.DELIVERIES, subscription=subscription, key=f"channel:{hidden.pk}"
    )
    alice = access.from_user(cast.person("alice", cast.RUNS, mine))

    assert lane_names.name(lane, alice) == lane.key
    assert not Lane.objects.filter(lane_search.called("merger", alice)).exists()
