"""Mattermost's websocket over time: broken and resumed, with frames astray, and fallen mute."""

from __future__ import annotations

import json
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from spaces.platforms.errors import CredentialsRefused, Stale, Unavailable
from spaces.platforms.mattermost import Mattermost
from spaces.platforms.messages import Kind
from spaces.testing.mattermost.making import PASSWORD
from spaces.tests.platforms.mattermost_company import (
    BOT,
    PATIENCE_SECONDS,
    Company,
    Ear,
    being_read,
    caught_up,
    listening,
    texts_of,
    wait_until,
)

HEARTBEAT_SECONDS = 0.05


# Going on -----------------------------------------------------------------------------------------


def posted(ear: Ear) -> list[str]:
    return texts_of(ear.told)


@contextmanager
def again(ear: Ear, platform: Mattermost | None = None) -> Iterator[Ear]:
    """Listen where another one ended, with all that it told."""
    with listening(platform or ear.platform, ear.cursor) as next_ear:
        next_ear.told += ear.told
        next_ear.cursor |= ear.cursor
        yield next_ear


def numbered(company: Company, first: int, last: int) -> None:
    for number in range(first, last):
        company.write("alice", company.lounge, str(number))


def up_to(quantity: int) -> list[str]:
    return [str(number) for number in range(quantity)]


@pytest.mark.parametrize("missed", [0, 1, 200])
def test_a_dropped_websocket_goes_on_where_it_ended(company, missed):
    bot = company.connected()
    with listening(bot) as ear:
        numbered(company, 0, 3)
        ear.hear_text("2")
        company.controls.drop_sockets(BOT)
        with pytest.raises(Unavailable):
            ear.hear_the_end()
    numbered(company, 3, 3 + missed)

    with again(ear) as later:
        assert later.stream.resumed
        assert later.stream.connection_id == ear.stream.connection_id
        numbered(company, 3 + missed, 4 + missed)
        later.hear_text(str(3 + missed))

    assert posted(later) == up_to(4 + missed)


@pytest.fixture
def thousand_files() -> Iterator[None]:
    """Open in this process, as where a thousand other bots are held."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4_096), hard))
    with ExitStack() as files:
        for _ in range(1_100):
            files.enter_context(open(os.devnull))
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("thousand_files")
def test_a_process_with_a_thousand_open_files_opens_one_more(company):
    with listening(company.connected()) as ear:
        company.write("alice", company.lounge, "hello")

        ear.hear_text("hello")

        assert ear.stream.fileno() > 1_023


def test_another_process_goes_on_where_the_first_one_ended(company):
    with listening(company.connected()) as ear:
        numbered(company, 0, 2)
        ear.hear_text("1")
    wait_until(lambda: not company.controls.connected(BOT))
    numbered(company, 2, 4)

    with again(ear, company.connected()) as later:
        later.hear_text("3")

    assert posted(later) == up_to(4)
    assert [one.cursor["resume"][0] for one in later.told if one.text == "3"] == [
        ear.stream.connection_id
    ]


def forget(company: Company) -> None:
    company.controls.forget_connections()


def restart(company: Company) -> None:
    company.controls.restart()


def overflow(company: Company) -> None:
    """More than the server keeps for who is away."""
    post = company.posts()[0]
    for _ in range(300):
        company.make.react("alice", post, "tada")


def wait_too_long(company: Company) -> None:
    company.controls.advance(11 * 60)


@pytest.mark.parametrize("lose", [forget, restart, overflow, wait_too_long])
def test_what_cannot_be_resumed_begins_anew_and_is_caught_up_with(company, lose):
    company.write("alice", company.lounge, "before")
    bot = company.connected()
    start = bot.start_cursor()
    with listening(bot) as ear:
        numbered(company, 0, 2)
        ear.hear_text("1")
        company.controls.drop_sockets(BOT)
        with pytest.raises(Unavailable):
            ear.hear_the_end()
    numbered(company, 2, 3)
    lose(company)
    numbered(company, 3, 4)

    with again(ear) as later:
        assert not later.stream.resumed
        assert later.stream.connection_id != ear.stream.connection_id
        numbered(company, 4, 5)
        later.hear_text("4")
        told = {one.id: one for one in (*ear.told, *caught_up(bot, {**start, **ear.cursor}))}

    told |= {one.id: one for one in later.told}
    assert sorted(texts_of(told.values())) == up_to(5)


def test_a_connection_that_the_server_thinks_alive_is_not_taken_over(company):
    """So it is for 100 seconds after a cable was pulled."""
    bot = company.connected()
    with listening(bot) as ear:
        numbered(company, 0, 1)
        ear.hear_text("0")
        company.controls.silence_sockets(BOT)
        numbered(company, 1, 2)

        with again(ear) as later:
            assert not later.stream.resumed
            missed = caught_up(bot, {"start": 0, **ear.cursor})

    assert "1" in texts_of(missed)


@pytest.mark.parametrize(
    "resume",
    [
        ["no id of theirs!", 5],
        ["x" * 26, 5],
        ["x" * 26, -5],
        ["x" * 26, 0],
        ["x" * 26, "5"],
        ["x" * 26],
        [],
        "text",
        None,
    ],
)
def test_a_position_that_means_nothing_begins_anew(company, resume):
    with listening(company.connected(), {"resume": resume}) as ear:
        assert not ear.stream.resumed
        company.write("alice", company.lounge, "heard")
        ear.hear_text("heard")


def test_a_connection_of_somebody_else_is_not_resumed(company):
    with listening(company.connected()) as ear:
        numbered(company, 0, 1)
        ear.hear_text("0")
    wait_until(lambda: not company.controls.connected(BOT))

    with again(ear, company.person("bob")) as later:
        assert not later.stream.resumed


# Frames that go astray ----------------------------------------------------------------------------


def test_frames_that_come_twice_are_told_once(company):
    with listening(company.connected()) as ear:
        company.controls.duplicate_frames(times=5, user=BOT)
        numbered(company, 0, 10)
        ear.hear_text("9")

    assert posted(ear) == up_to(10)


@pytest.mark.parametrize("fault", ["omit_frames", "reorder_frames"])
def test_a_frame_that_is_left_out_or_late_ends_the_stream_and_comes_with_the_next(company, fault):
    bot = company.connected()
    with listening(bot) as ear:
        numbered(company, 0, 2)
        ear.hear_text("1")
        getattr(company.controls, fault)(times=1, user=BOT)
        numbered(company, 2, 5)
        with pytest.raises(Unavailable) as caught:
            ear.hear_the_end()
        assert caught.value.code == "sequence_gap"
    wait_until(lambda: not company.controls.connected(BOT))

    with again(ear) as later:
        assert later.stream.resumed
        later.hear_text("4")

    assert posted(later) == up_to(5)


def test_a_lost_frame_that_the_server_forgot_is_caught_up_with(company):
    bot = company.connected()
    start = bot.start_cursor()
    with listening(bot) as ear:
        company.controls.omit_frames(times=1, user=BOT)
        numbered(company, 0, 3)
        with pytest.raises(Unavailable):
            ear.hear_the_end()
    wait_until(lambda: not company.controls.connected(BOT))
    company.controls.forget_connections()

    assert texts_of(caught_up(bot, {**start, **ear.cursor})) == up_to(3)


def test_a_numbering_that_begins_anew_without_a_word_ends_the_stream(company):
    """By the old one, all that is told would seem to have been told before."""
    with listening(company.connected()) as ear:
        numbered(company, 0, 5)
        ear.hear_text("4")
        company.controls.drop_sockets(BOT)
        with pytest.raises(Unavailable):
            ear.hear_the_end()
    company.controls.forget_connections(BOT)
    company.controls.omit_frames(1, BOT)  # the `hello`

    with again(ear) as later:
        numbered(company, 5, 6)
        with pytest.raises(Unavailable, match="anew"):
            later.hear_the_end()
    with again(later) as latest:
        numbered(company, 6, 7)
        latest.hear_text("6")
        told = {one.id: one for one in (*caught_up(ear.platform, ear.cursor), *latest.told)}

    assert sorted(texts_of(told.values())) == up_to(7)


def test_a_restart_of_the_server_ends_the_stream(company):
    with listening(company.connected()) as ear:
        company.controls.restart()

        with pytest.raises(Unavailable):
            ear.hear_the_end()


def test_a_server_that_is_away_opens_no_stream(company):
    bot = company.connected()
    company.controls.go_down()

    with pytest.raises(Unavailable):
        bot.open_stream({})


# Signs of life ------------------------------------------------------------------------------------


def beat(ear: Ear, times: int) -> None:
    """Hold the stream for so many heartbeats, as its reader does."""
    for _ in range(times):
        until = time.monotonic() + ear.stream.heartbeat_seconds
        while (left := until - time.monotonic()) > 0:
            ear.take(left)
        ear.stream.beat()
    ear.take(PATIENCE_SECONDS)


Brief = Callable[..., Mattermost]


@pytest.fixture
def brief(company: Company) -> Brief:
    """Makes bots with short heartbeats."""

    def make(credentials: dict[str, str] | None = None, **options: Any) -> Mattermost:
        seconds = {
            "heartbeat_seconds": HEARTBEAT_SECONDS,
            "websocket_ping_seconds": HEARTBEAT_SECONDS,
        }
        return company.connected(credentials, **(seconds | options))

    return make


def revoke(company: Company) -> None:
    company.controls.revoke_token(company.token)


def disable(company: Company) -> None:
    company.controls.disable(BOT)


def end_sessions(company: Company) -> None:
    company.controls.revoke_sessions(BOT)


@pytest.mark.parametrize("end", [revoke, disable])
def test_credentials_that_were_revoked_are_found_within_two_heartbeats(company, brief, end):
    bot = brief()
    with listening(bot) as ear:
        end(company)
        company.write("alice", company.lounge, "unheard")

        with pytest.raises(Unavailable, match="mute"):
            beat(ear, 2)
    assert posted(ear) == []
    with pytest.raises(CredentialsRefused):
        bot.connect()


def test_a_token_that_outlives_its_session_connects_anew(company, brief):
    bot = brief()
    start = bot.start_cursor()
    with listening(bot) as ear:
        end_sessions(company)
        company.write("alice", company.lounge, "unheard")
        with pytest.raises(Unavailable, match="mute"):
            beat(ear, 2)

    bot.connect()
    with again(ear):
        assert texts_of(caught_up(bot, start)) == ["unheard"]


def test_a_login_whose_session_was_ended_logs_in_again_and_catches_up(company, brief):
    alice = brief({"login": "alice", "password": PASSWORD})
    start = alice.start_cursor()
    with listening(alice) as ear:
        company.controls.revoke_sessions("alice")
        company.write("bob", company.lounge, "unheard")
        with pytest.raises(Unavailable) as caught:
            beat(ear, 2)
        assert caught.value.code == "session_ended"

    alice.connect()
    with again(ear):
        assert texts_of(caught_up(alice, start)) == ["unheard"]


def test_a_living_stream_is_held_for_any_number_of_heartbeats(company, brief):
    seconds = 10 * HEARTBEAT_SECONDS  # enough for a machine that is busy
    bot = brief(heartbeat_seconds=seconds, websocket_ping_seconds=seconds)
    with listening(bot) as ear:
        beat(ear, 3)
        company.write("alice", company.lounge, "heard")
        assert ear.hear_text("heard")


def test_a_server_that_says_nothing_more_is_stale(company, brief):
    with listening(brief()) as ear:
        company.controls.silence_sockets(BOT)

        with pytest.raises(Stale):
            beat(ear, 6)


def test_a_server_that_refuses_to_answer_for_a_while_is_no_refusal_of_ours(company, brief):
    """Say, because it is busy: any answer is a sign of life."""
    bot = brief()
    with listening(bot) as ear:
        reply = {"status": "FAIL", "seq_reply": 1, "error": {"status_code": 503, "id": "busy"}}

        assert bot.decode(json.dumps(reply).encode()) == []
        beat(ear, 1)


def test_the_bot_stays_connected_as_long_as_the_websocket_is_read(company):
    """The server hangs up on who does not answer its pings."""
    with listening(company.connected()) as ear:
        with being_read(ear):
            company.controls.advance(10 * 60)
        company.write("alice", company.lounge, "heard")

        assert ear.hear_text("heard")


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 30),
        ({"websocket_ping_seconds": 7}, 7),
        ({"heartbeat_seconds": 8}, 8),
        ({"websocket_ping_seconds": 70, "heartbeat_seconds": 80}, 70),
    ],
)
def test_the_shorter_interval_is_the_streams(company, options, seconds):
    with listening(company.connected(**options)) as ear:
        assert ear.stream.heartbeat_seconds == seconds


def test_a_token_that_is_refused_at_the_opening_is_told_as_that(company):
    bot = company.connected()
    company.controls.revoke_token(company.token)
    hub = company.server.simulation.hub

    def give_up() -> None:
        wait_until(lambda: hub.sockets)
        company.controls.advance(6)  # the server hangs up on who does not say who they are

    giving_up = threading.Thread(target=give_up)
    giving_up.start()
    with pytest.raises(CredentialsRefused):
        bot.open_stream({})
    giving_up.join()


def test_a_team_that_is_wanted_and_joined_later_is_heard(company):
    company.make.team("beta", "alice")
    builds = company.make.channel("beta", "builds", "alice")
    bot = company.connected(teams="acme, beta")
    start = bot.start_cursor()
    with listening(bot, start) as ear:
        company.make.join_team("beta", BOT)
        company.make.join_channel(builds, BOT, adder="alice")
        company.write("alice", builds, "the first")
        with pytest.raises(Unavailable, match="team"):
            ear.hear_the_end()

    with again(ear) as later:
        company.write("alice", builds, "the second")
        later.hear_text("the second")
        told = {one.id: one for one in (*caught_up(bot, start), *later.told)}

    assert sorted(texts_of(told.values())) == ["the first", "the second"]


def test_a_team_that_is_not_wanted_and_joined_later_is_not_heard(company):
    company.make.team("gamma", "alice")
    other = company.make.channel("gamma", "other", "alice")
    bot = company.connected(teams="acme")
    with listening(bot) as ear:
        company.make.join_team("gamma", BOT)
        with pytest.raises(Unavailable, match="team"):
            ear.hear_the_end()

    with again(ear) as later:
        company.make.join_channel(other, BOT, adder="alice")
        company.write("alice", other, "foreign")
        company.write("alice", company.lounge, "ours")
        later.hear_text("ours")

    assert posted(later) == ["ours"]


def test_a_post_as_long_as_can_be_is_heard(company):
    text = "🥐" * 16_383

    with listening(company.connected()) as ear:
        company.write("alice", company.lounge, text)

        assert ear.hear_kind(Kind.MESSAGE_POSTED).text == text


def test_many_at_once_are_heard_in_order(company):
    with listening(company.connected()) as ear:
        for number in range(100):
            company.make.post("alice", company.lounge, str(number))
        ear.hear_text("99")

    assert posted(ear) == up_to(100)
