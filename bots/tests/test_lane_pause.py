"""Lanes that somebody pauses, resumes, drains or empties, by whichever door."""

from __future__ import annotations

import html
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bots import health, jobs, lanes, pausing
from bots.incidents import conditions
from bots.models import AuditEntry, Event, Job, Lane, LaneKind, WorkState
from bots.refusals import Conflict
from bots.tests import cast
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_event,
    make_job,
    make_space,
    make_subscription,
    run_lanes,
)
from spaces.models import LocalMessage
from spaces.platforms.errors import Unavailable
from spaces.platforms.messages import ChannelKind, Kind
from spaces.testing import faulty

pytestmark = pytest.mark.django_db


@pytest.fixture
def bot():
    yield make_bot(space=make_space(platform="faulty"))
    faulty.reset()


def lane_of(job: Job) -> Lane:
    return Lane.objects.select_related("bot").get(pk=job.lane_id)


def state_of(job: Job) -> str:
    return Job.objects.get(pk=job.pk).state


def page_of(lane: Lane) -> str:
    return reverse("admin:bots_lane_change", args=[lane.pk])


def button(lane: Lane, name: str) -> str:
    return reverse("admin:bots_lane_do", args=[lane.pk, name])


def cancelling(lane: Lane) -> str:
    return reverse("admin:bots_lane_cancel", args=[lane.pk])


def text_of(answer) -> str:
    return html.unescape(answer.content.decode())


# In the core ------------------------------------------------------------------------------------


def test_nobody_works_on_a_paused_lane_and_others_go_on(bot):
    first, second = make_channel(bot), make_channel(bot, "second")
    waits, goes = make_job(bot, first), make_job(bot, second)

    pausing.pause(lane_of(waits), by=cast.somebody("alice"))
    late = make_job(bot, first)
    run_lanes()

    assert (state_of(waits), state_of(late)) == (WorkState.QUEUED, WorkState.QUEUED)
    assert state_of(goes) == WorkState.SUCCEEDED

    pausing.resume(lane_of(waits), by=cast.somebody("alice"))
    run_lanes()
    assert LocalMessage.objects.count() == 3
    assert (state_of(waits), state_of(late)) == (WorkState.SUCCEEDED, WorkState.SUCCEEDED)


def test_what_is_under_way_ends_and_nothing_new_begins(bot):
    channel = make_channel(bot)
    make_job(bot, channel, "one")
    claim = lanes.Claim.take(lane_of(make_job(bot, channel, "two")))
    assert len(lanes.begin(claim, Job, limit=1)) == 1

    pausing.pause(claim.lane, by=cast.somebody("alice"))

    assert lanes.begin(claim, Job, limit=1) == []
    claim.release()
    assert not lanes.due_lanes().exists()


def test_a_paused_lane_is_nobodys_fault(bot):
    lane = lane_of(make_job(bot, make_channel(bot)))
    long_ago = timezone.now() - timedelta(hours=1)
    Job.objects.update(created_at=long_ago)
    Lane.objects.update(due_at=long_ago)
    assert list(conditions.lanes_late(timezone.now()))
    assert health.overdue_seconds() > 3000

    pausing.pause(lane, by=cast.somebody("alice"))

    assert not list(conditions.lanes_late(timezone.now()))
    assert health.overdue_seconds() == 0
    assert lanes.sweep() == 0


def test_draining_tries_at_once_what_waits_for_its_next_try(bot):
    faulty.script(faulty.before(Unavailable("Not now.")))
    job = make_job(bot, make_channel(bot))
    run_lanes()
    assert state_of(job) == WorkState.QUEUED

    pausing.drain(lane_of(job), by=cast.somebody("alice"))
    run_lanes()

    assert state_of(job) == WorkState.SUCCEEDED


def test_draining_leaves_what_was_put_off_on_purpose(bot):
    job = make_job(bot, make_channel(bot), not_before=timezone.now() + timedelta(hours=1))

    pausing.drain(lane_of(job), by=cast.somebody("alice"))
    run_lanes()

    assert state_of(job) == WorkState.QUEUED


def test_a_lane_is_paused_once_and_resumed_once(bot):
    lane = lane_of(make_job(bot, make_channel(bot)))

    with pytest.raises(Conflict, match="is not paused"):
        pausing.resume(lane, by=cast.somebody("alice"))
    pausing.pause(lane, by=cast.somebody("alice"))
    with pytest.raises(Conflict, match="paused already"):
        pausing.pause(lane, by=cast.somebody("bob"))
    with pytest.raises(Conflict, match="resume it first"):
        pausing.drain(lane, by=cast.somebody("alice"))


def test_what_is_done_with_a_lane_is_told_by_the_name_that_its_page_has(bot):
    group = make_channel(bot, "", kind=ChannelKind.DIRECT, people=["frida"])
    lane = lane_of(make_job(bot, group))
    root = cast.root()

    root.post(button(lane, "pause"))
    refused = root.post(button(lane, "pause"), follow=True)
    root.post(cancelling(lane), {"newest": "99999"})

    entries = AuditEntry.objects.filter(kind="lane").values_list("action", "label", "object_id")
    assert set(entries) == {
        ("lane.paused", f"Frida of {bot}", str(lane.pk)),
        ("lane.cancelled", f"Frida of {bot}", str(lane.pk)),
    }
    assert f"Frida of {bot} is paused already." in text_of(refused)


def test_who_may_not_see_a_channel_is_not_told_the_name_of_its_lane(
    bot,
):
    hidden = make_channel(make_bot("other"), "merger")
    subscription, _ = make_subscription(bots=[bot])
    lane = Lane.objects.create(
        kind=LaneKind.DELIVERIES, subscription=subscription, key=f"channel:{hidden.pk}"
    )
    root = cast.root()

    cast.alice(bot).post(button(lane, "pause"))
    root.post(button(lane, "resume"))

    told = AuditEntry.objects.filter(kind="lane").order_by("pk")
    assert list(told.values_list("label", flat=True)) == [
        f"{lane.key} of {subscription}",
        f"merger of {subscription}",
    ]


def test_naming_a_lane_costs_the_same_whoever_is_in_it(bot):
    few = lane_of(make_job(bot, make_channel(bot, "", kind=ChannelKind.GROUP, people=["frida"])))
    names = [f"guest-{number}" for number in range(12)]
    many = lane_of(make_job(bot, make_channel(bot, "", kind=ChannelKind.GROUP, people=names)))

    with CaptureQueriesContext(connection) as for_few:
        pausing.pause(few, by=cast.somebody("alice"))
    with CaptureQueriesContext(connection) as for_many:
        pausing.pause(many, by=cast.somebody("alice"))

    assert len(for_few) == len(for_many)


def test_cancelling_ends_at_the_newest_that_waited_and_tells_of_each(bot):
    channel = make_channel(bot)
    old = [make_job(bot, channel) for _ in range(3)]
    young = make_job(bot, channel)

    assert jobs.cancel_waiting(lane_of(young), newest=old[-1].pk) == 3
    assert jobs.cancel_waiting(lane_of(young), newest=old[-1].pk) == 0

    assert {state_of(job) for job in old} == {WorkState.CANCELLED}
    assert state_of(young) == WorkState.QUEUED
    told = Event.objects.filter(bot=bot, kind=Kind.JOB_FINISHED)
    assert {event.data["state"] for event in told} == {"cancelled"}
    assert told.count() == 3


# On its pages -----------------------------------------------------------------------------------


def test_the_page_says_who_paused_it_and_has_the_button_back(bot):
    lane = lane_of(make_job(bot, make_channel(bot)))
    root = cast.root()

    page = text_of(root.post(button(lane, "pause"), follow=True))
    assert "by root since" in page
    assert button(lane, "resume") in page
    assert button(lane, "drain") not in page

    page = text_of(root.post(button(lane, "resume"), follow=True))
    assert button(lane, "pause") in page
    told = "is not paused"
    assert told in text_of(root.post(button(lane, "resume"), follow=True))


@pytest.mark.parametrize(
    ("action", "done"),
    [
        ("pause_chosen", "Lanes paused: 2."),
        ("drain_chosen", "Lanes whose work is tried now: 2."),
    ],
)
def test_many_at_once(bot, action, done):
    chosen = [make_job(bot, make_channel(bot, name)).lane_id for name in ("one", "two")]

    answer = cast.root().post(
        reverse("admin:bots_lane_changelist"),
        {"action": action, "_selected_action": chosen},
        follow=True,
    )

    assert done in text_of(answer)


def test_the_list_can_be_narrowed_to_those_that_are_paused(bot):
    lane = lane_of(make_job(bot, make_channel(bot)))
    make_job(bot, make_channel(bot, "other"))
    pausing.pause(lane, by=cast.somebody("alice"))

    page = cast.root().get(reverse("admin:bots_lane_changelist", query={"paused": "yes"}))

    assert [row.pk for row in page.context["cl"].result_list] == [lane.pk]
    assert "paused by alice" in text_of(page)


def test_lanes_are_called_and_found_by_what_they_are_for(bot):
    lobby = make_channel(bot, "lobby")
    direct = make_channel(bot, "", kind=ChannelKind.DIRECT, people=["frida"])
    lanes_made = [lane_of(make_job(bot, channel)) for channel in (lobby, direct)]
    root, address = cast.root(), reverse("admin:bots_lane_changelist")

    for lane, name in zip(lanes_made, ("lobby", "Frida"), strict=True):
        page = root.get(address, {"q": name})

        assert [(row.pk, row.name) for row in page.context["cl"].result_list] == [(lane.pk, name)]
        assert f"{name} of {bot}" in text_of(root.get(page_of(lane)))
        assert lane.key in text_of(root.get(page_of(lane)))


def test_lanes_without_work_are_left_out_when_asked(bot):
    make_job(bot, make_channel(bot))
    run_lanes()
    paused, busy = (lane_of(make_job(bot, make_channel(bot, name))) for name in ("one", "two"))
    pausing.pause(paused, by=cast.somebody("alice"))

    page = cast.root().get(reverse("admin:bots_lane_changelist", query={"work": "yes"}))

    assert {row.pk for row in page.context["cl"].result_list} == {paused.pk, busy.pk}


def test_the_page_of_a_channel_pauses_what_waits_for_it(bot):
    channel = make_channel(bot)
    here = reverse("admin:spaces_channel_change", args=[channel.pk])
    root = cast.root()
    assert "Nothing waits." in text_of(root.get(here))
    lane = lane_of(make_job(bot, channel))
    assert button(lane, "pause") in text_of(root.get(here))

    page = text_of(root.post(button(lane, "pause"), {"next": here}, follow=True))

    assert "Paused by root" in page
    assert button(lane, "resume") in page


def test_emptying_asks_first_and_then_says_how_far_it_is(bot, monkeypatch):
    monkeypatch.setattr(jobs, "CANCELLED_AT_ONCE", 2)
    monkeypatch.setattr("bots.admin.lane.CANCELLING_SECONDS", 0)
    channel = make_channel(bot)
    made = [make_job(bot, channel) for _ in range(3)]
    lane, root = lane_of(made[0]), cast.root()

    asked = root.get(cancelling(lane))
    assert "3 jobs wait in this lane" in text_of(asked)
    assert state_of(made[0]) == WorkState.QUEUED

    values = {"newest": asked.context["newest"], "total": asked.context["count"]}
    first = root.post(cancelling(lane), values)
    assert "2 of 3 jobs are cancelled" in text_of(first)
    assert 'hx-trigger="load' in text_of(first)

    values |= {"done": first.context["done"]}
    root.post(cancelling(lane), values, headers={"HX-Request": "true"})
    last = root.post(cancelling(lane), values | {"done": 3}, headers={"HX-Request": "true"})
    assert "3 of 3 jobs are cancelled" in text_of(last)
    assert "hx-trigger" not in text_of(last)
    assert {state_of(job) for job in made} == {WorkState.CANCELLED}


@pytest.mark.parametrize("newest", ["", "x", "-1", "9" * 30])
def test_nonsense_cancels_nothing(bot, newest):
    job = make_job(bot, make_channel(bot))

    answer = cast.root().post(cancelling(lane_of(job)), {"newest": newest, "total": "²"})

    assert answer.status_code == 200
    assert state_of(job) == WorkState.QUEUED


def test_who_may_only_look_changes_nothing(bot):
    lane = lane_of(make_job(bot, make_channel(bot)))
    bob, charlie = cast.bob(bot), cast.charlie()

    assert button(lane, "pause") not in text_of(bob.get(page_of(lane)))
    for name in ("pause", "resume", "drain"):
        assert bob.post(button(lane, name)).status_code == 403
        assert charlie.post(button(lane, name)).status_code == 404
    for method in ("get", "post"):
        assert getattr(bob, method)(cancelling(lane)).status_code == 403
        assert getattr(charlie, method)(cancelling(lane)).status_code == 404


def test_lanes_of_deliveries_are_for_those_who_may_change_where_events_go(bot):
    subscription, _ = make_subscription(bots=[bot])
    make_event(bot)
    Lane.objects.create(kind="deliveries", subscription=subscription, key="x")
    lane = Lane.objects.get(subscription=subscription)
    sender = cast.browser(cast.person("dora", ("view_bot", "operate_bot"), bot))

    assert sender.post(button(lane, "pause")).status_code == 403
    assert cast.alice(bot).post(button(lane, "pause")).status_code == 302
    assert Lane.objects.get(pk=lane.pk).paused_by == "alice"
