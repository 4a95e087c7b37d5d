"""Sending to Mattermost: what arrives, and that it arrives once whatever happens on the way."""

from __future__ import annotations

import io
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spaces.platforms.errors import (
    CredentialsRefused,
    Forbidden,
    Misconfigured,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    StillRunning,
    Unavailable,
)
from spaces.platforms.messages import (
    Card,
    CustomRequest,
    File,
    Kind,
    PersonRef,
    Presence,
)
from spaces.tests.platforms.mattermost_company import (
    BOT,
    Company,
    deliver,
    file,
    listening,
    message,
    wait_until,
)

POSTS = {"method": "POST", "path": "/api/v4/posts"}
QUICK = {"timeout_seconds": 0.3, "long_timeout_seconds": 0.3}


# Effect once --------------------------------------------------------------------------------------

# What becomes of the first request to post; the server is well again afterwards.
TROUBLE: dict[str, tuple[str, dict[str, Any]]] = {
    "a timeout before it was looked at": ("stall", {"place": "before", "times": 1}),
    "a timeout while it was stored": ("stall", {"place": "during", "times": 1}),
    "a timeout after it was stored": ("stall", {"place": "after", "times": 1}),
    "a connection that broke before": ("reset_connections", {"times": 1}),
    "a connection that broke after": ("swallow_answers", {"times": 1}),
    "an error before it was looked at": ("fail", {"status": 503, "place": "before"}),
    "an error after it was stored": ("fail", {"status": 500, "place": "after"}),
    "a bad gateway after it was stored": ("fail", {"status": 502, "place": "after"}),
}


def make_trouble(company: Company, trouble: str) -> None:
    control, arguments = TROUBLE[trouble]
    getattr(company.controls, control)(**arguments, **POSTS)


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_post_is_there_once_after(company, trouble):
    bot, outgoing = company.connected(**QUICK), message(company.lounge, "once")
    make_trouble(company, trouble)

    sent = deliver(bot, outgoing, between=company.controls.release)

    company.controls.heal()
    (post,) = company.posts()
    assert (post.id, post.message) == (sent.message_id, "once")


@pytest.mark.parametrize("trouble", TROUBLE)
def test_files_in_a_thread_are_there_once_after(company, trouble):
    bot = company.connected(**QUICK)
    root = company.make.post("alice", company.lounge, "a question")
    outgoing = message(company.lounge, "once", thread=root.id, files=(file(b"data"),))
    make_trouble(company, trouble)

    sent = deliver(bot, outgoing, between=company.controls.release)

    company.controls.heal()
    (post,) = company.posts()[1:]
    assert (post.id, post.root_id, len(post.file_ids)) == (sent.message_id, root.id, 1)


@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_direct_message_is_there_once_after(company, trouble):
    bot = company.connected(**QUICK)
    outgoing = message(text="once", person=PersonRef(username="alice"))
    make_trouble(company, trouble)

    deliver(bot, outgoing, between=company.controls.release)

    company.controls.heal()
    assert company.texts(company.make.direct_channel(BOT, "alice")) == ["once"]


def forget_after_thirty_seconds(company: Company) -> None:
    company.controls.advance(31)


def forget_by_a_restart(company: Company) -> None:
    company.controls.restart()


@pytest.mark.parametrize("forget", [forget_after_thirty_seconds, forget_by_a_restart])
def test_a_post_is_there_once_after_the_server_forgot_its_key(company, forget):
    bot, outgoing = company.connected(), message(company.lounge, "once")
    company.controls.swallow_answers(**POSTS)

    deliver(bot, outgoing, between=lambda: forget(company))

    assert company.texts() == ["once"]


@pytest.mark.parametrize(
    "trouble", ["a connection that broke after", "an error after it was stored"]
)
def test_an_answer_to_an_answer_is_there_once_after_the_server_forgot_its_key(company, trouble):
    bot = company.connected()
    root = company.make.post("alice", company.lounge, "a question")
    reply = company.make.post("bob", company.lounge, "an answer", root=root)
    outgoing = message(company.lounge, "once", thread=reply.id)
    control, arguments = TROUBLE[trouble]
    company.controls.fail(status=500, times=1, **POSTS)
    with pytest.raises(OutcomeUnknown):
        bot.post_message(outgoing)
    assert bot.find_sent(outgoing) is None

    getattr(company.controls, control)(**{**arguments, "times": 2}, **POSTS)
    deliver(bot, outgoing, between=lambda: company.controls.advance(31))

    assert [(p.message, p.root_id) for p in company.posts()][2:] == [("once", root.id)]


def test_a_request_that_comes_late_after_all_is_dropped_by_its_key(company):
    bot, outgoing = company.connected(**QUICK), message(company.lounge, "once")
    company.controls.stall(place="before", times=1, **POSTS)

    deliver(bot, outgoing)
    company.controls.release()

    bot.connect()  # whatever was released came before this
    assert company.texts() == ["once"]


def test_two_messages_with_one_text_are_told_apart(company):
    bot = company.connected()
    first, second = message(company.lounge, "again"), message(company.lounge, "again")

    sent = bot.post_message(first)

    assert bot.find_sent(second) is None
    assert bot.find_sent(first) == sent
    assert bot.post_message(second).message_id != sent.message_id


def test_a_post_that_somebody_edited_meanwhile_is_found(company):
    bot, outgoing = company.connected(), message(company.lounge, "helo")
    sent = bot.post_message(outgoing)

    company.make.edit(company.server.world.posts[sent.message_id], "hello")

    found = bot.find_sent(outgoing)
    assert found is not None
    assert found.message_id == sent.message_id


def test_a_post_that_hangs_over_there_is_told_apart_from_one_that_is_lost(company):
    """Past the 30 seconds of the server's memory, a second one would be accepted."""
    company.controls.stall(place="during", method="POST", path="/api/v4/posts")
    bot, outgoing = company.connected(long_timeout_seconds=0.2), message(company.lounge, "once")
    with pytest.raises(OutcomeUnknown) as silent:
        bot.post_message(outgoing)
    with pytest.raises(StillRunning):
        bot.post_message(outgoing)

    assert not isinstance(silent.value, StillRunning)
    assert bot.longest_running_seconds == 20 * 0.2
    company.controls.release()
    wait_until(lambda: company.texts() == ["once"])


def test_a_deletion_without_an_answer_is_not_taken_for_one_that_never_was(company):
    bot = company.connected()
    sent = bot.post_message(message(company.lounge))
    company.controls.swallow_answers(method="DELETE")

    with pytest.raises(OutcomeUnknown):
        bot.delete_message(sent.channel_id, sent.message_id)
    with pytest.raises(NotFound):
        bot.delete_message(sent.channel_id, sent.message_id)


def test_a_post_that_somebody_deleted_meanwhile_is_found(company):
    bot, outgoing = company.connected(), message(company.lounge, "oops")
    sent = bot.post_message(outgoing)

    company.make.delete(company.server.world.posts[sent.message_id])

    found = bot.find_sent(outgoing)
    assert found is not None
    assert found.message_id == sent.message_id


def edit_it(company: Company, post: Any) -> None:
    company.make.edit(post, "changed")


def delete_it(company: Company, post: Any) -> None:
    company.make.delete(post)


def leave_it(company: Company, post: Any) -> None:
    pass


@pytest.mark.parametrize("happens", [leave_it, edit_it, delete_it])
def test_a_post_is_found_among_more_than_the_server_tells_at_once(company, happens):
    bot, outgoing = company.connected(), message(company.lounge, "which one was it?")
    sent = bot.post_message(outgoing)
    company.many_posts(1_050)
    happens(company, company.server.world.posts[sent.message_id])
    missing = message(company.lounge, "never sent")

    found = bot.find_sent(outgoing)

    assert found is not None
    assert found.message_id == sent.message_id
    assert bot.find_sent(missing) is None


@pytest.mark.parametrize("hours", [1, -1])
def test_a_post_is_found_on_a_server_whose_clock_is_wrong(company, hours):
    company.controls.advance(hours * 3600)
    bot, outgoing = company.connected(), message(company.lounge, "what time is it?")
    company.controls.swallow_answers(**POSTS)
    with pytest.raises(OutcomeUnknown):
        bot.post_message(outgoing)

    found = bot.find_sent(outgoing)

    assert found is not None
    assert found.message_id == company.posts()[0].id


def test_an_old_message_that_was_never_sent_is_not_there(company):
    yesterday = datetime.now(UTC) - timedelta(days=1)
    company.make.post("alice", company.lounge, "hello")

    missing = replace(message(company.lounge), not_before=yesterday)

    assert company.connected().find_sent(missing) is None


def test_a_post_whose_first_try_is_still_stored_is_not_called_failed(company):
    bot, outgoing = company.connected(**QUICK), message(company.lounge, "wait")
    company.controls.stall(place="during", times=1, **POSTS)

    for _ in range(2):  # the timeout, and what the server says to the second
        with pytest.raises(OutcomeUnknown):
            bot.post_message(outgoing)

    company.controls.release()
    company.controls.heal()


def test_a_whisper_that_was_not_answered_is_left_to_a_person(company):
    whisper = message(company.lounge, "psst", only_for=PersonRef(username="alice"))

    with pytest.raises(Rejected) as refused:
        company.connected().find_sent(whisper)

    assert refused.value.code == "outcome_unknown"


# What arrives -------------------------------------------------------------------------------------


def test_an_answer_to_an_answer_goes_into_the_thread(company):
    root = company.make.post("alice", company.lounge, "a question")
    reply = company.make.post("bob", company.lounge, "an answer", root=root)

    company.connected().post_message(message(company.lounge, "another", thread=reply.id))

    assert company.posts()[-1].root_id == root.id


@pytest.mark.parametrize("thread", ["a" * 26, "no id at all"])
def test_an_answer_to_nothing_is_refused(company, thread):
    with pytest.raises(Rejected) as refused:
        company.connected().post_message(message(company.lounge, thread=thread))

    assert refused.value.code == "thread_not_found"
    assert company.posts() == []


def test_an_answer_to_a_message_of_another_channel_is_refused(company):
    elsewhere = company.make.channel("acme", "elsewhere", "alice", BOT)
    root = company.make.post("alice", elsewhere, "a question")

    with pytest.raises(Rejected) as refused:
        company.connected().post_message(message(company.lounge, thread=root.id))

    assert refused.value.code == "thread_not_found"


@pytest.mark.parametrize(
    "ref", [PersonRef(username="alice"), PersonRef(email="alice@example.com"), PersonRef(id="")]
)
def test_a_direct_message_finds_its_person(company, ref):
    ref = ref if str(ref) else PersonRef(id=company.user("alice").id)

    sent = company.connected().post_message(message(text="psst", person=ref))

    assert sent.channel_id == company.make.direct_channel("alice", BOT).id


def test_several_files_arrive_with_their_names(company):
    bot = company.connected()
    names = ("plän.txt", "two words & more.txt", "c.txt")

    bot.post_message(message(company.lounge, files=tuple(file(n.encode(), name=n) for n in names)))

    stored = [company.server.world.files[id] for id in company.posts()[0].file_ids]
    assert [(f.name, f.content) for f in stored] == [(n, n.encode()) for n in names]


def test_a_large_file_is_sent_as_it_is_read_and_comes_back_as_it_comes(company):
    content = bytes(range(256)) * 12_000  # 3 MB
    largest_read = 0

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal largest_read
            data = super().read(size)
            largest_read = max(largest_read, len(data))
            return data

    bot = company.connected()
    big = File(
        name="big.bin",
        content_type="application/octet-stream",
        size=len(content),
        open=lambda: Watched(content),
    )

    bot.post_message(message(company.lounge, files=(big,)))

    (file_id,) = company.posts()[0].file_ids
    with bot.download_file(file_id) as stream:
        beginning = stream.read(1000)
        rest = stream.read()
    assert beginning + rest == content
    assert largest_read <= 256 * 1024


def test_a_long_name_of_a_file_keeps_its_suffix(company):
    """In a URL each of these characters is nine."""
    company.connected().post_message(
        message(company.lounge, files=(file(b"content", "会" * 240 + ".txt"),))
    )

    (stored,) = company.server.world.files.values()
    assert stored.name.startswith("会" * 100)
    assert stored.name.endswith("会.txt")


def test_an_empty_file_is_refused_before_anything_is_sent(company):
    with pytest.raises(Rejected) as refused:
        company.connected().post_message(message(company.lounge, files=(file(b""),)))

    assert refused.value.code == "file_empty"
    assert (company.posts(), company.server.world.files) == ([], {})


def test_a_file_beyond_the_servers_limit_is_refused(company):
    company.controls.change_settings({"FileSettings": {"MaxFileSize": 1000}})
    bot = company.connected()

    with pytest.raises(Rejected) as refused:
        bot.post_message(message(company.lounge, files=(file(b"x" * 1001),)))

    assert bot.limits.file_bytes == 1000
    assert refused.value.code == "file_too_large"


def test_a_file_beyond_a_limit_that_was_lowered_meanwhile_is_refused(company):
    bot = company.connected()
    company.controls.change_settings({"FileSettings": {"MaxFileSize": 1000}})

    with pytest.raises(Rejected) as refused:
        bot.post_message(message(company.lounge, files=(file(b"x" * 1001),)))

    assert refused.value.code == "file_too_large"


def test_files_are_refused_where_they_are_switched_off(company):
    company.controls.change_settings({"FileSettings": {"EnableFileAttachments": False}})

    with pytest.raises(Rejected) as refused:
        company.connected().post_message(message(company.lounge, files=(file(b"x"),)))

    assert refused.value.code == "switched_off"


def test_a_file_that_is_not_there_is_not_found(company):
    with pytest.raises(NotFound):
        company.connected().download_file("a" * 26)


def test_the_longest_text_is_what_the_server_says(company):
    bot = company.connected()
    assert bot.limits.text == 16_383

    bot.post_message(message(company.lounge, "🎈" * bot.limits.text))
    with pytest.raises(Rejected) as refused:
        bot.post_message(message(company.lounge, "🎈" * (bot.limits.text + 1)))

    assert refused.value.code == "too_long"
    assert len(company.posts()) == 1


def test_a_card_goes_out_as_an_attachment_and_comes_back_as_a_card(company):
    card = Card(
        title="Build 7",
        body="is **green**",
        summary="All is well",
        link="https://ci.example.com/7",
        image="https://ci.example.com/7.png",
        thumbnail="https://ci.example.com/7s.png",
        color="green",
        fields=(("branch", "main"), ("log", "x" * 50)),
    )

    company.connected().post_message(replace(message(company.lounge, ""), card=card))

    (attachment,) = company.posts()[0].props["attachments"]
    assert attachment["color"] == "#3db887"
    assert [field["short"] for field in attachment["fields"]] == [True, False]
    (told,) = company.person("alice").history(company.lounge.id, quantity=1)
    assert told.card == replace(card, color="#3db887")


def test_a_card_of_somebody_else_with_the_servers_own_color_is_read(company):
    post = company.make.post("alice", company.lounge, "look")
    post.props["attachments"] = [{"title": "Disk", "color": "danger", "fields": None}, "nonsense"]

    (told,) = company.connected().history(company.lounge.id, quantity=1)

    assert told.card == Card(title="Disk", color="danger")


@pytest.mark.parametrize(("show_online", "status"), [(True, "online"), (False, "offline")])
def test_posting_shows_the_bot_online_if_that_is_wanted(company, show_online, status):
    bot = company.connected(show_online=show_online)

    bot.post_message(message(company.lounge))

    statuses = company.server.simulation.statuses
    told = statuses.get(company.bot_user.id)
    assert (told.status if told else "offline") == status


def test_an_archived_channel_takes_no_posts(company):
    company.admin_bot().archive_channel(company.lounge.id)

    with pytest.raises(Rejected) as refused:
        company.connected().post_message(message(company.lounge))

    assert refused.value.code == "channel_archived"


def test_a_channel_that_is_not_there_is_told_from_one_that_is_closed_to_the_bot(company):
    bot = company.connected()
    public = company.make.channel("acme", "public", "alice")
    private = company.make.channel("acme", "private", "alice", type="P")
    nowhere = replace(message(), channel="a" * 26)

    with pytest.raises(Forbidden):
        bot.post_message(message(public))
    for outgoing in (message(private), nowhere):
        with pytest.raises(NotFound):
            bot.post_message(outgoing)


def test_whispers_are_for_administrators(company):
    whisper = message(company.lounge, "psst", only_for=PersonRef(username="alice"))
    with pytest.raises(Forbidden):
        company.connected().post_message(whisper)

    with listening(company.person("alice")) as alice:
        company.admin_bot().post_message(whisper)
        told = alice.hear_kind(Kind.MESSAGE_POSTED)

    assert (told.text, told.channel_id) == ("psst", company.lounge.id)
    assert company.posts() == []


# Messages that are there --------------------------------------------------------------------------


def test_messages_of_others_are_changed_by_those_who_may_alone(company):
    post = company.make.post("alice", company.lounge, "helo")
    with pytest.raises(Forbidden):
        company.connected().edit_message(company.lounge.id, post.id, "hello")
    with pytest.raises(Forbidden):
        company.connected().delete_message(company.lounge.id, post.id)

    admin = company.admin_bot()
    admin.edit_message(company.lounge.id, post.id, "hello")
    assert company.texts() == ["hello"]
    admin.delete_message(company.lounge.id, post.id)

    assert company.posts() == []


def test_what_happens_to_messages_that_are_not_there_is_not_found(company):
    bot, nothing = company.connected(), "a" * 26

    for attempt in (
        lambda: bot.edit_message(company.lounge.id, nothing, "x"),
        lambda: bot.delete_message(company.lounge.id, nothing),
        lambda: bot.react(company.lounge.id, nothing, "wave"),
        lambda: bot.unreact(company.lounge.id, nothing, "wave"),
        lambda: bot.pin_message(company.lounge.id, nothing),
        lambda: bot.unpin_message(company.lounge.id, "no id"),
    ):
        with pytest.raises(NotFound):
            attempt()


def test_editing_leaves_the_key_where_find_sent_looks_for_it(company):
    bot, outgoing = company.connected(), message(company.lounge, "helo")
    sent = bot.post_message(outgoing)

    bot.edit_message(company.lounge.id, sent.message_id, "hello")

    assert bot.find_sent(outgoing) == sent


@pytest.mark.parametrize("name", ["no-such-emoji-here", "not an emoji/../.."])
def test_an_unknown_emoji_is_refused(company, name):
    bot, post = company.connected(), company.make.post("alice", company.lounge, "lunch?")

    with pytest.raises(Rejected):
        bot.react(company.lounge.id, post.id, name)


def test_an_emoji_that_cannot_be_one_is_not_taken_back(company):
    post = company.make.post("alice", company.lounge, "lunch?")

    with pytest.raises(Rejected) as refused:
        company.connected().unreact(company.lounge.id, post.id, "../../me")

    assert refused.value.code == "unknown_reaction"


def test_pinned_messages_are_listed_with_their_reactions(company):
    bot, post = company.connected(), company.make.post("alice", company.lounge, "the rules")
    company.make.react("bob", post, "thumbsup")

    bot.pin_message(company.lounge.id, post.id)

    (told,) = bot.list_pinned(company.lounge.id)
    assert told.reactions is not None
    assert [(r.person.username, r.name) for r in told.reactions] == [("bob", "thumbsup")]


# Receipts, presence, typing -----------------------------------------------------------------------


def test_reading_views_the_channel(company):
    post = company.make.post("alice", company.lounge, f"@{BOT} read this")
    member = company.server.world.members[company.lounge.id][company.bot_user.id]
    assert member.mention_count == 1

    company.connected().mark_read(company.lounge.id, post.id)

    assert member.mention_count == 0
    assert member.last_viewed_at >= post.create_at


def test_presence_is_shown_with_its_text_and_without(company):
    bot = company.connected()

    bot.set_presence(Presence.DND, "deploying")
    with_text = dict(company.bot_user.props)
    bot.set_presence(Presence.ONLINE)

    assert "deploying" in json.dumps(with_text)
    assert "deploying" not in json.dumps(company.bot_user.props)
    assert company.server.simulation.statuses[company.bot_user.id].status == "online"


def test_presence_is_shown_where_texts_are_switched_off(company):
    company.controls.change_settings({"TeamSettings": {"EnableCustomUserStatuses": False}})
    bot = company.connected()

    bot.set_presence(Presence.AWAY)
    with pytest.raises(Rejected) as refused:
        bot.set_presence(Presence.AWAY, "deploying")

    assert company.server.simulation.statuses[company.bot_user.id].status == "away"
    assert refused.value.code == "switched_off"


# In the server's own words ------------------------------------------------------------------------


def test_a_request_of_the_servers_own_kind_is_answered_as_it_is(company):
    bot = company.connected()

    mine = bot.custom_request(CustomRequest(method="GET", path="/users/me"))
    listed = bot.custom_request(
        CustomRequest(method="GET", path="/users", query={"in_channel": company.lounge.id})
    )
    made = bot.custom_request(
        CustomRequest(
            method="POST",
            path="/posts",
            body={"channel_id": company.lounge.id, "message": "by hand"},
        )
    )
    refused = bot.custom_request(CustomRequest(method="GET", path="/bots"))

    assert (mine.status, mine.body["username"]) == (200, BOT)
    assert {user["username"] for user in listed.body} == {"alice", "bob", BOT}
    assert (made.status, company.texts()) == (201, ["by hand"])
    assert (refused.status, refused.body["status_code"]) == (403, 403)


@pytest.mark.parametrize(
    "path",
    [
        "/../../hooks/x",
        "/%2e%2e/%2e%2e/hooks/x",
        "/users/%2E%2E%2F..",
        "users/me",
        "//other.example.com/x",
        "/users/me?x=1",
        "/users/me#x",
        "",
        "/",
        "/users me",
    ],
)
def test_a_request_does_not_leave_the_api(company, path):
    with pytest.raises(Rejected) as refused:
        company.connected().custom_request(CustomRequest(method="GET", path=path))

    assert refused.value.code == "invalid_path"


@pytest.mark.parametrize(
    ("status", "error"), [(500, OutcomeUnknown), (503, OutcomeUnknown), (501, Rejected)]
)
def test_a_request_of_the_servers_own_kind_says_when_its_outcome_is_unknown(company, status, error):
    bot = company.connected()
    company.controls.fail(status=status, method="POST", path="/api/v4/teams")

    with pytest.raises(error):
        bot.custom_request(CustomRequest(method="POST", path="/teams", body={}))


def test_a_request_of_the_servers_own_kind_waits_for_rate_limits_and_logins(company):
    bot = company.connected()
    company.controls.limit_rate(retry_after=7)
    with pytest.raises(RateLimited) as limited:
        bot.custom_request(CustomRequest(method="GET", path="/users/me"))
    company.controls.revoke_token(company.token)
    with pytest.raises(CredentialsRefused):
        bot.custom_request(CustomRequest(method="GET", path="/users/me"))

    assert limited.value.retry_after == 7


# What errors mean ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, Rejected),
        (404, NotFound),
        (409, Rejected),
        (413, Rejected),
        (414, Rejected),
        (500, OutcomeUnknown),
        (501, Rejected),
        (502, OutcomeUnknown),
        (504, OutcomeUnknown),
        (302, Misconfigured),
    ],
)
def test_a_status_without_a_known_id_is_understood(company, status, error):
    bot = company.connected()
    company.controls.fail(status=status, **POSTS)

    with pytest.raises(error):
        bot.post_message(message(company.lounge))


@pytest.mark.parametrize("status", [500, 502, 503])
def test_what_only_asks_may_be_asked_again(company, status):
    bot = company.connected()
    company.controls.fail(status=status, path="/api/v4/users/usernames")

    with pytest.raises(Unavailable):
        bot.find_person(PersonRef(username="alice"))


def test_the_servers_own_rate_limit_says_how_long_to_wait(company):
    bot = company.connected()
    limited = {"Enable": True, "PerSec": 1, "MaxBurst": 1}
    company.controls.change_settings({"RateLimitSettings": limited})

    def send_many() -> None:
        for _ in range(10):
            bot.post_message(message(company.lounge))

    with pytest.raises(RateLimited) as refused:
        send_many()

    assert 1 <= refused.value.retry_after <= 2
    assert company.posts()


def test_a_body_beyond_the_servers_limit_is_refused(company):
    company.controls.change_settings({"ServiceSettings": {"MaximumPayloadSizeBytes": 5_000}})

    with pytest.raises(Rejected) as refused:
        company.connected().post_message(message(company.lounge, "x" * 10_000))

    assert refused.value.code == "too_long"


def test_a_server_that_is_down_has_accepted_nothing(company):
    bot = company.connected()
    company.controls.go_down()

    with pytest.raises(Unavailable):
        bot.post_message(message(company.lounge))

    company.controls.come_up()
    assert company.posts() == []


def test_requests_are_logged_without_secrets_where_that_is_wanted(company, caplog):
    secret = company.make.mfa_secret("alice")
    credentials = {"login": "alice", "password": "correct-horse", "mfa": secret}

    with caplog.at_level(logging.INFO, logger="spaces.platforms.wire"):
        bot = company.connected(credentials, debug_log=True)
        bot.post_message(message(company.lounge, "to be seen in the log"))
        company.connected().post_message(message(company.lounge, "not to be seen"))

    (session,) = company.sessions("alice")
    assert "to be seen in the log" in caplog.text
    assert "not to be seen" not in caplog.text
    for hidden in ("correct-horse", secret, session.token, company.token):
        assert hidden not in caplog.text


def test_files_are_given_time_in_the_lease(company):
    bot = company.bot(timeout_seconds=1, long_timeout_seconds=2, asset_timeout_seconds=30)

    plain = bot.seconds_for("post_message", message(company.lounge))
    with_files = bot.seconds_for("post_message", message(company.lounge, files=(file(b"x"),) * 2))

    assert with_files == plain + 60
