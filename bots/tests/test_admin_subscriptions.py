"""Subscriptions in the admin: made, tried, paused, repeated; how they do; and whose business."""

from __future__ import annotations

import html
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from bots import postoffice, receivers, sequence, subscriptions
from bots.models import (
    AuditEntry,
    Bot,
    Delivery,
    Ended,
    Lane,
    LaneKind,
    SequenceClock,
    Subscription,
    SubscriptionState,
    WorkState,
)
from bots.tests import cast
from bots.tests.builders import (
    deliver,
    make_bot,
    make_channel,
    make_event,
    make_subscription,
    run_lanes,
)
from bots.tests.receiver import Answer

pytestmark = pytest.mark.django_db

LIST = "admin:bots_subscription_changelist"
ADD = "admin:bots_subscription_add"
URL = "https://receiver.example/hook?key=hidden-in-the-url"
FORM = {"name": "Shop", "url": URL, "kinds": ["message.posted"], "all_channels": "on"}
PRESSES = ["test", "pause", "resume"]
ASKS = ["rotate", "replay"]


@pytest.fixture
def bot() -> Bot:
    bot = make_bot("treasury", name="Treasury")
    postoffice.sort()
    return bot


def page_of(subscription: Subscription) -> str:
    return reverse("admin:bots_subscription_change", args=[subscription.pk])


def url_of(subscription: Subscription, name: str) -> str:
    if name in PRESSES:
        return reverse("admin:bots_subscription_do", args=[subscription.pk, name])
    return reverse(f"admin:bots_subscription_{name}", args=[subscription.pk])


def press(client, subscription: Subscription, name: str) -> str:
    return text_of(client.post(url_of(subscription, name), follow=True))


def text_of(answer) -> str:
    return html.unescape(answer.content.decode())


def rows_in(page: str) -> str:
    return page.partition('id="changelist-form"')[2].partition('id="changelist-filter"')[0]


# Making and changing ----------------------------------------------------------------------------


def test_a_new_subscription_shows_its_secret_once(bot):
    root = cast.root()

    answer = root.post(reverse(ADD), FORM | {"bots": [bot.pk]})

    secret = answer.context["text"]
    made = Subscription.objects.get()
    assert secret.startswith("whsec_")
    assert secret in text_of(answer)
    assert "no-store" in answer["Cache-Control"]
    assert [secret] == subscriptions.secrets(made)
    assert (made.name, made.url, made.kinds) == ("Shop", URL, ["message.posted"])
    assert (made.all_bots, list(made.bots.all()), made.all_channels) == (False, [bot], True)
    assert (made.created_by, made.user.get_username()) == ("root", "root")
    assert made.position == sequence.head()
    for url in (
        page_of(made),
        reverse(LIST),
        reverse("admin:bots_subscription_history", args=[made.pk]),
        reverse("admin:index"),
    ):
        assert secret not in text_of(root.get(url))
    assert secret not in str(AuditEntry.objects.values_list("changes", flat=True))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://receiver.example/", "Use https."),
        ("https://127.0.0.1/", "BOTADMIN_ALLOWED_NETWORKS"),
        ("https://me:sesame@receiver.example/", "holds no user and password"),
        ("nonsense", "starts with http:// or https://"),
    ],
)
def test_a_url_that_is_not_called_is_an_error_of_the_form(bot, url, told):
    answer = cast.root().post(reverse(ADD), FORM | {"all_bots": "on", "url": url})

    assert told in text_of(answer)
    assert not Subscription.objects.exists()


@pytest.mark.parametrize("what", ["bots", "channels"])
def test_a_subscription_for_nothing_is_an_error_of_the_form(bot, what):
    answer = cast.root().post(
        reverse(ADD), FORM | {"all_bots": "on", "all_channels": "on", f"all_{what}": ""}
    )

    assert f"Choose {what}, or all of them." in text_of(answer)


def test_changing_one_leaves_its_secret_and_its_health_alone(bot):
    subscription, secret = make_subscription(failing_since=timezone.now())
    root = cast.root()

    saved = root.post(
        page_of(subscription), {"name": "New", "url": URL, "all_bots": "on", "all_channels": "on"}
    )

    assert saved.status_code == 302
    subscription.refresh_from_db()
    assert (subscription.name, subscription.kinds) == ("New", [])
    assert subscriptions.secrets(subscription) == [secret]
    assert subscription.failing_since


def test_whether_it_is_ordered_is_chosen_once(bot):
    subscription, _ = make_subscription(ordered=True)

    cast.root().post(page_of(subscription), FORM | {"all_bots": "on", "ordered": ""})

    subscription.refresh_from_db()
    assert subscription.ordered
    assert subscription.name == "Shop"


def test_a_name_is_changed_where_the_url_is_not_allowed_any_more(bot):
    subscription, _ = make_subscription("https://127.0.0.1/hook")
    form = FORM | {"all_bots": "on", "url": subscription.url}

    assert cast.root().post(page_of(subscription), form).status_code == 302


def test_a_subscription_is_removed_with_its_deliveries(bot):
    subscription, _ = make_subscription()
    make_event(bot)
    postoffice.sort()
    root = cast.root()
    remove = reverse("admin:bots_subscription_delete", args=[subscription.pk])
    assert "with its deliveries" in text_of(root.get(remove))

    root.post(remove, {"post": "yes"})

    assert not Subscription.objects.exists()
    assert not Delivery.objects.exists()


# Buttons ----------------------------------------------------------------------------------------


def test_a_test_tells_what_the_receiver_answers(bot, receiver):
    subscription, secret = make_subscription(receiver.url)
    receiver.trust(secret)
    receiver.script.append(Answer(500, body="<b>out of order</b>"))
    root = cast.root()

    bad = root.post(url_of(subscription, "test"), follow=True).content.decode()
    good = press(root, subscription, "test")

    assert "The receiver answered 500 in 0." in bad
    assert "&lt;b&gt;out of order&lt;/b&gt;" in bad
    assert "The receiver answered 204 in 0." in good
    assert [got.message["type"] for got in receiver.calls] == ["ping", "ping"]


def test_a_test_of_nobody_tells_what_to_do(bot):
    subscription, _ = make_subscription("https://127.0.0.1:9/hook")

    page = press(cast.root(), subscription, "test")

    assert "leads to an address that is not public" in page
    assert "BOTADMIN_ALLOWED_NETWORKS" in page


def test_a_test_with_a_secret_that_cannot_be_read_says_so(bot):
    subscription, _ = make_subscription()
    Subscription.objects.update(secret="nonsense")

    assert "errornote" in press(cast.root(), subscription, "test")


def test_paused_and_resumed_it_goes_on_where_it_stopped(bot, receiver):
    subscription, secret = make_subscription(receiver.url)
    receiver.trust(secret)
    root = cast.root()

    assert "is switched off" in press(root, subscription, "pause")
    event = make_event(bot)
    deliver()
    assert "1 behind" in text_of(root.get(page_of(subscription)))
    assert "goes on where it stopped" in press(root, subscription, "resume")
    deliver()

    assert [got.id for got in receiver.taken] == [f"evt_{event.pk}"]
    assert "up to date" in text_of(root.get(page_of(subscription)))
    assert "is on." in press(root, subscription, "resume")


def test_many_are_paused_at_once(bot):
    for _ in range(2):
        make_subscription()

    answer = cast.root().post(
        reverse(LIST),
        {
            "action": "pause_chosen",
            "_selected_action": list(Subscription.objects.values_list("pk", flat=True)),
        },
        follow=True,
    )

    assert "Subscriptions switched off: 2." in text_of(answer)
    assert not Subscription.objects.filter(enabled=True).exists()


def test_a_new_secret_is_shown_once_and_the_old_one_signs_for_a_day(bot):
    subscription, old = make_subscription()
    root = cast.root()
    rotate = url_of(subscription, "rotate")
    asked = root.get(rotate)
    assert "for 24 hours" in text_of(asked)

    answer = root.post(rotate, asked.context["hidden"])

    new = answer.context["text"]
    subscription.refresh_from_db()
    assert subscriptions.secrets(subscription) == [new, old]
    assert new in text_of(answer)
    assert old not in text_of(answer)
    assert "The old secret signs, too, until" in text_of(answer)
    page = text_of(root.get(page_of(subscription)))
    assert "Old secret signs until" in page
    assert AuditEntry.objects.first().action == "subscription.secret_rotated"
    for one in (page, text_of(root.get(rotate)), text_of(root.get(reverse(LIST)))):
        assert new not in one
        assert old not in one


def test_a_page_that_is_sent_again_does_not_rotate_again(bot):
    subscription, old = make_subscription()
    root = cast.root()
    rotate = url_of(subscription, "rotate")
    hidden = root.get(rotate).context["hidden"]
    new = root.post(rotate, hidden).context["text"]

    again = root.post(rotate, hidden, follow=True)

    assert "changed meanwhile" in text_of(again)
    subscription.refresh_from_db()
    assert subscriptions.secrets(subscription) == [new, old]


def test_a_replay_tells_how_many_events_lie_between_and_delivers_again(bot, receiver):
    subscription, secret = make_subscription(receiver.url)
    receiver.trust(secret)
    events = [make_event(bot) for _ in range(3)]
    deliver()
    after = events[0].entry.seq
    root = cast.root()
    replay = url_of(subscription, "replay")

    asked = root.post(replay, {"after": after})

    assert "2 events lie after" in text_of(asked)
    deliver()
    assert len(receiver.taken) == 3
    told = root.post(replay, asked.context["hidden"], follow=True)
    assert f"after event {after:,}" in text_of(told)
    deliver()
    assert sorted(got.id for got in receiver.taken[3:]) == [f"evt_{e.pk}" for e in events[1:]]
    assert AuditEntry.objects.first().note == f"After event {after}."


def test_a_replay_since_a_time_begins_before_what_was_stored_then(bot):
    subscription, _ = make_subscription()
    make_event(bot)
    postoffice.sort()
    since = timezone.now() - timedelta(hours=1)

    asked = cast.root().post(
        url_of(subscription, "replay"), {"since": since.strftime("%Y-%m-%dT%H:%M")}
    )

    assert asked.context["hidden"]["after"] == 0


def test_a_replay_that_passes_over_events_says_so(bot):
    subscription, _ = make_subscription(enabled=False)
    for _ in range(2):
        make_event(bot)
    postoffice.sort()

    asked = cast.root().post(url_of(subscription, "replay"), {"after": sequence.head()})

    assert "2 events are passed over" in text_of(asked)


@pytest.mark.parametrize(
    ("entered", "told"),
    [
        ({}, "one of the two"),
        ({"after": "1", "since": "2026-01-01T10:00"}, "one of the two"),
        ({"after": "99999999"}, "The last event has the number"),
        ({"after": "-1"}, "greater than or equal to 0"),
        ({"after": "9" * 30, "sure": "yes"}, "The last event has the number"),
        ({"since": "0001-01-01T00:00"}, "greater than or equal to"),
        ({"since": "soon"}, "Enter a valid date/time"),
    ],
)
def test_a_replay_from_nowhere_is_an_error_of_the_form(bot, entered, told):
    subscription, _ = make_subscription()

    assert told in text_of(cast.root().post(url_of(subscription, "replay"), entered))


# How it is doing --------------------------------------------------------------------------------


def in_state(state: SubscriptionState) -> Subscription:
    failed = {
        "failing_since": timezone.now() - receivers.FAILING_FOR,
        "error_code": "status_500",
        "error_detail": "The receiver answered 500.",
    }
    changes = {
        SubscriptionState.ACTIVE: {},
        SubscriptionState.FAILING: failed,
        SubscriptionState.OFF: {"enabled": False},
        SubscriptionState.GONE: {"enabled": False, "ended": Ended.GONE},
        SubscriptionState.SWITCHED_OFF: failed | {"enabled": False, "ended": Ended.FAILING},
    }[state]
    subscription, _ = make_subscription(name=f"one that is {state}", **changes)
    assert subscription.state == state
    return subscription


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (SubscriptionState.ACTIVE, "Nothing was delivered yet."),
        (SubscriptionState.FAILING, "Failing since"),
        (SubscriptionState.OFF, "Somebody switched it off."),
        (SubscriptionState.GONE, "answered 410 Gone"),
        (SubscriptionState.SWITCHED_OFF, "Nothing was taken since"),
    ],
)
def test_its_page_says_what_happened_and_offers_what_helps(state, told):
    page = text_of(cast.root().get(page_of(in_state(state))))

    assert told in page
    assert ("/do/resume/" in page) == (
        state not in (SubscriptionState.ACTIVE, SubscriptionState.FAILING)
    )
    if state == SubscriptionState.SWITCHED_OFF:
        assert "(3\xa0days\xa0ago)" in page
        assert "The receiver answered 500." in page
        assert "press Resume" in page


@pytest.mark.parametrize("state", list(SubscriptionState))
def test_the_list_is_filtered_by_state(state):
    for one in SubscriptionState:
        in_state(one)

    rows = rows_in(text_of(cast.root().get(reverse(LIST), {"state": state})))

    assert [one for one in SubscriptionState if f"one that is {one}<" in rows] == [state]


def test_the_list_is_filtered_by_bot(bot):
    make_subscription(name="of all")
    make_subscription(name="of treasury", bots=[bot])
    make_subscription(name="of another", bots=[make_bot("other")])
    root = cast.root()

    rows = rows_in(text_of(root.get(reverse(LIST), {"bot": bot.pk})))

    assert "of all" in rows
    assert "of treasury" in rows
    assert "of another" not in rows
    for nonsense in ({"bot": "x"}, {"state": "lost"}):
        assert "Nothing matches" in text_of(root.get(reverse(LIST), nonsense))


def test_the_list_tells_what_each_wants_and_how_far_it_is_behind(bot):
    lobby = make_channel(bot, "lobby")
    postoffice.sort()
    make_subscription(URL, kinds=["gap"], bots=[bot], channels=[lobby])
    make_event(bot, lobby, kind="gap")
    postoffice.sort()
    SequenceClock.objects.update(last_seq=sequence.head() + 1234)

    page = text_of(cast.root().get(reverse(LIST)))

    assert "gap of Treasury in 1 channel" in page
    assert "1,234 behind" in page
    assert "receiver.example" in page
    assert "hidden-in-the-url" not in page


def test_a_list_of_many_takes_as_many_queries_as_one_of_few(bot):
    root = cast.root()
    make_subscription(bots=[bot], channels=[make_channel(bot)])
    make_event(bot)
    postoffice.sort()
    root.get(reverse(LIST))
    with CaptureQueriesContext(connection) as few:
        root.get(reverse(LIST))
    for _ in range(49):
        make_subscription(bots=[bot])
    make_event(bot)
    postoffice.sort()

    with CaptureQueriesContext(connection) as many:
        page = text_of(root.get(reverse(LIST)))

    assert page.count("/hook") + page.count("of Treasury") >= 50
    assert len(many) == len(few)


def test_what_somebody_calls_it_is_shown_and_not_interpreted(bot):
    subscription, _ = make_subscription(name="<script>alert(1)</script>", enabled=False)
    make_event(bot)
    postoffice.sort()
    root = cast.root()

    for url in (
        reverse(LIST),
        page_of(subscription),
        reverse("admin:bots_subscription_delete", args=[subscription.pk]),
        *(url_of(subscription, name) for name in ASKS),
    ):
        page = root.get(url).content.decode()
        assert "<script>alert(1)" not in page
        assert "&lt;script&gt;alert(1)" in page


# Lanes ------------------------------------------------------------------------------------------


def test_a_lane_of_a_subscription_tells_whose_it_is_and_how_much_waits(bot):
    subscription, _ = make_subscription(name="Shop", bots=[bot], ordered=True)
    for _ in range(3):
        make_event(bot)
    postoffice.sort()
    lane = Lane.objects.get(kind=LaneKind.DELIVERIES)
    lanes = reverse("admin:bots_lane_changelist")
    page = reverse("admin:bots_lane_change", args=[lane.pk])
    alice, charlie = cast.alice(bot), cast.charlie()

    row = rows_in(text_of(alice.get(lanes, {"subscription__id__exact": subscription.pk})))

    assert page_of(subscription) in row
    assert ">3<" in row.replace(" ", "").replace("\n", "")
    assert alice.get(page).status_code == 200
    assert charlie.get(page).status_code == 302
    assert "Shop" not in text_of(charlie.get(lanes))


# Whose business it is ---------------------------------------------------------------------------


def test_nobody_gets_in_without_logging_in(client, bot):
    subscription, _ = make_subscription()

    for url in (reverse(LIST), page_of(subscription), url_of(subscription, "replay")):
        assert client.get(url).status_code == 302


def test_alice_makes_one_for_her_bots_only(bot):
    other = make_bot("other")
    theirs = make_channel(other, "theirs")
    alice = cast.alice(bot)

    everything = alice.post(reverse(ADD), FORM | {"all_bots": "on"})
    none = alice.post(reverse(ADD), FORM)
    anothers = alice.post(reverse(ADD), FORM | {"bots": [other.pk]})
    channel = alice.post(
        reverse(ADD), FORM | {"bots": [bot.pk], "all_channels": "", "channels": [theirs.pk]}
    )

    assert "Name the bots" in text_of(everything)
    assert "Choose bots" in text_of(none)
    for refused in (anothers, channel):
        assert "is not one of the available choices" in text_of(refused)
    assert not Subscription.objects.exists()
    made = alice.post(reverse(ADD), FORM | {"bots": [bot.pk]})
    assert made.context["text"]
    assert alice.get(page_of(Subscription.objects.get())).status_code == 200


def test_alice_is_offered_her_own_bots_and_channels(bot):
    other = make_bot("other", name="Other")
    make_channel(bot, "hers")
    make_channel(other, "theirs")
    alice = cast.alice(bot)

    for field, own, foreign in (("bots", "Treasury", "Other"), ("channels", "hers", "theirs")):
        offered = text_of(
            alice.get(
                reverse("admin:autocomplete"),
                {"app_label": "bots", "model_name": "subscription", "field_name": field},
            )
        )
        assert own in offered
        assert foreign not in offered


def test_a_channel_that_alice_does_not_see_stays_where_it_is(bot):
    hers, theirs = make_channel(bot, "hers"), make_channel(make_bot("other"), "theirs")
    subscription, _ = make_subscription(bots=[bot], channels=[theirs])

    alice = cast.alice(bot)
    assert "theirs" not in text_of(alice.get(page_of(subscription)))
    saved = alice.post(page_of(subscription), {"url": URL, "bots": [bot.pk], "channels": [hers.pk]})

    assert saved.status_code == 302
    assert set(subscription.channels.all()) == {hers, theirs}


def test_bob_reads_and_changes_nothing(bot):
    subscription, _ = make_subscription(name="Shop", bots=[bot])
    bob = cast.bob(bot)

    assert "Shop" in rows_in(text_of(bob.get(reverse(LIST))))
    page = text_of(bob.get(page_of(subscription)))
    assert "all kinds of Treasury" in page
    for name in PRESSES:
        assert f"/do/{name}/" not in page
        assert bob.post(url_of(subscription, name)).status_code == 403
    for name in ASKS:
        assert url_of(subscription, name) not in page
        assert bob.get(url_of(subscription, name)).status_code == 403
        assert bob.post(url_of(subscription, name), {"after": 0, "sure": "yes"}).status_code == 403
    assert bob.get(reverse(ADD)).status_code == 403
    assert bob.post(page_of(subscription), FORM).status_code == 403
    remove = reverse("admin:bots_subscription_delete", args=[subscription.pk])
    assert bob.post(remove, {"post": "yes"}).status_code == 403
    bob.post(reverse(LIST), {"action": "pause_chosen", "_selected_action": [subscription.pk]})
    subscription.refresh_from_db()
    assert subscription.enabled
    assert not subscription.old_secret


def test_charlie_sees_no_subscription_of_others(bot):
    everything, _ = make_subscription(name="Secret shop")
    mixed, _ = make_subscription(name="Secret shop", bots=[bot, make_bot("other")])
    mine, _ = make_subscription(name="Secret shop", bots=[bot])
    charlie, alice = cast.charlie(), cast.alice(bot)

    assert "Secret shop" not in text_of(charlie.get(reverse(LIST)))
    assert "Treasury" not in text_of(charlie.get(reverse(LIST)))
    assert alice.get(page_of(mine)).status_code == 200
    for client, hidden in ((charlie, (everything, mixed, mine)), (alice, (everything, mixed))):
        for subscription in hidden:
            assert client.get(page_of(subscription)).status_code == 302
            client.post(page_of(subscription), FORM | {"bots": [bot.pk]})
            remove = reverse("admin:bots_subscription_delete", args=[subscription.pk])
            client.post(remove, {"post": "yes"})
            client.post(
                reverse(LIST),
                {"action": "pause_chosen", "_selected_action": [subscription.pk]},
            )
            for name in (*PRESSES, *ASKS):
                answer = client.post(url_of(subscription, name), {"after": 0, "sure": "yes"})
                assert answer.status_code == 404
            for name in ASKS:
                assert client.get(url_of(subscription, name)).status_code == 404
            kept = Subscription.objects.get(pk=subscription.pk)
            assert (kept.name, kept.enabled, kept.old_secret) == ("Secret shop", True, "")
    assert not AuditEntry.objects.filter(door="admin").exists()


def test_a_button_does_nothing_when_it_is_only_looked_at(bot):
    subscription, _ = make_subscription(bots=[bot])

    page = reverse("admin:bots_subscription_change", args=[subscription.pk])
    assert cast.alice(bot).get(url_of(subscription, "pause")).url == page
    assert Subscription.objects.get(pk=subscription.pk).enabled


def test_after_days_of_failure_one_click_repeats_what_failed(bot, receiver):
    subscription, secret = make_subscription(receiver.url, bots=[bot])
    receiver.trust(secret)
    make_event(bot)
    postoffice.sort()
    Delivery.objects.update(state=WorkState.FAILED, finished_at=timezone.now())
    Subscription.objects.update(
        enabled=False, ended=Ended.FAILING, failing_since=timezone.now() - timedelta(days=4)
    )

    press(cast.alice(bot), subscription, "resume")
    run_lanes()

    assert len(receiver.taken) == 1
