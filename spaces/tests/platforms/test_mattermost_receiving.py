"""What Mattermost's websocket tells, event by event.

How it is opened is told in `test_mattermost_check`, what becomes of it in `test_mattermost_stream`.
"""

from __future__ import annotations

import pytest
import requests

from spaces.platforms.messages import (
    Card,
    ChannelChange,
    ChannelKind,
    Incoming,
    Kind,
    NewChannel,
    PersonRef,
    Presence,
)
from spaces.testing.mattermost.state import Channel
from spaces.tests.platforms.mattermost_company import (
    BOT,
    Company,
    Ear,
    caught_up,
    file,
    listening,
    message,
)

THE_END = "the end"


def all_heard(company: Company, ear: Ear) -> list[Incoming]:
    """Every event until now, without the bot's being online."""
    company.write("alice", company.lounge, THE_END)
    ear.hear_text(THE_END)
    told = [one for one in ear.told if not one.hint and one.kind is not Kind.PRESENCE_CHANGED]
    return [one for one in told if one.text != THE_END]


def names(told: Incoming) -> tuple[str, list[str]]:
    """Who did it, and whom it was about."""
    return told.person.id if told.person else "", [person.id for person in told.people]


# Messages -----------------------------------------------------------------------------------------


def in_public(company: Company) -> Channel:
    return company.lounge


def in_private(company: Company) -> Channel:
    return company.make.channel("acme", "cellar", "alice", BOT, type="P")


def in_direct(company: Company) -> Channel:
    return company.make.direct_channel("alice", BOT)


def in_group(company: Company) -> Channel:
    return company.make.group_channel("alice", "bob", BOT)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (in_public, ChannelKind.PUBLIC),
        (in_private, ChannelKind.PRIVATE),
        (in_direct, ChannelKind.DIRECT),
        (in_group, ChannelKind.GROUP),
    ],
)
def test_a_post_is_told_with_its_author_and_its_place(company, place, kind):
    channel = place(company)

    with listening(company.connected()) as ear:
        root = company.write("alice", channel, "a question")
        reply = company.write("alice", channel, "an answer", root=root)
        ear.hear_text("an answer")

    first, second = (one for one in ear.told if one.kind is Kind.MESSAGE_POSTED)
    assert (first.message_id, first.thread, second.message_id, second.thread) == (
        root.id,
        "",
        reply.id,
        root.id,
    )
    assert (first.person.username, first.person.id) == ("alice", company.user("alice").id)
    assert (first.channel_id, first.channel_kind) == (channel.id, kind)
    assert (first.peer.username if first.peer else "") == ("alice" if kind == "direct" else "")
    assert not first.own
    assert not first.system


def test_what_the_bot_wrote_in_a_direct_channel_still_names_the_other_one(company):
    bot = company.connected()
    with listening(bot) as ear:
        bot.post_message(message(person=PersonRef(username="alice"), text="hello"))
        told = ear.hear_text("hello")

    assert told.own
    assert told.peer.id == company.user("alice").id


def test_a_post_of_the_bots_own_is_known_wherever_it_was_made(company):
    bot, same = company.connected(), company.connected({"token": company.make.token(BOT)})

    with listening(bot) as ear:
        sent = [one.post_message(message(company.lounge, "mine")) for one in (bot, same)]
        told = all_heard(company, ear)

    assert [(one.message_id, one.own) for one in told] == [(one.message_id, True) for one in sent]


def test_files_and_cards_are_told_with_the_post_that_carries_them(company):
    alice, bot = company.person("alice"), company.connected()
    card = Card(title="Build 7", body="It *works*.", fields=(("Branch", "main"),))

    with listening(bot) as ear:
        alice.post_message(message(company.lounge, "see", card=card, files=(file(b"content"),)))
        told = ear.hear_text("see")

    assert (told.card.title, told.card.body, told.card.fields) == (
        card.title,
        card.body,
        card.fields,
    )
    (told_file,) = told.files
    assert (told_file.name, told_file.size) == ("notes.txt", 7)
    assert bot.download_file(told_file.id).read() == b"content"


@pytest.mark.parametrize("text", [f"@{BOT} look", "@all look", f"look, @{BOT}."])
def test_a_mention_is_a_message_like_any_other(company, text):
    with listening(company.connected()) as ear:
        company.write("alice", company.lounge, text)
        told = all_heard(company, ear)

    assert [(one.kind, one.text) for one in told] == [(Kind.MESSAGE_POSTED, text)]


def test_edits_and_deletions_are_told(company):
    post, own = company.write("alice", company.lounge, "frist"), company.connected()
    sent = own.post_message(message(company.lounge, "mine"))

    with listening(own) as ear:
        company.make.edit(post, "first")
        company.make.delete(post)
        own.edit_message(company.lounge.id, sent.message_id, "still mine")
        edit, gone, own_edit = all_heard(company, ear)

    assert (edit.kind, edit.message_id, edit.text) == (Kind.MESSAGE_EDITED, post.id, "first")
    assert (edit.person.id, edit.own) == (company.user("alice").id, False)
    assert (gone.kind, gone.message_id, gone.channel_id) == (
        Kind.MESSAGE_DELETED,
        post.id,
        company.lounge.id,
    )
    assert (own_edit.kind, own_edit.text, own_edit.own) == (
        Kind.MESSAGE_EDITED,
        "still mine",
        True,
    )


def test_administrators_are_told_of_a_deletion_once(company):
    with listening(company.admin_bot()) as ear:
        company.make.delete(company.write("alice", company.lounge, "oops"))
        told = all_heard(company, ear)

    assert [one.kind for one in told] == [Kind.MESSAGE_POSTED, Kind.MESSAGE_DELETED]


def test_pinning_and_answering_are_no_edits(company):
    bot, root = company.connected(), company.write("alice", company.lounge, "the rules")

    with listening(bot) as ear:
        bot.pin_message(company.lounge.id, root.id)
        bot.unpin_message(company.lounge.id, root.id)
        company.write("bob", company.lounge, "understood", root=root)
        told = all_heard(company, ear)

    assert [one.kind for one in told] == [Kind.MESSAGE_POSTED]


def test_an_edited_post_that_is_pinned_is_told_as_the_edit_it_was(company):
    bot, post = company.connected(), company.write("alice", company.lounge, "frist")

    with listening(bot) as ear:
        company.make.edit(post, "first")
        bot.pin_message(company.lounge.id, post.id)
        edit, again = all_heard(company, ear)

    assert edit.id == again.id


def test_reactions_are_told_with_who_gave_them(company):
    bot, post = company.connected(), company.write("alice", company.lounge, "done")

    with listening(bot) as ear:
        company.make.react("bob", post, "tada")
        company.make.unreact("bob", post, "tada")
        company.make.react("bob", post, "tada")
        bot.react(company.lounge.id, post.id, "+1")
        told = all_heard(company, ear)

    bob, own = company.user("bob").id, company.bot_user.id
    assert [(one.kind, one.reaction, one.person.id, one.own) for one in told] == [
        (Kind.REACTION_ADDED, "tada", bob, False),
        (Kind.REACTION_REMOVED, "tada", bob, False),
        (Kind.REACTION_ADDED, "tada", bob, False),
        (Kind.REACTION_ADDED, "+1", own, True),
    ]
    assert {(one.message_id, one.channel_id) for one in told} == {(post.id, company.lounge.id)}
    assert len({one.id for one in told}) == 4
    assert told[0].raw["emoji_name"] == "tada"


def test_what_the_server_writes_is_told_apart(company):
    alice = company.person("alice")

    with listening(company.connected()) as ear:
        alice.update_channel(company.lounge.id, ChannelChange(topic="Coffee"))
        told = all_heard(company, ear)

    (written,) = (one for one in told if one.kind is Kind.MESSAGE_POSTED)
    assert written.system
    assert (written.person.id, written.person.username) == (company.user("alice").id, "")


def test_a_whisper_to_the_bot_is_told_apart(company):
    company.make.admin()
    company.make.join_team("acme", "admin")
    company.make.join_channel(company.lounge, "admin")

    with listening(company.connected()) as ear:
        company.person("admin").post_message(
            message(company.lounge, "psst", only_for=PersonRef(username=BOT))
        )
        told = ear.hear_text("psst")

    assert (told.kind, told.system) == (Kind.MESSAGE_POSTED, True)


@pytest.mark.parametrize("webhook", ["true", None])
def test_a_name_that_a_post_gives_itself_is_not_its_authors(company, webhook):
    company.controls.change_settings({"ServiceSettings": {"EnablePostUsernameOverride": True}})
    props = {"override_username": "bob", "from_webhook": webhook}
    body = {"channel_id": company.lounge.id, "message": "trust me", "props": props}

    with listening(company.connected()) as ear:
        company.ask("alice", "POST", "/posts", body)
        told = ear.hear_text("trust me")

    assert told.person.id.removeprefix("webhook:") == company.user("alice").id
    assert told.person.username in ("", "alice")


def test_what_a_webhook_posts_was_not_written_by_who_made_it(company):
    company.make.admin()
    hook = company.ask("admin", "POST", "/hooks/incoming", {"channel_id": company.lounge.id})
    bot = company.connected()
    cursor = bot.start_cursor()

    # Whoever knows its URL posts, here through the stream, and what catching up brings
    with listening(bot) as ear:
        requests.post(
            f"{company.server.url}/hooks/{hook['id']}", json={"text": "!deploy"}, timeout=5
        )
        heard = ear.hear_text("!deploy")
    fetched = next(one for one in caught_up(bot, cursor) if one.text == "!deploy")

    # It is a bot, and neither the person nor their name
    for told in (heard, fetched):
        assert told.person.is_bot
        assert told.person.id == f"webhook:{company.user('admin').id}"
        assert (told.person.username, told.person.email) == ("", "")
    assert heard.id == fetched.id


def test_who_is_a_bot_is_told_as_one(company):
    company.make.bot("other-bot")
    company.make.join_team("acme", "other-bot")
    company.make.join_channel(company.lounge, "other-bot")

    with listening(company.connected()) as ear:
        company.make.post("other-bot", company.lounge, "beep")

        assert ear.hear_text("beep").person.is_bot


# People and channels ------------------------------------------------------------------------------


def test_who_comes_and_goes_is_told_once_with_who_did_it(company):
    alice, bob, charlie = (company.user(name).id for name in ("alice", "bob", "charlie"))

    with listening(company.connected()) as ear:
        company.make.join_channel(company.lounge, "charlie", adder="alice")
        company.make.leave_channel(company.lounge, "charlie", remover="bob")
        company.make.join_channel(company.lounge, "charlie")
        company.make.leave_channel(company.lounge, "charlie")
        told = all_heard(company, ear)

    assert [(one.kind, *names(one)) for one in told] == [
        (Kind.PARTICIPANT_JOINED, alice, [charlie]),
        (Kind.PARTICIPANT_LEFT, bob, [charlie]),
        (Kind.PARTICIPANT_JOINED, charlie, [charlie]),
        (Kind.PARTICIPANT_LEFT, charlie, [charlie]),
    ]
    assert {one.channel_id for one in told} == {company.lounge.id}
    assert {person.username for one in told for person in one.people} == {"charlie"}


def test_the_bots_own_coming_and_going_is_told(company):
    there = company.make.channel("acme", "elsewhere", "alice", type="P")
    alice, own = company.user("alice").id, company.bot_user.id

    with listening(company.connected()) as ear:
        company.make.join_channel(there, BOT, adder="alice")
        company.write("alice", there, "welcome")
        company.make.leave_channel(there, BOT, remover="alice")
        company.write("alice", there, "we are among ourselves")
        told = all_heard(company, ear)

    assert [(one.kind, one.channel_id, one.text) for one in told] == [
        (Kind.PARTICIPANT_JOINED, there.id, ""),
        (Kind.MESSAGE_POSTED, there.id, "welcome"),
        (Kind.PARTICIPANT_LEFT, there.id, ""),
    ]
    assert names(told[0]) == names(told[2]) == (alice, [own])


def test_a_channel_that_the_bot_left_by_itself_is_its_own_doing(company):
    bot = company.connected()

    with listening(bot) as ear:
        bot.leave_channel(company.lounge.id)
        left = ear.hear_kind(Kind.PARTICIPANT_LEFT)

    assert (left.channel_id, left.own) == (company.lounge.id, True)


def test_leaving_the_team_is_told(company):
    with listening(company.connected()) as ear:
        company.make.leave_team("acme", "charlie")
        told = all_heard(company, ear)

    charlie = company.user("charlie").id
    assert {(one.kind, *names(one)[1]) for one in told} == {(Kind.PARTICIPANT_LEFT, charlie)}


def test_who_an_administrator_removed_from_the_team_is_named(company):
    company.make.admin()
    charlie = company.user("charlie")
    path = f"/teams/{company.team.id}/members/{charlie.id}"

    with listening(company.connected()) as ear:
        company.ask("admin", "DELETE", path)
        told = all_heard(company, ear)

    named = {person.username for one in told if one.channel_id for person in one.people}
    assert named == {"charlie"}


def test_a_new_channel_of_the_bots_own_is_told_as_its_own(company):
    bot = company.connected()
    cursor = bot.start_cursor()

    with listening(bot) as ear:
        new, _ = bot.create_channel(
            NewChannel(key="k" * 26, kind=ChannelKind.PUBLIC, name="news", title="News")
        )
        live = ear.hear_kind(Kind.CHANNEL_CREATED)
    (again,) = (one for one in caught_up(bot, cursor) if one.kind is Kind.CHANNEL_CREATED)

    assert (live.channel_id, live.own) == (again.channel_id, again.own) == (new.id, True)
    assert live.id == again.id


@pytest.mark.parametrize("creator", ["alice", BOT])
def test_a_direct_channel_is_told_with_the_other_one(company, creator):
    with listening(company.connected()) as ear:
        other = "alice" if creator == BOT else BOT
        channel = company.make.direct_channel(creator, other)
        (told,) = all_heard(company, ear)

    assert (told.kind, told.channel_id) == (Kind.CHANNEL_CREATED, channel.id)
    assert (told.channel_kind, told.peer.id) == (ChannelKind.DIRECT, company.user("alice").id)
    assert told.own == (creator == BOT)


def test_a_group_is_known_by_its_first_message_at_the_latest(company):
    with listening(company.connected()) as ear:
        group = company.make.group_channel("alice", "bob", BOT)
        company.write("alice", group, "hello both")
        told = all_heard(company, ear)

    assert {(one.channel_id, one.channel_kind) for one in told} == {(group.id, ChannelKind.GROUP)}


def test_what_becomes_of_a_channel_is_told(company):
    alice = company.person("alice")

    with listening(company.connected()) as ear:
        change = ChannelChange(name="bar", title="The bar", topic="Coffee", purpose="Rest")
        alice.update_channel(company.lounge.id, change)
        told = ear.hear_kind(Kind.CHANNEL_CHANGED)

    assert told.channel_id == told.channel.id == company.lounge.id
    assert (told.channel.name, told.channel.title, told.channel.topic, told.channel.purpose) == (
        "bar",
        "The bar",
        "Coffee",
        "Rest",
    )


@pytest.mark.parametrize("type", ["O", "P"])
def test_archiving_and_restoring_are_told(company, type):
    company.make.admin()
    doomed = company.make.channel("acme", "doomed", "alice", BOT, type=type)

    with listening(company.connected()) as ear:
        company.ask("admin", "DELETE", f"/channels/{doomed.id}")
        gone = ear.hear_kind(Kind.CHANNEL_DELETED)
        archived_at = doomed.delete_at
        company.ask("admin", "POST", f"/channels/{doomed.id}/restore")
        back = ear.hear_kind(Kind.CHANNEL_CHANGED)

    assert (gone.channel_id, back.channel_id) == (doomed.id, doomed.id)
    assert round(gone.occurred_at.timestamp() * 1000) == archived_at


@pytest.mark.parametrize(("before", "after"), [("O", "P"), ("P", "O")])
def test_converting_is_told(company, before, after):
    company.make.admin()
    channel = company.make.channel("acme", "changing", "alice", BOT, type=before)

    with listening(company.connected()) as ear:
        company.ask("admin", "PUT", f"/channels/{channel.id}/privacy", {"privacy": after})

        assert ear.hear_kind(Kind.CHANNEL_CHANGED).channel_id == channel.id


def test_typing_is_told_of_others(company):
    bot, alice = company.connected(), company.person("alice")

    with listening(bot) as ear:
        alice.typing(company.lounge.id)
        bot.typing(company.lounge.id)
        told = all_heard(company, ear)

    assert [(one.kind, one.channel_id, one.person.id) for one in told] == [
        (Kind.TYPING, company.lounge.id, company.user("alice").id)
    ]


@pytest.mark.parametrize("presence", [Presence.AWAY, Presence.DND, Presence.OFFLINE])
def test_the_bots_own_presence_is_told(company, presence):
    bot = company.connected()

    with listening(bot) as ear:
        bot.set_presence(presence)
        told = ear.hear(lambda one: one.presence is presence)

    assert (told.kind, told.person.id, told.own) == (
        Kind.PRESENCE_CHANGED,
        company.bot_user.id,
        True,
    )


def test_what_another_session_of_the_bots_has_read_is_told(company):
    bot = company.connected()
    company.write("alice", company.lounge, "news")

    with listening(bot) as ear:
        bot.mark_read(company.lounge.id, "")
        told = ear.hear_kind(Kind.MESSAGE_READ)

    assert (told.channel_id, told.person.id, told.own) == (
        company.lounge.id,
        company.bot_user.id,
        True,
    )


def test_what_is_no_news_for_a_bot_is_passed_over(company):
    """Each of these is an event, or several, that the bot's connection gets."""
    company.make.admin()
    own, team, lounge = company.bot_user.id, company.team.id, company.lounge.id
    root = company.write("alice", company.lounge, "a question")
    bot = company.connected()
    body = {"user_id": own, "category": "tutorial", "name": "step", "value": "1"}

    with listening(bot) as ear:
        seen = ear.stream.expected
        company.ask("alice", "PUT", "/users/me/patch", {"nickname": "Ally"})
        company.ask("admin", "PUT", f"/users/{own}/roles", {"roles": "system_user"})
        company.ask("admin", "PUT", f"/teams/{team}/members/{own}/schemeRoles", {})
        company.ask(
            "admin",
            "PUT",
            f"/channels/{lounge}/members/{own}/notify_props",
            {"user_id": own, "desktop": "none"},
        )
        company.ask(BOT, "PUT", f"/users/{own}/preferences", [body])
        company.ask(BOT, "POST", f"/users/{own}/posts/{root.id}/set_unread", {})
        company.ask(BOT, "PUT", f"/users/{own}/teams/{team}/threads/{root.id}/following")
        company.ask("admin", "PUT", f"/teams/{team}/patch", {"description": "us"})
        company.make.user("newcomer")
        company.controls.disable("newcomer")
        told = all_heard(company, ear)
        events = ear.stream.expected - seen

    assert told == []
    assert events >= 10


# Teams --------------------------------------------------------------------------------------------


def test_of_other_teams_nothing_is_heard(company):
    company.make.team("other", "alice", BOT)
    there = company.make.channel("other", "there", "alice", BOT)
    direct = company.make.direct_channel("alice", BOT)

    with listening(company.connected(teams="acme")) as ear:
        happen_in(company, there)
        company.write("alice", direct, "heard")
        told = all_heard(company, ear)

    assert [one.text for one in told] == ["heard"]


def test_of_a_channel_in_another_team_that_the_bot_is_added_to_nothing_is_heard(company):
    company.make.team("other", "alice", BOT)
    there = company.make.channel("other", "there", "alice")

    with listening(company.connected(teams="acme")) as ear:
        company.make.join_channel(there, BOT, adder="alice")
        happen_in(company, there)
        company.make.leave_channel(there, BOT, remover="alice")
        told = all_heard(company, ear)

    assert told == []


def happen_in(company: Company, channel: Channel) -> None:
    post = company.write("alice", channel, "hello")
    company.make.edit(post, "hello there")
    company.make.react("alice", post, "tada")
    company.person("alice").typing(channel.id)
    company.person("alice").update_channel(channel.id, ChannelChange(topic="Tea"))
    company.make.delete(post)
