"""Whom and what a caller means, and in which line work for it waits."""

from __future__ import annotations

import pytest

from bots import targets
from bots.models import Bot, Job
from bots.tests.builders import make_bot, make_job, make_person, run_lanes
from spaces import sync
from spaces.models import LocalMessage

pytestmark = pytest.mark.django_db


def write_to(bot: Bot, name: str, text: str) -> Job:
    return make_job(bot, None, text, person=targets.person(bot, name))


def test_somebody_we_come_to_know_is_written_to_in_order_all_the_same():
    bot = make_bot()
    alice = make_person("alice").connect().person
    first = write_to(bot, "alice", "one")

    sync.people(bot.space_id, [alice])
    second = write_to(bot, "alice", "two")
    run_lanes()
    third = write_to(bot, "@alice", "three")
    run_lanes()

    assert second.lane_id == first.lane_id
    assert third.lane.key == f"person:{alice.id}"
    texts = LocalMessage.objects.order_by("pk").values_list("text", flat=True)
    assert list(texts) == ["one", "two", "three"]
