"""Deliveries: each arrives, whatever the receiver does, and says who sent it."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network

import pytest
from django.db import OperationalError
from django.utils import timezone

from bots import bulkhead, courier, postoffice, receivers, sequence, signing, subscriptions
from bots.models import (
    Delivery,
    DeliveryAttempt,
    Ended,
    Lane,
    Subscription,
    SubscriptionState,
    WorkState,
)
from bots.moments import rfc3339
from bots.tests.builders import (
    database_cut_off_at,
    deliver,
    let_time_pass,
    make_bot,
    make_channel,
    make_event,
    make_subscription,
    run_lanes,
)
from bots.tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db


@pytest.fixture
def bot():
    bot = make_bot()
    postoffice.sort()
    return bot


def subscribed(receiver: Receiver, **changes) -> Subscription:
    subscription, secret = make_subscription(receiver.url, **changes)
    receiver.trust(secret)
    return subscription


def texts(receiver: Receiver) -> list[str]:
    """What the receiver took, in order."""
    return [got.data["data"]["message"]["text"] for got in receiver.taken]


def say(bot, *words: str, channel=None) -> None:
    for text in words:
        make_event(bot, channel, data={"message": {"text": text}})


def seconds_until(moment) -> float:
    return (moment - timezone.now()).total_seconds()


# What goes out ----------------------------------------------------------------------------------


def test_an_event_is_signed_and_posted_as_the_stream_tells_it(bot, receiver):
    subscription = subscribed(receiver)
    event = make_event(bot, make_channel(bot))

    deliver()

    (got,) = [got for got in receiver.taken if got.data["id"] == str(event.pk)]
    assert got.id == f"evt_{event.pk}"
    assert got.message["type"] == "message.posted"
    assert got.message["timestamp"] == rfc3339(event.occurred_at)
    assert got.data == sequence.as_json(event.entry)
    assert got.headers["content-type"] == "application/json"
    delivery = subscription.deliveries.get(event=event)
    assert delivery.state == WorkState.SUCCEEDED
    attempt = delivery.attempt_log.get()
    assert (attempt.number, attempt.status, attempt.outcome) == (1, 204, "succeeded")
    assert attempt.seconds > 0
    subscription.refresh_from_db()
    assert subscription.last_success_at


def test_during_rotation_both_secrets_sign(bot, receiver):
    subscription, old = make_subscription(receiver.url)
    new = subscriptions.rotate_secret(subscription)

    receiver.trust(old)
    say(bot, "by the old")
    deliver()
    receiver.forget(old)
    receiver.trust(new)
    say(bot, "by the new")
    deliver()

    assert receiver.forged == 0
    assert texts(receiver) == ["by the old", "by the new"]


def test_the_old_secret_ends_after_a_day(bot, receiver):
    subscription, old = make_subscription(receiver.url)
    subscriptions.rotate_secret(subscription)
    Subscription.objects.update(old_secret_until=timezone.now())
    receiver.trust(old)

    say(bot, "hello")
    deliver()

    assert receiver.forged == 1
    assert texts(receiver) == []


# What receivers do ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"), [(400, "status_400"), (500, "status_500"), (302, "redirected")]
)
def test_what_is_refused_comes_again_later_with_the_same_id(bot, receiver, status, code):
    subscription = subscribed(receiver)
    receiver.script.append(Answer(status, body="no " * 1000, headers={"Location": "/elsewhere"}))
    say(bot, "hello")

    deliver()
    delivery = subscription.deliveries.get()
    assert (delivery.state, delivery.error_code) == (WorkState.QUEUED, code)
    assert 4 < seconds_until(delivery.not_before) < 6
    subscription.refresh_from_db()
    assert (subscription.state, subscription.rests_until) == (SubscriptionState.FAILING, None)
    let_time_pass()
    run_lanes()

    assert texts(receiver) == ["hello"]
    assert len({got.id for got in receiver.calls}) == 1
    first, second = delivery.attempt_log.all()
    assert (first.status, first.outcome, first.number) == (status, code, 1)
    assert first.answer == ("no " * 1000)[:1024]
    assert (second.status, second.outcome, second.number) == (204, "succeeded", 2)
    subscription.refresh_from_db()
    assert subscription.state == SubscriptionState.ACTIVE
    assert subscription.error_code == ""


def test_tries_are_spread_over_three_days_and_then_given_up(bot, receiver):
    subscription = subscribed(receiver)
    receiver.usually = lambda message: Answer(500)
    say(bot, "hello")
    deliver()

    waits = []
    for _ in courier.DELAYS:
        delivery = subscription.deliveries.get()
        waits.append(seconds_until(delivery.not_before))
        began = delivery.started_at - timedelta(seconds=waits[-1])
        Delivery.objects.update(started_at=began)
        let_time_pass()
        run_lanes()

    assert all(
        0.85 < wait / after < 1.15 for wait, after in zip(waits, courier.DELAYS, strict=True)
    )
    assert 2.5 * 86_400 < sum(waits) < 3.5 * 86_400
    delivery = subscription.deliveries.get()
    assert (delivery.state, delivery.error_code) == (WorkState.FAILED, "status_500")
    assert delivery.finished_at
    assert len(receiver.calls) == 10
    assert len({got.id for got in receiver.calls}) == 1


def test_others_pass_one_that_is_refused_unless_order_was_asked_for(bot, receiver):
    subscribed(receiver)
    receiver.usually = lambda m: Answer(500 if "bad" in str(m) else 204)

    say(bot, "bad", "good")
    deliver()

    assert texts(receiver) == ["good"]


def test_ordered_ones_of_a_channel_wait_and_other_channels_go_on(bot, receiver):
    lobby, hall = make_channel(bot), make_channel(bot, "hall")
    postoffice.sort()
    subscribed(receiver, ordered=True)
    receiver.script.append(Answer(500))
    say(bot, "one", channel=lobby)
    deliver()
    say(bot, "two", "three", channel=lobby)
    say(bot, "elsewhere", channel=hall)
    deliver()
    assert texts(receiver) == ["elsewhere"]

    let_time_pass()
    run_lanes()

    assert texts(receiver) == ["elsewhere", "one", "two", "three"]


def test_gone_ends_the_subscription_and_resuming_goes_on_where_it_stopped(bot, receiver):
    subscription = subscribed(receiver, ordered=True)
    receiver.script.append(Answer(410))
    say(bot, "one", "two")
    deliver()
    say(bot, "three")
    deliver()
    subscription.refresh_from_db()
    assert (subscription.enabled, subscription.ended) == (False, Ended.GONE)
    assert len(receiver.calls) == 1

    subscriptions.resume(subscription)
    deliver()

    assert texts(receiver) == ["one", "two", "three"]
    assert subscription.ended == Ended.NO


@pytest.mark.parametrize("status", [429, 503])
def test_who_asks_for_time_is_given_it(bot, receiver, status):
    subscription = subscribed(receiver)
    receiver.script.append(Answer(status, headers={"Retry-After": "120"}))
    say(bot, "one")
    deliver()
    say(bot, "two")
    deliver()

    assert len(receiver.calls) == 1
    subscription.refresh_from_db()
    assert 115 < seconds_until(subscription.rests_until) <= 120

    let_time_pass()
    deliver()
    assert sorted(texts(receiver)) == ["one", "two"]


def test_a_date_is_understood_as_well(bot, receiver):
    subscription = subscribed(receiver)
    later = timezone.now() + timedelta(minutes=10)
    date = later.strftime("%a, %d %b %Y %H:%M:%S GMT")
    receiver.script.append(Answer(503, headers={"Retry-After": date}))

    say(bot, "one")
    deliver()

    subscription.refresh_from_db()
    assert 590 < seconds_until(subscription.rests_until) <= 600


@pytest.mark.parametrize(
    "asked",
    ["soon", "-1", "", "99999999999999999999", "Fri, 31 Dec 2027 23:59:59 +99999999999999"],
)
def test_nonsense_in_retry_after_harms_nobody(bot, receiver, asked):
    subscription = subscribed(receiver)
    receiver.script.append(Answer(429, headers={"Retry-After": asked}))

    say(bot, "one")
    deliver()

    subscription.refresh_from_db()
    assert 0 < seconds_until(subscription.rests_until) <= 86_400


def test_being_told_too_many_costs_no_try(bot, receiver):
    subscription = subscribed(receiver)
    receiver.script.extend([Answer(429)] * 30)
    say(bot, "one")
    deliver()

    for _ in range(30):
        let_time_pass()
        run_lanes()

    assert texts(receiver) == ["one"]
    assert subscription.deliveries.get().attempts == 1
    assert DeliveryAttempt.objects.count() == 31


def test_nobody_at_home_costs_one_call_and_not_one_for_each_event(bot, receiver):
    subscription = subscribed(receiver)
    receiver.usually = lambda message: Answer(503)

    say(bot, *(f"{n}" for n in range(40)))
    deliver()

    assert len(receiver.calls) == 1
    subscription.refresh_from_db()
    assert subscription.away == 1
    assert 2 < seconds_until(subscription.rests_until) < 6


def test_when_somebody_is_at_home_again_all_that_waited_comes_at_once(bot, receiver):
    subscription = subscribed(receiver)
    receiver.usually = lambda message: Answer(503)
    say(bot, *(f"{n}" for n in range(40)))
    deliver()
    for _ in range(4):
        let_time_pass()
        run_lanes()
    tried = Delivery.objects.filter(attempts__gt=0)
    assert tried.exclude(not_before=None).exists()

    receiver.usually = lambda message: Answer()
    past = timezone.now() - timedelta(seconds=1)
    Subscription.objects.update(rest_until=past)
    first = subscription.lanes.order_by("pk")[:1].get()
    Lane.objects.filter(pk=first.pk).update(due_at=past)
    Delivery.objects.filter(lane=first).update(not_before=None)
    run_lanes()

    assert sorted(texts(receiver), key=int) == [f"{n}" for n in range(40)]


def test_a_receiver_that_is_not_there_is_named_with_a_reason(bot, settings):
    settings.BOTADMIN_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    with Receiver() as gone:
        subscription = subscribed(gone)
    say(bot, "hello")

    deliver()

    attempt = subscription.deliveries.get().attempt_log.get()
    assert (attempt.outcome, attempt.status) == ("unreachable", None)
    assert "refused" in attempt.answer
    subscription.refresh_from_db()
    assert (subscription.error_code, subscription.away) == ("unreachable", 1)


def test_a_private_address_is_not_called(bot, receiver, settings):
    settings.BOTADMIN_ALLOWED_NETWORKS = []
    subscription = subscribed(receiver)

    say(bot, "hello")
    deliver()

    assert receiver.calls == []
    assert subscription.deliveries.get().attempt_log.get().outcome == "private_address"


def test_after_days_of_failure_it_is_switched_off_and_resuming_repeats_what_failed(bot, receiver):
    subscription = subscribed(receiver, ordered=True)
    receiver.usually = lambda message: Answer(500)
    say(bot, "one", "two")
    deliver()
    long_ago = timezone.now() - timedelta(days=3, minutes=1)
    Subscription.objects.update(failing_since=long_ago)
    Delivery.objects.filter(attempts=1).update(attempts=9, started_at=long_ago)
    let_time_pass()
    run_lanes()
    say(bot, "three")
    deliver()
    subscription.refresh_from_db()
    assert (subscription.enabled, subscription.ended) == (False, Ended.FAILING)
    assert Delivery.objects.filter(state=WorkState.FAILED).count() == 1

    receiver.usually = lambda message: Answer()
    subscriptions.resume(subscription)
    deliver()

    assert texts(receiver) == ["one", "two", "three"]


# Workers ----------------------------------------------------------------------------------------


def test_what_a_dead_worker_had_in_hand_is_posted_again_under_its_id(bot, receiver):
    subscription = subscribed(receiver)
    say(bot, "hello")
    postoffice.sort()
    Delivery.objects.update(state=WorkState.RUNNING, attempts=1)

    run_lanes()

    assert texts(receiver) == ["hello"]
    assert subscription.deliveries.get().state == WorkState.SUCCEEDED


def test_one_subscriber_has_an_eighth_of_the_threads_and_all_have_half(bot, receiver):
    for _ in range(6):
        subscribed(receiver)
    say(bot, *(f"{n}" for n in range(40)))
    postoffice.sort()
    threads = bulkhead.Bulkhead(16)

    entered = [lane for lane in Lane.objects.filter(bot=None) if threads.enter(lane)]

    assert len(entered) == 8
    by_subscription = [lane.subscription_id for lane in entered]
    assert max(map(by_subscription.count, by_subscription)) == 2


def test_one_that_was_switched_off_is_left_alone_at_once(bot, receiver):
    subscription = subscribed(receiver)
    say(bot, "hello")
    postoffice.sort()
    Subscription.objects.update(enabled=False)

    run_lanes()

    assert receiver.calls == []
    subscriptions.resume(subscription)
    run_lanes()
    assert texts(receiver) == ["hello"]


def test_a_secret_that_cannot_be_read_is_told(bot, receiver, settings):
    subscription = subscribed(receiver)
    say(bot, "hello")
    Subscription.objects.update(secret="made with another key")

    deliver()

    subscription.refresh_from_db()
    assert subscription.error_code == "misconfigured"
    assert subscription.failing_since
    assert subscription.deliveries.get().state == WorkState.QUEUED


# One thing at a time ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
def test_order_holds_when_a_rest_ends_early(bot, receiver, status):
    subscription = subscribed(receiver, ordered=True)
    say(bot, "one", "two")
    receiver.script.append(Answer(status, headers={"Retry-After": "3600"}))
    deliver()

    past = timezone.now() - timedelta(seconds=1)
    Subscription.objects.update(rest_until=past, asked_until=past)
    Lane.objects.filter(subscription=subscription).update(due_at=past)
    run_lanes()
    let_time_pass()
    run_lanes()

    assert texts(receiver) == ["one", "two"]


def test_nobody_shortens_the_time_that_a_receiver_asked_for(bot, receiver):
    subscription = subscribed(receiver)
    receiver.script.append(Answer(429, headers={"Retry-After": "3600"}))
    say(bot, "one")
    deliver()

    receivers.away(subscription, "status_503", "Another lane met another answer.")
    receivers.well(Subscription.objects.get())

    assert seconds_until(Subscription.objects.get().rests_until) > 3590


@pytest.mark.parametrize("asked", ["0", "Fri, 01 Jan 2021 00:00:00 GMT"])
def test_being_asked_for_no_time_is_no_leave_to_call_at_once(bot, receiver, asked):
    subscription = subscribed(receiver)
    receiver.usually = lambda message: Answer(429, headers={"Retry-After": asked})
    say(bot, "one")

    deliver()
    run_lanes()

    assert len(receiver.calls) == 1
    subscription.refresh_from_db()
    assert seconds_until(subscription.rests_until) > 2


def test_one_that_alone_finds_nobody_has_its_tries_over_days(bot, receiver):
    subscription = subscribed(receiver)
    receiver.usually = lambda m: Answer(502 if "bad" in str(m) else 204)
    say(bot, "bad")

    for n in range(30):
        say(bot, f"good {n}")
        deliver()
        Subscription.objects.update(rest_until=None)
        Lane.objects.filter(due_at__isnull=False).update(due_at=timezone.now())

    bad = subscription.deliveries.order_by("seq").first()
    assert bad.state == WorkState.QUEUED
    assert bad.attempts <= 2
    assert len(texts(receiver)) == 30


def test_ends_of_many_outages_use_up_no_delivery(bot, receiver):
    subscription = subscribed(receiver)
    receiver.usually = lambda message: Answer(503)
    say(bot, "patience")
    deliver()

    for _ in range(30):
        let_time_pass()
        run_lanes()

    assert subscription.deliveries.get().state == WorkState.QUEUED


def test_what_it_does_not_want_any_more_is_not_brought(bot, receiver):
    other = make_bot("other")
    postoffice.sort()
    subscription = subscribed(receiver, bots=[bot])
    say(bot, "for the one who owned it")
    postoffice.sort()

    subscription.bots.set([other])
    run_lanes()

    assert receiver.calls == []
    assert subscription.deliveries.get().state == WorkState.CANCELLED


def test_a_resume_that_is_cut_off_changes_nothing_and_can_be_repeated(bot, receiver):
    subscription = subscribed(receiver)
    receiver.script.append(Answer(410))
    say(bot, "one")
    deliver()

    with database_cut_off_at('UPDATE "bots_lane"'), pytest.raises(OperationalError):
        subscriptions.resume(subscription)
    subscriptions.resume(subscription)
    run_lanes()

    assert texts(receiver) == ["one"]


def test_an_answer_that_echoes_the_secret_is_kept_without_it(bot, receiver):
    subscription, secret = make_subscription(receiver.url)
    receiver.trust(secret)
    receiver.script.append(Answer(500, body=f"configured with {secret}"))
    say(bot, "hello")

    deliver()

    assert secret not in subscription.deliveries.get().attempt_log.get().answer


def test_a_fault_of_ours_is_told_and_stops_nobody(bot, receiver, monkeypatch, caplog):
    subscription = subscribed(receiver)
    monkeypatch.setitem(signing.__dict__, "PREFIX", "another")
    say(bot, "one")

    deliver()

    delivery = subscription.deliveries.get()
    assert (delivery.state, delivery.error_code) == (WorkState.QUEUED, "internal_error")
    assert "Traceback" in caplog.text
