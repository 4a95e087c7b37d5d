"""Reactions as state: what was missed is told afterwards, and nothing is told twice."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from bots import inbox
from bots.models import Bot, Connection, Event
from bots.tests.builders import make_bot
from bots.tests.test_inbox import ALICE, BOB, NOON, brought, receive, told
from spaces.platforms.messages import Incoming, Kind, MessageReactions, PersonInfo, Reaction

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def reaction(name: str = "tada", person: PersonInfo = ALICE, at: datetime = NOON) -> Reaction:
    return Reaction(person=person, name=name, added_at=at)


def counted(*reactions: Reaction, message: str = "m1", since: datetime = NOON) -> MessageReactions:
    """What a platform counts up after nothing was heard since then."""
    return MessageReactions(
        channel_id="lobby-id", message_id=message, reactions=reactions, since=since
    )


def catch_up(bot: Bot, *messages: MessageReactions, incoming: Sequence[Incoming] = ()) -> None:
    inbox.receive([brought(bot, *incoming, reactions=messages, catch_up=True)])


def reacted(kind: Kind, id: str, name: str = "tada", person: PersonInfo = ALICE) -> Incoming:
    return told(kind, id=id, message_id="m1", reaction=name, person=person)


def added(id: str, **changes: Any) -> Incoming:
    return reacted(Kind.REACTION_ADDED, id, **changes)


def removed(id: str, **changes: Any) -> Incoming:
    return reacted(Kind.REACTION_REMOVED, id, **changes)


def reactions_of(bot: Bot, message: str = "m1") -> set[tuple[str, str]] | None:
    found = bot.messages.get(remote_id=message).reactions
    return None if found is None else {(one["person"], one["name"]) for one in found}


def changes_of(bot: Bot) -> list[Event]:
    return list(bot.events.filter(kind__startswith="reaction.").order_by("pk"))


def story(bot: Bot) -> list[tuple[str, str, str]]:
    return [
        (event.kind.removeprefix("reaction."), event.data["person"]["id"], event.data["reaction"])
        for event in changes_of(bot)
    ]


def test_a_message_knows_its_reactions_from_the_beginning():
    bot = make_bot()

    receive(bot, told(id="1"), added("2"), added("3", person=BOB), removed("4"))

    assert reactions_of(bot) == {("bob-id", "tada")}
    assert [change for change, *_ in story(bot)] == ["added", "added", "removed"]


def test_what_changes_nothing_is_no_event():
    bot = make_bot()
    receive(bot, told(id="1"), added("2"))

    receive(bot, added("3"), removed("4", name="wave"), removed("5", person=BOB))

    assert story(bot) == [("added", "alice-id", "tada")]
    assert reactions_of(bot) == {("alice-id", "tada")}


def test_a_message_of_the_past_has_the_reactions_that_it_came_with():
    bot = make_bot()

    receive(bot, told(id="1", reactions=(reaction(),)), told(id="2"), catch_up=True)

    assert reactions_of(bot, "m1") == {("alice-id", "tada")}
    assert reactions_of(bot, "m2") is None  # it may have some that nobody told us of
    posted = bot.events.get(dedupe_key="1").data["message"]
    assert [(r["person"]["id"], r["name"]) for r in posted["reactions"]] == [("alice-id", "tada")]


def test_reactions_of_unknown_messages_are_told_as_they_come():
    bot = make_bot()

    receive(bot, added("1"), removed("2"), removed("3"))

    assert len(changes_of(bot)) == 3


def test_what_came_and_went_unheard_is_told_once():
    bot = make_bot()
    receive(bot, told(id="1"), added("2"), added("3", name="wave"))
    now = counted(reaction("wave"), reaction("tada", BOB, NOON + MINUTE))

    catch_up(bot, now)
    catch_up(bot, now)

    gone, new = changes_of(bot)[2:]
    assert story(bot)[2:] == [("removed", "alice-id", "tada"), ("added", "bob-id", "tada")]
    assert (gone.catch_up, new.catch_up) == (True, True)
    assert gone.data["person"]["username"] == "alice"
    assert new.occurred_at == NOON + MINUTE
    assert new.data["message"]["remote_id"] == "m1"
    assert new.channel.remote_id == "lobby-id"
    assert reactions_of(bot) == {("alice-id", "wave"), ("bob-id", "tada")}


def test_the_stream_that_tells_the_same_afterwards_changes_nothing():
    bot = make_bot()
    receive(bot, told(id="1"))

    catch_up(bot, counted(reaction()))
    receive(bot, added("early"))

    assert story(bot) == [("added", "alice-id", "tada")]


def test_a_reaction_that_is_given_again_is_told_again():
    bot = make_bot()
    receive(bot, told(id="1"))
    for turn in range(1, 4):
        catch_up(bot, counted(reaction(at=NOON + turn * MINUTE), since=NOON))
        catch_up(bot, counted(since=NOON))

    assert [change for change, *_ in story(bot)] == ["added", "removed"] * 3


def test_an_old_count_does_not_bring_back_what_was_taken_back_since():
    bot = make_bot()
    receive(bot, told(id="1"))
    catch_up(bot, counted(reaction()))

    receive(bot, removed("2"))
    catch_up(bot, counted(reaction()))

    assert [change for change, *_ in story(bot)] == ["added", "removed"]
    assert reactions_of(bot) == set()


def test_where_nothing_was_known_only_what_is_new_is_told():
    bot = make_bot()
    receive(bot, told(id="1"), catch_up=True)
    assert reactions_of(bot) is None

    catch_up(
        bot,
        counted(reaction("old", at=NOON - MINUTE), reaction("new", at=NOON + MINUTE)),
        counted(reaction("elsewhere", BOB, NOON + MINUTE), message="never-heard-of"),
    )

    assert story(bot) == [("added", "alice-id", "new"), ("added", "bob-id", "elsewhere")]
    assert reactions_of(bot) == {("alice-id", "old"), ("alice-id", "new")}


def test_reactions_are_compared_with_what_the_same_batch_told_before():
    bot = make_bot()

    catch_up(bot, counted(reaction("wave", BOB)), incoming=[told(id="1", reactions=())])

    assert story(bot) == [("added", "bob-id", "wave")]
    assert reactions_of(bot) == {("bob-id", "wave")}


def test_the_bots_own_reactions_are_marked_as_its_own():
    bot = make_bot()
    me = PersonInfo(id=bot.person.remote_id, username=bot.person.username)
    receive(bot, told(id="1"))

    catch_up(bot, counted(reaction(person=me), reaction()))

    own = {event.data["person"]["id"]: event.data.get("own", False) for event in changes_of(bot)}
    assert own == {me.id: True, "alice-id": False}


def test_the_number_of_queries_does_not_grow_with_the_messages():
    bot = make_bot()
    receive(bot, *(told(id=str(n)) for n in range(100)))

    def queries(numbers: range) -> int:
        now = [counted(reaction(), reaction("wave", BOB), message=f"m{n}") for n in numbers]
        with CaptureQueriesContext(database) as captured:
            catch_up(bot, *now)
            catch_up(bot, *(counted(message=f"m{n}") for n in numbers))
        return len(captured)

    queries(range(1))  # Bob is new to us

    assert queries(range(1, 2)) == queries(range(2, 100))


def test_one_that_cannot_be_stored_takes_no_other_along(caplog):
    bot = make_bot()
    broken = counted(None, message="m2")  # what a plugin may do

    with caplog.at_level(logging.CRITICAL):
        inbox.store_patiently(
            [
                brought(
                    bot,
                    told(id="1", reactions=()),
                    reactions=[counted(reaction()), broken],
                    cursor={"seq": 9},
                    catch_up=True,
                )
            ]
        )

    assert [event.kind for event in bot.events.order_by("pk")] == [
        "message.posted",
        "reaction.added",
        "gap",
    ]
    assert Connection.objects.get(bot=bot).cursor == {"seq": 9}


@pytest.mark.parametrize("seed", range(20))
def test_stream_and_count_together_tell_a_story_that_holds(seed):
    """Whatever is heard live, missed, or told by both ways, the events add up to the state."""
    dice = random.Random(seed)
    bot = make_bot()
    receive(bot, told(id="1"))
    truth: dict[tuple[str, str], Reaction] = {}
    for turn in range(30):
        person, name = dice.choice([ALICE, BOB]), dice.choice(["tada", "wave"])
        given, at = (person.id, name), NOON + turn * MINUTE
        if given in truth:
            del truth[given]
            event = removed(f"{turn}", name=name, person=person)
        else:
            truth[given] = reaction(name, person, at)
            event = added(f"{turn}", name=name, person=person)
        now = counted(*truth.values(), since=at)
        for way in dice.choice([[], ["live"], ["count"], ["live", "count"], ["count", "live"]]):
            if way == "live":
                receive(bot, event)
            else:
                catch_up(bot, now)
                assert reactions_of(bot) == set(truth)
    catch_up(bot, counted(*truth.values()))

    told_of: set[tuple[str, str]] = set()
    for change, person_id, name in story(bot):
        assert ((person_id, name) in told_of) == (change == "removed")
        told_of ^= {(person_id, name)}
    assert told_of == reactions_of(bot) == set(truth)
