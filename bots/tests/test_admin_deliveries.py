"""Deliveries in the admin, and who got an event; retried; and whose business."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bots import courier, handlers, postoffice, subscriptions
from bots.models import (
    AuditEntry,
    Bot,
    Delivery,
    HandlerRun,
    Lane,
    LaneKind,
    Subscription,
    WorkState,
)
from bots.tests import cast
from bots.tests.builders import (
    deliver,
    let_time_pass,
    make_bot,
    make_event,
    make_subscription,
    run_lanes,
)
from bots.tests.receiver import Answer

pytestmark = pytest.mark.django_db

LIST = "admin:bots_delivery_changelist"


@pytest.fixture
def bot() -> Bot:
    bot = make_bot("treasury", name="Treasury")
    postoffice.sort()
    return bot


@pytest.fixture
def subscription(bot, receiver) -> Subscription:
    subscription, secret = make_subscription(receiver.url, name="Shop", bots=[bot])
    receiver.trust(secret)
    return subscription


def page_of(row) -> str:
    return reverse(f"admin:bots_{row._meta.model_name}_change", args=[row.pk])


def retry_of(delivery: Delivery) -> str:
    return reverse("admin:bots_delivery_do", args=[delivery.pk, "retry"])


def text_of(answer) -> str:
    return html.unescape(answer.content.decode())


def rows_in(page: str) -> str:
    return page.partition('id="changelist-form"')[2].partition('id="changelist-filter"')[0]


def one_that_failed(bot, receiver, answer: Answer) -> Delivery:
    receiver.script.append(answer)
    event = make_event(bot, data={"message": {"text": "<i>hello</i>"}})
    deliver()
    return Delivery.objects.get(event=event)


# The page ---------------------------------------------------------------------------------------


def test_the_page_shows_every_try_and_what_was_posted(bot, receiver, subscription):
    delivery = one_that_failed(bot, receiver, Answer(500, body="<b>out of order</b>"))
    subscriptions.retry(delivery)
    run_lanes()

    answer = cast.alice(bot).get(page_of(delivery))

    raw, page = answer.content.decode(), text_of(answer)
    assert "&lt;b&gt;out of order&lt;/b&gt;" in raw
    assert "<b>out of order" not in raw
    assert "<i>hello" not in raw
    for told in ("500", "204", "succeeded", "Attempts"):
        assert told in page
    assert len(re.findall(r"\b0\.\d{3}\xa0s\b", page)) == 2
    posted = courier.body(delivery.event.entry)
    assert posted == receiver.taken[0].message
    assert json.dumps(posted, indent=2) in page


def test_the_page_says_why_and_what_to_do(bot, receiver, subscription):
    delivery = one_that_failed(bot, receiver, Answer(302, headers={"Location": "/elsewhere"}))

    page = text_of(cast.alice(bot).get(page_of(delivery)))

    for told in ("redirected", "Redirects are not followed.", "Enter the URL", "Retry"):
        assert told in page


def test_a_delivery_is_tried_now(bot, receiver, subscription):
    delivery = one_that_failed(bot, receiver, Answer(500))
    alice = cast.alice(bot)

    page = text_of(alice.post(retry_of(delivery), follow=True))
    run_lanes()

    assert "is tried again" in page
    delivery.refresh_from_db()
    assert delivery.state == WorkState.SUCCEEDED
    assert AuditEntry.objects.first().action == "delivery.retried"


def test_one_of_a_subscription_that_is_off_waits_for_it(bot, receiver, subscription):
    delivery = one_that_failed(bot, receiver, Answer(500))
    subscriptions.pause(subscription)

    page = text_of(cast.alice(bot).post(retry_of(delivery), follow=True))

    assert "waits until its subscription is resumed" in page


def next_tries(delivery: Delivery, root: Client) -> list[str]:
    """As the list, its own page and the page of its event tell it."""
    pages = (reverse(LIST), page_of(delivery), page_of(delivery.event))
    return [text_of(root.get(page)) for page in pages]


def test_one_of_a_subscription_that_is_off_has_no_next_try(bot, receiver, subscription):
    delivery = one_that_failed(bot, receiver, Answer(500))
    subscriptions.pause(subscription)
    let_time_pass()

    assert all("when resumed" in page for page in next_tries(delivery, cast.root()))


def test_one_of_a_subscription_that_rests_is_tried_when_the_rest_ends(bot, subscription, receiver):
    delivery = one_that_failed(bot, receiver, Answer(503))
    root, now = cast.root(), timezone.now()
    Delivery.objects.update(not_before=now + timedelta(hours=2))
    Subscription.objects.update(rest_until=now + timedelta(minutes=4, seconds=30))
    assert all("in\xa04\xa0minutes" in page for page in next_tries(delivery, root))

    Delivery.objects.update(not_before=None)
    assert all("in\xa04\xa0minutes" in page for page in next_tries(delivery, root))


def test_tries_are_numbered_on_after_a_replay(bot, receiver, subscription):
    delivery = one_that_failed(bot, receiver, Answer(500))
    let_time_pass()
    run_lanes()
    subscriptions.retry(Delivery.objects.get())
    run_lanes()

    answer = cast.root().get(page_of(delivery))

    assert [attempt["number"] for attempt in answer.context["attempts"]] == [1, 2, 3]


def test_what_is_under_way_is_not_retried(bot, subscription):
    make_event(bot)
    postoffice.sort()
    Delivery.objects.update(state=WorkState.RUNNING)
    delivery = Delivery.objects.get()
    alice = cast.alice(bot)

    assert "/do/retry/" not in text_of(alice.get(page_of(delivery)))
    assert "is under way" in text_of(alice.post(retry_of(delivery), follow=True))


# The list ---------------------------------------------------------------------------------------


def test_the_list_tells_how_the_last_try_ended(bot, receiver, subscription):
    one_that_failed(bot, receiver, Answer(418))

    rows = rows_in(text_of(cast.alice(bot).get(reverse(LIST))))

    for told in ("queued", "Shop", "message.posted", "Treasury", "418"):
        assert told in rows


def test_the_list_is_filtered(bot, receiver, subscription):
    one_that_failed(bot, receiver, Answer(418))
    root = cast.root()
    other, _ = make_subscription(name="Other")

    for query, found in (
        ({"state__exact": "queued"}, True),
        ({"state__exact": "failed"}, False),
        ({"subscription__id__exact": subscription.pk}, True),
        ({"subscription__id__exact": other.pk}, False),
        ({"code": " status_418 "}, True),
        ({"code": "status_500"}, False),
    ):
        page = text_of(root.get(reverse(LIST), query))
        assert ("418" in rows_in(page)) == found, query
        assert ("Nothing matches" in page) != found, query


def test_many_are_retried_at_once(bot, receiver, subscription):
    for _ in range(2):
        make_event(bot)
    postoffice.sort()
    Delivery.objects.update(state=WorkState.FAILED)
    running = make_event(bot)
    postoffice.sort()
    Delivery.objects.filter(event=running).update(state=WorkState.RUNNING)

    answer = cast.alice(bot).post(
        reverse(LIST),
        {
            "action": "retry_chosen",
            "_selected_action": list(Delivery.objects.values_list("pk", flat=True)),
        },
        follow=True,
    )

    page = text_of(answer)
    assert "Deliveries queued again: 2." in page
    assert "is under way" in page


def test_a_list_of_many_takes_as_many_queries_as_one_of_one_and_is_never_counted(bot, subscription):
    alice = cast.alice(bot)
    make_event(bot)
    deliver()
    alice.get(reverse(LIST))
    with CaptureQueriesContext(connection) as few:
        alice.get(reverse(LIST))
    for _ in range(49):
        make_event(bot)
    deliver()

    with CaptureQueriesContext(connection) as many:
        page = text_of(alice.get(reverse(LIST)))

    assert page.count('name="_selected_action"') == 50
    assert len(many) == len(few)
    assert not [q["sql"] for q in many if q["sql"].startswith("SELECT COUNT(")]


# Who got an event -------------------------------------------------------------------------------


def test_the_page_of_an_event_tells_who_got_it_and_who_will(bot, receiver, subscription):
    make_subscription(name="Not for it", kinds=["gap"], enabled=False)
    later, _ = make_subscription(name="Later", enabled=False)
    delivery = one_that_failed(bot, receiver, Answer(500))
    make_subscription(name="Too late")
    root = cast.root()

    page = text_of(root.get(page_of(delivery.event)))

    assert f"{delivery.seq:,}" in page
    got = page.partition('aria-label="Trace"')[2]
    assert page_of(delivery) in got
    assert page_of(subscription) in got
    assert "status_500" in got
    assert page_of(later) in got
    assert "switched off" in got
    assert "Not for it" not in got
    assert "Too late" not in got
    listed = text_of(root.get(reverse(LIST), {"event__exact": delivery.event_id}))
    assert "Shop" in rows_in(listed)


def test_an_event_that_nobody_wants_says_so(bot):
    event = make_event(bot)
    assert "not yet" in text_of(cast.root().get(page_of(event)))
    postoffice.sort()

    page = text_of(cast.alice(bot).get(page_of(event)))

    assert "No subscription wants it." in page
    assert "No handler of its bot takes it." in page


def test_the_page_of_an_event_tells_which_handlers_took_it(bot):
    event = make_event(bot)
    lane = Lane.objects.create(kind=LaneKind.HANDLERS, bot=bot, key="echo bot")
    name = next(iter(handlers.registered()))
    run = HandlerRun.objects.create(bot=bot, event=event, lane=lane, handler=name)

    assert page_of(run) in text_of(cast.bob(bot).get(page_of(event)))


def test_the_page_of_an_event_takes_as_many_queries_for_many_as_for_one(bot):
    make_subscription(bots=[bot])
    make_subscription(bots=[bot], enabled=False)
    few_got = make_event(bot)
    postoffice.sort()
    for _ in range(24):
        make_subscription(bots=[bot])
        make_subscription(bots=[bot], enabled=False)
    many_got = make_event(bot)
    postoffice.sort()
    alice = cast.alice(bot)
    alice.get(page_of(few_got))

    with CaptureQueriesContext(connection) as few:
        alice.get(page_of(few_got))
    with CaptureQueriesContext(connection) as many:
        alice.get(page_of(many_got))

    assert len(many) == len(few)


def test_an_event_of_no_bot_is_for_those_who_see_all(bot):
    make_subscription(name="Operations")
    event = make_event(None, kind="incident.opened")
    postoffice.sort()
    delivery = Delivery.objects.get()
    root, alice = cast.root(), cast.alice(bot)

    assert "Operations" in text_of(root.get(page_of(event)))
    assert "incident.opened" in rows_in(text_of(root.get(reverse(LIST))))
    for row in (event, delivery):
        assert root.get(page_of(row)).status_code == 200
        assert alice.get(page_of(row)).status_code == 302


# Whose business it is ---------------------------------------------------------------------------


def test_bob_reads_and_retries_nothing(bot, receiver, subscription):
    delivery = one_that_failed(bot, receiver, Answer(500))
    bob = cast.bob(bot)

    assert "Shop" in rows_in(text_of(bob.get(reverse(LIST))))
    assert "/do/retry/" not in text_of(bob.get(page_of(delivery)))
    assert bob.post(retry_of(delivery)).status_code == 403
    bob.post(reverse(LIST), {"action": "retry_chosen", "_selected_action": [delivery.pk]})
    delivery.refresh_from_db()
    assert delivery.not_before


def test_charlie_sees_no_delivery_of_others(bot, receiver, subscription):
    delivery = one_that_failed(bot, receiver, Answer(500))
    charlie = cast.charlie()

    page = text_of(charlie.get(reverse(LIST)))
    assert "Shop" not in page
    assert "Treasury" not in page
    assert charlie.get(page_of(delivery)).status_code == 302
    assert charlie.post(retry_of(delivery)).status_code == 404
    charlie.post(reverse(LIST), {"action": "retry_chosen", "_selected_action": [delivery.pk]})
    delivery.refresh_from_db()
    assert delivery.not_before


def test_what_was_delivered_when_a_subscription_asked_for_more_stays_hidden(bot):
    other = make_bot("other")
    subscription, _ = make_subscription(bots=[bot, other])
    hers, theirs = make_event(bot), make_event(other)
    postoffice.sort()
    subscription.bots.set([bot])
    alice = cast.alice(bot)

    assert alice.get(page_of(Delivery.objects.get(event=hers))).status_code == 200
    assert alice.get(page_of(Delivery.objects.get(event=theirs))).status_code == 302


def test_who_does_not_see_a_subscription_does_not_read_that_it_got_an_event(bot):
    make_subscription(name="Secret shop")
    make_subscription(name="Secret shop", enabled=False)
    event = make_event(bot)
    postoffice.sort()

    assert "Secret shop" not in text_of(cast.alice(bot).get(page_of(event)))
    assert text_of(cast.root().get(page_of(event))).count("Secret shop") >= 2
