"""Sync: what platforms tell, written once, whoever tells it and however often."""

from __future__ import annotations

import pytest

from spaces import sync
from spaces.models import Channel, Participant, Person, Space
from spaces.platforms.messages import (
    ChannelInfo,
    ChannelKind,
    ParticipantInfo,
    PersonInfo,
    Role,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def space() -> Space:
    return Space.objects.create(slug="acme", name="Acme", platform="local")


def person(number: int, **changes) -> PersonInfo:
    return PersonInfo(**{"id": f"p{number}", "username": f"user{number}"} | changes)


def room(number: int, **changes) -> ChannelInfo:
    given = {"id": f"c{number}", "kind": ChannelKind.PUBLIC, "name": f"room{number}"}
    return ChannelInfo(**given | changes)


def test_people_are_known_by_the_platforms_id_and_renamed_in_place(space):
    (first,) = sync.people(space.pk, [person(1)]).values()
    (again,) = sync.people(space.pk, [person(1, username="renamed")]).values()

    assert first == again
    assert Person.objects.get().username == "renamed"


def test_what_a_later_word_leaves_out_is_kept(space):
    sync.people(space.pk, [person(1, email="one@example.com")])

    sync.people(space.pk, [PersonInfo(id="p1")])

    kept = Person.objects.get()
    assert (kept.username, kept.email) == ("user1", "one@example.com")


def test_two_spaces_may_know_the_same_id(space):
    other = Space.objects.create(slug="other", name="Other", platform="local")

    ids = [sync.people(s.pk, [person(1)])["p1"] for s in (space, other)]

    assert len(set(ids)) == 2


@pytest.mark.parametrize("known", [True, False])
def test_the_number_of_queries_does_not_grow(space, django_assert_max_num_queries, known):
    if known:
        sync.people(space.pk, [person(n) for n in range(60)])
        sync.channels(space.pk, [room(n) for n in range(60)])

    with django_assert_max_num_queries(3):
        sync.people(space.pk, [person(n) for n in range(60)])
    with django_assert_max_num_queries(3):
        sync.channels(space.pk, [room(n) for n in range(60)])


def test_channels_follow_their_titles_and_purposes(space):
    sync.channels(space.pk, [room(1, title="Old", purpose="To meet")])
    sync.channels(space.pk, [room(1, title="New", purpose="To part", archived=True)])

    channel = Channel.objects.get()
    assert (channel.title, channel.purpose, channel.archived) == ("New", "To part", True)


def test_a_channel_that_was_only_named_is_described_later(space):
    named = sync.named_channels(space.pk, ["c1"], kind=ChannelKind.PRIVATE)
    described = sync.channels(space.pk, [room(1)])

    assert named == described
    assert Channel.objects.get().kind == "public"


def test_a_listing_of_participants_adds_changes_and_removes(space):
    channel_id = sync.channels(space.pk, [room(1)])["c1"]
    first = [ParticipantInfo(person=person(n)) for n in (1, 2)]
    sync.participants(channel_id, space.pk, first)

    then = [
        ParticipantInfo(person=person(2), role=Role.MODERATOR),
        ParticipantInfo(person=person(3)),
    ]
    sync.participants(channel_id, space.pk, then)

    found = Participant.objects.order_by("person__username")
    assert [(p.person.username, p.role) for p in found] == [
        ("user2", "moderator"),
        ("user3", "member"),
    ]


def test_a_bots_channels_are_those_listed_and_no_others(space):
    bot = sync.people(space.pk, [person(9, is_bot=True)])["p9"]
    sync.bot_channels(space.pk, bot, [room(1), room(2)])

    direct = room(3, kind=ChannelKind.DIRECT, peer=person(1))
    sync.bot_channels(space.pk, bot, [room(2), direct])

    mine = Channel.objects.filter(participants__person=bot)
    assert {c.remote_id for c in mine} == {"c2", "c3"}
    others = Participant.objects.filter(channel__remote_id="c3").exclude(person=bot)
    assert [p.person.username for p in others] == ["user1"]
