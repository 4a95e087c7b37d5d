"""Catching up on Mattermost: what was missed is told, once, in order; what cannot be is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from spaces.platforms.errors import RateLimited
from spaces.platforms.mattermost import Mattermost
from spaces.platforms.messages import Batch, ChannelChange, ChannelKind, Incoming, Kind
from spaces.testing.mattermost import SimulatedMattermost
from spaces.testing.mattermost.state import Channel
from spaces.tests.platforms.mattermost_company import (
    BOT,
    Company,
    caught_up,
    end_of,
    listening,
    message,
    texts_of,
    told_by,
)

MINUTE = 60


def of_kind(told: list[Incoming], kind: Kind) -> list[Incoming]:
    return [one for one in told if one.kind is kind]


def after_a_while(cursor: Mapping[str, Any]) -> dict[str, Any]:
    """So late that whoever polls looks for everything again."""
    return {**cursor, "swept_at": 0}


def milliseconds(moment: Any) -> int:
    return round(moment.timestamp() * 1000)


# What was missed ----------------------------------------------------------------------------------


def in_public(company: Company) -> Channel:
    return company.lounge


def in_private(company: Company) -> Channel:
    return company.make.channel("acme", "cellar", "alice", BOT, type="P")


def in_direct(company: Company) -> Channel:
    return company.make.direct_channel("alice", BOT)


def in_group(company: Company) -> Channel:
    return company.make.group_channel("alice", "bob", BOT)


@pytest.mark.parametrize("place", [in_public, in_private, in_direct, in_group])
def test_missed_posts_are_told_wherever_the_bot_is(company, place):
    bot, channel = company.connected(), place(company)
    company.write("alice", channel, "before")
    cursor = bot.start_cursor()
    root = company.write("alice", channel, "a question")
    company.write("alice", channel, "an answer", root=root)
    elsewhere = company.make.channel("acme", "elsewhere", "alice")
    company.write("alice", elsewhere, "nothing for the bot")

    told = caught_up(bot, cursor)

    assert texts_of(told) == ["a question", "an answer"]
    assert [one.thread for one in told] == ["", root.id]
    assert {(one.channel_id, one.person.username) for one in told} == {(channel.id, "alice")}


def test_channels_that_the_bot_was_added_to_meanwhile_are_found(company):
    bot = company.connected()
    old = company.make.channel("acme", "old", "alice")
    company.write("alice", company.lounge, "later than that")
    cursor = bot.start_cursor()
    company.make.join_channel(old, BOT, adder="alice")
    company.write("alice", old, "welcome to the old one")
    new = company.make.channel("acme", "new", "alice", BOT)
    company.write("alice", new, "welcome to the new one")

    told = caught_up(bot, cursor)

    assert sorted(texts_of(told)) == ["welcome to the new one", "welcome to the old one"]
    assert [one.channel_id for one in of_kind(told, Kind.CHANNEL_CREATED)] == [new.id]
    added = [one for one in of_kind(told, Kind.PARTICIPANT_JOINED) if one.channel_id == old.id]
    assert [(one.person.username, one.people[0].username) for one in added] == [("alice", BOT)]


def test_edits_and_deletions_of_old_messages_are_told(company):
    bot = company.connected()
    first, second, third = company.many_posts(3)
    cursor = bot.start_cursor()
    company.make.edit(first, "1st")
    company.make.edit(first, "first")
    company.make.delete(second)

    told = caught_up(bot, cursor)

    (edit,) = of_kind(told, Kind.MESSAGE_EDITED)
    assert (edit.message_id, edit.text) == (first.id, "first")
    assert milliseconds(edit.occurred_at) == first.edit_at
    (gone,) = of_kind(told, Kind.MESSAGE_DELETED)
    assert (gone.message_id, milliseconds(gone.occurred_at)) == (second.id, second.delete_at)
    assert third.id not in {one.message_id for one in told}


def test_answers_that_went_with_their_root_are_told_as_deleted(company):
    bot, root = company.connected(), company.write("alice", company.lounge, "a question")
    reply = company.write("bob", company.lounge, "an answer", root=root)
    cursor = bot.start_cursor()
    company.controls.advance(0.002)

    company.make.delete(root)

    gone = of_kind(caught_up(bot, cursor), Kind.MESSAGE_DELETED)
    assert {one.message_id for one in gone} == {root.id, reply.id}


def test_the_reactions_of_messages_are_told_as_they_are_now(company):
    bot = company.connected()
    liked, disliked = company.many_posts(2)
    company.make.react("bob", disliked, "thumbsup")
    cursor = bot.start_cursor()
    company.make.react("bob", liked, "tada")
    company.make.unreact("bob", disliked, "thumbsup")

    batches = list(bot.catch_up(cursor))

    told = {one.message_id: one for batch in batches for one in batch.reactions}
    assert [(r.person.username, r.name) for r in told[liked.id].reactions] == [("bob", "tada")]
    assert told[disliked.id].reactions == ()
    assert told_by(batches) == []


def test_pinning_is_no_edit(company):
    bot, post = company.connected(), company.write("alice", company.lounge, "the rules")
    cursor = bot.start_cursor()

    bot.pin_message(company.lounge.id, post.id)

    assert caught_up(bot, cursor) == []


@pytest.mark.parametrize(
    ("hide", "told_of"),
    [
        (True, [Kind.MESSAGE_DELETED]),
        (False, [Kind.MESSAGE_POSTED, Kind.MESSAGE_DELETED]),
    ],
)
def test_what_came_and_went_is_told_with_its_text_only_if_that_is_wanted(company, hide, told_of):
    bot = company.connected(hide_deleted=hide)
    cursor = bot.start_cursor()
    post = company.write("alice", company.lounge, "regretted")
    company.make.delete(post)

    told = caught_up(bot, cursor)

    assert [one.kind for one in told] == told_of
    assert {one.message_id for one in told} == {post.id}


def test_what_the_server_writes_itself_is_told_apart(company):
    bot = company.admin_bot()
    cursor = bot.start_cursor()
    bot.update_channel(company.lounge.id, ChannelChange(topic="Coffee"))

    batches = list(bot.catch_up(cursor))

    written = [one for batch in batches for one in batch.incoming if one.system]
    assert [one.kind for one in written] == [Kind.MESSAGE_POSTED]
    assert "Coffee" in written[0].text


def test_who_came_and_went_is_told(company):
    bot = company.connected()
    cursor = bot.start_cursor()
    company.make.join_channel(company.lounge, "charlie", adder="alice")
    company.controls.advance(0.002)
    company.make.leave_channel(company.lounge, "charlie", remover="bob")
    company.controls.advance(0.002)
    company.make.leave_channel(company.lounge, "alice")

    told = caught_up(bot, cursor)

    assert [(one.kind, one.person.username, one.people[0].username) for one in told] == [
        (Kind.PARTICIPANT_JOINED, "alice", "charlie"),
        (Kind.PARTICIPANT_LEFT, "bob", "charlie"),
        (Kind.PARTICIPANT_LEFT, "alice", "alice"),
    ]


# What became of channels --------------------------------------------------------------------------


def test_what_became_of_channels_is_told(company):
    bot = company.admin_bot()
    renamed = company.make.channel("acme", "renamed", BOT)
    converted = company.make.channel("acme", "converted", BOT)
    archived = company.make.channel("acme", "archived", BOT)
    restored = company.make.channel("acme", "restored", BOT)
    bot.archive_channel(restored.id)
    cursor = bot.start_cursor()
    bot.update_channel(renamed.id, ChannelChange(name="better", title="Better"))
    bot.update_channel(converted.id, ChannelChange(kind=ChannelKind.PRIVATE))
    bot.archive_channel(archived.id)
    bot.restore_channel(restored.id)

    told = caught_up(bot, cursor)

    changed = {one.channel_id: one for one in of_kind(told, Kind.CHANNEL_CHANGED)}
    assert set(changed) == {renamed.id, converted.id, restored.id}
    assert (changed[renamed.id].channel.name, changed[renamed.id].channel.title) == (
        "better",
        "Better",
    )
    assert changed[converted.id].channel.kind is ChannelKind.PRIVATE
    (gone,) = of_kind(told, Kind.CHANNEL_DELETED)
    assert (gone.channel_id, milliseconds(gone.occurred_at)) == (archived.id, archived.delete_at)


def test_a_bot_in_no_channel_has_nothing_to_catch_up_with(company):
    _, token = company.make.bot("lonely")
    lonely = company.connected({"token": token})

    cursor = lonely.start_cursor()
    batches = list(lonely.catch_up(cursor))

    assert list(lonely.list_channels()) == []
    assert (told_by(batches), bool(batches[-1].cursor)) == ([], True)


def test_a_bot_that_is_thrown_out_meanwhile_is_told_of_the_other_channels(company):
    bot = company.connected()
    channels = [company.make.channel("acme", f"room-{n}", "alice", BOT, type="P") for n in range(3)]
    cursor = bot.start_cursor()
    for channel in channels:
        company.write("alice", channel, channel.name)

    batches = bot.catch_up(cursor)
    first = next(batch for batch in batches if texts_of(batch.incoming))
    for channel in channels:
        if channel.id != first.incoming[0].channel_id:
            company.make.leave_channel(channel, BOT, remover="alice")
    company.write("alice", company.lounge, "still here")
    told = texts_of(told_by([first, *batches]))

    assert set(told) - {"still here"} == set(texts_of(first.incoming))


# Teams --------------------------------------------------------------------------------------------


def test_only_the_teams_that_are_wanted_are_caught_up_with(company):
    company.make.team("other", "alice", BOT)
    elsewhere = company.make.channel("other", "elsewhere", "alice", BOT)
    direct = company.make.direct_channel("alice", BOT)
    bot, everything = company.connected(teams="acme"), company.connected()
    cursor = bot.start_cursor()
    for channel in (company.lounge, elsewhere, direct):
        company.write("alice", channel, channel.name)

    assert set(texts_of(caught_up(bot, cursor))) == {company.lounge.name, direct.name}
    assert elsewhere.name in texts_of(caught_up(everything, cursor))


# Many ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", [199, 200, 201, 999, 1_000, 1_001, 2_500])
def test_any_number_of_missed_posts_is_told_once_and_in_order(company, quantity):
    bot = company.connected()
    cursor = bot.start_cursor()
    company.many_posts(quantity)

    told = caught_up(bot, cursor)

    assert texts_of(told) == [str(number) for number in range(quantity)]


@pytest.mark.parametrize("quantity", [250, 1_100])
def test_posts_of_one_millisecond_are_all_told(company, quantity):
    bot = company.connected()
    cursor = bot.start_cursor()
    posts = company.many_posts(quantity)
    for post in posts:
        post.create_at = post.update_at = posts[0].create_at

    told = caught_up(bot, cursor)

    posted = [one.message_id for one in of_kind(told, Kind.MESSAGE_POSTED)]
    assert sorted(posted) == sorted(post.id for post in posts)


def test_posts_that_arrive_while_pages_are_turned_push_nothing_aside(company):
    bot = company.connected()
    cursor = bot.start_cursor()
    company.many_posts(1_100)

    told: list[Incoming] = []
    last: Mapping[str, Any] = {}
    for batch in bot.catch_up(cursor):
        company.write("alice", company.lounge, "meanwhile")
        told += [one for one in batch.incoming if one.text != "meanwhile"]
        last = batch.cursor
    again = caught_up(bot, {**cursor, **last})

    posted = [one for one in told if one.kind is Kind.MESSAGE_POSTED]
    assert texts_of(posted) == [str(number) for number in range(1_100)]
    written = company.texts().count("meanwhile")
    assert texts_of(again).count("meanwhile") == written


def test_posts_that_are_deleted_while_pages_are_turned_push_nothing_aside(company):
    bot = company.connected()
    cursor = bot.start_cursor()
    posts = company.many_posts(1_100)
    doomed = iter(posts[::7])

    told: list[Incoming] = []
    for batch in bot.catch_up(cursor):
        for post in [next(doomed) for _ in range(5)]:
            company.make.delete(post)
        told += batch.incoming

    kept = [post.message for post in posts if not post.delete_at]
    told_texts = [t for t in texts_of(told) if t in set(kept)]
    assert told_texts == kept


def edit_many(company: Company, posts: list[Any]) -> None:
    for post in posts:
        company.make.edit(post, f"{post.message}, edited")


def test_more_edits_than_the_server_tells_are_a_gap_that_ends_where_all_are_told_again(company):
    bot = company.connected()
    posts = company.many_posts(900)
    company.controls.advance(MINUTE)
    cursor = bot.start_cursor()
    company.controls.advance(MINUTE)
    edit_many(company, posts[:600])
    last_of_many = posts[599].edit_at
    company.controls.advance(MINUTE)
    edit_many(company, posts[600:620])
    company.make.delete(posts[620])
    company.write("alice", company.lounge, "news")
    bot.connect()  # and so learns what time it is there

    told = caught_up(bot, cursor)

    (gap,) = of_kind(told, Kind.GAP)
    assert gap.channel_id == company.lounge.id
    assert milliseconds(gap.since) == cursor["start"]
    assert last_of_many - 1_000 <= milliseconds(gap.occurred_at) < posts[600].edit_at
    edited = {one.message_id for one in of_kind(told, Kind.MESSAGE_EDITED)}
    assert {post.id for post in posts[600:620]} <= edited <= {post.id for post in posts}
    assert [one.message_id for one in of_kind(told, Kind.MESSAGE_DELETED)] == [posts[620].id]
    assert texts_of(told) == ["news"]


def test_a_gap_that_is_met_again_and_again_is_one_gap(company):
    bot, posts = company.connected(), company.many_posts(600)
    company.controls.advance(MINUTE)
    cursor: Mapping[str, Any] = bot.start_cursor()
    edit_many(company, posts)
    company.controls.advance(MINUTE)
    bot.connect()  # and so learns what time it is there

    gaps = set()
    for _ in range(4):
        batches = list(bot.catch_up(cursor))
        gaps |= {one.id for one in of_kind(told_by(batches), Kind.GAP)}
        cursor = after_a_while(end_of(cursor, batches))

    assert len(gaps) <= 2  # the first is from the start on, the others have the overlap


def test_a_gap_does_not_come_back_when_changes_went_on_after_it(company):
    """Nothing was posted since, so that only the changes say how far reading came."""
    bot, posts = company.connected(), company.many_posts(600)
    cursor = bot.start_cursor()
    company.controls.advance(MINUTE)
    edit_many(company, posts)
    company.controls.advance(2 * MINUTE)
    company.make.react("alice", posts[0], "tada")
    bot.connect()  # and so learns what time it is there

    first = list(bot.catch_up(cursor))
    second = list(bot.catch_up(after_a_while(end_of(cursor, first))))

    assert len(of_kind(told_by(first), Kind.GAP)) == 1
    assert of_kind(told_by(second), Kind.GAP) == []


def test_among_too_many_the_deleted_ones_that_are_known_are_told(company):
    bot = company.connected(hide_deleted=False)
    cursor = bot.start_cursor()
    posts = company.many_posts(1_050)
    company.controls.advance(MINUTE)
    for post in posts[::100]:
        company.make.delete(post)

    told = caught_up(bot, cursor)

    gone = {one.message_id for one in of_kind(told, Kind.MESSAGE_DELETED)}
    assert gone == {post.id for post in posts[::100]}
    assert texts_of(told) == [str(number) for number in range(1_050)]


# Where reading goes on ----------------------------------------------------------------------------


def test_what_is_told_again_has_the_id_it_had_live(company):
    bot = company.connected()
    edited, deleted = company.many_posts(2)
    cursor = bot.start_cursor()

    with listening(bot) as ear:
        company.write("alice", company.lounge, "new")
        company.make.edit(edited, "edited")
        company.make.delete(deleted)
        company.make.join_channel(company.lounge, "charlie")
        company.make.direct_channel("bob", BOT)
        company.write("alice", company.lounge, "the end")
        ear.hear_text("the end")
        live = {one.id: one for one in ear.told if one.kind is not Kind.PRESENCE_CHANGED}
    again = {one.id: one for one in caught_up(bot, cursor)}

    assert set(again) == set(live)
    for id, one in live.items():
        assert (one.kind, one.channel_id, one.text) == (
            again[id].kind,
            again[id].channel_id,
            again[id].text,
        )


def test_nothing_from_before_the_start_is_told_however_much_is_read_again(company):
    bot = company.connected()
    company.write("alice", company.lounge, "just before")
    cursor = bot.start_cursor()
    company.write("alice", company.lounge, "just after")

    first = list(bot.catch_up(cursor))
    second = list(bot.catch_up(after_a_while(end_of(cursor, first))))

    assert texts_of(told_by(first)) == texts_of(told_by(second)) == ["just after"]


Happening = Callable[[Company, Any], object]


def an_edit(company: Company, post: Any) -> None:
    company.make.edit(post, "changed")


def a_deletion(company: Company, post: Any) -> None:
    company.make.delete(post)


def a_post(company: Company, post: Any) -> None:
    company.write("alice", company.lounge, "one more")


@pytest.mark.parametrize("happening", [an_edit, a_deletion, a_post])
def test_what_happens_while_catching_up_is_told_the_next_time(company, happening):
    bot = company.connected()
    others = [company.make.channel("acme", f"room-{n}", "alice", BOT) for n in range(4)]
    cursor = bot.start_cursor()
    post = company.write("alice", company.lounge, "news")
    batches = bot.catch_up(cursor)
    first: list[Batch] = []
    for batch in batches:
        first.append(batch)
        if any(one.channel_id == company.lounge.id for one in batch.incoming):
            break

    happening(company, post)
    for channel in others:  # later than what happened, and read after it
        company.write("alice", channel, "later")
    first += batches
    second = caught_up(bot, after_a_while(end_of(cursor, first)))

    known = {one.id for one in told_by(first)}
    missed = [one for one in second if one.id not in known and one.channel_id == company.lounge.id]
    assert len(missed) == 1


def test_a_post_of_the_future_does_not_make_the_bot_deaf(company):
    admin = company.admin_bot()
    bot = company.connected()
    cursor = bot.start_cursor()
    now = company.server.simulation.now()
    tomorrow = company.write("alice", company.lounge, "from tomorrow")
    tomorrow.create_at = tomorrow.update_at = now + 86_400_000
    company.lounge.last_post_at = tomorrow.create_at

    first = list(bot.catch_up(cursor))
    started = admin.start_cursor()
    company.write("alice", company.lounge, "today")

    assert texts_of(told_by(first)) == ["from tomorrow"]
    assert "today" in texts_of(caught_up(bot, end_of(cursor, first)))
    assert "today" in texts_of(caught_up(admin, started))


@pytest.mark.parametrize("hours", [1, -1])
def test_a_server_whose_clock_is_wrong_is_caught_up_with(hours):
    with SimulatedMattermost() as server:
        server.controls.advance(hours * 3600)
        company = Company(server)
        catch_up_on_two_posts(company, company.connected())
        company.close()


def catch_up_on_two_posts(company: Company, bot: Mattermost) -> None:
    company.write("alice", company.lounge, "before")
    cursor = bot.start_cursor()
    company.write("alice", company.lounge, "after")

    first = list(bot.catch_up(cursor))
    company.write("alice", company.lounge, "later")
    second = caught_up(bot, end_of(cursor, first))

    assert texts_of(told_by(first)) == ["after"]
    assert texts_of(second)[-1:] == ["later"]


def test_a_cursor_of_an_empty_past_reads_everything(company):
    company.many_posts(3)

    assert texts_of(caught_up(company.connected(), {})) == ["0", "1", "2"]


# Rate limits --------------------------------------------------------------------------------------


def test_a_rate_limit_in_the_middle_is_waited_for(company):
    bot = company.connected()
    cursor = bot.start_cursor()
    company.many_posts(3)
    company.controls.limit_rate(retry_after=0, path="/api/v4/channels/")

    assert texts_of(caught_up(bot, cursor)) == ["0", "1", "2"]


def test_a_rate_limit_beyond_all_patience_is_told(company):
    bot = company.connected()
    cursor = bot.start_cursor()
    company.many_posts(3)
    company.controls.limit_rate(retry_after=3600, path="/api/v4/channels/")

    with pytest.raises(RateLimited) as limited:
        caught_up(bot, cursor)

    assert limited.value.retry_after == 3600


# Polling ------------------------------------------------------------------------------------------


def test_whoever_polls_hears_posts_at_once_and_changes_of_quiet_channels_after_a_while(company):
    bot = company.connected()
    quiet = company.make.channel("acme", "quiet", "alice", BOT)
    old = company.write("alice", quiet, "old")
    company.controls.advance(5 * MINUTE)
    first_cursor = bot.start_cursor()
    cursor = end_of(first_cursor, list(bot.catch_up(first_cursor)))
    company.controls.advance(5 * MINUTE)
    company.write("alice", company.lounge, "news")
    company.make.react("alice", old, "tada")
    company.make.delete(old)

    soon = list(bot.catch_up(cursor))
    late = list(bot.catch_up(after_a_while(end_of(cursor, soon))))

    assert texts_of(told_by(soon)) == ["news"]
    assert of_kind(told_by(soon), Kind.MESSAGE_DELETED) == []
    assert [one.message_id for one in of_kind(told_by(late), Kind.MESSAGE_DELETED)] == [old.id]


def test_whoever_polls_asks_little_when_nothing_happened(company, caplog):
    for number in range(20):
        company.make.channel("acme", f"room-{number}", "alice", BOT)
    company.controls.advance(5 * MINUTE)
    bot = company.connected(debug_log=True)
    start = bot.start_cursor()
    cursor = end_of(start, list(bot.catch_up(start)))

    with caplog.at_level("INFO", logger="spaces.platforms.wire"):
        caplog.clear()
        bot_told = caught_up(bot, cursor)

    asked = [line for line in caplog.messages if line.startswith(">")]
    assert bot_told == []
    assert len(asked) <= 2


def test_what_the_bot_wrote_itself_is_marked_as_its_own(company):
    bot = company.connected()
    cursor = bot.start_cursor()
    bot.post_message(message(company.lounge, "mine"))
    company.write("alice", company.lounge, "yours")

    told = caught_up(bot, cursor)

    assert [(one.text, one.own) for one in told] == [("mine", True), ("yours", False)]
    assert told[0].person.is_bot
