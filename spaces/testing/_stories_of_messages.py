"""The part of `conformance` about sending messages and what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from spaces.platforms.contract import Ability
from spaces.platforms.errors import NotFound
from spaces.platforms.messages import Card, Kind, PersonRef, Presence
from spaces.testing.scene import (
    by_people,
    caught_up,
    file,
    listening,
    of_kind,
    post_numbers,
    reactions_told,
    text_for,
    text_to,
    texts,
)


class StoriesOfMessages:
    def test_a_posted_message_arrives(self, scene, needs):
        needs(Ability.POST, Ability.CATCH_UP)
        cursor = scene.other.start_cursor()

        sent = scene.bot.post_message(text_for(scene, "hello **world**"))

        (told,) = of_kind(Kind.MESSAGE_POSTED, caught_up(scene.other, cursor))
        assert (told.message_id, told.channel_id) == (sent.message_id, scene.channel)
        assert told.text == "hello **world**"
        assert told.person is not None
        assert told.person.id == scene.bot.connect().person.id
        assert not told.own
        assert told.occurred_at.tzinfo is not None

    def test_what_the_bot_says_comes_back_as_its_own(self, scene, needs):
        needs(Ability.POST, Ability.CATCH_UP)
        cursor = scene.bot.start_cursor()

        scene.bot.post_message(text_for(scene, "my own words"))

        assert all(i.own for i in of_kind(Kind.MESSAGE_POSTED, caught_up(scene.bot, cursor)))

    def test_a_repeated_key_posts_once(self, scene, needs):
        needs(Ability.POST, Ability.CATCH_UP)
        if not scene.drops_repeats:
            pytest.skip(f"{scene.bot.label} cannot tell a repetition")
        cursor, message = scene.other.start_cursor(), text_for(scene, "only once")

        first, second = scene.bot.post_message(message), scene.bot.post_message(message)

        assert first.message_id == second.message_id
        assert len(of_kind(Kind.MESSAGE_POSTED, caught_up(scene.other, cursor))) == 1

    def test_what_went_out_is_found(self, scene, needs):
        needs(Ability.FIND_SENT)
        message = replace(text_for(scene, "did it?"), not_before=datetime.now(UTC))

        sent = scene.bot.post_message(message)

        found = scene.bot.find_sent(message)
        assert found is not None
        assert (found.message_id, found.channel_id) == (sent.message_id, sent.channel_id)

    def test_what_never_went_out_is_not_found(self, scene, needs):
        needs(Ability.FIND_SENT)
        never = replace(text_for(scene, "never"), not_before=datetime.now(UTC))

        assert scene.bot.find_sent(never) is None

    def test_a_message_to_nowhere_is_refused(self, scene, needs):
        needs(Ability.POST)

        with pytest.raises(NotFound):
            scene.bot.post_message(replace(text_for(scene, "hello?"), channel="no-such-channel"))

    def test_a_card_arrives(self, scene, needs):
        needs(Ability.CARDS, Ability.HISTORY)
        card = Card(title="Build 7", body="is **green**", fields=(("branch", "main"),))

        scene.bot.post_message(replace(text_for(scene, ""), card=card))

        (told,) = scene.other.history(scene.channel, quantity=1)
        assert told.card is not None
        assert (told.card.title, told.card.fields) == (card.title, card.fields)

    def test_a_file_arrives_byte_for_byte(self, scene, needs):
        needs(Ability.FILES, Ability.HISTORY, Ability.DOWNLOAD)

        scene.bot.post_message(replace(text_for(scene, "see"), files=(file(b"\x00\xffdata"),)))

        (told,) = scene.other.history(scene.channel, quantity=1)
        (info,) = told.files
        assert (info.name, info.size) == ("notes.bin", 6)
        with scene.other.download_file(info.id) as content:
            assert content.read() == b"\x00\xffdata"

    def test_an_answer_stays_in_its_thread(self, scene, needs):
        needs(Ability.THREADS, Ability.HISTORY)
        root = scene.other.post_message(text_for(scene, "a question"))

        scene.bot.post_message(replace(text_for(scene, "an answer"), thread=root.message_id))

        (told,) = scene.other.history(scene.channel, quantity=1)
        assert told.thread == root.message_id

    def test_a_direct_message_reaches_one_person_in_a_channel_of_two(self, scene, needs):
        needs(Ability.DIRECT, Ability.CATCH_UP)
        friend = scene.other.connect().person
        cursor, direct = scene.other.start_cursor(), text_to(friend, "psst")

        first = scene.bot.post_message(direct)
        second = scene.bot.post_message(text_to(friend, "psst again"))

        told = of_kind(Kind.MESSAGE_POSTED, caught_up(scene.other, cursor))
        assert [i.text for i in told] == ["psst", "psst again"]
        assert {i.channel_id for i in told} == {first.channel_id} == {second.channel_id}

    def test_an_edited_message_changes(self, scene, needs):
        needs(Ability.EDIT, Ability.CATCH_UP, Ability.HISTORY)
        sent = scene.bot.post_message(text_for(scene, "helo"))
        cursor = scene.other.start_cursor()

        scene.bot.edit_message(scene.channel, sent.message_id, "hello")

        (told,) = of_kind(Kind.MESSAGE_EDITED, caught_up(scene.other, cursor))
        assert (told.message_id, told.text) == (sent.message_id, "hello")
        assert next(scene.other.history(scene.channel)).text == "hello"

    def test_a_deleted_message_is_gone(self, scene, needs):
        needs(Ability.DELETE, Ability.CATCH_UP, Ability.HISTORY)
        sent = scene.bot.post_message(text_for(scene, "oops"))
        cursor = scene.other.start_cursor()

        scene.bot.delete_message(scene.channel, sent.message_id)

        (told,) = of_kind(Kind.MESSAGE_DELETED, caught_up(scene.other, cursor))
        assert told.message_id == sent.message_id
        assert sent.message_id not in [i.message_id for i in scene.other.history(scene.channel)]

    def test_a_reaction_comes_once_and_goes(self, scene, needs):
        needs(Ability.REACT, Ability.CATCH_UP if scene.logs_reactions else Ability.STREAM)
        sent = scene.other.post_message(text_for(scene, "lunch?"))

        def react_twice_and_take_it_back() -> None:
            scene.bot.react(scene.channel, sent.message_id, "thumbsup")
            scene.bot.react(scene.channel, sent.message_id, "thumbsup")
            scene.bot.unreact(scene.channel, sent.message_id, "thumbsup")

        told = reactions_told(scene, sent.message_id, react_twice_and_take_it_back)
        assert told == [(Kind.REACTION_ADDED, "thumbsup"), (Kind.REACTION_REMOVED, "thumbsup")]

    def test_a_reaction_that_stays_is_told_by_catching_up(self, scene, needs):
        needs(Ability.REACT, Ability.CATCH_UP)
        sent = scene.other.post_message(text_for(scene, "dinner?"))
        cursor = scene.other.start_cursor()

        scene.bot.react(scene.channel, sent.message_id, "thumbsup")

        batches = list(scene.other.catch_up(cursor))
        added = of_kind(Kind.REACTION_ADDED, by_people(batches))
        told = {(i.message_id, i.reaction, i.person.id) for i in added}
        told |= {
            (whole.message_id, reaction.name, reaction.person.id)
            for batch in batches
            for whole in batch.reactions
            for reaction in whole.reactions
        }
        assert (sent.message_id, "thumbsup", scene.bot.connect().person.id) in told

    def test_pinned_messages_are_listed_until_they_are_unpinned(self, scene, needs):
        needs(Ability.PIN)
        first, _, third = post_numbers(scene, 3)

        for message in (first, third, third):
            scene.bot.pin_message(scene.channel, message.message_id)
        both = list(scene.other.list_pinned(scene.channel))
        for _ in range(2):
            scene.bot.unpin_message(scene.channel, first.message_id)

        assert [(i.message_id, i.text) for i in both] == [
            (third.message_id, "2"),
            (first.message_id, "0"),
        ]
        assert {i.kind for i in both} == {Kind.MESSAGE_POSTED}
        left = [i.message_id for i in scene.other.list_pinned(scene.channel)]
        assert left == [third.message_id]

    def test_what_is_only_for_one_person_is_seen_now_and_never_again(self, scene, needs):
        needs(Ability.EPHEMERAL, Ability.STREAM, Ability.CATCH_UP, Ability.HISTORY)
        if not scene.tells_ephemeral:
            pytest.skip(f"{scene.bot.label} does not let us see it")
        friend = PersonRef(id=scene.other.connect().person.id)
        whisper = replace(text_for(scene, "between us"), only_for=friend)
        cursor = scene.other.start_cursor()

        with listening(scene.other) as heard:
            scene.bot.post_message(whisper)
            told = heard(Kind.MESSAGE_POSTED)

        assert (told.text, told.channel_id) == ("between us", scene.channel)
        assert "between us" not in [i.text for i in caught_up(scene.other, cursor)]
        assert "between us" not in texts(scene.other.history(scene.channel))

    def test_others_see_the_bot_typing(self, scene, needs):
        needs(Ability.TYPING, Ability.STREAM)

        with listening(scene.other) as heard:
            scene.bot.typing(scene.channel)
            told = heard(Kind.TYPING)

        assert told.person is not None
        assert (told.channel_id, told.person.id) == (
            scene.channel,
            scene.bot.connect().person.id,
        )

    def test_others_see_the_bots_presence(self, scene, needs):
        needs(Ability.PRESENCE, Ability.STREAM)
        if not scene.tells_presence:
            pytest.skip(f"{scene.bot.label} does not tell others")

        with listening(scene.other) as heard:
            scene.bot.set_presence(Presence.DND, "deploying")
            told = heard(Kind.PRESENCE_CHANGED)

        assert (told.person, told.presence) == (scene.bot.connect().person, Presence.DND)
