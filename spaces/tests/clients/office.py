"""A simulated Mattermost with a team, a channel and the people of the stories."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from spaces.testing.mattermost import SimulatedMattermost

PATIENCE_SECONDS = 20


class Person:
    """Somebody with an account, who talks to the server without any client."""

    def __init__(self, url: str, user_id: str, token: str):
        self.id = user_id
        self.token = token
        self._url = f"{url}/api/v4"
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def post(self, path: str, body: Any) -> Any:
        return self._call("POST", path, json=body)

    def put(self, path: str, body: Any) -> Any:
        return self._call("PUT", path, json=body)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def download(self, file_id: str) -> bytes:
        return self._http.get(f"{self._url}/files/{file_id}").content

    def close(self) -> None:
        self._http.close()

    def _call(self, method: str, path: str, **options: Any) -> Any:
        answer = self._http.request(method, self._url + path, **options)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()


class Office:
    """`boss` administers the server; Alice, Bob and Charlie are in the team and its lobby."""

    password = "correct-horse-battery"

    def __init__(self, server: SimulatedMattermost):
        self._server = server
        self.url = server.url
        self.boss = self._employ("boss", roles="system_admin system_user")
        self.alice = self._employ("alice")
        self.bob = self._employ("bob")
        self.charlie = self._employ("charlie")
        self.team = server.make.team("office", "alice", "bob", "charlie").id
        self.lobby = self.bob.get(f"/teams/{self.team}/channels/name/town-square")["id"]

    def _employ(self, username: str, roles: str = "system_user") -> Person:
        user = self._server.make.user(username, password=self.password, roles=roles)
        return Person(self.url, user.id, self._server.make.session(username).token)

    def bob_writes(self, message: str) -> str:
        """In the lobby; the id of his post."""
        # Paging by a post skips others of its millisecond: no two of his share one.
        self._server.controls.advance(0.002)
        return str(self.bob.post("/posts", {"channel_id": self.lobby, "message": message})["id"])

    def bob_creates_channel(self, name: str, type: str) -> str:
        channel = {"team_id": self.team, "name": name, "display_name": name, "type": type}
        return str(self.bob.post("/channels", channel)["id"])

    def wait_for_socket(self) -> None:
        """Until the server knows whose websocket it is: from then on, Alice's client hears all."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._server.controls.connected("alice") != 1:
            assert time.monotonic() < deadline, "waited in vain for Alice's websocket"
            time.sleep(0.01)

    def drop_sockets(self) -> None:
        """As a broken network does: without a word."""
        assert self._server.controls.drop_sockets()

    @contextmanager
    def no_new_sockets(self) -> Iterator[None]:
        self._server.controls.stall(path="/api/v4/websocket")
        yield
        self._server.controls.release()

    def restart(self) -> None:
        """Forgets what could be resumed."""
        self._server.controls.restart()

    def refuse_next_post_as_too_many(self, retry_after: int) -> None:
        self._server.controls.limit_rate(
            method="POST", path="/api/v4/posts", retry_after=retry_after
        )

    def close(self) -> None:
        for person in (self.boss, self.alice, self.bob, self.charlie):
            person.close()
