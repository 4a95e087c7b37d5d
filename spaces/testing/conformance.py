"""The contract as stories. Every platform's tests inherit them and set the scene.

    class TestWebex(PlatformConformance):
        @pytest.fixture
        def scene(self, webex_server) -> Scene:
            return Scene(bot=…, other=…, channel=…, stranger=PersonRef(username="charlie"))

Stories of abilities that a platform does not declare are skipped; that calling them is refused
without a word to the server is a story of its own.
"""

from __future__ import annotations

import io
import select
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spaces.platforms import trace
from spaces.platforms.contract import OPERATIONS, Ability, Platform, Stream, mismatches
from spaces.platforms.errors import NotFound, PlatformError, Rejected, Unsupported
from spaces.platforms.messages import (
    Card,
    ChannelKind,
    Cursor,
    File,
    Incoming,
    Kind,
    NewChannel,
    Outgoing,
    PersonInfo,
    PersonRef,
    Presence,
    Role,
)

PATIENCE_SECONDS = 10  # a stream that brings nothing for so long brings nothing at all

# Arguments that only have to reach the operation: it must refuse before it looks at them.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "post_message": (Outgoing(key="k", channel="1", text="hello"),),
    "edit_message": ("1", "1", "hello"),
    "delete_message": ("1", "1"),
    "react": ("1", "1", "wave"),
    "unreact": ("1", "1", "wave"),
    "typing": ("1",),
    "set_presence": (Presence.AWAY,),
    "create_channel": (NewChannel(key="k", kind=ChannelKind.PUBLIC, name="n"),),
    "find_created": (NewChannel(key="k", kind=ChannelKind.PUBLIC, name="n"),),
    "update_channel": ("1",),
    "archive_channel": ("1",),
    "join_channel": ("1",),
    "leave_channel": ("1",),
    "find_person": (PersonRef(username="n"),),
    "list_participants": ("1",),
    "add_participants": ("1", ()),
    "remove_participants": ("1", ()),
    "mark_read": ("1", "1"),
    "set_read_receipts": (True,),
    "catch_up": ({},),
    "open_stream": ({},),
    "decode": (b"{}",),
    "history": ("1",),
    "download_file": ("1",),
    "find_sent": (Outgoing(key="k", channel="1", text="hello"),),
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Two accounts in one channel, and somebody of the same space who is not in it.

    `nothing_sent` is a context manager that fails when something reaches the server inside it.
    `drops_repeats` says that the server knows our keys and posts a repeated message once.
    """

    bot: Platform
    other: Platform
    channel: str  # id
    stranger: PersonRef
    nothing_sent: Callable[[], AbstractContextManager[Any]] = field(default=nullcontext)
    drops_repeats: bool = False


class PlatformConformance:
    @pytest.fixture
    def scene(self) -> Scene:
        raise NotImplementedError("every platform sets its own scene")

    @pytest.fixture
    def needs(self, scene: Scene) -> Callable[..., None]:
        def check(*abilities: Ability) -> None:
            if missing := set(abilities) - scene.bot.abilities:
                pytest.skip(f"{scene.bot.label} cannot {', '.join(sorted(missing))}")

        return check

    # What is declared -------------------------------------------------------------------------

    def test_it_can_do_what_it_declares_and_nothing_else(self, scene):
        assert mismatches(type(scene.bot)) == []

    def test_what_it_cannot_do_it_refuses_before_anything_is_sent(self, scene):
        for ability in set(OPERATIONS) - scene.bot.abilities:
            for operation in OPERATIONS[ability]:
                with scene.nothing_sent(), pytest.raises(Unsupported):
                    getattr(scene.bot, operation)(*ARGUMENTS.get(operation, ()))

    # Identity ---------------------------------------------------------------------------------

    def test_it_says_who_the_bot_is(self, scene):
        first, again = scene.bot.connect(), scene.bot.connect()

        assert first.person.id
        assert first.person == again.person
        assert first.person.id != scene.other.connect().person.id

    def test_findings_have_a_level_that_operators_know(self, scene):
        findings = scene.bot.check(scene.bot.connect())

        assert {finding.level for finding in findings} <= {"ok", "warning", "error"}

    def test_closing_twice_is_fine(self, scene):
        scene.bot.close()
        scene.bot.close()

    def test_secrets_show_neither_in_repr_nor_in_the_trace(self, scene):
        secrets = scene.bot.account.credentials
        with trace.collect(secrets) as seen:
            scene.bot.connect()
            scene.bot.post_message(text_for(scene, "nothing to see"))

        shown = repr((scene.bot, scene.bot.account, seen, seen.request, seen.response))
        assert seen.request
        assert seen.response
        assert [name for name, secret in secrets.items() if secret and secret in shown] == []

    # Sending ----------------------------------------------------------------------------------

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
        needs(Ability.REACT, Ability.CATCH_UP)
        sent = scene.other.post_message(text_for(scene, "lunch?"))
        cursor = scene.other.start_cursor()

        scene.bot.react(scene.channel, sent.message_id, "thumbsup")
        scene.bot.react(scene.channel, sent.message_id, "thumbsup")
        scene.bot.unreact(scene.channel, sent.message_id, "thumbsup")

        told = caught_up(scene.other, cursor)
        assert [(i.kind, i.message_id, i.reaction) for i in told] == [
            (Kind.REACTION_ADDED, sent.message_id, "thumbsup"),
            (Kind.REACTION_REMOVED, sent.message_id, "thumbsup"),
        ]

    def test_others_see_the_bot_typing(self, scene, needs):
        needs(Ability.TYPING, Ability.STREAM)

        with listening(scene.other) as heard:
            scene.bot.typing(scene.channel)
            told = heard(Kind.TYPING)

        assert (told.channel_id, told.person) == (scene.channel, scene.bot.connect().person)

    def test_others_see_the_bots_presence(self, scene, needs):
        needs(Ability.PRESENCE, Ability.STREAM)

        with listening(scene.other) as heard:
            scene.bot.set_presence(Presence.DND, "deploying")
            told = heard(Kind.PRESENCE_CHANGED)

        assert (told.person, told.presence) == (scene.bot.connect().person, Presence.DND)

    # Channels ---------------------------------------------------------------------------------

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
        new = NewChannel(key=new_key(), kind=ChannelKind.PRIVATE, name="ops-2", title="Ops")
        assert scene.bot.find_created(new) is None

        made, _ = scene.bot.create_channel(new)
        changed = scene.bot.update_channel(made.id, title="Operations", topic="pagers")
        scene.bot.archive_channel(made.id)

        found = scene.bot.find_created(new)
        assert found is not None
        assert found.id == made.id
        assert (changed.title, changed.topic) == ("Operations", "pagers")
        assert made.id not in [info.id for info in scene.bot.list_channels()]

    def test_a_new_channel_brings_an_outcome_for_everybody_asked_in(self, scene, needs):
        needs(Ability.CREATE_CHANNEL)
        people = (scene.stranger, PersonRef(username="nobody-of-that-name"))

        _, outcomes = scene.bot.create_channel(
            NewChannel(key=new_key(), kind=ChannelKind.PRIVATE, name="crew", people=people)
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

    # Receipts ---------------------------------------------------------------------------------

    def test_a_read_receipt_reaches_the_author(self, scene, needs):
        needs(Ability.MARK_READ, Ability.STREAM)
        sent = scene.other.post_message(text_for(scene, "did you see this?"))

        with listening(scene.other) as heard:
            scene.bot.mark_read(scene.channel, sent.message_id)
            told = heard(Kind.MESSAGE_READ)

        assert (told.message_id, told.person) == (sent.message_id, scene.bot.connect().person)

    def test_the_read_receipt_setting_changes_or_says_why_not(self, scene, needs):
        needs(Ability.READ_RECEIPTS)
        refused = ""
        try:
            scene.bot.set_read_receipts(False)
        except Rejected as error:
            refused = error.code

        assert refused in ("", "read_receipts_locked")
        assert scene.bot.connect().read_receipts is bool(refused)

    # Receiving --------------------------------------------------------------------------------

    def test_catching_up_gives_what_happened_in_order_and_once(self, scene, needs):
        needs(Ability.POST, Ability.CATCH_UP)
        scene.other.post_message(text_for(scene, "before"))
        cursor = scene.bot.start_cursor()
        for number in range(5):
            scene.other.post_message(text_for(scene, f"message {number}"))

        told = caught_up(scene.bot, cursor)

        assert [i.text for i in told] == [f"message {number}" for number in range(5)]
        assert len({i.id for i in told}) == len(told)

    def test_catching_up_goes_on_where_it_ended(self, scene, needs):
        needs(Ability.POST, Ability.CATCH_UP)
        cursor = scene.bot.start_cursor()
        scene.other.post_message(text_for(scene, "first"))
        *_, last = scene.bot.catch_up(cursor)
        scene.other.post_message(text_for(scene, "second"))

        told = caught_up(scene.bot, {**cursor, **last.cursor})

        assert [i.text for i in told] == ["second"]

    def test_catching_up_on_nothing_still_tells_where_now_is(self, scene, needs):
        needs(Ability.CATCH_UP)
        (batch,) = scene.bot.catch_up(scene.bot.start_cursor())

        assert batch.incoming == ()
        assert batch.cursor

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

        assert [scene.bot.decode(frame) for frame in frames] == [[] for _ in frames]

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


# What the stories are told with -------------------------------------------------------------------


def new_key() -> str:
    return uuid.uuid4().hex


def text_for(scene: Scene, text: str) -> Outgoing:
    return Outgoing(key=new_key(), channel=scene.channel, text=text)


def text_to(friend: PersonInfo, text: str) -> Outgoing:
    return Outgoing(key=new_key(), person=PersonRef(id=friend.id), text=text)


def file(content: bytes, name: str = "notes.bin") -> File:
    return File(
        name=name,
        content_type="application/octet-stream",
        size=len(content),
        open=lambda: io.BytesIO(content),
    )


def post_numbers(scene: Scene, quantity: int) -> list[Any]:
    return [scene.other.post_message(text_for(scene, str(number))) for number in range(quantity)]


def texts(told: Iterator[Incoming]) -> list[str]:
    return [incoming.text for incoming in told]


def participants(scene: Scene) -> set[str]:
    return {member.person.id for member in scene.bot.list_participants(scene.channel)}


def caught_up(platform: Platform, cursor: Cursor) -> list[Incoming]:
    return [incoming for batch in platform.catch_up(cursor) for incoming in batch.incoming]


def of_kind(kind: Kind, told: list[Incoming]) -> list[Incoming]:
    return [incoming for incoming in told if incoming.kind is kind]


@contextmanager
def listening(platform: Platform) -> Iterator[Callable[[Kind], Incoming]]:
    """Inside, wait for the next event of a kind on the platform's stream."""
    stream = platform.open_stream({})
    try:
        yield lambda kind: read_until(platform, stream, lambda i: i.kind is kind)[-1]
    finally:
        stream.close()


def read_until(
    platform: Platform, stream: Stream, wanted: Callable[[Incoming], bool]
) -> list[Incoming]:
    """What the stream brings, up to the first that is wanted."""
    told: list[Incoming] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for frame in wait_for_frames(stream):
            for incoming in platform.decode(frame):
                told.append(incoming)
                if wanted(incoming):
                    return told
    pytest.fail(f"the stream brought only {[(i.kind, i.text) for i in told]}")


def wait_for_frames(stream: Stream) -> list[bytes]:
    """Asleep until the stream's file number wakes us, as the reader thread is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (patience := deadline - time.monotonic()) > 0:
        if select.select([stream], [], [], patience)[0] and (frames := stream.receive()):
            return frames
    pytest.fail("the stream brought nothing")
