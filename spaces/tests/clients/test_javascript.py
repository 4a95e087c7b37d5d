"""@mattermost/client, which the web app and the desktop app are made with."""

from __future__ import annotations

import shutil

import pytest

from spaces.tests.clients.client_process import JAVASCRIPT, javascript
from spaces.tests.clients.stories import ForeignClientStories, post_in

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(
        not (shutil.which("node") and (JAVASCRIPT / "node_modules").is_dir()),
        reason="needs node and npm",
    ),
]


class TestJavaScriptClient(ForeignClientStories):
    command = javascript("run_mattermost_client.js")

    def test_a_resumed_connection_gets_what_it_missed(self, alice, office):
        alice.do("listen_resumably")
        office.wait_for_socket()
        office.bob_writes("before")
        before = alice.event("posted")

        with office.no_new_sockets():
            office.drop_sockets()
            office.bob_writes("meanwhile")
        meanwhile = alice.event("posted")
        alice.event("client reconnected")
        office.bob_writes("afterwards")
        afterwards = alice.event("posted")

        texts = [post_in(event)["message"] for event in (before, meanwhile, afterwards)]
        assert texts == ["before", "meanwhile", "afterwards"]
        assert [meanwhile["seq"], afterwards["seq"]] == [before["seq"] + 1, before["seq"] + 2]
        assert not alice.has_seen("client missed events")

    @pytest.mark.parametrize("listen", ["listen", "listen_resumably"])
    def test_a_client_whose_connection_was_forgotten_knows_that_it_missed_events(
        self, alice, office, listen
    ):
        alice.do(listen)
        office.wait_for_socket()
        first = alice.event("hello")

        office.restart()
        second = alice.event("hello")
        alice.event("client missed events")
        office.bob_writes("Welcome back")

        assert second["seq"] == 0
        assert second["data"]["connection_id"] != first["data"]["connection_id"]
        assert alice.event("posted")["seq"] > 0

    def test_a_challenged_connection_is_not_resumed(self, alice, office):
        alice.do("listen")
        office.wait_for_socket()
        first = alice.event("hello")

        office.drop_sockets()

        second = alice.event("hello")
        assert second["data"]["connection_id"] != first["data"]["connection_id"]
        alice.event("client missed events")

    def test_the_websocket_answers_questions(self, alice, office):
        self.start_listening(alice, office)

        answer = alice.do("statuses_over_the_websocket")

        assert answer["status"] == "OK"
        assert answer["data"][office.alice.id] == "online"
