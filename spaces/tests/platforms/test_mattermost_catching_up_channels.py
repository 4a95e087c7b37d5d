"""Catching up on Mattermost, channel by channel: those that are over, closed, long or many."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from spaces.platforms.errors import PlatformError, RateLimited, Unavailable
from spaces.platforms.messages import Batch, Incoming, Kind
from spaces.testing.mattermost.state import Channel
from spaces.tests.platforms.mattermost_company import (
    BOT,
    Company,
    caught_up,
    end_of,
    message,
    texts_of,
    told_by,
)

MINUTE = 60
LISTING = "/api/v4/users/me/channels"
EMOJI = "\U0001f600"


def of_kind(told: list[Incoming], kind: Kind) -> list[Incoming]:
    return [one for one in told if one.kind is kind]


def rooms(company: Company, quantity: int) -> list[Channel]:
    """Channels of the bot, in the order of their ids."""
    made = [company.make.channel("acme", f"room-{n}", "alice", BOT) for n in range(quantity)]
    return sorted(made, key=lambda one: one.id)


def until_it_fails(batches: Iterator[Batch]) -> tuple[list[Batch], PlatformError]:
    """What was told before the error, and the error."""
    told: list[Batch] = []
    try:
        for batch in batches:
            told.append(batch)
    except PlatformError as error:
        return told, error
    raise AssertionError("nothing failed")


def asked(caplog: Any, path: str) -> list[str]:
    """The requests for a path that were logged."""
    return [line for line in caplog.messages if line.startswith(">") and path in line]


# Archived channels --------------------------------------------------------------------------------


def test_what_was_written_before_a_channel_was_archived_is_told_before_its_end(company):
    bot = company.admin_bot()
    cursor = bot.start_cursor()
    company.write("alice", company.lounge, "last words")
    bot.archive_channel(company.lounge.id)

    told = caught_up(bot, cursor)

    assert texts_of(told) == ["last words"]
    assert [one.kind for one in told] == [Kind.MESSAGE_POSTED, Kind.CHANNEL_DELETED]


def test_a_channel_archived_long_ago_is_not_read_again_and_again(company, caplog):
    bot = company.admin_bot(debug_log=True)
    bot.archive_channel(company.lounge.id)
    company.controls.advance(5 * MINUTE)
    company.make.channel("acme", "elsewhere", "alice", BOT)
    start = bot.start_cursor()

    with caplog.at_level("INFO", logger="spaces.platforms.wire"):
        caught_up(bot, {**start, "swept_at": 0})

    assert asked(caplog, f"/channels/{company.lounge.id}/posts") == []


def test_an_archived_channel_that_nobody_may_read_is_a_gap_before_its_end(company):
    bot = company.admin_bot()
    cursor = bot.start_cursor()
    company.write("alice", company.lounge, "last words")
    bot.archive_channel(company.lounge.id)
    path = f"/api/v4/channels/{company.lounge.id}/posts"
    company.controls.fail(status=403, times=None, path=path)

    told = caught_up(bot, cursor)
    again = caught_up(bot, cursor)

    assert [one.kind for one in told] == [Kind.GAP, Kind.CHANNEL_DELETED]
    assert told[0].channel_id == company.lounge.id
    assert [one.id for one in again] == [one.id for one in told]


@pytest.mark.parametrize("status", [403, 404])
def test_a_channel_that_cannot_be_read_is_a_gap_and_no_silence(company, status):
    bot = company.connected()
    cursor = bot.start_cursor()
    company.write("alice", company.lounge, "news")
    other = company.make.channel("acme", "other", "alice", BOT)
    company.write("alice", other, "still heard")
    path = f"/api/v4/channels/{company.lounge.id}/posts"
    company.controls.fail(status=status, times=None, path=path)

    told = caught_up(bot, cursor)

    assert [one.channel_id for one in of_kind(told, Kind.GAP)] == [company.lounge.id]
    assert texts_of(told) == ["still heard"]


# Lists that are long, slow, or broken -------------------------------------------------------------


def test_an_answer_in_a_long_thread_does_not_bring_the_thread_along(company):
    bot = company.connected()
    root = company.write("alice", company.lounge, "the story of my life")
    for _ in range(180):  # in all more than an answer may hold
        company.write("alice", company.lounge, EMOJI * 16_000, root=root)
    company.many_posts(200)
    company.controls.advance(5 * MINUTE)
    cursor = bot.start_cursor()
    company.controls.advance(5 * MINUTE)
    company.write("bob", company.lounge, "aha", root=root)

    told = caught_up(bot, cursor)
    (newest,) = bot.history(company.lounge.id, quantity=1)

    assert texts_of(told) == ["aha"]
    assert newest.text == "aha"


@pytest.mark.parametrize("path", ["/api/v4/channels/", LISTING])
def test_a_slow_listing_has_the_time_that_was_set_for_listings(company, path):
    bot = company.connected(timeout_seconds=0.2, long_timeout_seconds=20)
    cursor = bot.start_cursor()
    company.write("alice", company.lounge, "news")
    company.controls.stall(seconds=0.6, times=1, path=path)

    assert texts_of(caught_up(bot, cursor)) == ["news"]


@pytest.mark.parametrize("status", [200, 404])
def test_a_bot_in_no_channel_is_told_so_in_two_ways(company, status):
    company.controls.tell_no_channels_with(status)
    _, token = company.make.bot("lonely")
    lonely = company.connected({"token": token})

    assert list(lonely.list_channels()) == []
    assert told_by(lonely.catch_up(lonely.start_cursor())) == []


def test_a_missing_page_of_somebody_in_between_does_not_mean_no_channels(company):
    bot = company.connected()
    cursor = bot.start_cursor()
    company.controls.fail(status=404, by="proxy", path=LISTING)

    with pytest.raises(PlatformError):
        caught_up(bot, cursor)


def test_a_list_that_breaks_off_is_tried_again_and_blames_no_settings(company):
    bot = company.connected()
    cursor = bot.start_cursor()
    company.controls.break_off(path=LISTING)

    with pytest.raises(Unavailable):
        caught_up(bot, cursor)

    company.write("alice", company.lounge, "news")
    assert texts_of(caught_up(bot, cursor)) == ["news"]


@pytest.mark.parametrize("status", [502, 504])
def test_an_error_page_of_a_proxy_is_an_outage(company, status):
    bot = company.connected()
    company.controls.fail(status=status, by="proxy", path=LISTING)

    with pytest.raises(Unavailable):
        bot.start_cursor()


# Where the bot is ---------------------------------------------------------------------------------


def test_catching_up_tells_where_the_bot_is_archived_and_foreign_channels_too(company):
    company.make.team("other", "alice", BOT)
    elsewhere = company.make.channel("other", "elsewhere", "alice", BOT)
    left = company.make.channel("acme", "left", "alice", BOT)
    admin = company.admin_bot(teams="acme")
    cursor = admin.start_cursor()
    admin.archive_channel(company.lounge.id)
    company.make.leave_channel(left, BOT, remover="alice")

    (now,) = [one.channels for one in admin.catch_up(cursor) if one.channels]

    assert {company.lounge.id, elsewhere.id} <= now.ids
    assert left.id not in now.ids
    assert now.since.timestamp() * 1000 == pytest.approx(cursor["at"])


# Walks that are interrupted -----------------------------------------------------------------------


def interrupted(
    company: Company, cursor: Mapping[str, Any], last: Channel
) -> tuple[dict[str, Any], list[Batch]]:
    """Catch up until a rate limit beyond all patience at a channel."""
    company.controls.limit_rate(retry_after=3600, path=f"/api/v4/channels/{last.id}/posts")
    told, error = until_it_fails(company.connected().catch_up(cursor))
    assert isinstance(error, RateLimited)
    return end_of(cursor, told), told


def test_a_walk_through_many_channels_goes_on_where_it_was_interrupted(company, caplog):
    many = rooms(company, 40)
    cursor = company.connected().start_cursor()
    for channel in many:
        company.write("alice", channel, channel.name)

    after, told = interrupted(company, cursor, many[30])
    bot = company.connected(debug_log=True)
    with caplog.at_level("INFO", logger="spaces.platforms.wire"):
        rest = list(itertools.takewhile(lambda one: not one.cursor.get("at"), bot.catch_up(after)))

    assert asked(caplog, f"/channels/{many[0].id}/posts") == []
    all_told = texts_of(told_by([*told, *rest, *bot.catch_up(end_of(after, rest))]))
    assert set(all_told) == {channel.name for channel in many}


def test_what_happens_in_channels_that_were_done_is_told_after_an_interruption(company):
    many = rooms(company, 25)
    old = company.write("alice", many[0], "old")
    company.controls.advance(5 * MINUTE)
    bot = company.connected()
    cursor = bot.start_cursor()
    company.write("alice", many[24], "early")

    after, _ = interrupted(company, cursor, many[24])
    assert after["walk"]
    company.write("alice", many[0], "late")
    company.make.delete(old)
    told = list(bot.catch_up(after))
    final = end_of(after, told)

    assert set(texts_of(told_by(told))) == {"early", "late"}
    gone = of_kind(told_by(told), Kind.MESSAGE_DELETED)
    assert {one.message_id for one in gone} == {old.id}
    assert not final["walk"]


def test_interrupted_again_and_again_it_comes_to_an_end(company):
    many = rooms(company, 45)
    cursor: dict[str, Any] = dict(company.connected().start_cursor())
    for channel in many:
        company.write("alice", channel, channel.name)

    told: list[Batch] = []
    for last in (many[12], many[25], many[38]):
        cursor, some = interrupted(company, cursor, last)
        told += some
    told += company.connected().catch_up(cursor)

    assert set(texts_of(told_by(told))) == {channel.name for channel in many}


def test_who_polls_waits_for_limits_no_longer_than_a_lease_lasts(company):
    """Each piece that is read renews it."""
    bot = company.connected()
    cursor = bot.start_cursor()
    many = rooms(company, 3)
    for channel in many:
        company.write("alice", channel, channel.name)
        path = f"/api/v4/channels/{channel.id}/posts"
        company.controls.limit_rate(retry_after=0, path=path)
    assert len(texts_of(caught_up(bot, cursor))) == 3

    company.controls.limit_rate(retry_after=61, path="/api/v4/channels/")
    _, error = until_it_fails(bot.catch_up(cursor))
    assert isinstance(error, RateLimited)


# Much in one channel ------------------------------------------------------------------------------


def test_a_lost_answer_in_a_busy_channel_costs_few_requests(company, caplog):
    bot = company.connected(debug_log=True)
    outgoing = message(company.lounge, "did this go out?")
    sent = bot.post_message(outgoing)
    company.many_posts(1_500)

    with caplog.at_level("INFO", logger="spaces.platforms.wire"):
        caplog.clear()
        found = bot.find_sent(outgoing)

    assert found is not None
    assert found.message_id == sent.message_id
    assert len(asked(caplog, "/posts")) <= 10


def test_many_rows_are_no_proof_that_there_are_no_more(company):
    """The server chooses 1,000 and then leaves out those that it does not show."""
    bot = company.connected()
    cursor = bot.start_cursor()
    posts = company.many_posts(1_040)
    company.controls.hide_posts_before(posts[60].create_at)

    told = caught_up(bot, cursor)

    assert texts_of(told) == [post.message for post in posts[60:]]


def test_posts_that_the_server_hides_are_a_gap(company):
    bot = company.connected()
    cursor = bot.start_cursor()
    posts = company.many_posts(5)
    company.controls.hide_posts_before(posts[3].create_at)

    told = caught_up(bot, cursor)

    (gap,) = of_kind(told, Kind.GAP)
    assert (gap.channel_id, gap.occurred_at) == (
        company.lounge.id,
        of_kind(told, Kind.MESSAGE_POSTED)[0].occurred_at,
    )
    assert texts_of(told) == ["3", "4"]


def test_a_page_that_is_short_is_not_taken_for_the_last(company):
    """Some of its posts are hidden in between; those before them are not."""
    bot = company.connected()
    posts = company.many_posts(450)
    hidden = {post.id for post in posts[300:320]}
    company.controls.leave_out_posts(sorted(hidden))

    read = [one.text for one in bot.history(company.lounge.id)]

    kept = [post.message for post in posts if post.id not in hidden]
    assert [text for text in read if text.isdecimal()] == kept[::-1]


def test_the_teams_are_asked_for_once_however_many_channels_there_are(company, caplog):
    for number in range(20):
        company.make.channel("acme", f"room-{number}", "alice", BOT)
    bot = company.connected(teams="acme", debug_log=True)
    start = bot.start_cursor()
    caplog.clear()

    caught_up(bot, start)

    assert len(asked(caplog, "/users/me/teams")) == 1
