"""The websocket of the simulated server: opening, events, resuming, and every way to lose it."""

from __future__ import annotations

import json
import socket

import pytest
import websocket

from spaces.tests.testing.mattermost_client import Rest


@pytest.fixture
def builds(server):
    return server.make.channel("acme", "builds", "alice", "helper-bot")


def post_of(event):
    return json.loads(event["data"]["post"])


def is_gone(server, name):
    """Wait until the server knows that this user's sockets are closed."""
    for _ in range(500):
        if server.controls.connected(name) == 0:
            return True
        server.controls.advance(0.01)
    return False


# Opening


def test_with_a_token_in_the_header_hello_comes_first(connect):
    hello = connect("helper-bot").frame()

    assert (hello["event"], hello["seq"]) == ("hello", 0)
    assert len(hello["data"]["connection_id"]) == 26
    assert hello["data"]["server_version"].startswith("11.6.0.")


def test_without_a_valid_token_there_is_silence_and_then_the_end(server, connect):
    strangers = [connect(), connect(token="wrong")]
    assert all(one.is_quiet() for one in strangers)

    server.controls.advance(5)

    assert [one.close_code() for one in strangers] == [1006, 1006]


def test_a_challenge_is_answered_after_the_hello(server, connect):
    socket = connect()
    socket.act("authentication_challenge", 1, token=server.make.token("alice"))
    socket.act("ping", 2)

    assert socket.frame()["event"] == "hello"
    assert socket.reply(1) == {"status": "OK", "seq_reply": 1}
    assert socket.reply(2)["data"]["text"] == "pong"
    socket.act("authentication_challenge", 3, token="whatever")
    assert socket.ask("ping", 4)["seq_reply"] == 4


def test_a_challenge_with_a_bad_token_ends_the_connection(connect):
    socket = connect()

    socket.act("authentication_challenge", 1, token="wrong")

    assert socket.close_code() == 1006


@pytest.mark.parametrize(("origin", "status"), [("http://elsewhere.example", 403), ("", 101)])
def test_a_foreign_origin_is_refused_at_the_upgrade(server, connect, origin, status):
    if status == 101:
        assert connect("alice", suppress_origin=False).frame()["event"] == "hello"
        return
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect("alice", suppress_origin=False, origin=origin)
    assert refused.value.status_code == status


def test_a_token_in_the_query_is_refused_before_the_upgrade(server, connect):
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect(query=f"?access_token={server.make.token('alice')}")

    assert refused.value.status_code == 401


# Actions


def test_actions_that_make_no_sense_fail_with_an_id(connect):
    socket = connect("alice")

    failures = [
        socket.ask("", 1),
        socket.ask("ping", -1),
        socket.ask("dance", 3),
        socket.ask("user_typing", 4, channel_id="short"),
    ]

    assert [(one["status"], one["error"]["id"]) for one in failures] == [
        ("FAIL", "api.web_socket_router.no_action.app_error"),
        ("FAIL", "api.web_socket_router.bad_seq.app_error"),
        ("FAIL", "api.web_socket_router.bad_action.app_error"),
        ("FAIL", "api.websocket_handler.invalid_param.app_error"),
    ]


def test_statuses_can_be_asked_for(server, connect):
    ids = {name: server.world.user_named(name).id for name in ("alice", "bob")}
    alice = connect("alice")

    assert alice.ask("get_statuses")["data"] == {ids["alice"]: "online"}
    asked = alice.ask("get_statuses_by_ids", 2, user_ids=list(ids.values()))
    assert asked["data"] == {ids["alice"]: "online", ids["bob"]: "offline"}


def test_a_frame_that_is_too_large_or_nonsense_ends_the_connection(connect):
    large, nonsense = connect("alice"), connect("bob")

    large.send_text(json.dumps({"seq": 1, "action": "ping", "data": {"x": "y" * 8200}}))
    nonsense.send_text("{")

    assert (large.close_code(), nonsense.close_code()) == (1009, 1006)


def test_a_revoked_session_leaves_a_mute_socket_that_fails_at_the_next_action(
    server, connect, builds
):
    session = server.make.session("alice")
    alice, bot = connect(token=session.token), connect("helper-bot")
    alice.event("status_change")
    server.controls.revoke_sessions(user="alice")

    server.make.post("helper-bot", builds, "can you hear me?")

    bot.event("posted")
    assert alice.is_quiet()
    failure = alice.ask("ping")
    assert (failure["status"], failure["error"]["status_code"]) == ("FAIL", 401)
    alice.act("authentication_challenge", 2, token=server.make.session("alice").token)
    assert alice.reply(2)["status"] == "OK"
    server.make.post("helper-bot", builds, "and now?")
    assert post_of(alice.event("posted"))["message"] == "and now?"


def test_a_disabled_bot_hears_nothing_any_more(server, connect, builds):
    bot = connect("helper-bot")
    bot.event("status_change")

    server.controls.disable("helper-bot")
    server.make.post("alice", builds, "anybody?")

    assert bot.ask("ping")["error"]["status_code"] == 401


# Events


def test_a_post_is_told_before_its_author_gets_the_answer(server, connect, builds):
    token = server.make.token("helper-bot")
    bot = connect(token=token)

    Rest(server, token).post(
        "/posts",
        {"channel_id": builds.id, "message": "hi @alice", "pending_post_id": "job-1"},
    )

    event = bot.event("posted")
    assert post_of(event)["pending_post_id"] == "job-1"
    assert event["data"] | {"post": ""} == {
        "post": "",
        "channel_type": "O",
        "channel_display_name": "Builds",
        "channel_name": "builds",
        "sender_name": "@helper-bot",
        "team_id": builds.team_id,
        "set_online": True,
    }
    assert event["broadcast"]["channel_id"] == builds.id


def test_only_who_is_mentioned_reads_so_in_the_event(server, connect, builds):
    server.make.join_channel(builds, "bob")
    alice, bob = connect("alice"), connect("bob")

    server.make.post("helper-bot", builds, "ask @alice.")

    alice_id = server.world.user_named("alice").id
    assert json.loads(alice.event("posted")["data"]["mentions"]) == [alice_id]
    assert "mentions" not in bob.event("posted")["data"]


def test_edits_reactions_pins_and_deletions_are_told(server, rest, connect, builds):
    bot, alice = connect("helper-bot"), rest("alice")
    post = server.make.post("alice", builds, "frist")

    server.make.edit(post, "first")
    server.make.react("alice", post, "tada")
    alice.post(f"/posts/{post.id}/pin")
    server.make.delete(post)

    assert post_of(bot.event("post_edited"))["message"] == "first"
    reaction = json.loads(bot.event("reaction_added")["data"]["reaction"])
    assert (reaction["emoji_name"], reaction["channel_id"]) == ("tada", builds.id)
    assert post_of(bot.event("post_edited"))["is_pinned"] is True
    gone = bot.event("post_deleted")
    assert post_of(gone)["delete_at"] == 0
    assert "delete_by" not in gone["data"]


def test_joining_and_leaving_have_two_shapes(server, connect, builds):
    alice, bob = connect("alice"), connect("bob")
    bob_id = server.world.user_named("bob").id

    server.make.join_channel(builds, "bob", adder="alice")
    server.make.leave_channel(builds, "bob", remover="alice")

    assert alice.event("user_added")["broadcast"]["user_id"] == ""
    added = bob.event("user_added")
    assert (added["broadcast"]["user_id"], added["broadcast"]["channel_id"]) == (bob_id, builds.id)
    assert alice.event("user_removed")["data"].keys() == {"user_id", "remover_id"}
    assert bob.event("user_removed")["data"].keys() == {"channel_id", "remover_id"}


def test_who_is_added_to_a_team_hears_it_twice(server, rest, connect):
    charlie = connect("charlie")
    team = server.world.team_named("acme")
    body = {"team_id": team.id, "user_id": server.world.user_named("charlie").id}

    rest("admin").post(f"/teams/{team.id}/members", body)

    told = [charlie.event("added_to_team")["data"]["team_id"] for _ in range(2)]
    assert told == [team.id, team.id]


def test_typing_reaches_the_others_of_the_channel(server, connect, builds):
    alice, bot = connect("alice"), connect("helper-bot")

    bot.ask("user_typing", channel_id=builds.id, parent_id="")

    typing = alice.event("typing")
    assert typing["data"]["user_id"] == server.world.user_named("helper-bot").id
    assert typing["broadcast"]["channel_id"] == builds.id


def test_presence_in_one_channel_hides_the_small_events_of_others(server, connect, builds):
    ops = server.make.channel("acme", "ops", "alice", "helper-bot")
    bot = connect("helper-bot")
    bot.ask("presence", channel_id=ops.id)
    post = server.make.post("alice", builds, "hi")

    server.make.react("alice", post, "tada")
    server.make.post("alice", builds, "still here")

    bot.event("posted")
    assert bot.frame()["event"] == "posted"


def test_somebody_is_online_while_connected_and_away_when_idle(server, rest, connect):
    alice_id = server.world.user_named("alice").id
    socket, bob = connect("alice"), rest("bob")

    def status():
        return bob.get(f"/users/{alice_id}/status").json()["status"]

    socket.frame()
    assert status() == "online"
    socket.close()
    assert is_gone(server, "alice")
    server.controls.advance(0.5)
    assert status() == "offline"


def test_a_user_who_changes_is_told_differently_to_admins(server, rest, connect):
    admin, bob = connect("admin"), connect("bob")

    rest("alice").put("/users/me/patch", {"nickname": "Al"})

    for_admin, for_bob = admin.event("user_updated"), bob.event("user_updated")
    assert for_admin["broadcast"]["contains_sensitive_data"] is True
    assert "notify_props" in for_admin["data"]["user"]
    assert "notify_props" not in for_bob["data"]["user"]


# Resuming


@pytest.fixture
def interrupted(server, connect, builds):
    """A connection that heard one post and was dropped: its id, and the next number."""
    bot = connect("helper-bot")
    connection_id = bot.frame()["data"]["connection_id"]
    server.make.post("alice", builds, "before")
    seq = bot.event("posted")["seq"]
    server.controls.drop_sockets(user="helper-bot")
    assert bot.close_code() == 1006
    assert is_gone(server, "helper-bot")
    return connection_id, seq + 1


def resume(connection_id, seq):
    return f"?connection_id={connection_id}&sequence_number={seq}"


def test_a_resumed_connection_goes_on_without_a_hello(server, connect, builds, interrupted):
    server.make.post("alice", builds, "meanwhile")

    bot = connect("helper-bot", resume(*interrupted))

    event = bot.frame()
    while event["event"] == "status_change":
        event = bot.frame()
    assert post_of(event)["message"] == "meanwhile"


def test_what_was_sent_and_not_received_is_sent_again_by_its_old_number(
    server, connect, builds, interrupted
):
    connection_id, after = interrupted

    bot = connect("helper-bot", resume(connection_id, after - 1))

    event = bot.frame()
    assert (event["seq"], post_of(event)["message"]) == (after - 1, "before")
    server.make.post("alice", builds, "next")
    assert post_of(bot.event("posted"))["message"] == "next"


def test_a_gap_that_is_too_old_begins_with_a_new_hello(server, connect, builds):
    bot = connect("helper-bot")
    connection_id = bot.frame()["data"]["connection_id"]
    for number in range(140):
        server.make.post("alice", builds, str(number))
    while post_of(bot.event("posted"))["message"] != "139":
        pass
    server.controls.drop_sockets()
    assert is_gone(server, "helper-bot")
    server.make.post("alice", builds, "queued")

    again = connect("helper-bot", resume(connection_id, 3))

    hello = again.frame()
    assert (hello["event"], hello["seq"]) == ("hello", 0)
    assert hello["data"]["connection_id"] != connection_id
    assert post_of(again.event("posted"))["message"] == "queued"


@pytest.mark.parametrize("why", ["unknown", "other user", "restart", "reaped", "overflown"])
def test_what_cannot_be_resumed_begins_anew(server, connect, builds, interrupted, why):
    connection_id, after = interrupted
    name = "alice" if why == "other user" else "helper-bot"
    if why == "unknown":
        connection_id = "a" * 26
    if why == "restart":
        server.controls.restart()
    if why == "reaped":
        server.controls.advance(700)
    if why == "overflown":
        for number in range(257):
            server.make.post("alice", builds, str(number))

    hello = connect(name, resume(connection_id, after)).frame()

    assert (hello["event"], hello["seq"]) == ("hello", 0)
    assert hello["data"]["connection_id"] != connection_id


def test_a_connection_that_is_thought_alive_cannot_be_resumed(server, connect, builds):
    bot = connect("helper-bot")
    connection_id = bot.frame()["data"]["connection_id"]
    server.controls.silence_sockets(user="helper-bot")

    too_early = connect("helper-bot", resume(connection_id, 1)).frame()
    assert too_early["data"]["connection_id"] != connection_id

    server.controls.advance(100)
    server.make.post("alice", builds, "lost on the way?")
    later = connect("helper-bot", resume(connection_id, 2))
    assert post_of(later.event("posted"))["message"] == "lost on the way?"


@pytest.mark.parametrize("query", ["?connection_id=short&sequence_number=1", "?connection_id="])
def test_bad_resume_parameters_end_the_connection_and_empty_ones_do_not(connect, query):
    socket = connect("alice", query)

    if query.endswith("="):
        assert socket.frame()["event"] == "hello"
    else:
        assert socket.close_code() == 1006


def test_the_number_zero_restarts_the_count_without_a_hello(server, connect, builds, interrupted):
    bot = connect("helper-bot", resume(interrupted[0], 0))

    server.make.post("alice", builds, "next")

    first = bot.frame()
    assert (first["event"] != "hello", first["seq"]) == (True, 0)


# Losing


def test_who_answers_no_ping_is_dropped_after_a_hundred_seconds(server, connect):
    bot = connect("helper-bot")
    bot.frame()

    server.controls.advance(101)

    assert bot.close_code() == 1006


def test_a_silenced_socket_stays_open_and_mute(server, connect, builds):
    bot = connect("helper-bot")
    bot.event("status_change")
    server.controls.silence_sockets(user="helper-bot")

    server.make.post("alice", builds, "hello?")
    bot.act("ping")

    assert bot.is_quiet()


def test_frames_can_be_doubled_reordered_and_left_out(server, connect, builds):
    bot = connect("helper-bot")
    bot.event("status_change")

    def numbers(count, texts):
        for text in texts:
            server.make.post("alice", builds, text)
        return [bot.event("posted")["seq"] for _ in range(count)]

    assert numbers(1, "a") == [2]
    server.controls.duplicate_frames(user="helper-bot")
    assert numbers(2, "b") == [3, 3]
    server.controls.reorder_frames(user="helper-bot")
    assert numbers(2, "cd") == [5, 4]
    server.controls.omit_frames(user="helper-bot")
    assert numbers(1, "ef") == [7]


def test_a_reader_that_is_too_slow_is_closed_without_a_code(server, connect, builds):
    # With small buffers of the kernel it takes fewer posts to fill them.
    small = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)]
    bot = connect("helper-bot", sockopt=small)
    connection_id = bot.frame()["data"]["connection_id"]

    for number in range(700):
        server.make.post("alice", builds, f"{number} {'x' * 16000}")

    assert bot.close_code() == 1005
    again = connect("helper-bot", resume(connection_id, 100)).frame()
    assert again["data"]["connection_id"] != connection_id
