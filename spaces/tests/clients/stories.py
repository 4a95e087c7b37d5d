"""What every foreign client must be able to do with a simulated Mattermost.

Alice uses the client. Bob talks to the same server by plain HTTP: he sees what she did, and does
what she is told of.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import ClassVar

import pytest

from spaces.tests.clients.client_process import ClientProcess, Event
from spaces.tests.clients.office import Office, Person

PICTURE = bytes(range(256)) * 300  # every byte there is, and more than one packet


class ForeignClientStories:
    command: ClassVar[list[str]]

    @pytest.fixture
    def stranger(self, office: Office) -> Iterator[ClientProcess]:
        """The client before it logged in."""
        with ClientProcess([*self.command, office.url]) as client:
            yield client

    @pytest.fixture
    def alice(self, stranger: ClientProcess, office: Office) -> ClientProcess:
        stranger.do("log_in", token=office.alice.token)
        return stranger

    def test_a_password_opens_a_session_that_ends_with_a_logout(self, stranger, office):
        me = stranger.do("log_in", login_id="alice", password=office.password)

        assert (me["id"], me["username"]) == (office.alice.id, "alice")
        assert stranger.do("me")["id"] == office.alice.id
        assert stranger.do("log_out")["status"] == "OK"
        assert stranger.refused("me") == 401

    def test_a_wrong_password_and_a_wrong_token_are_refused(self, stranger):
        assert stranger.refused("log_in", login_id="alice", password="wrong password") == 401
        assert stranger.refused("log_in", token="x" * 26) == 401

    def test_a_bot_is_created_and_logs_in_with_its_token(self, stranger, office):
        stranger.do("log_in", token=office.boss.token)

        bot = stranger.do("create_bot", username="clerk")["user_id"]
        made = stranger.do("create_token", user_id=bot, description="for the clerk")

        assert office.bob.get(f"/users/{bot}")["is_bot"] is True
        assert stranger.do("log_in", token=made["token"])["id"] == bot

    def test_a_post_and_its_reply_make_a_thread(self, alice, office):
        root = alice.do("post", channel_id=office.lobby, message="Lunch? 🥗")
        reply = alice.do("post", channel_id=office.lobby, message="At one.", root_id=root["id"])

        assert office.bob.get(f"/posts/{root['id']}")["message"] == "Lunch? 🥗"
        assert office.bob.get(f"/posts/{reply['id']}")["root_id"] == root["id"]
        thread = alice.do("thread", post_id=reply["id"])
        assert set(thread["order"]) == {root["id"], reply["id"]}
        assert thread["posts"][root["id"]]["message"] == "Lunch? 🥗"
        assert thread["posts"][root["id"]]["reply_count"] == 1

    def test_a_post_to_a_channel_one_is_not_in_is_refused(self, alice, office):
        den = office.bob_creates_channel("den", "P")

        assert alice.refused("post", channel_id=den, message="Anybody?") == 403

    def test_a_post_is_edited_and_deleted(self, alice, office):
        post = alice.do("post", channel_id=office.lobby, message="teh plan")

        edited = alice.do("edit", post_id=post["id"], message="the plan")

        assert edited["edit_at"] > 0
        assert office.bob.get(f"/posts/{post['id']}")["message"] == "the plan"
        assert alice.do("delete", post_id=post["id"])["status"] == "OK"
        assert alice.refused("read_post", post_id=post["id"]) == 404

    def test_a_post_is_pinned_and_unpinned(self, alice, office):
        post = alice.do("post", channel_id=office.lobby, message="House rules")

        alice.do("pin", post_id=post["id"])
        assert post["id"] in office.bob.get(f"/channels/{office.lobby}/pinned")["posts"]

        alice.do("unpin", post_id=post["id"])
        assert post["id"] not in office.bob.get(f"/channels/{office.lobby}/pinned")["posts"]

    def test_a_reaction_comes_and_goes(self, alice, office):
        post = office.bob_writes("Cake in the kitchen")
        reaction = {"user_id": office.alice.id, "post_id": post, "emoji_name": "cake"}

        assert alice.do("react", **reaction).items() >= reaction.items()
        (seen,) = alice.do("reactions", post_id=post)
        assert seen.items() >= reaction.items()
        assert office.bob.get(f"/posts/{post}/reactions") == [seen]

        assert alice.do("unreact", **reaction)["status"] == "OK"
        assert not office.bob.get(f"/posts/{post}/reactions")

    def test_a_file_goes_up_with_a_post_and_comes_down_again(self, alice, office):
        content = base64.b64encode(PICTURE).decode()

        answer = alice.do("upload", channel_id=office.lobby, name="plän.bin", content=content)
        (uploaded,) = answer["file_infos"]
        post = alice.do("post", channel_id=office.lobby, message="", file_ids=[uploaded["id"]])

        assert post["file_ids"] == [uploaded["id"]]
        assert post["metadata"]["files"][0]["name"] == "plän.bin"
        assert office.bob.download(uploaded["id"]) == PICTURE
        assert alice.do("file_info", file_id=uploaded["id"])["size"] == len(PICTURE)
        assert base64.b64decode(alice.do("download", file_id=uploaded["id"])) == PICTURE

    @pytest.mark.parametrize("type", ["O", "P"])
    def test_a_channel_is_created_renamed_and_archived(self, alice, office, type):
        channel = alice.do(
            "create_channel", team_id=office.team, name="plans", display_name="Plans", type=type
        )

        assert channel["type"] == type
        renamed = alice.do("rename_channel", channel_id=channel["id"], display_name="Our plans")
        assert renamed["display_name"] == "Our plans"
        found = alice.do("channel_named", team_id=office.team, name="plans")
        assert (found["id"], found["display_name"]) == (channel["id"], "Our plans")
        assert alice.do("archive_channel", channel_id=channel["id"])["status"] == "OK"
        assert channel["id"] not in ids(alice.do("my_channels", team_id=office.team))

    def test_direct_and_group_channels_exist_once(self, alice, office):
        pair = [office.alice.id, office.bob.id]
        three = [*pair, office.charlie.id]

        direct = alice.do("open_direct_channel", user_ids=pair)
        group = alice.do("open_group_channel", user_ids=three)

        assert direct["name"] == "__".join(sorted(pair))
        assert alice.do("open_direct_channel", user_ids=pair)["id"] == direct["id"]
        assert (direct["type"], group["type"]) == ("D", "G")
        assert office.bob.post("/channels/group", three)["id"] == group["id"]
        assert users(alice.do("members", channel_id=group["id"])) == set(three)

    def test_members_are_added_and_removed(self, alice, office):
        room = alice.do(
            "create_channel", team_id=office.team, name="room", display_name="Room", type="P"
        )["id"]

        added = alice.do("add_member", channel_id=room, user_id=office.bob.id)
        assert (added["channel_id"], added["user_id"]) == (room, office.bob.id)
        assert users(alice.do("members", channel_id=room)) == {office.alice.id, office.bob.id}
        assert room in ids(office.bob.get(f"/users/me/teams/{office.team}/channels"))

        assert alice.do("remove_member", channel_id=room, user_id=office.bob.id)["status"] == "OK"
        assert users(alice.do("members", channel_id=room)) == {office.alice.id}

    def test_teams_channels_and_people_are_listed(self, alice, office):
        board = office.bob_creates_channel("board", "O")
        den = office.bob_creates_channel("den", "P")

        assert ids(alice.do("my_teams")) == {office.team}
        assert office.lobby in ids(alice.do("my_channels", team_id=office.team))
        public = ids(alice.do("public_channels", team_id=office.team))
        assert {office.lobby, board} <= public
        assert den not in public
        assert alice.do("user_named", username="bob")["id"] == office.bob.id

    def test_a_channel_is_read_page_by_page(self, alice, office):
        first, second, third = (office.bob_writes(text) for text in ("one", "two", "three"))

        newest = alice.do("posts", channel_id=office.lobby, page=0, per_page=2)
        older = alice.do("posts", channel_id=office.lobby, page=0, per_page=1, before=second)
        newer = alice.do("posts", channel_id=office.lobby, page=0, per_page=1, after=second)

        assert newest["order"] == [third, second]
        assert newest["posts"][third]["message"] == "three"
        assert (older["order"], newer["order"]) == ([first], [third])

    def test_a_status_is_set_and_seen(self, alice, office):
        office.bob.put("/users/me/status", {"user_id": office.bob.id, "status": "away"})

        assert alice.do("status", user_id=office.bob.id)["status"] == "away"
        mine = alice.do("set_status", user_id=office.alice.id, status="dnd")
        assert mine["status"] == "dnd"
        assert office.bob.get(f"/users/{office.alice.id}/status")["status"] == "dnd"

    def test_the_websocket_tells_what_others_do(self, alice, office):
        self.start_listening(alice, office)

        post = office.bob_writes("Good morning")
        office.bob.put(f"/posts/{post}/patch", {"message": "Good evening"})
        office.bob.post("/reactions", reaction_of(office.bob, post))
        office.bob.delete(f"/posts/{post}")
        office.bob.post("/users/me/typing", {"channel_id": office.lobby, "parent_id": ""})

        posted = alice.event("posted")
        assert posted["data"]["sender_name"] == "@bob"
        assert posted["broadcast"]["channel_id"] == office.lobby
        assert post_in(posted)["message"] == "Good morning"
        assert post_in(alice.event("post_edited"))["message"] == "Good evening"
        reaction = json.loads(alice.event("reaction_added")["data"]["reaction"])
        assert reaction.items() >= reaction_of(office.bob, post).items()
        assert post_in(alice.event("post_deleted"))["id"] == post
        assert alice.event("typing")["data"]["user_id"] == office.bob.id

    def test_the_websocket_tells_of_members_and_channels(self, alice, office):
        self.start_listening(alice, office)

        den = office.bob_creates_channel("den", "P")
        office.bob.post(f"/channels/{den}/members", {"user_id": office.alice.id})
        alice.event("user_added", lambda event: event["data"]["user_id"] == office.alice.id)
        alice.do("post", channel_id=den, message="Nice here")
        office.bob.delete(f"/channels/{den}/members/{office.alice.id}")

        assert (
            post_in(alice.event("posted", lambda event: "Nice" in str(event)))["channel_id"] == den
        )
        removed = alice.event("user_removed", lambda event: "channel_id" in event["data"])
        assert removed["data"]["channel_id"] == den

    def test_the_client_returns_by_itself_when_its_sockets_drop(self, alice, office):
        self.start_listening(alice, office)

        office.drop_sockets()
        office.wait_for_socket()
        office.bob_writes("Still there?")

        assert post_in(alice.event("posted"))["message"] == "Still there?"

    def start_listening(self, alice: ClientProcess, office: Office) -> None:
        """Not every client shows its `hello`: what counts is what the server counts."""
        alice.do("listen")
        office.wait_for_socket()


def ids(things: list[dict[str, str]]) -> set[str]:
    return {thing["id"] for thing in things}


def users(members: list[dict[str, str]]) -> set[str]:
    return {member["user_id"] for member in members}


def post_in(event: Event) -> dict[str, str]:
    post: dict[str, str] = json.loads(event["data"]["post"])
    return post


def reaction_of(person: Person, post_id: str) -> dict[str, str]:
    return {"user_id": person.id, "post_id": post_id, "emoji_name": "cake"}
