"""REST of the simulated server: what it allows, refuses, forgets and gets wrong on purpose."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from urllib.parse import parse_qs

import pytest
import requests

from spaces.testing.mattermost import SimulatedMattermost
from spaces.testing.mattermost.emoji import BUILT_IN
from spaces.testing.mattermost.making import PASSWORD
from spaces.tests.testing.mattermost_client import Rest


def login(server, **body):
    return Rest(server).post("/users/login", {"login_id": "alice", "password": PASSWORD, **body})


def refusal(answer):
    return answer.status_code, answer.json()["id"]


def texts(server, channel):
    return [post.message for post in server.world.posts_of[channel.id] if not post.type]


@pytest.fixture
def builds(server):
    return server.make.channel("acme", "builds", "alice", "helper-bot")


# Transport


def test_an_answer_carries_the_headers_of_the_server(server, rest):
    answer = rest("alice").get("/users/me")

    assert answer.headers["Content-Type"] == "application/json"
    assert len(answer.headers["X-Request-Id"]) == 26
    assert answer.headers["X-Version-Id"].startswith("11.6.0.")
    assert answer.headers["Expires"] == "0"


def test_an_error_names_its_request_and_repeats_its_status(server, rest):
    answer = rest("alice").get("/nowhere")

    assert answer.json() == {
        "id": "api.context.404.app_error",
        "message": answer.json()["message"],
        "detailed_error": "",
        "request_id": answer.headers["X-Request-Id"],
        "status_code": 404,
    }


def test_an_unchanged_object_is_not_sent_again(server, rest):
    alice = rest("alice")
    first = alice.get("/users/me")

    again = alice.get("/users/me", headers={"If-None-Match": first.headers["Etag"]})

    assert (again.status_code, again.content) == (304, b"")


def test_bodies_and_addresses_have_a_largest_size(server, rest):
    alice = rest("alice")

    assert refusal(alice.post("/posts", {"message": "x" * 301_000})) == (
        413,
        "api.context.request_body_too_large.app_error",
    )
    assert refusal(alice.get(f"/users?x={'x' * 2100}"))[0] == 414


def test_rows_of_a_page_are_capped_and_odd_numbers_ignored(server, rest):
    for number in range(210):
        server.make.user(f"extra{number}")
    alice = rest("alice")

    assert len(alice.get("/users?per_page=500").json()) == 200
    assert len(alice.get("/users?per_page=-3").json()) == 60
    assert len(alice.get("/users?per_page=200&page=1").json()) == 215 - 200


def test_ids_in_addresses_must_look_like_ids(server, rest):
    assert refusal(rest("alice").get("/channels/short")) == (
        400,
        "api.context.invalid_url_param.app_error",
    )


# Login and tokens


def test_a_login_puts_the_token_into_a_header_and_no_cookie(server):
    answer = login(server)

    assert answer.json()["username"] == "alice"
    assert Rest(server, answer.headers["Token"]).get("/users/me").status_code == 200
    assert not answer.cookies


def test_a_browser_gets_cookies_that_need_a_csrf_token(server):
    with requests.Session() as browser:
        url = f"{server.url}/api/v4"
        browser.post(
            f"{url}/users/login",
            json={"login_id": "alice", "password": PASSWORD},
            headers={"X-Requested-With": "XMLHttpRequest"},
        )
        assert browser.get(f"{url}/users/me").status_code == 200
        assert browser.put(f"{url}/users/me/patch", json={}).status_code == 401
        csrf = {"X-CSRF-Token": browser.cookies["MMCSRF"]}
        assert browser.put(f"{url}/users/me/patch", json={}, headers=csrf).status_code == 200
        # The cookie wins over the header.
        header = {"Authorization": f"Bearer {server.make.token('bob')}"}
        assert browser.get(f"{url}/users/me", headers=header).json()["username"] == "alice"


def test_a_wrong_password_and_an_unknown_user_look_alike_and_ten_lock(server, rest):
    wrong = (401, "api.user.login.invalid_credentials_email_username")
    assert refusal(login(server, login_id="nobody")) == wrong
    for _ in range(10):
        assert refusal(login(server, password="wrong")) == wrong

    locked = (401, "api.user.check_user_login_attempts.too_many.app_error")
    assert refusal(login(server)) == locked

    alice_id = server.world.user_named("alice").id
    rest("admin").post(f"/users/{alice_id}/reset_failed_attempts")
    assert login(server).status_code == 200


def test_mfa_asks_for_a_code_and_takes_each_once(server):
    secret = server.make.mfa_secret("alice")
    code = server.make.mfa_code(secret)

    assert refusal(login(server)) == (401, "mfa.validate_token.authenticate.app_error")
    assert login(server, token=code).status_code == 200
    assert refusal(login(server, token=code)) == (401, "api.user.check_user_mfa.bad_code.app_error")
    server.controls.advance(60)
    assert login(server, token=server.make.mfa_code(secret)).status_code == 200


def test_disabled_accounts_and_bots_cannot_log_in(server):
    server.controls.disable("alice")

    assert refusal(login(server)) == (401, "api.user.login.inactive.app_error")
    assert refusal(login(server, login_id="helper-bot")) == (
        401,
        "api.user.login.bot_login_forbidden.app_error",
    )
    assert refusal(login(server, password="")) == (400, "api.user.login.blank_pwd.app_error")


def test_posting_extends_a_session_and_then_sets_cookies(server, builds):
    alice = Rest(server, login(server).headers["Token"])
    body = {"channel_id": builds.id, "message": "hello"}
    assert "Set-Cookie" not in alice.post("/posts", body).headers

    server.controls.advance(8 * 3600)

    assert "MMAUTHTOKEN" in alice.post("/posts", body).headers["Set-Cookie"]
    server.controls.advance(29.9 * 24 * 3600)
    assert alice.get("/users/me").status_code == 200
    server.controls.advance(24 * 3600)
    assert refusal(alice.get("/users/me")) == (401, "api.context.session_expired.app_error")


def test_a_disabled_token_is_refused_until_it_is_enabled(server, rest):
    admin = rest("admin")
    bot_id = server.world.user_named("helper-bot").id
    made = admin.post(f"/users/{bot_id}/tokens", {"description": "ci"}).json()
    bot = Rest(server, made["token"])
    assert bot.get("/users/me").json()["is_bot"] is True

    admin.post("/users/tokens/disable", {"token_id": made["id"]})
    assert refusal(bot.get("/users/me")) == (401, "api.context.session_expired.app_error")
    admin.post("/users/tokens/enable", {"token_id": made["id"]})
    assert bot.get("/users/me").status_code == 200

    admin.post(f"/bots/{bot_id}/disable")
    assert bot.get("/users/me").status_code == 401
    assert "token" not in admin.get(f"/users/tokens/{made['id']}").json()


def test_user_tokens_and_bot_accounts_can_be_switched_off(server, rest):
    alice, admin, bot = rest("alice"), rest("admin"), rest("helper-bot")
    session = Rest(server, server.make.session("admin").token)
    server.controls.change_settings(
        {"ServiceSettings": {"EnableUserAccessTokens": False, "EnableBotAccountCreation": False}}
    )

    assert alice.get("/users/me").status_code == admin.get("/users/me").status_code == 401
    assert bot.get("/users/me").status_code == 200
    assert refusal(session.post("/bots", {"username": "new-bot"})) == (
        403,
        "api.bot.create_disabled",
    )


def test_a_token_in_the_query_is_refused(server):
    token = server.make.token("alice")

    answer = Rest(server).get(f"/users/me?access_token={token}")

    assert refusal(answer) == (401, "api.context.token_provided.app_error")


# Teams and channels


def test_a_team_has_room_for_fifty(server, rest):
    server.controls.change_settings({"TeamSettings": {"MaxUsersPerTeam": 3}})
    team = server.world.team_named("acme")
    charlie_id = server.world.user_named("charlie").id
    body = {"team_id": team.id, "user_id": charlie_id}

    assert refusal(rest("admin").post(f"/teams/{team.id}/members", body)) == (
        400,
        "app.team.join_user_to_team.save_member.max_accounts.app_error",
    )


def test_a_name_stays_taken_after_its_channel_is_archived(server, rest, builds):
    alice = rest("alice")
    assert alice.delete(f"/channels/{builds.id}").json() == {"status": "OK"}
    body = {"team_id": builds.team_id, "name": "builds", "display_name": "B", "type": "O"}

    assert refusal(alice.post("/channels", body)) == (
        400,
        "store.sql_channel.save_channel.exists.app_error",
    )
    assert refusal(alice.post("/posts", {"channel_id": builds.id, "message": "x"})) == (
        400,
        "api.post.create_post.can_not_post_to_deleted.error",
    )


def test_a_private_channel_is_not_there_for_others(server, rest):
    alice, bob = rest("alice"), rest("bob")
    team = server.world.team_named("acme")
    secret = alice.post(
        "/channels", {"team_id": team.id, "name": "secret", "display_name": "S", "type": "P"}
    ).json()

    assert refusal(bob.get(f"/channels/{secret['id']}"))[0] == 404
    assert bob.get(f"/teams/{team.id}/channels/name/secret").status_code == 404
    bob_id = server.world.user_named("bob").id
    join = bob.post(f"/channels/{secret['id']}/members", {"user_id": bob_id})
    assert refusal(join) == (403, "api.context.permissions.app_error")
    assert alice.get(f"/channels/{secret['id']}").status_code == 200


def test_direct_and_group_channels_are_made_once(server, rest):
    ids = {name: server.world.user_named(name).id for name in ("alice", "bob", "charlie")}
    alice = rest("alice")

    first = alice.post("/channels/direct", [ids["alice"], ids["bob"]])
    again = alice.post("/channels/direct", [ids["bob"], ids["alice"]])
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert first.json()["name"] == "__".join(sorted([ids["alice"], ids["bob"]]))

    group = alice.post("/channels/group", [ids["bob"], ids["charlie"]]).json()
    assert group["id"] == alice.post("/channels/group", sorted(ids.values())).json()["id"]
    assert refusal(alice.post("/channels/group", [ids["bob"]])) == (
        400,
        "api.channel.create_group.bad_size.app_error",
    )


def test_many_are_added_at_once_and_failures_are_not_told(server, rest, builds):
    ids = {name: server.world.user_named(name).id for name in ("bob", "charlie")}
    alice, path = rest("alice"), f"/channels/{builds.id}/members"

    answer = alice.post(path, {"user_ids": list(ids.values())})

    assert answer.status_code == 201
    assert [one["user_id"] for one in answer.json()] == [ids["bob"]]
    assert refusal(alice.post(path, {"user_ids": [ids["charlie"]]})) == (
        404,
        "app.team.get_member.missing.app_error",
    )


def test_pages_of_members_repeat_and_miss_while_users_are_in_order(server, rest):
    server.controls.change_settings({"TeamSettings": {"MaxUsersPerTeam": 1000}})
    channel = server.make.channel("acme", "crowd", "alice")
    for number in range(40):
        server.make.user(f"extra{number:02}")
        server.make.join_team("acme", f"extra{number:02}")
        server.make.join_channel(channel, f"extra{number:02}")
    alice = rest("alice")

    def pages(path):
        return [row for page in range(5) for row in alice.get(f"{path}&page={page}").json()]

    unordered = [row["user_id"] for row in pages(f"/channels/{channel.id}/members?per_page=10")]
    ordered = [row["username"] for row in pages(f"/users?in_channel={channel.id}&per_page=10")]
    assert len(set(unordered)) < 41
    assert ordered == sorted(ordered)
    assert len(ordered) == 41


def test_other_peoples_read_marks_are_hidden(server, rest, builds):
    members = rest("alice").get(f"/channels/{builds.id}/members").json()

    alice_id = server.world.user_named("alice").id
    hidden = {row["user_id"]: row["last_viewed_at"] == -1 for row in members}
    assert hidden == {alice_id: False, server.world.user_named("helper-bot").id: True}


def test_somebody_without_channels_gets_a_broken_list(server, rest):
    answer = rest("charlie").get("/users/me/channels")

    assert answer.status_code == 200
    assert answer.text.startswith("[{")
    with pytest.raises(ValueError, match="Expecting"):
        answer.json()


def test_leaving_and_removing_follow_the_kind_of_channel(server, rest, builds):
    alice_id = server.world.user_named("alice").id
    square = server.world.channel_named(builds.team_id, "town-square")
    alice = rest("alice")

    assert refusal(alice.delete(f"/channels/{square.id}/members/{alice_id}")) == (
        400,
        "api.channel.remove.default.app_error",
    )
    assert alice.delete(f"/channels/{builds.id}/members/me").status_code == 200
    assert alice.delete(f"/channels/{builds.id}/members/me").status_code == 404


def test_only_channel_admins_make_channel_admins(server, rest):
    channel = server.make.channel("acme", "ops", "bob", creator="alice")
    bob_id = server.world.user_named("bob").id
    path = f"/channels/{channel.id}/members/{bob_id}/schemeRoles"
    body = {"scheme_user": True, "scheme_admin": True}

    assert refusal(rest("bob").put(path, body))[0] == 403
    assert rest("alice").put(path, body).json() == {"status": "OK"}
    assert server.world.member(channel.id, bob_id).roles == "channel_user channel_admin"


def test_what_the_server_itself_writes_into_channels(server, rest, builds):
    alice = rest("alice")
    bob_id = server.world.user_named("bob").id

    alice.post(f"/channels/{builds.id}/members", {"user_id": bob_id})
    alice.put(f"/channels/{builds.id}/patch", {"header": "new"})
    rest("bob").delete(f"/channels/{builds.id}/members/me")
    alice.delete(f"/channels/{builds.id}/members/{server.world.user_named('helper-bot').id}")
    alice.delete(f"/channels/{builds.id}")

    written = server.world.posts_of[builds.id][2:]
    assert [post.type for post in written] == [
        "system_add_to_channel",
        "system_header_change",
        "system_leave_channel",
        "system_remove_from_channel",
        "system_channel_deleted",
    ]
    assert written[0].props["addedUserId"] == bob_id
    assert written[1].props["new_header"] == "new"
    assert written[3].props["removedUsername"] == "helper-bot"


# Posts


def test_the_limits_of_a_post(server, rest, builds):
    alice = rest("alice")

    def post(**fields):
        return alice.post("/posts", {"channel_id": builds.id, "message": "x", **fields})

    assert post(message="ß" * 16383).status_code == 201
    assert refusal(post(message="ß" * 16384))[1] == ("model.post.is_valid.message_length.app_error")
    assert refusal(post(type="system_join_channel"))[1] == "api.context.invalid_param.app_error"
    assert refusal(post(root_id="a" * 26))[1] == "api.post.create_post.root_id.app_error"
    assert refusal(post(id="a" * 26))[1] == "app.post.save.existing.app_error"
    reply = post(root_id=post().json()["id"]).json()
    assert refusal(post(root_id=reply["id"]))[1] == "api.post.create_post.root_id.app_error"
    assert refusal(post(channel_id="a" * 26))[0] == 403


def test_the_same_pending_id_within_half_a_minute_is_one_post(server, rest, builds):
    bot = rest("helper-bot")
    body = {"channel_id": builds.id, "message": "once", "pending_post_id": "job-1"}

    first = bot.post("/posts", body).json()
    again = bot.post("/posts", body | {"message": "other"})

    assert first["pending_post_id"] == "job-1"
    assert (again.status_code, again.json()["id"]) == (201, first["id"])
    assert (again.json()["message"], again.json()["pending_post_id"]) == ("once", "")
    server.controls.advance(31)
    assert bot.post("/posts", body).json()["id"] != first["id"]


def test_a_failed_post_frees_its_pending_id_and_a_deleted_one_does_not(server, rest, builds):
    bot = rest("helper-bot")
    body = {"channel_id": builds.id, "message": "x", "pending_post_id": "job-1"}
    assert bot.post("/posts", body | {"message": "x" * 17000}).status_code == 400

    post = bot.post("/posts", body).json()
    bot.delete(f"/posts/{post['id']}")

    assert refusal(bot.post("/posts", body)) == (
        500,
        "api.post.deduplicate_create_post.failed_to_get",
    )


def test_who_may_post_without_being_in_the_channel(server, rest):
    channel = server.make.channel("acme", "ops", "alice")
    bot_id = server.world.user_named("helper-bot").id
    bot, body = rest("helper-bot"), {"channel_id": channel.id, "message": "hi"}
    assert bot.post("/posts", body).status_code == 403

    roles = {"roles": "system_user system_post_all"}
    assert rest("admin").put(f"/users/{bot_id}/roles", roles).status_code == 200

    post = bot.post("/posts", body)
    assert post.status_code == 201
    assert post.json()["props"] == {"from_bot": "true"}


def test_an_edit_leaves_the_old_version_as_a_row_of_its_own(server, rest, builds):
    alice = rest("alice")
    post = alice.post("/posts", {"channel_id": builds.id, "message": "frist"}).json()

    edited = alice.put(f"/posts/{post['id']}/patch", {"message": "first"}).json()

    assert edited["edit_at"] == edited["update_at"] > post["update_at"]
    rows = alice.get(f"/channels/{builds.id}/posts?since={post['create_at'] - 1}").json()["posts"]
    old = [row for row in rows.values() if row["original_id"] == post["id"]]
    assert [(row["message"], row["delete_at"]) for row in old] == [("frist", edited["edit_at"])]
    assert alice.get(f"/channels/{builds.id}/posts").json()["order"].count(old[0]["id"]) == 0
    history = alice.get(f"/posts/{post['id']}/edit_history").json()
    assert [row["message"] for row in history] == ["frist"]
    assert refusal(rest("helper-bot").put(f"/posts/{post['id']}/patch", {"message": "x"}))[0] == 403


def test_pages_before_and_after_a_post_leave_out_its_own_millisecond(server, rest, builds):
    alice, admin = rest("alice"), rest("admin")
    start = server.world.posts_of[builds.id][-1].create_at
    posts = [
        admin.post(
            "/posts", {"channel_id": builds.id, "message": str(number), "create_at": start + at}
        ).json()
        for number, at in enumerate([10, 20, 20, 30, 40])
    ]

    def order(query):
        rows = alice.get(f"/channels/{builds.id}/posts?{query}").json()
        return [rows["posts"][one]["message"] for one in rows["order"]]

    assert order(f"after={posts[1]['id']}&per_page=1") == ["3"]
    assert order(f"after={posts[1]['id']}&per_page=60") == ["4", "3"]
    assert order(f"before={posts[2]['id']}&per_page=1") == ["0"]
    assert order(f"before={'z' * 26}") == []
    assert order("per_page=2&page=1") in (["2", "1"], ["1", "2"])


def test_since_picks_a_thousand_rows_without_order_and_ignores_pages(server, rest, builds):
    for number in range(1010):
        server.make.post("alice", builds, str(number))

    rows = rest("alice").get(f"/channels/{builds.id}/posts?since=1&per_page=5").json()

    assert len(rows["order"]) == 1000
    times = [rows["posts"][one]["create_at"] for one in rows["order"]]
    assert times == sorted(times, reverse=True)


def test_a_page_brings_along_the_threads_of_its_posts(server, rest, builds):
    root = server.make.post("alice", builds, "root")
    for number in range(3):
        server.make.post("alice", builds, f"reply {number}", root=root)

    rows = rest("alice").get(f"/channels/{builds.id}/posts?per_page=1").json()

    assert len(rows["order"]) == 1
    assert len(rows["posts"]) == 4
    assert rows["posts"][root.id]["reply_count"] == 3
    thread = rest("alice").get(f"/posts/{root.id}/thread?perPage=2&direction=down").json()
    assert (thread["order"][0], len(thread["order"]), thread["has_next"]) == (root.id, 3, True)


def test_deleting_a_root_takes_its_replies_along(server, rest, builds):
    root = server.make.post("alice", builds, "root")
    reply = server.make.post("helper-bot", builds, "reply", root=root)
    alice = rest("alice")

    assert alice.delete(f"/posts/{root.id}").json() == {"status": "OK"}

    assert reply.delete_at == root.delete_at > 0
    assert refusal(alice.delete(f"/posts/{root.id}")) == (404, "app.post.get.app_error")
    assert alice.get(f"/posts/{reply.id}").status_code == 404
    deleted = rest("admin").get(f"/posts/{root.id}?include_deleted=true").json()
    assert deleted["props"]["deleteBy"] == root.user_id


def test_deleting_for_good_is_off_by_default_and_leaves_nothing(server, rest, builds):
    root = server.make.post("alice", builds, "root")
    server.make.edit(server.make.post("helper-bot", builds, "reply", root=root), "edited")
    admin = rest("admin")
    assert admin.delete(f"/posts/{root.id}?permanent=true").status_code == 501
    allowed = {"EnableAPIPostDeletion": True, "EnableAPIChannelDeletion": True}
    server.controls.change_settings({"ServiceSettings": allowed})

    admin.delete(f"/posts/{root.id}?permanent=true")
    assert texts(server, builds) == []
    assert admin.delete(f"/channels/{builds.id}?permanent=true").json() == {"status": "OK"}
    assert admin.get(f"/channels/{builds.id}").status_code == 404


def test_who_leaves_a_team_is_missed_in_town_square(server, rest, builds):
    square = server.world.channel_named(builds.team_id, "town-square")

    rest("alice").delete(f"/teams/{builds.team_id}/members/me")

    assert server.world.posts_of[square.id][-1].type == "system_leave_team"
    assert rest("alice").get(f"/channels/{builds.id}").status_code == 403


def test_reactions_need_an_emoji_that_exists_and_stop_at_fifty(server, rest, builds):
    post = server.make.post("alice", builds, "hi")
    alice, user_id = rest("alice"), post.user_id

    def react(name, by=user_id):
        return alice.post("/reactions", {"user_id": by, "post_id": post.id, "emoji_name": name})

    assert [react("tada").status_code for _ in range(2)] == [200, 200]
    assert refusal(react("no-such-thing")) == (404, "app.emoji.get_by_name.no_result")
    assert refusal(react("tada", by="a" * 26)) == (
        403,
        "api.reaction.save_reaction.user_id.app_error",
    )
    names = sorted(BUILT_IN - {"tada", "zap"})[:49]
    assert {react(name).status_code for name in names} == {200}
    assert refusal(react("zap")) == (400, "app.reaction.save.save.too_many_reactions")
    gone = f"/users/me/posts/{post.id}/reactions/tada"
    assert [alice.delete(gone).status_code for _ in range(2)] == [200, 200]


def test_an_ephemeral_post_needs_an_administrator_and_is_not_stored(server, rest, builds):
    body = {
        "user_id": server.world.user_named("alice").id,
        "post": {"channel_id": builds.id, "message": "psst"},
    }
    before = len(server.world.posts)

    assert rest("alice").post("/posts/ephemeral", body).status_code == 403
    assert rest("admin").post("/posts/ephemeral", body).json()["type"] == "system_ephemeral"
    assert len(server.world.posts) == before


def test_viewing_a_channel_clears_what_was_unread(server, rest, builds):
    server.make.post("alice", builds, "hello @helper-bot")
    bot = rest("helper-bot")
    unread = bot.get(f"/users/me/channels/{builds.id}/unread").json()
    assert (unread["msg_count"], unread["mention_count"]) == (1, 1)

    answer = bot.post("/channels/members/me/view", {"channel_id": builds.id}).json()

    assert answer["last_viewed_at_times"] == {builds.id: builds.last_post_at}
    unread = bot.get(f"/users/me/channels/{builds.id}/unread").json()
    assert (unread["msg_count"], unread["mention_count"]) == (0, 0)


def test_search_finds_words_of_ones_channels(server, rest, builds):
    server.make.post("alice", builds, "the red fox")
    server.make.post("helper-bot", builds, "a red hen")
    terms = {"terms": "red from:alice"}

    found = rest("alice").post(f"/teams/{builds.team_id}/posts/search", terms).json()

    assert [found["posts"][one]["message"] for one in found["order"]] == ["the red fox"]
    assert rest("bob").post("/posts/search", {"terms": "fox"}).json()["order"] == []


def test_a_reply_makes_followers_who_can_stop_following(server, rest, builds):
    root = server.make.post("alice", builds, "root")
    server.make.post("helper-bot", builds, "reply", root=root)
    alice, team_id = rest("alice"), builds.team_id

    threads = alice.get(f"/users/me/teams/{team_id}/threads").json()
    assert [one["id"] for one in threads["threads"]] == [root.id]
    alice.delete(f"/users/me/teams/{team_id}/threads/{root.id}/following")
    assert alice.get(f"/users/me/teams/{team_id}/threads").json()["total"] == 0


def test_the_button_of_a_card_asks_the_program_behind_it(server, rest, builds, program):
    program.answer = {"update": {"message": "approved"}, "ephemeral_text": "thanks"}
    action = {"name": "Approve", "integration": {"url": program.url, "context": {"job": 7}}}
    body = {"channel_id": builds.id, "props": {"attachments": [{"actions": [action]}]}}
    post = rest("helper-bot").post("/posts", body).json()
    shown = post["props"]["attachments"][0]["actions"][0]
    assert "integration" not in shown

    pressed = rest("alice").post(f"/posts/{post['id']}/actions/{shown['id']}", {})

    asked = json.loads(program.asked.get(timeout=5)[1])
    assert (pressed.status_code, asked["user_name"], asked["context"]) == (200, "alice", {"job": 7})
    assert server.world.posts[post["id"]].message == "approved"


# Files


def test_a_file_belongs_to_nothing_until_its_author_posts_it(server, rest, builds):
    alice, bot = rest("alice"), rest("helper-bot")
    answer = alice.call(
        "POST",
        "/files",
        data={"channel_id": builds.id, "client_ids": "c1"},
        files={"files": ("plän.txt", b"0123456789")},
    )
    info = answer.json()["file_infos"][0]
    assert (answer.status_code, answer.json()["client_ids"]) == (201, ["c1"])
    assert (info["name"], info["size"], "post_id" in info) == ("plän.txt", 10, False)

    stolen = bot.post(
        "/posts", {"channel_id": builds.id, "message": "mine", "file_ids": [info["id"]]}
    ).json()
    assert stolen["file_ids"] == []
    post = alice.post(
        "/posts", {"channel_id": builds.id, "message": "see", "file_ids": [info["id"]]}
    ).json()

    assert post["metadata"]["files"][0]["post_id"] == post["id"]
    assert bot.get(f"/files/{info['id']}").content == b"0123456789"
    part = bot.get(f"/files/{info['id']}", headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert bot.call("HEAD", f"/files/{info['id']}").headers["Content-Length"] == "10"
    assert rest("charlie").get(f"/files/{info['id']}").status_code == 403


def test_uploads_are_held_to_the_rules_of_the_form(server, rest, builds):
    server.controls.change_settings({"FileSettings": {"MaxFileSize": 100}})
    alice = rest("alice")

    def upload(data, content=b"x"):
        return alice.call("POST", "/files", data=data, files={"files": ("a.txt", content)})

    assert upload({"channel_id": builds.id, "more": "1"}).status_code == 400
    assert refusal(upload({"channel_id": builds.id}, b"x" * 101)) == (
        413,
        "api.file.upload_file.too_large_detailed.app_error",
    )
    assert alice.call("POST", f"/files?channel_id={builds.id}&filename=a").status_code == 400
    raw = alice.call("POST", f"/files?channel_id={builds.id}&filename=b.bin", data=b"raw")
    assert raw.json()["file_infos"][0]["name"] == "b.bin"


# Webhooks and commands


@pytest.fixture
def program():
    """A program on the loopback: what it was asked, and what it answers."""
    asked: Queue = Queue()

    class Answering(BaseHTTPRequestHandler):
        answer = {"text": "done"}

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.put((dict(self.headers), body))
            content = json.dumps(self.answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            """Nothing: a test's output is its own."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as listening:
        Answering.asked = asked
        Answering.url = f"http://127.0.0.1:{listening.server_port}/"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield Answering
        listening.shutdown()
        thread.join()


def test_an_incoming_webhook_posts_without_a_login(server, rest, builds):
    hook = rest("admin").post("/hooks/incoming", {"channel_id": builds.id}).json()
    url = f"{server.url}/hooks/{hook['id']}"

    plain = requests.post(url, json={"text": "built"}, timeout=5)
    form = requests.post(url, data={"payload": json.dumps({"text": "again"})}, timeout=5)
    empty = requests.post(url, json={}, timeout=5)
    requests.post(url, json={"text": "x" * 20_000}, timeout=5)

    assert (plain.text, form.text) == ("ok", "ok")
    assert plain.headers["Content-Type"] == "text/plain"
    assert refusal(empty) == (400, "web.incoming_webhook.general.app_error")
    posts = [one for one in server.world.posts_of[builds.id] if not one.type.startswith("system")]
    assert [len(one.message) for one in posts] == [5, 5, 16383, 20_000 - 16383]
    assert posts[0].props["from_webhook"] == "true"


def test_an_outgoing_webhook_asks_a_program_and_posts_its_answer(server, rest, builds, program):
    team_id = builds.team_id
    program.answer = {"text": "done", "response_type": "comment"}
    hook = {
        "team_id": team_id,
        "display_name": "ci",
        "trigger_words": ["!build"],
        "callback_urls": [program.url],
    }
    made = rest("admin").post("/hooks/outgoing", hook).json()

    post = rest("alice").post("/posts", {"channel_id": builds.id, "message": "!build x"}).json()

    _, body = program.asked.get(timeout=5)
    asked = {key: values[0] for key, values in parse_qs(body).items()}
    assert (asked["token"], asked["post_id"]) == (made["token"], post["id"])
    assert asked["timestamp"] == str(post["create_at"] // 1000)
    assert asked["trigger_word"] == "!build"


def test_a_slash_command_answers_now_and_later(server, rest, builds, program):
    program.answer = {"response_type": "in_channel", "text": "deploying"}
    command = {"team_id": builds.team_id, "trigger": "deploy", "url": program.url, "method": "P"}
    made = rest("admin").post("/commands", command).json()

    answer = rest("alice").post(
        "/commands/execute", {"channel_id": builds.id, "command": "/deploy web now"}
    )

    headers, body = program.asked.get(timeout=5)
    asked = {key: values[0] for key, values in parse_qs(body).items()}
    assert answer.status_code == 200
    assert headers["Authorization"] == f"Token {made['token']}"
    assert (asked["command"], asked["text"]) == ("/deploy", "web now")
    later = {"response_type": "in_channel", "text": "deployed"}
    uses = [requests.post(asked["response_url"], json=later, timeout=5) for _ in range(6)]
    assert [one.status_code for one in uses] == [200] * 5 + [400]
    texts = [one.message for one in server.world.posts_of[builds.id][2:]]
    assert texts == ["deploying"] + ["deployed"] * 5
    unknown = {"channel_id": builds.id, "command": "/nothing"}
    assert rest("alice").post("/commands/execute", unknown).status_code == 404


# System


def test_configuration_is_short_for_strangers_and_text_throughout(server, rest):
    stranger = rest("").get("/config/client?format=old").json()
    member = rest("alice").get("/config/client").json()

    assert stranger["SiteURL"] == server.url
    assert "MaxPostSize" not in stranger
    assert (member["MaxPostSize"], member["MaxFileSize"]) == ("16383", "104857600")
    assert rest("").get("/system/ping").json()["status"] == "OK"


def test_roles_tell_their_permissions(server, rest):
    roles = rest("alice").post("/roles/names", ["channel_user", "unknown"]).json()

    assert [role["name"] for role in roles] == ["channel_user"]
    assert "create_post" in roles[0]["permissions"]


def test_the_first_account_becomes_the_administrator():
    with SimulatedMattermost(settings={"TeamSettings": {"EnableOpenServer": False}}) as server:
        body = {"username": "alice", "email": "alice@example.com", "password": PASSWORD}
        first = Rest(server).post("/users", body)
        later = Rest(server).post("/users", body | {"username": "bob", "email": "b@example.com"})

    assert first.json()["roles"] == "system_admin system_user"
    assert refusal(later) == (403, "api.user.create_user.no_open_server")


def test_rate_limits_speak_in_plain_text_and_headers(server, rest):
    server.controls.change_settings(
        {"RateLimitSettings": {"Enable": True, "PerSec": 1, "MaxBurst": 2}}
    )
    alice = rest("alice")

    answers = [alice.get("/users/me") for _ in range(4)]

    assert [one.status_code for one in answers] == [200, 200, 200, 429]
    assert [one.headers["X-RateLimit-Remaining"] for one in answers] == ["2", "1", "0", "0"]
    assert answers[3].text == "limit exceeded\n"
    assert answers[3].headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answers[3].headers["X-RateLimit-Limit"] == "3"
    assert answers[3].headers["Retry-After"] == "1"
    server.controls.advance(1)
    assert alice.get("/users/me").status_code == 200
