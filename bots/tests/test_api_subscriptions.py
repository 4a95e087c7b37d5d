"""Subscriptions and deliveries by REST: made, tried, followed, repeated; and whose business."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from bots import postoffice, sequence
from bots.models import Delivery, Subscription, WorkState
from bots.tests.builders import (
    deliver,
    make_bot,
    make_channel,
    make_client,
    make_event,
    make_subscription,
    run_lanes,
)
from bots.tests.receiver import Answer, Receiver

pytestmark = pytest.mark.django_db

URL = "https://receiver.example/hook"
LIST = "/api/v1/subscriptions/"


@pytest.fixture
def bot():
    bot = make_bot()
    postoffice.sort()
    return bot


@pytest.fixture
def client():
    return make_client()


def subscribe(client, url=URL, **wanted):
    return client.post(LIST, {"url": url} | wanted, format="json")


def one(subscription) -> str:
    return f"{LIST}{subscription['id'] if isinstance(subscription, dict) else subscription.pk}/"


# Making -----------------------------------------------------------------------------------------


def test_a_subscription_shows_its_secret_once(client, bot):
    answer = subscribe(client, name="ci", kinds=["message.posted"], bots=["echo"], ordered=True)

    assert answer.status_code == 201
    made = answer.json()
    assert made.pop("secret").startswith("whsec_")
    assert made["url"] == URL
    assert (made["kinds"], made["bots"], made["ordered"]) == (["message.posted"], ["echo"], True)
    assert (made["all_bots"], made["all_channels"], made["state"]) == (False, True, "active")
    assert made["created_by"] == "token ci"
    assert made["position"] == sequence.head()
    assert client.get(one(made)).json() == made
    assert client.get(LIST).json()["results"] == [made]
    stored = Subscription.objects.get()
    assert "whsec" not in stored.secret


@pytest.mark.parametrize(
    ("wanted", "code", "field"),
    [
        ({"url": "http://receiver.example/"}, "https_required", "url"),
        ({"url": "https://127.0.0.1/"}, "private_address", "url"),
        ({"url": "https://[::1]/"}, "private_address", "url"),
        ({"url": "https://0x7f.1/"}, "private_address", "url"),
        ({"url": "ftp://receiver.example/"}, "url_invalid", "url"),
        ({"url": "https://me:secret@receiver.example/"}, "url_invalid", "url"),
        ({"url": ""}, "invalid", "url"),
        ({"url": 7}, "invalid", "url"),
        ({"url": "https://a.example/" + "x" * 2000}, "invalid", "url"),
        ({"kinds": ["no.such.kind"]}, "invalid", "kinds.0"),
        ({"kinds": "message.posted"}, "invalid", "kinds"),
        ({"bots": ["nobody"]}, "invalid", "bots"),
        ({"channels": ["12345"]}, "invalid", "channels"),
        ({"channels": ["lobby"]}, "invalid", "channels"),
        ({"ordered": "yes"}, "invalid", "ordered"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_kept(client, wanted, code, field):
    answer = subscribe(client, **wanted)

    assert answer.status_code == 400
    problem = answer.json()
    assert (problem["code"], list(problem["errors"])) == (code, [field])
    assert "secret" not in answer.content.decode()
    assert not Subscription.objects.exists()


def test_a_subscription_is_changed_and_removed(client, bot):
    lobby = make_channel(bot)
    made = subscribe(client).json()

    changed = client.patch(
        one(made),
        {"url": URL + "/2", "bots": ["echo"], "channels": [str(lobby.pk)], "kinds": ["gap"]},
        format="json",
    ).json()

    assert (changed["bots"], changed["channels"]) == (["echo"], [str(lobby.pk)])
    assert (changed["url"], changed["kinds"]) == (URL + "/2", ["gap"])
    assert client.patch(one(made), {"bots": []}, format="json").json()["all_bots"] is True
    assert client.delete(one(made)).status_code == 204
    assert client.get(one(made)).status_code == 404


def test_when_its_last_bot_is_removed_it_gets_nothing_and_not_everything(client, bot):
    other = make_bot("other")
    made = subscribe(client, bots=["echo"]).json()
    bot.delete()

    make_event(other)
    postoffice.sort()

    told = client.get(one(made)).json()
    assert (told["bots"], told["all_bots"]) == ([], False)
    assert not Delivery.objects.exists()


def test_switched_off_and_on_it_goes_on_where_it_stopped(client, bot, receiver):
    made = subscribe(client, receiver.url).json()
    receiver.trust(made["secret"])
    off = client.patch(one(made), {"enabled": False}, format="json").json()
    event = make_event(bot)
    deliver()
    assert (off["state"], receiver.calls) == ("off", [])

    on = client.patch(one(made), {"enabled": True}, format="json").json()
    deliver()

    assert on["state"] == "active"
    assert [got.id for got in receiver.taken] == [f"evt_{event.pk}"]


# Trying, changing the secret, repeating ---------------------------------------------------------


def test_a_test_tells_what_the_receiver_answers(client, bot, receiver):
    made = subscribe(client, receiver.url).json()
    receiver.trust(made["secret"])
    receiver.script.append(Answer(500, body="out of order"))

    bad = client.post(one(made) + "test/").json()
    good = client.post(one(made) + "test/").json()

    assert (bad["ok"], bad["status"], bad["answer"]) == (False, 500, "out of order")
    assert (good["ok"], good["status"], good["error"]) == (True, 204, None)
    assert [got.message["type"] for got in receiver.calls] == ["ping", "ping"]
    assert client.get(one(made)).json()["state"] == "active"


def test_a_test_of_nobody_tells_why(client, bot, settings):
    settings.BOTADMIN_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8")]
    with Receiver() as gone:
        made = subscribe(client, gone.url).json()

    told = client.post(one(made) + "test/").json()

    assert (told["ok"], told["status"], told["error"]["code"]) == (False, None, "unreachable")


def test_a_new_secret_signs_beside_the_old(client, bot, receiver):
    made = subscribe(client, receiver.url).json()
    new = client.post(one(made) + "rotate-secret/").json()["secret"]
    assert new != made["secret"]

    for secret in (made["secret"], new):
        receiver.trust(secret)
        assert client.post(one(made) + "test/").json()["ok"]
        receiver.forget(secret)


def test_a_replay_delivers_again(client, bot, receiver):
    made = subscribe(client, receiver.url).json()
    receiver.trust(made["secret"])
    event = make_event(bot)
    deliver()

    by_number = client.post(one(made) + "replay/", {"after": made["position"]}, format="json")
    deliver()
    by_time = client.post(
        one(made) + "replay/", {"since": event.stored_at.isoformat()}, format="json"
    )
    deliver()

    assert by_number.json() == {"after": made["position"]}
    assert by_time.json()["after"] <= made["position"]
    ids = [got.id for got in receiver.taken]
    assert ids.count(f"evt_{event.pk}") == 3


@pytest.mark.parametrize(
    "wanted", [{}, {"after": 10**12}, {"after": -1}, {"since": "soon"}, {"after": "1"}]
)
def test_a_replay_from_nowhere_is_refused(client, wanted):
    made = subscribe(client).json()

    answer = client.post(one(made) + "replay/", wanted, format="json")

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


# Deliveries -------------------------------------------------------------------------------------


def test_deliveries_tell_what_went_where(client, bot, receiver):
    made = subscribe(client, receiver.url).json()
    receiver.trust(made["secret"])
    receiver.script.append(Answer(500, body="no"))
    event = make_event(bot)
    deliver()

    (told,) = client.get("/api/v1/deliveries/", {"subscription": made["id"]}).json()["results"]
    assert (told["event"], told["kind"], told["state"]) == (str(event.pk), event.kind, "queued")
    assert (told["attempts"], told["error"]["code"]) == (1, "status_500")
    assert told["next_try_at"]
    path = f"/api/v1/deliveries/{told['id']}/"
    assert client.get(path).json() == told
    (attempt,) = client.get(path + "attempts/").json()["results"]
    assert (attempt["status"], attempt["outcome"], attempt["answer"]) == (500, "status_500", "no")

    client.patch(one(made), {"enabled": False}, format="json")
    assert client.get(path).json()["next_try_at"] is None
    client.patch(one(made), {"enabled": True}, format="json")

    assert client.post(path + "retry/").json()["next_try_at"] is None
    run_lanes()
    assert client.get(path).json()["state"] == "succeeded"
    client.post(path + "retry/")
    run_lanes()
    assert [got.answer.status for got in receiver.calls] == [500, 204, 204]
    for query, number in (
        ({"state": "succeeded"}, 1),
        ({"state": "failed"}, 0),
        ({"event": event.pk}, 1),
    ):
        assert len(client.get("/api/v1/deliveries/", query).json()["results"]) == number


def test_what_is_under_way_is_not_retried(client, bot):
    subscribe(client)
    make_event(bot)
    postoffice.sort()
    Delivery.objects.update(state=WorkState.RUNNING)

    answer = client.post(f"/api/v1/deliveries/{Delivery.objects.get().pk}/retry/")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize("query", [{"subscription": "x"}, {"state": "lost"}, {"event": "\x00"}])
def test_nonsense_in_the_query_is_refused(client, query):
    assert client.get("/api/v1/deliveries/", query).status_code == 400


def test_lists_take_as_many_queries_for_many_as_for_one(client, bot, django_assert_num_queries):
    for _ in range(3):
        make_subscription(bots=[bot])
    make_event(bot)
    postoffice.sort()
    paths = (LIST, "/api/v1/deliveries/")
    [client.get(path) for path in paths]
    with django_assert_num_queries(6) as few:
        [client.get(path) for path in paths]
    for _ in range(20):
        make_subscription(bots=[bot])
        make_event(bot)
    postoffice.sort()

    with django_assert_num_queries(len(few)):
        answers = [client.get(path).json()["results"] for path in paths]

    assert [len(results) for results in answers] == [23, 50]


# Whose business it is ---------------------------------------------------------------------------


def test_who_sees_some_bots_must_name_them(bot):
    some = make_client(bots=[bot])

    refused = subscribe(some)
    made = subscribe(some, bots=["echo"])

    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["bots"])
    assert made.status_code == 201
    widened = some.patch(one(made.json()), {"bots": []}, format="json")
    assert (widened.status_code, list(widened.json()["errors"])) == (400, ["bots"])


def test_nobody_subscribes_to_what_they_do_not_see(bot):
    other = make_bot("other")
    lobby = make_channel(other)
    some = make_client(bots=[bot])

    by_bot = subscribe(some, bots=["echo", "other"])
    by_channel = subscribe(some, bots=["echo"], channels=[str(lobby.pk)])

    assert list(by_bot.json()["errors"]) == ["bots"]
    assert list(by_channel.json()["errors"]) == ["channels"]
    assert not Subscription.objects.exists()


def test_charlie_sees_no_subscription_of_others(bot):
    everything, _ = make_subscription()
    mixed, _ = make_subscription(bots=[bot, make_bot("other")])
    mine, _ = make_subscription(bots=[bot])
    make_event(bot)
    postoffice.sort()
    charlie = make_client(bots=[make_bot("third")])
    alice = make_client(bots=[bot])

    assert charlie.get(LIST).json()["results"] == []
    assert charlie.get("/api/v1/deliveries/").json()["results"] == []
    assert [told["id"] for told in alice.get(LIST).json()["results"]] == [str(mine.pk)]
    for subscription in (everything, mixed, mine):
        delivery = subscription.deliveries.get()
        for call in (
            charlie.get(one(subscription)),
            charlie.patch(one(subscription), {"name": "x"}, format="json"),
            charlie.delete(one(subscription)),
            charlie.post(one(subscription) + "test/"),
            charlie.post(one(subscription) + "rotate-secret/"),
            charlie.post(one(subscription) + "replay/", {"after": 0}, format="json"),
            charlie.get(f"/api/v1/deliveries/{delivery.pk}/"),
            charlie.get(f"/api/v1/deliveries/{delivery.pk}/attempts/"),
            charlie.post(f"/api/v1/deliveries/{delivery.pk}/retry/"),
        ):
            assert (call.status_code, call.json()["code"]) == (404, "not_found")


def test_only_who_may_manage_changes_subscriptions(bot):
    subscription, _ = make_subscription()
    make_event(bot)
    postoffice.sort()
    delivery = Delivery.objects.get()
    reader = make_client(scopes=["read", "send"])

    assert reader.get(one(subscription)).status_code == 200
    for call in (
        subscribe(reader),
        reader.patch(one(subscription), {"name": "x"}, format="json"),
        reader.delete(one(subscription)),
        reader.post(one(subscription) + "test/"),
        reader.post(one(subscription) + "rotate-secret/"),
        reader.post(one(subscription) + "replay/", {"after": 0}, format="json"),
        reader.post(f"/api/v1/deliveries/{delivery.pk}/retry/"),
    ):
        assert call.status_code == 403


def test_who_may_only_read_sees_no_more_of_a_url_than_its_host(bot):
    subscription, _ = make_subscription("https://hooks.example/T0/a-secret-path?key=another")
    reader = make_client(scopes=["read"])

    for answer in (reader.get(one(subscription)), reader.get(LIST)):
        assert "hooks.example" in answer.content.decode()
        assert "secret" not in answer.content.decode()
        assert "another" not in answer.content.decode()


def test_a_change_writes_nothing_that_workers_write(client, bot, django_assert_max_num_queries):
    made = subscribe(client).json()

    with django_assert_max_num_queries(30) as queries:
        client.patch(one(made), {"name": "new", "kinds": ["gap"]}, format="json")

    updates = [q["sql"] for q in queries if q["sql"].startswith('UPDATE "bots_subscription"')]
    assert len(updates) == 1
    assert "position" not in updates[0]
    assert "secret" not in updates[0]
    assert "enabled" not in updates[0]
