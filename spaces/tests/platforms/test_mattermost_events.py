"""What Mattermost's events leave out, or tell in two ways, and how the position moves by them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from spaces.platforms.messages import Incoming, Kind
from spaces.tests.platforms.mattermost_company import (
    BOT,
    Company,
    Ear,
    caught_up,
    end_of,
    listening,
)

THE_END = "the end"
YEAR_2001 = 1_000_000_000_000  # ms
MINUTES = 60.0


def all_heard(company: Company, ear: Ear) -> list[Incoming]:
    """Everything that was told until now, without the bot's being online."""
    company.write("alice", company.lounge, THE_END)
    ear.hear_text(THE_END)
    return [
        one for one in ear.told if one.text != THE_END and one.kind is not Kind.PRESENCE_CHANGED
    ]


def imported(company: Company, text: str, at: int) -> None:
    """What an administrator brings over from another system."""
    body = {"channel_id": company.lounge.id, "message": text, "create_at": at}
    company.ask("admin", "POST", "/posts", body)


@pytest.fixture
def with_admin(company: Company) -> Company:
    company.make.admin()
    company.make.join_team("acme", "admin")
    company.make.join_channel(company.lounge, "admin")
    return company


# The position -------------------------------------------------------------------------------------


def test_pinning_what_was_edited_long_ago_is_no_edit_and_moves_nothing_back(company):
    post = company.write("alice", company.lounge, "frist")
    company.make.edit(post, "first")
    company.controls.advance(5 * MINUTES)
    bot = company.connected()

    with listening(bot) as ear:
        company.write("alice", company.lounge, "news")
        reached = ear.hear_text("news").cursor
        bot.pin_message(company.lounge.id, post.id)
        bot.unpin_message(company.lounge.id, post.id)
        bot.react(company.lounge.id, post.id, "tada")
        told = all_heard(company, ear)

    assert [one.kind for one in told] == [Kind.MESSAGE_POSTED, Kind.REACTION_ADDED]
    assert_never_back(reached, ear.cursor)


def test_an_imported_post_of_old_moves_nothing_back(with_admin):
    company = with_admin
    with listening(company.connected()) as ear:
        company.write("alice", company.lounge, "news")
        reached = ear.hear_text("news").cursor
        imported(company, "how it was", YEAR_2001)
        told = ear.hear_text("how it was")

    assert told.occurred_at.year == 2001
    assert_never_back(reached, told.cursor)


def test_an_imported_post_of_old_leaves_the_position_where_it_was_stored(with_admin):
    company = with_admin
    stored = company.connected().start_cursor()

    with listening(company.connected(), stored) as ear:
        imported(company, "how it was", YEAR_2001)
        told = ear.hear_text("how it was")

    assert_never_back(stored, told.cursor)


def test_an_imported_post_of_old_leaves_the_position_that_was_caught_up_to(with_admin):
    company, bot = with_admin, with_admin.connected()
    stored = bot.start_cursor()
    company.controls.advance(5 * MINUTES)
    company.write("alice", company.lounge, "missed")

    with listening(bot, stored) as ear:
        reached = end_of(stored, bot.catch_up(stored))
        imported(company, "how it was", YEAR_2001)
        told = ear.hear_text("how it was")

    assert reached["at"] > stored["at"]
    assert_never_back(reached, told.cursor)


def assert_never_back(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    assert after["at"] >= before["at"]
    assert after["changes"] >= before["changes"]


# Told in part, or in two ways ---------------------------------------------------------------------


def test_answers_that_go_with_their_root_have_the_ids_by_which_they_are_caught_up_with(company):
    root = company.write("alice", company.lounge, "a question")
    answer = company.write("bob", company.lounge, "an answer", root=root)
    other = company.write("bob", company.lounge, "another", root=root)
    bot = company.connected()
    start = bot.start_cursor()

    with listening(bot) as ear:
        company.controls.advance(0.01)
        company.make.delete(other)
        company.make.delete(root)
        first, second = all_heard(company, ear)
    told = {one.id for one in caught_up(bot, start) if one.kind is Kind.MESSAGE_DELETED}

    assert [(one.message_id, one.with_thread) for one in (first, second)] == [
        (other.id, False),
        (root.id, True),
    ]
    assert second.id.replace(root.id, answer.id) in told


@pytest.mark.parametrize("adder", ["alice", ""])
def test_that_the_bot_was_added_does_not_rest_on_what_is_written_about_it(company, adder):
    there = company.make.channel("acme", "elsewhere", "alice", type="P")

    with listening(company.connected()) as ear:
        company.make.join_channel(there, BOT, adder=adder)
        hint, written = all_heard(company, ear)

    assert (hint.hint, written.hint) == (True, False)
    for told in (hint, written):
        assert (told.kind, told.channel_id) == (Kind.PARTICIPANT_JOINED, there.id)
        assert [person.id for person in told.people] == [company.bot_user.id]


def test_that_others_were_added_is_told_by_what_is_written_about_it_alone(company):
    with listening(company.connected()) as ear:
        company.make.join_channel(company.lounge, "charlie", adder="alice")
        (told,) = all_heard(company, ear)

    assert not told.hint


def test_coming_to_a_team_concerns_all_its_channels(company):
    team = company.make.team("other", "alice")

    with listening(company.connected()) as ear:
        company.make.join_team(team, BOT)
        told = all_heard(company, ear)

    (joined,) = (one for one in told if not one.channel_id)
    assert (joined.kind, joined.hint) == (Kind.PARTICIPANT_JOINED, True)
    assert [person.id for person in joined.people] == [company.bot_user.id]


def test_leaving_a_team_concerns_all_its_channels(company):
    with listening(company.connected()) as ear:
        company.make.leave_team("acme", BOT)
        left = ear.hear_kind(Kind.PARTICIPANT_LEFT)

    assert (left.channel_id, left.hint) == ("", False)
    assert [person.id for person in left.people] == [company.bot_user.id]


def test_a_team_that_is_deleted_or_restored_concerns_all_its_channels(company):
    company.make.admin()

    with listening(company.connected()) as ear:
        company.ask("admin", "DELETE", f"/teams/{company.team.id}")
        company.ask("admin", "POST", f"/teams/{company.team.id}/restore")
        told = all_heard(company, ear)

    assert [(one.kind, one.hint, one.channel_id) for one in told] == [
        (Kind.PARTICIPANT_LEFT, True, ""),
        (Kind.PARTICIPANT_JOINED, True, ""),
    ]
    assert {person.id for one in told for person in one.people} == {company.bot_user.id}


# Not as expected ----------------------------------------------------------------------------------


def framed(event: str, data: Any) -> bytes:
    return json.dumps({"event": event, "data": data, "broadcast": {}, "seq": 1}).encode()


@pytest.mark.parametrize(
    ("event", "data"),
    [
        ("typing", {}),
        ("typing", []),
        ("channel_updated", {}),
        ("channel_updated", {"channel": None}),
        ("channel_updated", {"channel": "no json"}),
        ("channel_deleted", {"channel_id": "c"}),
        ("channel_restored", {}),
        ("multiple_channels_viewed", {"channel_times": {"c": "never"}}),
        ("ephemeral_message", {"post": "{}"}),
        ("user_added", "text"),
        ("leave_team", {}),
    ],
)
def test_lesser_news_in_an_unknown_shape_is_passed_over_and_noted_once(
    company, event, data, caplog
):
    bot = company.connected()

    with caplog.at_level(logging.WARNING):
        assert bot.decode(framed(event, data)) == []
        assert bot.decode(framed(event, data)) == []

    assert [event in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    "event", ["posted", "post_edited", "post_deleted", "reaction_added", "reaction_removed"]
)
@pytest.mark.parametrize("data", [{}, [], {"post": "{}", "reaction": "{}"}])
def test_what_must_not_be_missed_is_fatal_in_an_unknown_shape(company, event, data):
    bot = company.connected()

    with pytest.raises(ValueError, match="not as the server makes events"):
        bot.decode(framed(event, data))
