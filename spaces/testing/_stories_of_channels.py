"""The part of `conformance` about channels and the people in them."""

from __future__ import annotations

import pytest

from spaces.platforms.contract import Ability
from spaces.platforms.errors import NotFound
from spaces.platforms.messages import ChannelChange, ChannelKind, Kind, NewChannel, PersonRef, Role
from spaces.testing.scene import caught_up, make_channel, new_key, new_name, participants, text_to


class StoriesOfChannels:
    def test_the_bot_lists_and_finds_its_channels(self, scene, needs):
        needs(Ability.LIST_CHANNELS, Ability.FIND_CHANNEL)
        (listed,) = [info for info in scene.bot.list_channels() if info.id == scene.channel]

        assert scene.bot.find_channel(id=scene.channel).id == listed.id
        if listed.name:
            assert scene.bot.find_channel(name=listed.name).id == listed.id

    @pytest.mark.parametrize("wanted", [{"id": "no-such-channel"}, {"name": "no-such-channel"}])
    def test_a_channel_that_is_not_there_is_not_found(self, scene, needs, wanted):
        needs(Ability.FIND_CHANNEL)

        with pytest.raises(NotFound):
            scene.bot.find_channel(**wanted)

    def test_the_direct_channel_is_found_by_its_person(self, scene, needs):
        needs(Ability.FIND_CHANNEL, Ability.DIRECT)
        friend = scene.other.connect().person
        sent = scene.bot.post_message(text_to(friend, "psst"))

        found = scene.bot.find_channel(person=PersonRef(id=friend.id))

        assert (found.id, found.kind) == (sent.channel_id, ChannelKind.DIRECT)
        assert found.peer is not None
        assert found.peer.id == friend.id

    def test_a_channel_lives_and_ends(self, scene, needs):
        needs(Ability.CREATE_CHANNEL, Ability.UPDATE_CHANNEL, Ability.ARCHIVE_CHANNEL)
        needs(Ability.LIST_CHANNELS)
        new = NewChannel(key=new_key(), kind=ChannelKind.PRIVATE, name=new_name("ops"), title="Ops")
        assert scene.bot.find_created(new) is None

        made, _ = scene.bot.create_channel(new)
        changed = scene.bot.update_channel(
            made.id, ChannelChange(title="Operations", topic="pagers")
        )
        scene.bot.archive_channel(made.id)

        found = scene.bot.find_created(new)
        assert found is not None
        assert found.id == made.id
        assert (changed.title, changed.topic) == ("Operations", "pagers")
        assert made.id not in [info.id for info in scene.bot.list_channels()]

    def test_an_archived_channel_comes_back(self, scene, needs):
        needs(Ability.CREATE_CHANNEL, Ability.ARCHIVE_CHANNEL, Ability.RESTORE_CHANNEL)
        needs(Ability.LIST_CHANNELS)
        made = make_channel(scene, ChannelKind.PUBLIC)
        scene.bot.archive_channel(made.id)

        restored = [scene.bot.restore_channel(made.id) for _ in range(2)]

        assert [(info.id, info.archived) for info in restored] == [(made.id, False)] * 2
        assert made.id in [info.id for info in scene.bot.list_channels()]

    def test_a_channel_gets_another_name(self, scene, needs):
        needs(Ability.CREATE_CHANNEL, Ability.UPDATE_CHANNEL, Ability.RENAME_CHANNEL)
        made, name = make_channel(scene, ChannelKind.PUBLIC), new_name("renamed")

        changed = scene.bot.update_channel(made.id, ChannelChange(name=name))

        assert (changed.id, changed.name, changed.title) == (made.id, name, made.title)

    def test_a_channel_has_a_purpose_from_the_start_or_later(self, scene, needs):
        needs(Ability.CREATE_CHANNEL, Ability.UPDATE_CHANNEL, Ability.CHANNEL_PURPOSE)
        made = make_channel(scene, ChannelKind.PUBLIC, purpose="to see")

        changed = scene.bot.update_channel(made.id, ChannelChange(purpose="to be seen"))

        assert (made.purpose, changed.purpose) == ("to see", "to be seen")
        assert changed.topic == made.topic

    def test_a_public_channel_becomes_private_and_public_again(self, scene, needs):
        needs(Ability.CREATE_CHANNEL, Ability.UPDATE_CHANNEL, Ability.CONVERT_CHANNEL)
        made = make_channel(scene, ChannelKind.PUBLIC)

        kinds = [
            scene.bot.update_channel(made.id, ChannelChange(kind=kind)).kind
            for kind in (ChannelKind.PRIVATE, ChannelKind.PUBLIC)
        ]

        assert kinds == [ChannelKind.PRIVATE, ChannelKind.PUBLIC]

    def test_a_new_channel_brings_an_outcome_for_everybody_asked_in(self, scene, needs):
        needs(Ability.CREATE_CHANNEL)
        people = (scene.stranger, PersonRef(username="nobody-of-that-name"))

        _, outcomes = scene.bot.create_channel(
            NewChannel(
                key=new_key(), kind=ChannelKind.PRIVATE, name=new_name("crew"), people=people
            )
        )

        assert [outcome.ok for outcome in outcomes] == [True, False]

    def test_the_bot_leaves_and_joins(self, scene, needs):
        needs(Ability.JOIN_LEAVE, Ability.LIST_CHANNELS)

        scene.bot.leave_channel(scene.channel)
        while_away = [info.id for info in scene.bot.list_channels()]
        joined = scene.bot.join_channel(scene.channel)

        assert scene.channel not in while_away
        assert joined.id == scene.channel
        assert scene.channel in [info.id for info in scene.bot.list_channels()]

    def test_what_the_bot_may_join_is_listed_and_what_it_is_in_is_not(self, scene, needs):
        needs(Ability.LIST_JOINABLE, Ability.CREATE_CHANNEL, Ability.JOIN_LEAVE)
        made, hidden = (
            make_channel(scene, kind) for kind in (ChannelKind.PUBLIC, ChannelKind.PRIVATE)
        )

        inside = {info.id for info in scene.bot.list_joinable_channels()}
        scene.bot.leave_channel(made.id)
        scene.bot.leave_channel(hidden.id)
        outside = {info.id: info for info in scene.bot.list_joinable_channels()}

        assert made.id not in inside
        assert (outside[made.id].title, outside[made.id].kind) == (made.title, ChannelKind.PUBLIC)
        assert hidden.id not in outside

    # People -----------------------------------------------------------------------------------

    def test_a_person_is_found_by_id_and_by_username(self, scene, needs):
        needs(Ability.FIND_PERSON)
        friend = scene.other.connect().person

        assert scene.bot.find_person(PersonRef(id=friend.id)).id == friend.id
        if friend.username:
            found = scene.bot.find_person(PersonRef(username=friend.username))
            assert found.id == friend.id
        with pytest.raises(NotFound):
            scene.bot.find_person(PersonRef(username="nobody-of-that-name"))

    def test_each_person_has_an_outcome_and_one_bad_one_stops_nobody(self, scene, needs):
        needs(Ability.ADD_PARTICIPANTS, Ability.REMOVE_PARTICIPANTS, Ability.LIST_PARTICIPANTS)
        friend = scene.other.connect().person
        asked = [PersonRef(username="nobody-of-that-name"), scene.stranger, PersonRef(id=friend.id)]

        added = scene.bot.add_participants(scene.channel, asked)
        inside = participants(scene)
        removed = scene.bot.remove_participants(scene.channel, asked[:2])

        assert [outcome.asked for outcome in added] == [str(ref) for ref in asked]
        assert [outcome.ok for outcome in added] == [False, True, True]
        assert added[0].code
        newcomer = added[1].person
        assert newcomer is not None
        assert newcomer.id in inside
        assert [outcome.ok for outcome in removed] == [False, True]
        assert newcomer.id not in participants(scene)

    def test_the_members_are_told_who_comes_and_goes(self, scene, needs):
        needs(Ability.ADD_PARTICIPANTS, Ability.REMOVE_PARTICIPANTS, Ability.CATCH_UP)
        cursor = scene.other.start_cursor()

        (outcome,) = scene.bot.add_participants(scene.channel, [scene.stranger])
        scene.bot.remove_participants(scene.channel, [scene.stranger])

        told = caught_up(scene.other, cursor)
        changes = [i for i in told if i.kind.value.startswith("participant.")]
        assert [(i.kind, [p.id for p in i.people]) for i in changes] == [
            (Kind.PARTICIPANT_JOINED, [outcome.person.id]),
            (Kind.PARTICIPANT_LEFT, [outcome.person.id]),
        ]

    def test_somebody_added_as_moderator_is_one(self, scene, needs):
        needs(Ability.MODERATORS, Ability.ADD_PARTICIPANTS, Ability.LIST_PARTICIPANTS)

        (outcome,) = scene.bot.add_participants(scene.channel, [scene.stranger], moderator=True)

        roles = {p.person.id: p.role for p in scene.bot.list_participants(scene.channel)}
        assert roles[outcome.person.id] is Role.MODERATOR
