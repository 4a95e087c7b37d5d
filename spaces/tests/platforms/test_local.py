"""The local platform: the contract, and the rules of its own."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from spaces.models import LocalAccount, LocalClock, LocalEvent, LocalMessage, LocalRoom, Space
from spaces.platforms import _local_hub, trace
from spaces.platforms.contract import Account, Platform, effective_options
from spaces.platforms.errors import (
    CredentialsRefused,
    Forbidden,
    Misconfigured,
    NotFound,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from spaces.platforms.local import Local, person, prune_events
from spaces.platforms.messages import (
    Card,
    ChannelChange,
    ChannelInfo,
    ChannelKind,
    CustomRequest,
    Kind,
    NewChannel,
    Outgoing,
    PersonRef,
    Role,
)
from spaces.testing import faulty
from spaces.testing.conformance import PlatformConformance
from spaces.testing.scene import (
    Scene,
    caught_up,
    file,
    new_key,
    read_until,
    texts,
    wait_for_frames,
)

# The hub reads in a thread of its own, and sees only what has been committed.
pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_SECONDS = 60.0
SECRET = "correct horse battery"


@pytest.fixture
def space() -> Space:
    return Space.objects.create(slug="office", name="Office", platform="local")


@pytest.fixture(autouse=True)
def _no_hub_left():
    yield
    _wait_for(lambda: not hub_lives())  # or else a stream was left open


@pytest.fixture(autouse=True)
def _no_script_left():
    yield
    faulty.reset()


def make_bot(space: Space, slug: str = "echo", cls: type[Local] = Local, **changes) -> Local:
    credentials = {"secret": changes.pop("secret", SECRET)}
    options = effective_options(cls, space.options, changes)
    account = Account(space=space.slug, url="", bot=slug, options=options, credentials=credentials)
    return cls(account)


def make_room(by: Platform, *names: str, kind: ChannelKind = ChannelKind.PUBLIC) -> ChannelInfo:
    people = tuple(PersonRef(username=name) for name in names)
    info, _ = by.create_channel(NewChannel(key=new_key(), kind=kind, name="lobby", people=people))
    return info


def say(who: Platform, room: ChannelInfo, text: str, **changes):
    return who.post_message(Outgoing(key=new_key(), channel=room.id, text=text, **changes))


class TestContract(PlatformConformance):
    platform: type[Local] = Local

    @pytest.fixture
    def scene(self, space, django_assert_num_queries) -> Scene:
        bot = make_bot(space, "echo", self.platform)
        bot.connect()
        other = make_bot(space, "watcher", self.platform)
        other.connect()
        person(space.slug, "charlie")
        return Scene(
            bot=bot,
            other=other,
            channel=make_room(bot, "watcher").id,
            stranger=PersonRef(username="charlie"),
            nothing_sent=lambda: django_assert_num_queries(0),
            drops_repeats=self.platform is not faulty.Forgetful,
        )


class TestContractOfAPlatformThatCannotDoEverything(TestContract):
    platform = faulty.Forgetful


# Accounts


def test_the_first_bot_to_use_a_name_sets_its_password(space):
    make_bot(space).connect()

    assert make_bot(space).connect().person.username == "echo"
    with pytest.raises(CredentialsRefused):
        make_bot(space, secret="another one").connect()


def test_every_operation_asks_for_the_password(space):
    room = make_room(make_bot(space))

    with pytest.raises(CredentialsRefused):
        say(make_bot(space, secret="another one"), room, "let me in")


@pytest.mark.parametrize("secret", ["", "guessed"])
def test_nobody_logs_in_as_a_person(space, secret):
    person(space.slug, "alice")

    with pytest.raises(CredentialsRefused):
        make_bot(space, "alice", secret=secret).connect()


def test_nobody_talks_as_a_person_under_the_name_of_a_bot(space):
    make_bot(space, "echo").connect()

    with pytest.raises(CredentialsRefused):
        person(space.slug, "echo").connect()


def test_a_bot_without_a_password_gets_no_account(space):
    with pytest.raises(CredentialsRefused):
        make_bot(space, secret="").connect()

    assert not LocalAccount.objects.exists()


def test_passwords_are_stored_as_salted_hashes(space):
    make_bot(space, "echo").connect()
    make_bot(space, "twin").connect()

    hashes = set(LocalAccount.objects.values_list("password_hash", flat=True))
    assert len(hashes) == 2
    assert not any(SECRET in stored for stored in hashes)


def test_an_option_gives_a_bot_another_username(space):
    assert make_bot(space, "echo", username="parrot").connect().person.username == "parrot"


def test_a_space_that_is_not_there_is_a_configuration_to_correct(db):
    with pytest.raises(Misconfigured, match="no space 'nowhere'"):
        make_bot(Space(slug="nowhere"), "echo").connect()


def test_the_same_names_live_apart_in_two_spaces(space):
    branch = Space.objects.create(slug="branch", name="Branch", platform="local")
    room = make_room(make_bot(space))

    with pytest.raises(NotFound):
        make_bot(branch, secret="of its own").find_channel(id=room.id)


# Messages


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"text": ""}, "message_empty"),
        ({"text": " \n"}, "message_empty"),
        ({"text": "x" * 4001}, "text_too_long"),
        ({"text": "null \0 byte"}, "text_invalid"),
        ({"text": "half a \ud83d"}, "text_invalid"),
        ({"card": Card(title="null \0 byte")}, "card_invalid"),
        ({"text": "see", "files": (file(b"x"),) * 11}, "too_many_files"),
        ({"text": "see", "files": (file(b"x", name="n" * 256),)}, "file_name_too_long"),
        ({"text": "see", "files": (file(b"x" * (10 * 1024 * 1024 + 1)),)}, "file_too_large"),
    ],
)
def test_a_message_that_cannot_be_posted_is_refused_with_a_code(space, changes, code):
    bot = make_bot(space)
    room = make_room(bot)

    with pytest.raises(Rejected) as refused:
        bot.post_message(Outgoing(key="k", channel=room.id, **changes))

    assert refused.value.code == code
    assert not LocalMessage.objects.exists()


def test_a_repetition_answers_as_the_first_time_even_after_the_channel_has_closed(space):
    bot = make_bot(space)
    room = make_room(bot)
    message = Outgoing(key="k", channel=room.id, text="hello")
    first = bot.post_message(message)
    bot.archive_channel(room.id)

    assert bot.post_message(message) == first


def test_an_archived_channel_takes_no_more_messages(space):
    bot = make_bot(space)
    room = make_room(bot)
    bot.archive_channel(room.id)

    with pytest.raises(Rejected) as refused:
        say(bot, room, "too late")

    assert refused.value.code == "channel_archived"


def test_outsiders_are_told_of_public_rooms_and_not_of_private_ones(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    public = make_room(bot)
    private, _ = bot.create_channel(
        NewChannel(key="k", kind=ChannelKind.PRIVATE, name="secret", title="Secret")
    )

    with pytest.raises(Forbidden):
        say(alice, public, "may I?")
    with pytest.raises(NotFound):
        say(alice, private, "may I?")
    with pytest.raises(NotFound):
        alice.find_channel(name="Secret")


def test_only_its_author_edits_a_message_and_moderators_may_delete_it(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    room = make_room(bot, "alice")
    by_bot, by_alice = say(bot, room, "bot's"), say(alice, room, "alice's")

    with pytest.raises(Forbidden):
        bot.edit_message(room.id, by_alice.message_id, "put in her mouth")
    with pytest.raises(Forbidden):
        alice.delete_message(room.id, by_bot.message_id)
    bot.delete_message(room.id, by_alice.message_id)
    bot.delete_message(room.id, by_alice.message_id)

    assert texts(bot.history(room.id)) == ["bot's"]


def test_an_answer_to_an_answer_joins_its_thread(space):
    bot = make_bot(space)
    room = make_room(bot)
    root = say(bot, room, "question")
    answer = say(bot, room, "answer", thread=root.message_id)

    say(bot, room, "and another", thread=answer.message_id)

    assert next(bot.history(room.id)).thread == root.message_id


def test_files_are_only_for_members(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    room = make_room(bot)
    say(bot, room, "see", files=(file(b"content"),))
    (info,) = next(bot.history(room.id)).files

    with pytest.raises(NotFound):
        alice.download_file(info.id)


def test_posting_takes_the_same_few_queries_however_much_there_is(space, django_assert_num_queries):
    bot = make_bot(space)
    room = make_room(bot, "alice", "bob")
    for number in range(20):
        say(bot, room, str(number))

    with django_assert_num_queries(7):  # begin, who, where, message, event, clock, commit
        say(bot, room, "hello")


# Rooms and people


def test_a_direct_room_exists_once_whoever_speaks_first(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    to_alice = Outgoing(key="1", person=PersonRef(username="alice"), text="hi")
    bot.connect()

    there = bot.post_message(to_alice).channel_id
    back = alice.post_message(
        Outgoing(key="1", person=PersonRef(username="echo"), text="hi yourself")
    ).channel_id

    assert there == back
    assert LocalRoom.objects.count() == 1
    (info,) = alice.list_channels()
    assert info.peer == bot.connect().person


def test_each_of_the_two_is_told_of_the_other_when_a_direct_room_begins(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    bot.post_message(Outgoing(key="1", person=PersonRef(username="alice"), text="hi"))

    created = [caught_up(who, {"seq": 0})[0].channel for who in (bot, alice)]

    assert [c.peer.username for c in created if c and c.peer] == ["alice", "echo"]


def test_nobody_joins_or_leaves_a_direct_room(space):
    bot, _ = make_bot(space), person(space.slug, "alice")
    direct = make_room(bot, "alice", kind=ChannelKind.DIRECT)

    for attempt in (
        lambda: bot.leave_channel(direct.id),
        lambda: bot.add_participants(direct.id, [PersonRef(username="alice")]),
        lambda: bot.remove_participants(direct.id, [PersonRef(username="alice")]),
        lambda: bot.archive_channel(direct.id),
    ):
        with pytest.raises(Rejected) as refused:
            attempt()
        assert refused.value.code == "channel_is_direct"


def test_a_name_is_free_again_once_its_room_is_archived(space):
    bot = make_bot(space)
    first = make_room(bot)
    with pytest.raises(Rejected) as refused:
        make_room(bot)
    bot.archive_channel(first.id)

    second = make_room(bot)

    assert refused.value.code == "name_taken"
    assert bot.find_channel(name="lobby").id == second.id != first.id


def test_the_same_request_creates_one_room(space):
    bot = make_bot(space)
    new = NewChannel(key="k", kind=ChannelKind.PRIVATE, title="Ops")

    assert bot.create_channel(new)[0] == bot.create_channel(new)[0] == bot.find_created(new)


def test_two_rooms_of_one_title_are_not_guessed_between(space):
    bot = make_bot(space)
    for _ in range(2):
        bot.create_channel(NewChannel(key=new_key(), kind=ChannelKind.PRIVATE, title="Ops"))

    with pytest.raises(NotFound) as refused:
        bot.find_channel(name="Ops")

    assert refused.value.code == "ambiguous_channel"


def test_members_add_others_but_only_moderators_appoint_remove_and_change(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    person(space.slug, "bob")
    room = make_room(bot, "alice")
    bob = [PersonRef(username="bob")]

    assert alice.add_participants(room.id, bob)[0].ok
    for attempt in (
        lambda: alice.add_participants(room.id, bob, moderator=True),
        lambda: alice.remove_participants(room.id, bob),
        lambda: alice.update_channel(room.id, ChannelChange(topic="mine")),
        lambda: alice.archive_channel(room.id),
    ):
        with pytest.raises(Forbidden):
            attempt()


def test_in_a_room_without_moderators_any_member_may(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    room = make_room(bot, "alice")

    bot.leave_channel(room.id)

    assert alice.update_channel(room.id, ChannelChange(topic="ours")).topic == "ours"


def test_a_restored_room_needs_its_name_back(space):
    bot = make_bot(space)
    first = make_room(bot)
    bot.archive_channel(first.id)
    second = make_room(bot)

    with pytest.raises(Rejected) as refused:
        bot.restore_channel(first.id)
    bot.update_channel(second.id, ChannelChange(name="hall"))

    assert refused.value.code == "name_taken"
    assert bot.restore_channel(first.id).name == "lobby"


def test_only_moderators_restore(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    room = make_room(bot, "alice")
    bot.archive_channel(room.id)

    with pytest.raises(Forbidden):
        alice.restore_channel(room.id)


def test_a_room_is_not_called_like_another_one(space):
    bot = make_bot(space)
    make_room(bot)
    ops, _ = bot.create_channel(NewChannel(key=new_key(), kind=ChannelKind.PUBLIC, name="ops"))

    with pytest.raises(Rejected) as refused:
        bot.update_channel(ops.id, ChannelChange(name="lobby"))

    assert refused.value.code == "name_taken"


@pytest.mark.parametrize("kind", [ChannelKind.GROUP, ChannelKind.DIRECT])
def test_a_room_becomes_no_group_and_no_direct_one(space, kind):
    bot = make_bot(space)
    room = make_room(bot)

    with pytest.raises(Rejected) as refused:
        bot.update_channel(room.id, ChannelChange(kind=kind))

    assert refused.value.code == "kind_stays"
    assert bot.find_channel(id=room.id).kind is ChannelKind.PUBLIC


def test_a_private_room_is_hidden_from_others_until_it_becomes_public(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    room = make_room(bot, kind=ChannelKind.PRIVATE)
    with pytest.raises(NotFound):
        alice.find_channel(id=room.id)

    bot.update_channel(room.id, ChannelChange(kind=ChannelKind.PUBLIC))

    assert alice.join_channel(room.id).id == room.id


def test_only_members_pin_and_a_deleted_message_is_pinned_no_more(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    room = make_room(bot)
    sent = say(bot, room, "read this")
    bot.pin_message(room.id, sent.message_id)

    with pytest.raises(Forbidden):
        alice.pin_message(room.id, sent.message_id)
    bot.delete_message(room.id, sent.message_id)

    assert list(bot.list_pinned(room.id)) == []


def test_what_is_only_for_one_person_reaches_nobody_else(space):
    bot, alice, bob = make_bot(space), person(space.slug, "alice"), person(space.slug, "bob")
    room = make_room(bot, "alice", "bob")
    streams = {who: who.open_stream({}) for who in (bot, alice, bob)}
    try:
        say(bot, room, "psst", only_for=PersonRef(username="alice"))
        say(bot, room, "hello all")
        heard = {
            who: [i.text for i in read_until(who, stream, lambda i: i.text == "hello all")]
            for who, stream in streams.items()
        }
    finally:
        for stream in streams.values():
            stream.close()

    assert heard == {bot: ["hello all"], alice: ["psst", "hello all"], bob: ["hello all"]}
    assert LocalMessage.objects.count() == 1


def test_what_was_shown_to_one_person_can_be_neither_edited_nor_answered(space):
    bot = make_bot(space)
    person(space.slug, "alice")
    room = make_room(bot, "alice")

    shown = say(bot, room, "psst", only_for=PersonRef(username="alice"))

    for attempt in (
        lambda: bot.edit_message(room.id, shown.message_id, "louder"),
        lambda: say(bot, room, "what?", thread=shown.message_id),
    ):
        with pytest.raises(NotFound):
            attempt()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"only_for": PersonRef(username="bob")}, "person_not_in_channel"),
        ({"only_for": PersonRef(username="nobody")}, "remote_not_found"),
        (
            {"only_for": PersonRef(username="alice"), "files": (file(b"x"),)},
            "not_for_one_person",
        ),
    ],
)
def test_only_members_are_shown_something_and_no_files(space, changes, code):
    bot = make_bot(space)
    for name in ("alice", "bob"):
        person(space.slug, name)
    room = make_room(bot, "alice")

    with pytest.raises((Rejected, NotFound)) as refused:
        say(bot, room, "psst", **changes)

    assert refused.value.code == code


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/me", 200), ("HEAD", "/me", 200), ("POST", "/me", 405), ("GET", "/rooms/1", 404)],
)
def test_requests_of_its_own_are_few(space, method, path, status):
    response = make_bot(space).custom_request(CustomRequest(method=method, path=path))

    assert response.status == status
    assert (response.body is None) == (method == "HEAD")


def test_its_rooms_are_told_archived_ones_only_if_asked_for(space):
    bot = make_bot(space)
    room = make_room(bot)
    bot.archive_channel(room.id)

    live = bot.custom_request(CustomRequest(method="GET", path="/rooms"))
    archived = bot.custom_request(
        CustomRequest(method="GET", path="/rooms", query={"archived": "true"})
    )

    assert (live.body, [told["id"] for told in archived.body]) == ([], [room.id])


def test_members_become_moderators_when_added_as_such(space):
    bot = make_bot(space)
    person(space.slug, "alice")
    room = make_room(bot, "alice")

    bot.add_participants(room.id, [PersonRef(username="alice")], moderator=True)

    assert {p.role for p in bot.list_participants(room.id)} == {Role.MODERATOR}


def test_leaving_again_is_fine(space):
    bot = make_bot(space)
    room = make_room(bot, kind=ChannelKind.PRIVATE)

    bot.leave_channel(room.id)
    bot.leave_channel(room.id)

    assert list(bot.list_channels()) == []


def test_adding_a_hundred_people_takes_as_many_queries_as_adding_one(
    space, django_assert_num_queries
):
    bot = make_bot(space)
    room = make_room(bot)
    crowd = [PersonRef(username=f"p{number}") for number in range(100)]
    for ref in crowd:
        person(space.slug, ref.username)

    with django_assert_num_queries(9):
        bot.add_participants(room.id, crowd[:1])
    with django_assert_num_queries(9):
        outcomes = bot.add_participants(room.id, crowd)

    assert all(outcome.ok for outcome in outcomes)
    with pytest.raises(Rejected) as refused:
        bot.add_participants(room.id, [*crowd, PersonRef(username="one-more")])
    assert refused.value.code == "too_many_people"


def test_people_are_named_by_username_id_or_e_mail_in_any_case(space):
    bot = make_bot(space)
    alice = person(space.slug, "alice", email="Alice@Example.com").connect().person

    for name in ("@alice", "alice", alice.id, "ALICE@example.com"):
        assert bot.find_person(PersonRef.parse(name)) == alice
    with pytest.raises(NotFound):
        bot.find_person(PersonRef.parse("al\0ice"))


# Receipts


def test_read_receipts_stay_on_where_the_space_says_so(space):
    space.options = {"read_receipts_locked": True}
    bot = make_bot(space)

    with pytest.raises(Rejected) as refused:
        bot.set_read_receipts(False)

    assert refused.value.code == "read_receipts_locked"
    assert bot.connect().read_receipts is True


def test_reading_without_receipts_tells_nobody(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    room = make_room(bot, "alice")
    sent = say(alice, room, "did you see this?")
    bot.set_read_receipts(False)
    cursor = alice.start_cursor()

    bot.mark_read(room.id, sent.message_id)

    assert caught_up(alice, cursor) == []


def test_a_receipt_never_moves_back(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    room = make_room(bot, "alice")
    older, newer = say(alice, room, "one"), say(alice, room, "two")
    cursor = alice.start_cursor()

    bot.mark_read(room.id, newer.message_id)
    bot.mark_read(room.id, older.message_id)

    assert [i.message_id for i in caught_up(alice, cursor)] == [newer.message_id]


# Receiving


def test_one_sees_what_happened_while_one_was_in_the_room_and_nothing_else(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    room = make_room(bot)
    say(bot, room, "before she came")
    bot.add_participants(room.id, [PersonRef(username="alice")])
    say(bot, room, "while she was there")
    bot.remove_participants(room.id, [PersonRef(username="alice")])
    say(bot, room, "after she went")

    told = caught_up(alice, {"seq": 0})

    assert [(i.kind, i.text) for i in told] == [
        (Kind.PARTICIPANT_JOINED, ""),
        (Kind.MESSAGE_POSTED, "while she was there"),
        (Kind.PARTICIPANT_LEFT, ""),
    ]


def test_catching_up_takes_two_queries_for_each_batch(space, django_assert_num_queries):
    bot = make_bot(space)
    room = make_room(bot)
    for number in range(450):
        say(bot, room, str(number))

    with django_assert_num_queries(1 + 3 * 2):
        batches = list(bot.catch_up({"seq": 0}))

    assert [len(batch.incoming) for batch in batches] == [200, 200, 51]
    assert batches[-1].cursor == bot.start_cursor()


def test_what_has_been_pruned_is_a_gap_and_reading_goes_on_behind_it(space):
    bot = make_bot(space)
    room = make_room(bot)
    say(bot, room, "long ago")
    LocalEvent.objects.update(at=timezone.now() - timedelta(days=40))
    say(bot, room, "today")

    removed = prune_events(timezone.now() - timedelta(days=30))

    gap, today = caught_up(bot, {"seq": 0})
    assert removed == 2
    assert gap.kind is Kind.GAP
    assert gap.since is not None
    assert gap.cursor == {"seq": 2}
    assert today.text == "today"
    assert caught_up(bot, {"seq": 2}) == [today]


def test_events_are_numbered_without_holes_and_in_order_of_commit(space):
    bots = [make_bot(space, f"bot-{number}") for number in range(4)]
    room = make_room(bots[0], *[bot.connect().person.username for bot in bots])
    cursor = bots[0].start_cursor()
    seen: list[int] = []

    def write(bot: Local) -> None:
        try:
            for number in range(25):
                say(bot, room, str(number))
        finally:
            connection.close()

    writers = [threading.Thread(target=write, args=(bot,)) for bot in bots]
    expected = [cursor["seq"] + 1 + number for number in range(100)]
    for thread in writers:
        thread.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(seen) < 100 and time.monotonic() < deadline:
        for batch in bots[0].catch_up(cursor):
            seen += [int(incoming.id) for incoming in batch.incoming]
            cursor = batch.cursor
    for thread in writers:
        thread.join()

    assert seen == expected


def test_history_reads_on_in_pages(space):
    bot = make_bot(space)
    room = make_room(bot)
    for number in range(205):
        say(bot, room, str(number))

    assert texts(bot.history(room.id)) == [str(number) for number in range(204, -1, -1)]


# Streams


def test_a_stream_brings_what_another_process_wrote(space):
    bot = make_bot(space)
    room = make_room(bot)
    say(bot, room, "here")
    seq = bot.start_cursor()["seq"] + 1
    payload = LocalEvent.objects.get(seq=seq - 1).payload
    stream = bot.open_stream({})
    try:
        write_by_hand(seq=seq, like=room, payload=payload | {"text": "elsewhere"})

        told = read_until(bot, stream, lambda i: i.text == "elsewhere")
    finally:
        stream.close()

    assert told[-1].cursor == {"seq": seq}


def test_each_stream_gets_what_its_account_may_see(space):
    bot, alice = make_bot(space), person(space.slug, "alice")
    public = make_room(bot, "alice")
    private, _ = bot.create_channel(NewChannel(key="k", kind=ChannelKind.PRIVATE, name="secret"))
    streams = [bot.open_stream({}), alice.open_stream({})]
    try:
        say(bot, private, "hidden")
        say(bot, public, "the end")
        told = [
            read_until(who, stream, lambda i: i.text == "the end")
            for who, stream in zip((bot, alice), streams, strict=True)
        ]
    finally:
        for stream in streams:
            stream.close()

    assert [[i.text for i in each] for each in told] == [["hidden", "the end"], ["the end"]]
    assert [each[-1].own for each in told] == [True, False]


def test_a_reader_that_falls_far_behind_loses_its_stream_and_can_catch_up(space, monkeypatch):
    monkeypatch.setattr(_local_hub, "MOST_FRAMES", 3)
    bot = make_bot(space)
    room = make_room(bot)
    cursor = bot.start_cursor()
    stream = bot.open_stream(cursor)
    try:
        for number in range(4):
            say(bot, room, str(number))
        _wait_for(lambda: not hub_lives())  # it has let go of its only stream
        with pytest.raises(Unavailable):
            stream.receive()
    finally:
        stream.close()

    assert len(caught_up(bot, cursor)) == 4


def test_the_hub_outlives_a_database_that_fails_for_a_while(space, caplog, monkeypatch):
    monkeypatch.setattr(_local_hub, "RETRY_SECONDS", 0.01)
    bot = make_bot(space)
    room = make_room(bot)
    table = LocalClock._meta.db_table
    stream = bot.open_stream({})
    try:
        wait_for_pong(stream)
        with caplog.at_level(logging.WARNING, logger=_local_hub.__name__):
            _rename(table, "away")
            stream.beat()
            _wait_for(lambda: "local events cannot be read" in caplog.text)
            _rename("away", table)

        say(bot, room, "back again")
        told = read_until(bot, stream, lambda i: i.text == "back again")
    finally:
        stream.close()

    assert told[-1].text == "back again"
    assert len(caplog.records) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_streams_of_a_hub_that_died_say_so_and_the_next_one_gets_a_new_hub(space):
    bot = make_bot(space)
    room = make_room(bot)
    stream = bot.open_stream({})
    try:
        write_by_hand(seq=bot.start_cursor()["seq"] + 1, like=room, payload=["not an event"])
        _wait_for(lambda: not hub_lives())
        stream.beat()
        with pytest.raises(Unavailable):
            stream.receive()
    finally:
        stream.close()

    stream = bot.open_stream({})
    try:
        say(bot, room, "alive")
        assert read_until(bot, stream, lambda i: i.text == "alive")
    finally:
        stream.close()


def write_by_hand(*, seq: int, like: ChannelInfo, payload) -> None:
    """An event as another process stores it: no commit hook of this one wakes the hub."""
    event = LocalEvent.objects.filter(room__pk=like.id).latest("seq")
    event.pk, event.seq, event.payload = None, seq, payload
    with transaction.atomic():
        event.save(force_insert=True)
        LocalClock.objects.filter(space=event.space_id).update(seq=seq)


def hub_lives() -> bool:
    return any(thread.name == _local_hub.THREAD_NAME for thread in threading.enumerate())


def wait_for_pong(stream) -> None:
    stream.beat()
    wait_for_frames(stream)


def _rename(table: str, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'ALTER TABLE "{table}" RENAME TO "{name}"')


def _wait_for(condition) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


# Trace


def test_an_attempt_shows_what_was_asked_and_what_came_of_it(space):
    bot = make_bot(space)
    room = make_room(bot)

    with trace.collect(bot.account.credentials) as worked:
        sent = say(bot, room, "hello", files=(file(b"content"),))
    with trace.collect(bot.account.credentials) as failed, pytest.raises(Rejected):
        say(bot, room, "")

    assert worked.request["operation"] == "post_message"
    assert worked.request["args"][0]["text"] == "hello"
    assert worked.response["result"]["message_id"] == sent.message_id
    assert failed.response["error"] == "message_empty"


# The platforms that fail on command


def test_a_scripted_platform_fails_before_and_after_and_then_works(space):
    bot = make_bot(space, cls=faulty.Faulty)
    room = make_room(bot)
    faulty.script(
        faulty.before(Unavailable("down")), faulty.after(OutcomeUnknown("silence")), faulty.ok()
    )

    with pytest.raises(Unavailable):
        say(bot, room, "never arrives")
    with pytest.raises(OutcomeUnknown):
        say(bot, room, "arrives all the same")
    say(bot, room, "arrives")
    say(bot, room, "arrives too")

    assert texts(bot.history(room.id)) == ["arrives too", "arrives", "arrives all the same"]
    assert [c.operation for c in faulty.calls].count("post_message") == 4


def test_a_held_call_waits_for_its_test(space):
    bot = make_bot(space, cls=faulty.Faulty)
    room = make_room(bot)
    gate, started = threading.Event(), threading.Event()
    faulty.script(faulty.held(gate, started))

    def post() -> None:
        try:
            say(bot, room, "at last")
        finally:
            connection.close()

    sender = threading.Thread(target=post)
    sender.start()
    started.wait(PATIENCE_SECONDS)
    before = texts(make_bot(space).history(room.id))
    gate.set()
    sender.join()

    assert before == []
    assert texts(bot.history(room.id)) == ["at last"]


def test_a_forgetful_platform_posts_a_repeated_message_again(space):
    bot = make_bot(space, cls=faulty.Forgetful)
    room = make_room(bot)
    message = Outgoing(key="k", channel=room.id, text="twice")

    bot.post_message(message)
    bot.post_message(message)

    assert texts(bot.history(room.id)) == ["twice", "twice"]
