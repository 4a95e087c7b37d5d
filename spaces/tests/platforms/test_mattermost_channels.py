"""Channels of Mattermost: found, made, changed and archived, in one team and in several."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from spaces.platforms.errors import Forbidden, NotFound, OutcomeUnknown, PlatformError, Rejected
from spaces.platforms.messages import ChannelChange, ChannelKind, NewChannel, PersonRef
from spaces.testing.mattermost.state import Channel
from spaces.tests.platforms.mattermost_company import BOT, Company

CHANNELS = {"method": "POST", "path": "/api/v4/channels"}


def new_channel(kind: ChannelKind = ChannelKind.PUBLIC, **more: Any) -> NewChannel:
    return NewChannel(key=uuid.uuid4().hex, kind=kind, **more)


def group_of(*names: str, **more: Any) -> NewChannel:
    people = tuple(PersonRef(username=name) for name in names)
    return new_channel(ChannelKind.GROUP, people=people, **more)


def direct_with(*names: str, **more: Any) -> NewChannel:
    people = tuple(PersonRef(username=name) for name in names)
    return new_channel(ChannelKind.DIRECT, people=people, **more)


def stored(company: Company, channel_id: str) -> Channel:
    return company.server.world.channels[channel_id]


@pytest.fixture
def other_team(company):
    """A second team with the bot in it, which also has a lounge."""
    team = company.make.team("beta", "alice", BOT)
    company.make.channel(team, "lounge", "alice", BOT, display_name="Second lounge")
    return team


# Listing ------------------------------------------------------------------------------------------


def test_every_channel_of_the_bot_is_listed_with_its_kind_and_the_others_are_not(company):
    secret = company.make.channel("acme", "secret", "alice", BOT, type="P")
    direct = company.make.direct_channel("alice", BOT)
    group = company.make.group_channel("alice", "bob", BOT)
    company.make.channel("acme", "elsewhere", "alice")
    archived = company.make.channel("acme", "archived", "alice", BOT)
    company.person("alice").archive_channel(archived.id)

    listed = {info.id: info for info in company.connected().list_channels()}

    square, off_topic = (
        company.server.world.channel_named(company.team.id, name).id
        for name in ("town-square", "off-topic")
    )
    assert {id: info.kind for id, info in listed.items()} == {
        company.lounge.id: ChannelKind.PUBLIC,
        square: ChannelKind.PUBLIC,
        off_topic: ChannelKind.PUBLIC,
        secret.id: ChannelKind.PRIVATE,
        direct.id: ChannelKind.DIRECT,
        group.id: ChannelKind.GROUP,
    }
    assert listed[direct.id].peer.username == "alice"


def test_a_bot_that_is_in_no_channel_lists_none(company):
    company.make.leave_team("acme", BOT)

    assert list(company.connected().list_channels()) == []


def test_only_channels_of_the_teams_that_are_wanted_can_be_joined(company, other_team):
    for team in ("acme", other_team):
        company.make.channel(team, "elsewhere", "alice")

    def count(**options: str) -> int:
        return len(list(company.connected(**options).list_joinable_channels()))

    assert (count(), count(teams="beta")) == (2, 1)


def test_only_channels_of_the_teams_that_are_wanted_are_listed(company, other_team):
    direct = company.make.direct_channel("alice", BOT)

    listed = list(company.connected(teams="beta").list_channels())

    assert {info.title for info in listed} == {
        "Town Square",
        "Off-Topic",
        "Second lounge",
        "@alice",
    }
    assert direct.id in [info.id for info in listed]


# Finding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lounge", "#lounge", "~lounge", "acme/lounge", "LOUNGE"])
def test_a_channel_is_found_by_its_name(company, name):
    assert company.connected().find_channel(name=name).id == company.lounge.id


def test_a_channel_is_found_by_the_title_that_people_see(company):
    company.lounge.display_name = "Our Lounge / Bar"

    assert company.connected().find_channel(name="Our Lounge / Bar").id == company.lounge.id


def test_a_public_channel_is_found_by_its_name_before_the_bot_is_in_it(company):
    elsewhere = company.make.channel("acme", "elsewhere", "alice")
    bot = company.connected()

    assert bot.find_channel(name="elsewhere").id == elsewhere.id
    assert bot.find_channel(id=elsewhere.id).id == elsewhere.id


def test_the_direct_channel_of_a_person_comes_about_by_looking_for_it(company):
    bot = company.connected()

    found = [bot.find_channel(person=PersonRef(username="charlie")) for _ in range(2)]

    assert found[0] == found[1]
    assert company.members(stored(company, found[0].id)) == {BOT, "charlie"}
    assert found[0].peer.username == "charlie"


@pytest.mark.parametrize(
    "wanted",
    [
        {"id": "a" * 26},
        {"id": "../../users/me"},
        {"name": "nowhere"},
        {"name": "nobodys/lounge"},
        {"name": ""},
        {"name": "#"},
        {"name": "x" * 300},
        {"name": "../lounge"},
        {"name": "Łódź"},
        {"person": PersonRef(username="nobody")},
        {"person": PersonRef()},
    ],
)
def test_what_is_no_channel_is_not_found(company, wanted):
    with pytest.raises(NotFound):
        company.connected().find_channel(**wanted)


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_private_channel_is_not_there_for_who_is_not_in_it(company, by):
    secret = company.make.channel("acme", "secret", "alice", type="P")

    with pytest.raises(NotFound):
        company.connected().find_channel(**{by: getattr(secret, by)})


def test_a_name_that_several_teams_use_wants_its_team(company, other_team):
    bot = company.connected()

    with pytest.raises(NotFound) as ambiguous:
        bot.find_channel(name="lounge")

    assert ambiguous.value.code == "ambiguous_channel"
    assert bot.find_channel(name="acme/lounge").id == company.lounge.id
    assert bot.find_channel(name="beta/lounge").title == "Second lounge"


def test_a_name_is_looked_for_in_the_teams_that_are_wanted(company, other_team):
    bot = company.connected(teams="beta")

    assert bot.find_channel(name="lounge").title == "Second lounge"
    with pytest.raises(NotFound):
        bot.find_channel(name="acme/lounge")


# Making -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "letter"), [(ChannelKind.PUBLIC, "O"), (ChannelKind.PRIVATE, "P")]
)
def test_a_channel_is_made_with_all_that_was_asked_for(company, kind, letter):
    bot = company.connected()

    made, outcomes = bot.create_channel(
        new_channel(
            kind,
            name="Builds",
            title="All builds",
            topic="[green](https://ci.example)",
            purpose="What is built",
            people=(PersonRef(username="alice"),),
        )
    )

    channel = stored(company, made.id)
    assert (channel.type, channel.name, channel.display_name) == (letter, "builds", "All builds")
    assert (channel.header, channel.purpose) == ("[green](https://ci.example)", "What is built")
    assert company.members(channel) == {BOT, "alice"}
    assert [outcome.ok for outcome in outcomes] == [True]
    assert (made.kind, made.topic, made.purpose) == (kind, channel.header, channel.purpose)


@pytest.mark.parametrize(
    ("title", "start"), [("Release 2 — Łódź!", "release-2-d"), ("東京", ""), ("x " * 30, "x-x")]
)
def test_a_channel_with_nothing_but_a_title_gets_a_name_that_only_this_job_gives(
    company, title, start
):
    bot, new = company.connected(), new_channel(title=title)

    made, _ = bot.create_channel(new)
    again, _ = bot.create_channel(new_channel(title=title))

    assert made.name.startswith(start)
    assert made.name.endswith(new.key[:8])
    assert made.name != again.name
    assert made.title == again.title == title
    assert bot.find_created(new).id == made.id


def test_a_channel_with_nothing_but_a_name_is_titled_by_it(company):
    made, _ = company.connected().create_channel(new_channel(name="builds"))

    assert (made.name, made.title) == ("builds", "builds")


@pytest.mark.parametrize("archived", [False, True])
def test_a_name_that_is_taken_is_refused_also_by_an_archived_channel(company, archived):
    if archived:
        company.person("alice").archive_channel(company.lounge.id)
    bot, new = company.connected(), new_channel(name="lounge")

    with pytest.raises(Rejected) as refused:
        bot.create_channel(new)

    assert refused.value.code == "channel_exists"
    assert bot.find_created(new) is None  # somebody else made it


LONG = "x" * 65


@pytest.mark.parametrize(
    "wanted",
    [{"name": "not a name"}, {"name": "-dash"}, {"name": LONG}, {"name": "ok", "title": LONG}],
)
def test_a_name_or_title_that_cannot_be_one_is_refused_for_good(company, wanted):
    with pytest.raises(Rejected):
        company.connected().create_channel(new_channel(**wanted))


@pytest.mark.parametrize("name", ["not a name", LONG, "town-square"])
def test_a_channel_gets_no_name_that_cannot_be_one_or_is_taken(company, name):
    with pytest.raises(Rejected):
        company.connected().update_channel(company.lounge.id, ChannelChange(name=name))

    assert company.lounge.name == "lounge"


def test_a_team_that_is_full_of_channels_takes_no_more(company):
    company.controls.change_settings({"TeamSettings": {"MaxChannelsPerTeam": 3}})

    with pytest.raises(Rejected):
        company.connected().create_channel(new_channel(name="one-more"))


def test_a_bot_in_no_team_makes_no_channel(company):
    company.make.leave_team("acme", BOT)

    with pytest.raises(Rejected) as refused:
        company.connected().create_channel(new_channel(name="builds"))

    assert refused.value.code == "not_in_team"


def test_a_bot_in_several_teams_says_in_which_a_channel_is_made(company, other_team):
    bot = company.connected()

    with pytest.raises(Rejected) as refused:
        bot.create_channel(new_channel(name="builds"))
    made, _ = bot.create_channel(new_channel(name="beta/builds"))

    assert refused.value.code == "team_ambiguous"
    assert stored(company, made.id).team_id == other_team.id
    assert made.name == "builds"


def test_a_channel_is_made_in_the_first_team_that_is_wanted(company, other_team):
    made, _ = company.connected(teams="beta, acme").create_channel(new_channel(name="builds"))

    assert stored(company, made.id).team_id == other_team.id


@pytest.mark.parametrize("team", ["nowhere", "beta"])
def test_a_channel_in_a_team_that_the_bot_is_not_in_is_refused(company, team):
    company.make.team("beta", "alice")

    with pytest.raises(Rejected) as refused:
        company.connected().create_channel(new_channel(name=f"{team}/builds"))

    assert refused.value.code == "not_in_team"


def test_a_channel_whose_making_was_not_answered_is_found_again(company):
    bot, new = company.connected(), new_channel(title="Builds")
    company.controls.swallow_answers(**CHANNELS)

    with pytest.raises(OutcomeUnknown):
        bot.create_channel(new)

    found = bot.find_created(new)
    assert stored(company, found.id).display_name == "Builds"


def test_people_that_cannot_be_added_do_not_unmake_a_channel(company):
    bot, new = company.connected(), new_channel(title="Builds", people=(PersonRef(username="bob"),))
    company.controls.fail(status=503, method="POST", path="/api/v4/users/usernames")

    with pytest.raises(OutcomeUnknown) as unknown:
        bot.create_channel(new)

    assert "was made" in unknown.value.detail
    assert bot.find_created(new) is not None


# Conversations ------------------------------------------------------------------------------------


def test_the_direct_channel_is_made_once(company):
    bot = company.connected()

    made = [bot.create_channel(direct_with("alice", topic="just us"))[0] for _ in range(2)]

    assert made[0] == made[1]
    assert (made[0].kind, made[0].topic) == (ChannelKind.DIRECT, "just us")
    assert made[0].peer.username == "alice"


def test_the_group_of_the_same_people_is_made_once(company):
    bot = company.connected()

    (first, outcomes), (second, _) = (
        bot.create_channel(group_of(*names))
        for names in (("alice", "bob"), ("bob", "alice", BOT, "bob"))
    )

    assert first == second
    assert first.kind is ChannelKind.GROUP
    assert [outcome.ok for outcome in outcomes] == [True, True]
    assert company.members(stored(company, first.id)) == {"alice", "bob", BOT}


def test_somebody_unknown_is_told_and_the_group_is_made_of_the_others(company):
    made, outcomes = company.connected().create_channel(group_of("alice", "nobody", "bob"))

    assert [outcome.code for outcome in outcomes] == ["", "person_not_found", ""]
    assert company.members(stored(company, made.id)) == {"alice", "bob", BOT}


@pytest.mark.parametrize(
    "new",
    [
        direct_with(),
        direct_with("nobody"),
        direct_with("alice", "bob"),
        direct_with(BOT),
        group_of("alice"),
        group_of("alice", "nobody"),
        group_of(*(f"person-{number}" for number in range(8))),
    ],
)
def test_a_conversation_of_too_few_or_too_many_is_refused(company, new):
    for number in range(8):
        company.make.user(f"person-{number}")
    before = len(company.server.world.channels)

    with pytest.raises(Rejected) as refused:
        company.connected().create_channel(new)

    assert refused.value.code == "wrong_people"
    assert len(company.server.world.channels) == before


def test_who_may_be_written_to_only_within_a_team_is_refused(company):
    company.make.user("stranger")
    company.controls.change_settings({"TeamSettings": {"RestrictDirectMessage": "team"}})

    with pytest.raises(Forbidden):
        company.connected().create_channel(direct_with("stranger"))


@pytest.mark.parametrize("status", [500, 502])
def test_asking_for_a_conversation_is_repeated_without_harm(company, status):
    bot = company.connected()
    company.controls.fail(status=status, place="after", path="/api/v4/channels/direct")
    with pytest.raises(PlatformError) as failed:
        bot.create_channel(direct_with("alice"))

    made, _ = bot.create_channel(direct_with("alice"))

    assert failed.value.code == "platform_unavailable"
    assert company.make.direct_channel("alice", BOT).id == made.id


# Changing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        (ChannelChange(title="The Lounge"), "display_name", "The Lounge"),
        (ChannelChange(topic="new topic"), "header", "new topic"),
        (ChannelChange(topic=""), "header", ""),
        (ChannelChange(purpose="new purpose"), "purpose", "new purpose"),
        (ChannelChange(purpose=""), "purpose", ""),
        (ChannelChange(name="Bar"), "name", "bar"),
    ],
)
def test_one_thing_of_a_channel_is_changed_and_the_rest_stays(company, change, field, value):
    names = ("display_name", "header", "purpose", "name", "type")
    company.lounge.header, company.lounge.purpose = "old topic", "old purpose"
    before = {name: getattr(company.lounge, name) for name in names}

    company.connected().update_channel(company.lounge.id, change)

    after = {name: getattr(company.lounge, name) for name in names}
    assert after == before | {field: value}


def test_a_change_of_nothing_tells_the_channel_as_it_is(company):
    bot = company.connected()

    told = bot.update_channel(company.lounge.id, ChannelChange())

    assert told == bot.find_channel(id=company.lounge.id)


@pytest.mark.parametrize("change", [{"topic": "x" * 1025}, {"purpose": "x" * 251}, {"title": LONG}])
def test_a_text_beyond_the_servers_limit_is_refused(company, change):
    with pytest.raises(Rejected):
        company.connected().update_channel(company.lounge.id, ChannelChange(**change))


def test_of_a_conversation_the_topic_alone_can_be_changed(company):
    group = company.make.group_channel("alice", "bob", BOT)
    bot = company.connected()

    told = bot.update_channel(group.id, ChannelChange(topic="lunch"))
    with pytest.raises(Rejected):
        bot.update_channel(group.id, ChannelChange(title="Lunch"))

    assert told.topic == group.header == "lunch"


def test_converting_is_for_team_admins(company):
    with pytest.raises(Forbidden):
        company.connected().update_channel(
            company.lounge.id, ChannelChange(kind=ChannelKind.PRIVATE)
        )

    assert company.lounge.type == "O"


def test_a_channel_of_the_wanted_kind_already_is_not_converted(company):
    told = company.connected().update_channel(
        company.lounge.id, ChannelChange(title="Bar", kind=ChannelKind.PUBLIC)
    )

    assert (told.title, told.kind) == ("Bar", ChannelKind.PUBLIC)


def test_title_and_kind_are_changed_together(company):
    told = company.admin_bot().update_channel(
        company.lounge.id, ChannelChange(title="Vault", kind=ChannelKind.PRIVATE)
    )

    assert (told.title, told.kind) == ("Vault", ChannelKind.PRIVATE)
    assert (company.lounge.display_name, company.lounge.type) == ("Vault", "P")


@pytest.mark.parametrize(
    "operation", ["update_channel", "archive_channel", "restore_channel", "leave_channel"]
)
@pytest.mark.parametrize("channel_id", ["a" * 26, "../../users/me", ""])
def test_what_is_done_to_a_channel_that_is_not_there_is_not_found(company, operation, channel_id):
    bot = company.connected()
    arguments = [ChannelChange(title="x")] if operation == "update_channel" else []

    with pytest.raises(NotFound):
        getattr(bot, operation)(channel_id, *arguments)


# Archiving ----------------------------------------------------------------------------------------


def test_archiving_twice_is_no_error(company):
    bot = company.connected()

    for _ in range(2):
        bot.archive_channel(company.lounge.id)

    assert company.lounge.delete_at
    assert bot.find_channel(id=company.lounge.id).archived


@pytest.mark.parametrize("kind", ["direct", "default"])
def test_what_cannot_be_archived_is_refused(company, kind):
    square = company.server.world.channel_named(company.team.id, "town-square")
    channel = square if kind == "default" else company.make.direct_channel("alice", BOT)

    with pytest.raises(Rejected):
        company.connected().archive_channel(channel.id)

    assert not channel.delete_at


@pytest.mark.parametrize("text", ["{id}", "lounge", "acme/lounge", "Lounge"])
def test_an_archived_channel_is_restored_by_id_name_or_title(company, text):
    bot = company.admin_bot()
    bot.archive_channel(company.lounge.id)

    restored = bot.restore_channel(text.format(id=company.lounge.id))

    assert (restored.id, restored.archived) == (company.lounge.id, False)
    assert not company.lounge.delete_at


def test_restoring_is_for_team_admins(company):
    bot = company.connected()
    bot.archive_channel(company.lounge.id)

    with pytest.raises(Forbidden):
        bot.restore_channel(company.lounge.id)

    assert company.lounge.delete_at


def test_an_archived_channel_is_not_changed_and_says_why(company):
    bot = company.connected()
    bot.archive_channel(company.lounge.id)

    with pytest.raises(Rejected) as refused:
        bot.update_channel(company.lounge.id, ChannelChange(title="Bar"))

    assert refused.value.code == "channel_archived"


# Joining and leaving ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{id}", "elsewhere", "#elsewhere", "acme/elsewhere"])
def test_the_bot_joins_a_public_channel_by_id_or_name(company, text):
    elsewhere = company.make.channel("acme", "elsewhere", "alice")
    bot = company.connected()

    joined = [bot.join_channel(text.format(id=elsewhere.id)) for _ in range(2)]

    assert [info.id for info in joined] == [elsewhere.id] * 2
    assert company.members(elsewhere) == {"alice", BOT}


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_private_channel_is_not_joined_without_being_asked(company, by):
    secret = company.make.channel("acme", "secret", "alice", type="P")

    with pytest.raises((Forbidden, NotFound)):
        company.connected().join_channel(getattr(secret, by))

    assert company.members(secret) == {"alice"}


def test_an_archived_channel_is_not_joined_and_says_why(company):
    elsewhere = company.make.channel("acme", "elsewhere", "alice")
    company.person("alice").archive_channel(elsewhere.id)

    with pytest.raises(Rejected) as refused:
        company.connected().join_channel(elsewhere.id)

    assert refused.value.code == "channel_archived"


def test_leaving_a_channel_that_the_bot_is_not_in_is_no_error(company):
    bot = company.connected()

    for _ in range(2):
        bot.leave_channel(company.lounge.id)

    assert company.members(company.lounge) == {"alice", "bob"}


@pytest.mark.parametrize("kind", ["direct", "default"])
def test_what_cannot_be_left_is_refused(company, kind):
    square = company.server.world.channel_named(company.team.id, "town-square")
    channel = square if kind == "default" else company.make.direct_channel("alice", BOT)

    with pytest.raises(Rejected):
        company.connected().leave_channel(channel.id)

    assert BOT in company.members(channel)
