"""Reading events over REST: in their one order, by what one may see, and waiting for the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.db import connection

from bots import sequence
from bots.models import ApiToken, Bot, Scope
from bots.tests import cast
from bots.tests.builders import make_bot, make_channel, make_client, make_event
from spaces.platforms.messages import Kind

pytestmark = pytest.mark.django_db

EVENTS = "/api/v1/events/"


@pytest.fixture
def bot() -> Bot:
    bot = make_bot("echo")
    sequence.number()
    return bot


@pytest.fixture
def begin(bot) -> int:
    """The head before anything of a test happens."""
    return sequence.head()


def told(client, **query):
    answer = client.get(EVENTS, query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def ids(client, **query):
    return [int(event["id"]) for event in told(client, **query)["results"]]


def make_events(bot, *channels, **changes):
    events = [make_event(bot, channel, **changes).pk for channel in channels or (None,)]
    sequence.number()
    return events


# What they tell ---------------------------------------------------------------------------------


def test_an_event_tells_what_happened_where_and_when(bot, begin):
    lobby = make_channel(bot, "lobby")
    (event,) = make_events(bot, lobby, data={"message": {"text": "two\nlines"}}, catch_up=True)

    (one,) = told(make_client(), after=begin)["results"]

    assert one.pop("occurred_at").endswith("Z")
    assert one.pop("stored_at").endswith("Z")
    assert one == {
        "seq": begin + 1,
        "id": str(event),
        "kind": "message.posted",
        "bot": "echo",
        "channel": str(lobby.pk),
        "catch_up": True,
        "data": {"message": {"text": "two\nlines"}},
    }


def test_events_are_read_oldest_first_page_by_page(bot, begin):
    events = make_events(bot, *[None] * 5)
    client = make_client()

    page = told(client, after=begin, page_size=2)
    found, positions = [], []
    while True:
        found += [int(event["id"]) for event in page["results"]]
        positions.append(page["position"])
        if page["next"] is None:
            break
        page = client.get(page["next"]).json()

    assert found == events
    assert positions == [begin + 2, begin + 4, begin + 5]
    assert told(client, after=positions[-1]) == {
        "next": None,
        "previous": None,
        "position": begin + 5,
        "results": [],
    }


def test_without_a_place_to_begin_the_oldest_come_first(bot):
    make_events(bot)

    assert told(make_client())["results"][0]["seq"] == 1


def test_now_is_behind_all_that_happened(bot, begin):
    make_events(bot, None, None)

    assert told(make_client(), after="now")["position"] == begin + 2


def test_a_page_looks_through_a_part_and_says_how_far_it_came(bot, begin, monkeypatch):
    monkeypatch.setattr(sequence, "WINDOW", 2)
    monkeypatch.setattr("bots.api.events.LOOK_SECONDS", 0)
    make_events(bot, *[None] * 4)
    (gap,) = make_events(bot, kind=Kind.GAP)
    client = make_client()

    first = told(client, after=begin, kind="gap")
    second = client.get(first["next"]).json()
    third = client.get(second["next"]).json()

    assert [page["position"] - begin for page in (first, second, third)] == [2, 4, 5]
    assert [len(page["results"]) for page in (first, second, third)] == [0, 0, 1]
    assert third["results"][0]["id"] == str(gap)
    assert third["next"] is None


def test_the_number_of_queries_does_not_grow(bot, begin, django_assert_num_queries):
    client = make_client()
    lobby = make_channel(bot, "lobby")
    make_events(bot, lobby)
    told(client, after=begin)  # notes that the token was used
    with django_assert_num_queries(5):
        told(client, after=begin)
    make_events(bot, *[lobby] * 30)

    with django_assert_num_queries(5):
        assert len(ids(client, after=begin)) == 31


def test_people_can_read_events_in_their_browser(bot, begin):
    make_events(bot)

    page = cast.root().get(EVENTS, headers={"Accept": "text/html"})

    assert page.status_code == 200
    assert "message.posted" in page.content.decode()


# Choosing ---------------------------------------------------------------------------------------


def test_events_are_chosen_by_bot_channel_and_kind(bot, begin):
    other = make_bot("other")
    sequence.number()
    begin = sequence.head()
    lobby, den = make_channel(bot, "lobby"), make_channel(other, "den")
    mine, theirs = make_events(bot, lobby), make_events(other, den)
    gap = make_events(bot, lobby, kind=Kind.GAP)
    install = make_events(None, kind=Kind.INCIDENT_OPENED)
    client = make_client()

    assert ids(client, after=begin) == mine + theirs + gap + install
    assert ids(client, after=begin, bot="echo") == mine + gap
    assert ids(client, after=begin, bot=["echo", "other"]) == mine + theirs + gap
    assert ids(client, after=begin, kind="gap") == gap
    assert ids(client, after=begin, kind=["gap", "incident.opened"]) == gap + install
    assert ids(client, after=begin, channel=[str(lobby.pk), str(den.pk)]) == mine + theirs + gap
    assert ids(client, after=begin, bot="echo", channel="#lobby", kind="message.posted") == mine
    assert ids(client, after=begin, bot=["echo", "other"], channel=["lobby", "den"]) == (
        mine + theirs + gap
    )
    assert ids(client, after=begin, bot="other", channel=den.remote_id) == theirs


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"bot": "nobody"}, "bot"),
        ({"bot": ["echo", "nobody"]}, "bot"),
        ({"kind": "coffee"}, "kind"),
        ({"channel": "lobby"}, "channel"),
        ({"bot": "echo", "channel": "nowhere"}, "channel"),
        ({"bot": ""}, "bot"),
        ({"after": "yesterday"}, "after"),
        ({"after": "-1"}, "after"),
        ({"after": "١"}, "after"),
        ({"after": "999999999999999999"}, "after"),
        ({"after": "9" * 30}, "after"),
        ({"wait": "31"}, "wait"),
        ({"wait": "-1"}, "wait"),
        ({"page_size": "501"}, "page_size"),
        ({"page_size": "0"}, "page_size"),
        ({"kind": "\x00"}, "kind"),
    ],
)
def test_a_question_that_makes_no_sense_is_a_400_that_names_it(bot, query, field):
    answer = make_client().get(EVENTS, query)

    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert next(iter(answer.json()["errors"])).split(".")[0] == field


# Who may see what -------------------------------------------------------------------------------


def test_people_see_the_events_of_their_bots(bot, begin):
    other = make_bot("other")
    sequence.number()
    begin = sequence.head()
    mine, theirs = make_events(bot), make_events(other)
    install = make_events(None, kind=Kind.INCIDENT_OPENED)

    assert ids(cast.alice(bot), after=begin) == mine
    assert ids(cast.bob(bot, other), after=begin) == mine + theirs
    assert ids(cast.charlie(), after=begin) == []
    assert ids(cast.root(), after=begin) == mine + theirs + install


def test_tokens_see_the_events_of_their_bots(bot, begin):
    mine = make_events(bot)
    install = make_events(None, kind=Kind.INCIDENT_OPENED)

    assert ids(make_client(scopes=[Scope.READ], bots=[bot]), after=begin) == mine
    assert ids(make_client(scopes=[Scope.READ], bots=[]), after=begin) == []
    assert ids(make_client(scopes=[Scope.READ]), after=begin) == mine + install


def test_somebody_elses_bot_is_none(bot):
    client = make_client(bots=[])

    assert client.get(EVENTS, {"bot": "echo"}).status_code == 400
    assert client.get(EVENTS, {"bot": "echo"}).json() == {
        **client.get(EVENTS, {"bot": "nobody"}).json(),
        "detail": "bot: There is no bot 'echo', or not for you.",
        "errors": {"bot": ["There is no bot 'echo', or not for you."]},
    }


def test_a_channel_of_somebody_elses_bot_has_no_events(bot, begin):
    lobby = make_channel(bot, "lobby")
    make_events(bot, lobby)

    assert ids(make_client(bots=[]), after=begin, channel=str(lobby.pk)) == []


@pytest.mark.parametrize("path", [EVENTS, f"{EVENTS}stream/"])
def test_reading_needs_its_scope_and_a_token(bot, client, path):
    assert make_client(scopes=[Scope.SEND, Scope.MANAGE]).get(path).status_code == 403
    assert client.get(path).status_code == 401
    assert make_client().post(path).status_code == 405


# Waiting ----------------------------------------------------------------------------------------


@pytest.fixture
def _feed_rests() -> Iterator[None]:
    """No thread of the test looks into the database any more when its tables are emptied."""
    yield
    deadline = time.monotonic() + 10
    while any(thread.name == "feed" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the feed's thread goes on without followers"
        time.sleep(0.01)


waits = pytest.mark.usefixtures("transactional_db", "_feed_rests")


class Asking(threading.Thread):
    """Somebody who waits for an answer."""

    def __init__(self, client, **query):
        super().__init__()
        self.client, self.query = client, query
        self.answer, self.seconds = None, 0.0

    def run(self):
        began = time.monotonic()
        self.answer = self.client.get(EVENTS, self.query)
        self.seconds = time.monotonic() - began
        connection.close()

    def result(self):
        self.join(30)
        return self.answer.json()


def begin_to_wait(client, **query):
    asking = Asking(client, **query)
    asking.start()
    deadline = time.monotonic() + 10
    while not any(thread.name == "feed" for thread in threading.enumerate()):
        assert asking.is_alive(), asking.result()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return asking


@waits
def test_who_waits_gets_what_happens_then_and_nothing_else(bot):
    begin = sequence.head()
    waiting = begin_to_wait(make_client(), after=begin, wait=20, kind="gap")

    make_events(bot, None)
    (gap,) = make_events(bot, kind=Kind.GAP)

    assert [event["id"] for event in waiting.result()["results"]] == [str(gap)]
    assert waiting.result()["position"] == begin + 2
    assert waiting.seconds < 10


@waits
def test_who_waits_does_not_when_there_is_something(bot):
    begin = sequence.head()
    (event,) = make_events(bot)
    asking = Asking(make_client(), after=begin, wait=30)

    asking.start()

    assert [event["id"] for event in asking.result()["results"]] == [str(event)]
    assert asking.seconds < 10


@waits
def test_who_waited_for_nothing_is_told_how_far_that_came(bot):
    begin = sequence.head()
    waiting = begin_to_wait(make_client(), after=begin, wait=1, kind="gap")

    make_events(bot, None, None)

    assert waiting.result() == {
        "next": None,
        "previous": None,
        "position": begin + 2,
        "results": [],
    }
    assert waiting.seconds >= 1


@waits
def test_who_lost_their_rights_while_they_waited_gets_nothing(bot):
    waiting = begin_to_wait(make_client(), after="now", wait=20)

    ApiToken.objects.all().delete()
    make_events(bot)

    assert waiting.result()["code"] == "not_authenticated"


@waits
def test_more_than_may_wait_are_told_to_come_back(bot, settings):
    settings.BOTADMIN_STREAMS = 1
    client = make_client()
    waiting = begin_to_wait(client, after="now", wait=20)

    refused = [client.get(EVENTS, {"after": "now", "wait": 20}), client.get(f"{EVENTS}stream/")]
    make_events(bot)

    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (503, "too_many_streams")
        assert int(answer["Retry-After"]) > 0
    assert len(waiting.result()["results"]) == 1
    assert told(client, after="now")["results"] == []


def test_links_keep_the_question(bot, begin):
    make_events(bot, None, None)

    page = told(make_client(), after=begin, page_size=1, bot="echo", kind=["gap", "message.posted"])

    assert set(urlsplit(page["next"]).query.split("&")) == {
        f"after={begin + 1}",
        "page_size=1",
        "bot=echo",
        "kind=gap",
        "kind=message.posted",
    }
