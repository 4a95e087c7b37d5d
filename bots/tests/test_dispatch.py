"""Each subscription is handed each event that it wants, once and in order, however far behind."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from bots import bulk, dispatch, postoffice, sequence, subscriptions
from bots.models import Delivery, Event, Subscription, SubscriptionState, WorkState
from bots.refusals import Invalid
from bots.tests.builders import make_bot, make_channel, make_event, make_subscription
from spaces.platforms.messages import Kind

pytestmark = pytest.mark.django_db


def handed_on(subscription: Subscription) -> list[int]:
    """The ids of the events, in order."""
    rows = Delivery.objects.filter(subscription=subscription).order_by("seq")
    return list(rows.values_list("event_id", flat=True))


def test_a_subscription_gets_what_happens_after_it_was_made():
    bot = make_bot()
    make_event(bot)
    postoffice.sort()
    subscription, _ = make_subscription()
    events = [make_event(bot) for _ in range(3)]

    postoffice.sort()

    assert handed_on(subscription) == [event.pk for event in events]
    subscription.refresh_from_db()
    assert subscription.position == sequence.head()


def test_each_gets_what_it_wants():
    bot, other = make_bot(), make_bot("other")
    lobby = make_channel(bot)
    postoffice.sort()
    by_kind, _ = make_subscription(kinds=[Kind.TYPING, Kind.GAP])
    by_bot, _ = make_subscription(bots=[other])
    by_channel, _ = make_subscription(channels=[lobby])
    nothing_left, _ = make_subscription(bots=[])
    in_lobby = make_event(bot, lobby)
    typing = make_event(bot, kind=Kind.TYPING)
    of_other = make_event(other)
    make_event(None, kind=Kind.INCIDENT_OPENED)

    postoffice.sort()

    assert handed_on(by_kind) == [typing.pk]
    assert handed_on(by_bot) == [of_other.pk]
    assert handed_on(by_channel) == [in_lobby.pk]
    assert handed_on(nothing_left) == []


def test_one_that_is_off_gets_later_what_it_missed():
    bot = make_bot()
    postoffice.sort()
    subscription, _ = make_subscription(enabled=False)
    events = [make_event(bot) for _ in range(3)]
    postoffice.sort()
    assert handed_on(subscription) == []

    subscriptions.resume(subscription)
    postoffice.sort()

    assert handed_on(subscription) == [event.pk for event in events]


def test_ordered_deliveries_wait_in_a_lane_for_each_channel():
    bot = make_bot()
    lobby, hall = make_channel(bot), make_channel(bot, "hall")
    postoffice.sort()
    subscription, _ = make_subscription(ordered=True)
    for channel in (lobby, hall, lobby, None):
        make_event(bot, channel)

    postoffice.sort()

    lanes = [
        (delivery.lane.key, delivery.lane.ordered)
        for delivery in subscription.deliveries.order_by("seq").select_related("lane")
    ]
    assert lanes == [
        (f"channel:{lobby.pk}", True),
        (f"channel:{hall.pk}", True),
        (f"channel:{lobby.pk}", True),
        (f"bot:{bot.pk}", True),
    ]


def test_a_replay_repeats_what_ended_and_leaves_what_waits(monkeypatch):
    bot = make_bot()
    postoffice.sort()
    begin = sequence.head()
    subscription, _ = make_subscription()
    [make_event(bot) for _ in range(4)]
    postoffice.sort()
    first, second, third, fourth = subscription.deliveries.order_by("seq")
    ended = Delivery.objects.filter(pk__in=[second.pk, third.pk])
    ended.update(state=WorkState.SUCCEEDED, attempts=3)
    Delivery.objects.filter(pk=fourth.pk).update(attempts=2)

    subscriptions.replay(subscription, after=begin + 1)
    postoffice.sort()

    rows = subscription.deliveries.order_by("seq")
    assert [row.pk for row in rows] == [first.pk, second.pk, third.pk, fourth.pk]
    assert {row.state for row in rows} == {WorkState.QUEUED}
    assert [row.attempts for row in rows] == [0, 0, 0, 2]


def test_a_replay_brings_also_what_was_before_the_subscription():
    bot = make_bot()
    postoffice.sort()
    begin = sequence.head()
    events = [make_event(bot) for _ in range(3)]
    postoffice.sort()
    subscription, _ = make_subscription()

    assert subscriptions.replay(subscription, after=begin) == begin
    postoffice.sort()

    assert handed_on(subscription) == [event.pk for event in events]


def test_a_replay_since_a_time_begins_a_moment_before_it():
    bot = make_bot()
    postoffice.sort()
    event = make_event(bot)
    postoffice.sort()
    subscription, _ = make_subscription()

    subscriptions.replay(subscription, since=event.stored_at)
    postoffice.sort()

    assert event.pk in handed_on(subscription)


@pytest.mark.parametrize("wanted", [{}, {"after": -1}, {"after": 10**9}])
def test_a_replay_from_nowhere_is_refused(wanted):
    subscription, _ = make_subscription()

    with pytest.raises(Invalid):
        subscriptions.replay(subscription, **wanted)


def test_where_many_wait_the_rest_stays_in_the_sequence(monkeypatch):
    monkeypatch.setattr(dispatch, "CHUNK", 3)
    monkeypatch.setattr(dispatch, "WINDOW", 6)
    bot = make_bot()
    postoffice.sort()
    slow, _ = make_subscription()
    quick, _ = make_subscription(kinds=[Kind.GAP])
    events = [make_event(bot) for _ in range(20)]

    postoffice.sort()
    assert len(handed_on(slow)) == 6
    quick.refresh_from_db()
    assert quick.position == sequence.head()

    Delivery.objects.update(state=WorkState.SUCCEEDED)
    postoffice.sort()
    Delivery.objects.update(state=WorkState.SUCCEEDED)
    postoffice.sort()
    Delivery.objects.update(state=WorkState.SUCCEEDED)
    postoffice.sort()
    assert handed_on(slow) == [event.pk for event in events]


def test_handing_on_takes_as_many_queries_for_fifty_as_for_one(django_assert_max_num_queries):
    bot = make_bot()
    postoffice.sort()
    make_subscription()
    make_event(bot)
    with django_assert_max_num_queries(30) as first:
        postoffice.sort()
    for _ in range(49):
        make_subscription(bots=[bot])
    [make_event(bot) for _ in range(5)]

    with django_assert_max_num_queries(len(first) + 1):  # which bots each of them wants
        postoffice.sort()

    assert Delivery.objects.count() == 1 + 5 * 50


def test_a_subscription_of_which_something_is_wrong_stops_only_itself(caplog):
    bot = make_bot()
    postoffice.sort()
    broken, _ = make_subscription()
    well, _ = make_subscription()
    event = make_event(bot)
    postoffice.sort()
    # Nothing of ours sets it back without a word.
    Subscription.objects.filter(pk=broken.pk).update(position=sequence.head() - 1)
    next_event = make_event(bot)

    postoffice.sort()

    assert handed_on(well) == [event.pk, next_event.pk]
    broken.refresh_from_db()
    assert (broken.state, broken.error_code) == (SubscriptionState.FAILING, "internal_error")
    assert "Traceback" in caplog.text


def test_an_event_that_is_gone_stops_nobody():
    bot = make_bot()
    postoffice.sort()
    subscription, _ = make_subscription()
    gone, kept = make_event(bot), make_event(bot)
    sequence.number()
    bulk.delete(Event, [gone.pk])

    postoffice.sort()

    assert handed_on(subscription) == [kept.pk]
    subscription.refresh_from_db()
    assert subscription.position == sequence.head()


def test_those_that_wait_for_a_next_try_let_others_pass(monkeypatch):
    monkeypatch.setattr(dispatch, "CHUNK", 3)
    monkeypatch.setattr(dispatch, "WINDOW", 6)
    bot = make_bot()
    postoffice.sort()
    subscription, _ = make_subscription()
    [make_event(bot) for _ in range(6)]
    postoffice.sort()
    later = timezone.now() + timedelta(hours=5)
    Delivery.objects.update(not_before=later, attempts=4)

    event = make_event(bot)
    postoffice.sort()

    assert handed_on(subscription)[-1] == event.pk


def test_while_a_receiver_rests_events_wait_in_the_sequence():
    bot = make_bot()
    postoffice.sort()
    subscription, _ = make_subscription()
    Subscription.objects.update(rest_until=timezone.now() + timedelta(minutes=1))
    event = make_event(bot)

    postoffice.sort()
    assert handed_on(subscription) == []

    Subscription.objects.update(rest_until=None)
    postoffice.sort()
    assert handed_on(subscription) == [event.pk]


def test_a_replay_hurries_what_waits_for_a_next_try():
    bot = make_bot()
    postoffice.sort()
    subscription, _ = make_subscription()
    make_event(bot)
    postoffice.sort()
    later = timezone.now() + timedelta(hours=5)
    Delivery.objects.update(not_before=later, attempts=4)

    subscriptions.replay(subscription, after=sequence.head() - 1)
    postoffice.sort()

    delivery = subscription.deliveries.get()
    assert (delivery.not_before, delivery.attempts) == (None, 4)
