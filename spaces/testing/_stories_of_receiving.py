"""The part of `conformance` about streams, catching up and history."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from spaces.platforms.contract import Ability
from spaces.platforms.errors import PlatformError
from spaces.platforms.messages import Kind
from spaces.testing.scene import (
    by_people,
    caught_up,
    file,
    of_kind,
    post_numbers,
    read_until,
    text_for,
    texts,
    wait_for_frames,
)


class StoriesOfReceiving:
    def test_catching_up_gives_what_happened_in_order_and_once(self, scene, needs):
        needs(Ability.POST, Ability.CATCH_UP)
        scene.other.post_message(text_for(scene, "before"))
        cursor = scene.bot.start_cursor()
        for number in range(5):
            scene.other.post_message(text_for(scene, f"message {number}"))

        told = caught_up(scene.bot, cursor)

        assert sorted(i.text for i in told) == [f"message {number}" for number in range(5)]
        # What a platform dates to the same moment may come either way.
        dates = [i.occurred_at for i in told]
        assert dates == sorted(dates)
        assert len({i.id for i in told}) == len(told)

    def test_catching_up_goes_on_where_it_ended(self, scene, needs):
        needs(Ability.POST, Ability.CATCH_UP)
        cursor = scene.bot.start_cursor()
        scene.other.post_message(text_for(scene, "first"))
        batches = list(scene.bot.catch_up(cursor))
        scene.other.post_message(text_for(scene, "second"))

        told = caught_up(scene.bot, {**cursor, **batches[-1].cursor})

        known = {i.id for i in by_people(batches)}
        assert [i.text for i in told if i.id not in known] == ["second"]

    def test_catching_up_on_nothing_still_tells_where_now_is(self, scene, needs):
        needs(Ability.CATCH_UP)
        batches = list(scene.bot.catch_up(scene.bot.start_cursor()))

        assert by_people(batches) == []
        assert batches[-1].cursor

    def test_stream_and_catching_up_together_lose_nothing(self, scene, needs):
        needs(Ability.POST, Ability.CATCH_UP, Ability.STREAM)
        cursor = scene.bot.start_cursor()
        scene.other.post_message(text_for(scene, "while away"))
        stream = scene.bot.open_stream(cursor)
        try:
            scene.other.post_message(text_for(scene, "meanwhile"))
            told = caught_up(scene.bot, cursor)
            scene.other.post_message(text_for(scene, "live"))
            told += read_until(scene.bot, stream, lambda i: i.text == "live")
        finally:
            stream.close()

        posted = {i.id: i for i in of_kind(Kind.MESSAGE_POSTED, told)}
        assert sorted(i.text for i in posted.values()) == ["live", "meanwhile", "while away"]

    def test_a_living_stream_answers_the_heartbeat(self, scene, needs):
        needs(Ability.STREAM)
        stream = scene.bot.open_stream({})
        try:
            stream.beat()
            frames = wait_for_frames(stream)
        finally:
            stream.close()

        told = [incoming for frame in frames for incoming in scene.bot.decode(frame)]
        assert frames
        assert {i.kind for i in told} <= {Kind.PRESENCE_CHANGED}  # that the bot is there now

    def test_a_closed_stream_says_so(self, scene, needs):
        needs(Ability.STREAM)
        stream = scene.bot.open_stream({})
        stream.close()

        with pytest.raises(PlatformError):
            stream.receive()

    def test_what_is_no_frame_is_not_decoded(self, scene, needs):
        needs(Ability.STREAM)

        with pytest.raises(ValueError):  # noqa: PT011 - any of them
            scene.bot.decode(b"\xff not a frame")

    # History ----------------------------------------------------------------------------------

    def test_history_is_newest_first_and_ends_after_the_quantity(self, scene, needs):
        needs(Ability.HISTORY)
        post_numbers(scene, 4)

        assert texts(scene.bot.history(scene.channel, quantity=3)) == ["3", "2", "1"]
        assert texts(scene.bot.history(scene.channel, quantity=0)) == []

    def test_history_ends_before_the_stop_id(self, scene, needs):
        needs(Ability.HISTORY)
        sent = post_numbers(scene, 4)

        told = scene.bot.history(scene.channel, stop_id=sent[1].message_id)

        assert texts(told) == ["3", "2"]

    def test_history_ends_at_the_first_message_before_a_time(self, scene, needs):
        needs(Ability.HISTORY)
        sent = post_numbers(scene, 3)

        everything = scene.bot.history(scene.channel, up_to=sent[0].sent_at)
        nothing = scene.bot.history(
            scene.channel, up_to=sent[-1].sent_at + timedelta(milliseconds=1)
        )

        assert texts(everything) == ["2", "1", "0"]
        assert texts(nothing) == []

    def test_history_passes_over_messages_without_files_and_does_not_count_them(self, scene, needs):
        needs(Ability.HISTORY, Ability.FILES)
        for number in range(2):
            message = text_for(scene, f"file {number}")
            scene.bot.post_message(replace(message, files=(file(b"content"),)))
        post_numbers(scene, 2)

        told = scene.bot.history(scene.channel, quantity=2, with_attachment=True)

        assert texts(told) == ["file 1", "file 0"]

    def test_history_and_catching_up_tell_of_a_message_under_one_id(self, scene, needs):
        needs(Ability.HISTORY, Ability.CATCH_UP)
        cursor = scene.bot.start_cursor()
        scene.other.post_message(text_for(scene, "the same"))

        (told,) = caught_up(scene.bot, cursor)
        (remembered,) = scene.bot.history(scene.channel, quantity=1)

        assert (told.id, told.message_id) == (remembered.id, remembered.message_id)
