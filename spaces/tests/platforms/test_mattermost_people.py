"""People of Mattermost: found, listed, added many at a time with a word about each, removed."""

from __future__ import annotations

import logging

import pytest

from spaces.platforms.errors import Forbidden, NotFound, RateLimited, Rejected, Unavailable
from spaces.platforms.messages import (
    ChannelKind,
    NewChannel,
    PersonOutcome,
    PersonRef,
    Presence,
    Role,
)
from spaces.testing.mattermost.state import Channel, TeamMember, User
from spaces.tests.platforms.mattermost_company import BOT, Company, message

MEMBERS = {"method": "POST", "path": "/api/v4/channels"}


def crowd(company: Company, quantity: int, *, inside: Channel | None = None) -> list[str]:
    """The usernames of that many colleagues, all in the team, in no order of the alphabet's."""
    world, names = company.server.world, []
    for number in range(quantity):
        name = f"colleague-{(number * 7919) % quantity:04}"
        user = User(username=name, email=f"{name}@example.com", create_at=1, update_at=1)
        world.users[user.id] = user
        member = TeamMember(team_id=company.team.id, user_id=user.id, create_at=1)
        world.team_members[company.team.id, user.id] = member
        if inside:
            company.make.join_channel(inside, name)
        names.append(name)
    return names


def refs(*names: str) -> list[PersonRef]:
    return [PersonRef(username=name) for name in names]


def codes(outcomes: list[PersonOutcome]) -> dict[str, str]:
    return {outcome.asked: outcome.code for outcome in outcomes}


class Requests:
    """What a bot with a debug log asks the server, from now on."""

    def __init__(self, caplog: pytest.LogCaptureFixture):
        caplog.set_level(logging.INFO, logger="spaces.platforms.wire")
        caplog.clear()
        self._caplog = caplog

    def __len__(self) -> int:
        return sum(text.startswith("> ") for text in self._caplog.messages)


# Finding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["alice", "@alice", "Alice", "@ALICE", "alice@example.com", "Alice@Example.com", "{id}"]
)
def test_a_person_is_addressed_as_people_do(company, text):
    alice = company.user("alice")

    found = company.connected().find_person(PersonRef.parse(text.format(id=alice.id)))

    assert (found.id, found.username, found.email) == (alice.id, "alice", "alice@example.com")


def test_a_person_is_told_with_the_name_that_people_read(company):
    company.make.user("dora", first_name="Dora", last_name="Dorn", nickname="Do")
    bot = company.connected()

    dora, helper = (bot.find_person(PersonRef(username=name)) for name in ("dora", BOT))

    assert "Dora" in dora.name or dora.name == "Do"
    assert (dora.is_bot, helper.is_bot) == (False, True)


@pytest.mark.parametrize(
    "text",
    [
        "nobody",
        "@nobody",
        "nobody@example.com",
        "a" * 26,
        "../../users/me",
        "@",
        "",
        "Łódź",
        "a/b?c#d@example.com",
        "two words@example.com",
        "x" * 500,
    ],
)
def test_who_does_not_exist_is_not_found(company, text):
    with pytest.raises(NotFound) as missing:
        company.connected().find_person(PersonRef.parse(text))

    assert missing.value.code == "person_not_found"


def test_addresses_that_the_server_keeps_to_itself_find_nobody(company):
    company.controls.change_settings({"PrivacySettings": {"ShowEmailAddress": False}})
    bot = company.connected()

    with pytest.raises(NotFound):
        bot.find_person(PersonRef(email="alice@example.com"))
    assert bot.find_person(PersonRef(username="alice")).email == ""


def test_a_person_who_was_deactivated_is_found(company):
    company.controls.disable("charlie")

    assert company.connected().find_person(PersonRef(username="charlie")).username == "charlie"


# Listing ------------------------------------------------------------------------------------------


def test_members_beyond_one_page_are_listed_once_and_always_in_the_same_order(company):
    names = crowd(company, 450, inside=company.lounge)
    bot = company.connected()

    first, second = (
        [one.person.username for one in bot.list_participants(company.lounge.id)] for _ in range(2)
    )

    assert first == second == sorted([*names, "alice", "bob", BOT])


@pytest.mark.parametrize("quantity", [196, 197, 198])
def test_a_page_that_is_just_full_loses_nobody(company, quantity):
    crowd(company, quantity, inside=company.lounge)

    listed = list(company.connected().list_participants(company.lounge.id))

    assert len({one.person.id for one in listed}) == len(listed) == quantity + 3


def test_members_are_listed_with_what_they_are(company):
    channel = company.make.channel("acme", "builds", BOT, creator="alice")

    listed = company.connected().list_participants(channel.id)

    assert [(one.person.username, one.role) for one in listed] == [
        ("alice", Role.MODERATOR),
        (BOT, Role.MEMBER),
    ]


def test_a_direct_channel_lists_both(company):
    direct = company.make.direct_channel("alice", BOT)

    listed = company.connected().list_participants(direct.id)

    assert [one.person.username for one in listed] == ["alice", BOT]


@pytest.mark.parametrize("channel_id", ["a" * 26, "no-id", "../me"])
def test_members_of_no_channel_are_not_found(company, channel_id):
    with pytest.raises(NotFound):
        list(company.connected().list_participants(channel_id))


def test_members_of_a_private_channel_are_not_told_to_others(company):
    secret = company.make.channel("acme", "secret", "alice", type="P")

    with pytest.raises(NotFound):
        list(company.connected().list_participants(secret.id))


# Adding one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["charlie", "@charlie", "charlie@example.com", "{id}"])
def test_one_person_is_added_however_named(company, text):
    ref = PersonRef.parse(text.format(id=company.user("charlie").id))

    (outcome,) = company.connected().add_participants(company.lounge.id, [ref])

    assert outcome.ok
    assert outcome.person.username == "charlie"
    assert "charlie" in company.members(company.lounge)


def test_somebody_who_is_not_in_the_team_is_told_what_to_do_first(company):
    company.make.user("stranger")

    (outcome,) = company.connected().add_participants(company.lounge.id, refs("stranger"))

    assert outcome.code == "not_in_team"
    assert "team first" in outcome.detail
    assert "stranger" not in company.members(company.lounge)


def test_somebody_who_has_left_the_team_is_not_in_it(company):
    company.make.leave_team("acme", "charlie")

    (outcome,) = company.connected().add_participants(company.lounge.id, refs("charlie"))

    assert outcome.code == "not_in_team"


def test_the_same_person_named_four_ways_is_added_once_and_told_four_times(company):
    charlie = company.user("charlie")
    people = [
        PersonRef(username="charlie"),
        PersonRef(email=charlie.email),
        PersonRef(id=charlie.id),
        PersonRef(username="Charlie"),
    ]

    outcomes = company.connected().add_participants(company.lounge.id, people)

    assert [outcome.person.id for outcome in outcomes] == [charlie.id] * 4
    assert [outcome.asked for outcome in outcomes] == [str(ref) for ref in people]


def test_nobody_at_all_is_added_without_a_word_to_the_server(company, caplog):
    bot = company.connected(debug_log=True)
    seen = Requests(caplog)

    assert bot.add_participants(company.lounge.id, []) == []
    assert bot.remove_participants(company.lounge.id, []) == []
    assert len(seen) == 0


# Adding many --------------------------------------------------------------------------------------


def test_a_thousand_are_added_at_once_and_each_one_is_told(company, caplog):
    inside = crowd(company, 1_000)
    company.make.user("stranger")
    inside[500:500] = ["nobody", "stranger", "alice", "nobody-else"]
    bot = company.connected(debug_log=True)
    seen = Requests(caplog)

    outcomes = bot.add_participants(company.lounge.id, refs(*inside))

    assert [outcome.asked for outcome in outcomes] == inside
    assert {asked: code for asked, code in codes(outcomes).items() if code} == {
        "nobody": "person_not_found",
        "nobody-else": "person_not_found",
        "stranger": "not_in_team",
    }
    assert len(company.members(company.lounge)) == 1_003
    assert len(seen) < 20


def test_whoever_is_switched_off_is_told_as_the_server_sees_it(company):
    company.controls.disable("charlie")

    (outcome,) = company.connected().add_participants(company.lounge.id, refs("charlie"))

    assert outcome.ok is ("charlie" in company.members(company.lounge))


def test_members_already_are_fine_and_stay_what_they_are(company):
    channel = company.make.channel("acme", "builds", BOT, creator="alice")

    outcomes = company.connected().add_participants(channel.id, refs("alice", "charlie"))

    assert codes(outcomes) == {"alice": "", "charlie": ""}
    assert company.server.world.members[channel.id][company.user("alice").id].scheme_admin


def test_all_that_cannot_be_added_are_told_one_by_one(company):
    for name in ("stranger", "other-stranger"):
        company.make.user(name)

    outcomes = company.connected().add_participants(
        company.lounge.id, refs("stranger", "nobody", "other-stranger")
    )

    assert codes(outcomes) == {
        "stranger": "not_in_team",
        "nobody": "person_not_found",
        "other-stranger": "not_in_team",
    }


@pytest.mark.parametrize("status", [400, 404])
def test_a_server_that_refuses_all_for_the_sake_of_one_is_asked_for_each(company, status):
    company.make.user("stranger")
    bot = company.connected()
    company.controls.fail(status=status, **MEMBERS)

    outcomes = bot.add_participants(company.lounge.id, refs("charlie", "stranger", "bob"))

    assert codes(outcomes) == {"charlie": "", "stranger": "not_in_team", "bob": ""}
    assert company.members(company.lounge) == {"alice", "bob", "charlie", BOT}


def test_whoever_the_server_does_not_take_is_told_with_its_reason(company):
    bot = company.connected()
    company.controls.fail(status=400, times=2, **MEMBERS)  # all of them, then the first alone

    refused, taken = bot.add_participants(company.lounge.id, refs("charlie", "bob"))

    assert (refused.code, bool(refused.detail), taken.ok) == ("rejected", True, True)
    assert "charlie" not in company.members(company.lounge)


@pytest.mark.parametrize(("trouble", "error"), [("fail", Unavailable), ("limit_rate", RateLimited)])
def test_trouble_is_no_word_about_a_person(company, trouble, error):
    """Who was not reached yet may be added by the next try."""
    company.make.user("stranger")
    bot = company.connected()
    getattr(company.controls, trouble)(method="POST", path="/api/v4/teams")

    with pytest.raises(error):
        bot.add_participants(company.lounge.id, refs("charlie", "stranger"))


def archived_lounge(company: Company) -> Channel:
    company.person("alice").archive_channel(company.lounge.id)
    return company.lounge


def group_of_three(company: Company) -> Channel:
    return company.make.group_channel("alice", "bob", BOT)


@pytest.mark.parametrize(
    ("make", "code"), [(archived_lounge, "channel_archived"), (group_of_three, "wrong_kind")]
)
def test_a_channel_that_takes_nobody_says_so_without_trying_each(company, caplog, make, code):
    channel, names = make(company), crowd(company, 30)
    bot = company.connected(debug_log=True)
    seen = Requests(caplog)

    with pytest.raises(Rejected) as refused:
        bot.add_participants(channel.id, refs(*names))

    assert refused.value.code == code
    assert len(seen) < 6


def test_who_may_not_add_anybody_is_forbidden_to(company):
    elsewhere = company.make.channel("acme", "elsewhere", "alice")

    with pytest.raises(Forbidden):
        company.connected().add_participants(elsewhere.id, refs("bob", "charlie"))


@pytest.mark.parametrize("change", ["add_participants", "remove_participants"])
@pytest.mark.parametrize("channel_id", ["a" * 26, "../me"])
def test_the_members_of_no_channel_are_not_changed(company, change, channel_id):
    with pytest.raises(NotFound):
        getattr(company.connected(), change)(channel_id, refs("bob"))


def test_a_channel_that_the_bot_does_not_see_is_not_found(company):
    secret = company.make.channel("acme", "secret", "alice", type="P")
    bot = company.connected()

    for change in (bot.add_participants, bot.remove_participants):
        with pytest.raises(NotFound):
            change(secret.id, refs("alice"))

    assert company.members(secret) == {"alice"}


@pytest.mark.parametrize(
    ("trouble", "arguments", "error"),
    [
        ("fail", {"status": 503, "place": "after"}, Unavailable),
        ("swallow_answers", {}, Unavailable),
        ("limit_rate", {}, RateLimited),
    ],
)
def test_adding_that_met_trouble_is_repeated_without_harm(company, trouble, arguments, error):
    bot = company.connected()
    getattr(company.controls, trouble)(**arguments, **MEMBERS)
    with pytest.raises(error):
        bot.add_participants(company.lounge.id, refs("charlie"))

    outcomes = bot.add_participants(company.lounge.id, refs("charlie"))

    assert codes(outcomes) == {"charlie": ""}
    assert "charlie" in company.members(company.lounge)


# Channel admins -----------------------------------------------------------------------------------


def test_members_are_made_channel_admins_by_who_is_one(company):
    bot = company.connected()
    made, _ = bot.create_channel(
        NewChannel(key="k" * 32, kind=ChannelKind.PRIVATE, name="ops", people=tuple(refs("alice")))
    )

    outcomes = bot.add_participants(made.id, refs("alice", "charlie", "nobody"), moderator=True)

    roles = {one.person.username: one.role for one in bot.list_participants(made.id)}
    assert codes(outcomes) == {"alice": "", "charlie": "", "nobody": "person_not_found"}
    assert roles == dict.fromkeys(("alice", "charlie", BOT), Role.MODERATOR)


def test_somebody_added_but_not_made_admin_is_told_so(company):
    (outcome,) = company.connected().add_participants(
        company.lounge.id, refs("charlie"), moderator=True
    )

    assert outcome.code == "remote_forbidden"
    assert outcome.detail.startswith("Added, but")
    assert "charlie" in company.members(company.lounge)


# Removing -----------------------------------------------------------------------------------------


def test_each_one_who_is_removed_is_told_and_who_is_not_there_is_fine(company):
    bot = company.connected()

    outcomes = bot.remove_participants(company.lounge.id, refs("alice", "charlie", "nobody"))

    assert codes(outcomes) == {"alice": "", "charlie": "", "nobody": "person_not_found"}
    assert company.members(company.lounge) == {"bob", BOT}


def test_from_where_everybody_has_to_be_nobody_is_removed(company):
    square = company.server.world.channel_named(company.team.id, "town-square")

    (outcome,) = company.connected().remove_participants(square.id, refs("alice"))

    assert (outcome.ok, bool(outcome.detail)) == (False, True)
    assert "alice" in company.members(square)


def test_removing_that_met_trouble_is_repeated_without_harm(company):
    bot = company.connected()
    company.controls.swallow_answers(method="DELETE", path="/api/v4/channels")
    with pytest.raises(Unavailable):
        bot.remove_participants(company.lounge.id, refs("alice", "bob"))

    outcomes = bot.remove_participants(company.lounge.id, refs("alice", "bob"))

    assert codes(outcomes) == {"alice": "", "bob": ""}
    assert company.members(company.lounge) == {BOT}


def test_many_people_are_given_time_in_the_lease(company):
    bot = company.bot()
    few, many = refs("alice"), refs(*map(str, range(1_000)))

    for operation in ("add_participants", "remove_participants"):
        assert bot.seconds_for(operation, "id", many) > bot.seconds_for(operation, "id", few) + 400


# Receipts, presence and typing --------------------------------------------------------------------


@pytest.mark.parametrize("presence", list(Presence))
def test_every_presence_is_shown(company, presence):
    company.connected().set_presence(presence)

    shown = company.server.simulation.statuses[company.bot_user.id]
    assert shown.status == presence.value


def test_a_presence_that_was_set_stays_while_the_bot_posts(company):
    bot = company.connected()
    bot.set_presence(Presence.DND)

    bot.post_message(message(company.lounge))

    assert company.server.simulation.statuses[company.bot_user.id].status == "dnd"


@pytest.mark.parametrize("operation", ["typing", "pin_message", "list_pinned"])
@pytest.mark.parametrize("there", ["nowhere", "secret"])
def test_what_is_done_where_the_bot_is_not_is_not_found(company, operation, there):
    secret = company.make.channel("acme", "secret", "alice", type="P")
    post = company.make.post("alice", secret, "hidden")
    channel_id = secret.id if there == "secret" else "a" * 26
    arguments = [post.id] if operation == "pin_message" else []

    with pytest.raises(NotFound):
        getattr(company.connected(), operation)(channel_id, *arguments)


def test_reading_views_one_channel_and_no_other(company):
    other = company.make.channel("acme", "other", "alice", BOT)
    company.make.post("alice", company.lounge, f"@{BOT} read this")
    post = company.make.post("alice", other, f"@{BOT} and this")

    company.connected().mark_read(other.id, post.id)

    unread = company.server.world.members[company.lounge.id][company.bot_user.id]
    assert unread.mention_count == 1
