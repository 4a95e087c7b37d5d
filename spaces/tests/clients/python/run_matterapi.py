"""A person who uses matterapi: its client that blocks, or the asynchronous one.

python -m spaces.tests.clients.python.run_matterapi sync|async http://127.0.0.1:8065
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import sys
import threading
from typing import Any

from matterapi import (  # type: ignore[import-not-found]
    ApiClientOptions,
    AsyncClient,
    SyncClient,
)
from matterapi.client.base import AuthToken  # type: ignore[import-not-found]
from matterapi.client.exceptions import ApiError  # type: ignore[import-not-found]

from spaces.tests.clients.python import wire


class Person:
    """`client_class` says whether its calls block or can be awaited; `_call` treats them alike."""

    client_class: Any = SyncClient

    def __init__(self, url: str):
        self._url = url
        self._client: Any = None

    async def log_in(self, token: str = "", login_id: str = "", password: str = "") -> Any:
        if not token:
            token = await self._new_session(login_id, password)
        self._client = self._open(auth=AuthToken(token=token))
        return await self.me()

    async def _new_session(self, login_id: str, password: str) -> str:
        # AuthLogin would do this, but asks an address that no server has: /users/login.
        body = {"login_id": login_id, "password": password}
        visitor = self._open(skip_response_parsing=True)
        answer = await _result(visitor.users.login(json_body=body))
        token: str = answer.headers["Token"]
        return token

    def _open(self, **options: Any) -> Any:
        options |= {"url": self._url, "ws_reconnect_wait_time": 0}
        return self.client_class(options=ApiClientOptions(**options))

    async def log_out(self) -> Any:
        return await _json(self._client.users.logout())

    async def me(self) -> Any:
        return await _json(self._client.users.get_user("me"))

    async def user_named(self, username: str) -> Any:
        return await _json(self._client.users.get_user_by_username(username))

    async def create_token(self, user_id: str, description: str) -> Any:
        body = {"description": description}
        return await _json(self._client.users.create_user_access_token(user_id, json_body=body))

    async def create_bot(self, username: str) -> Any:
        return await _json(self._client.bots.create_bot(json_body={"username": username}))

    async def post(self, **post: Any) -> Any:
        return await _json(self._client.posts.create_post(json_body=post))

    async def read_post(self, post_id: str) -> Any:
        return await _json(self._client.posts.get_post(post_id))

    async def edit(self, post_id: str, message: str) -> Any:
        return await _json(self._client.posts.patch_post(post_id, json_body={"message": message}))

    async def delete(self, post_id: str) -> Any:
        return await _json(self._client.posts.delete_post(post_id))

    async def pin(self, post_id: str) -> Any:
        return await _json(self._client.posts.pin_post(post_id))

    async def unpin(self, post_id: str) -> Any:
        return await _json(self._client.posts.unpin_post(post_id))

    async def react(self, **reaction: str) -> Any:
        return await _json(self._client.reactions.save_reaction(json_body=reaction))

    async def unreact(self, user_id: str, post_id: str, emoji_name: str) -> Any:
        return await _json(self._client.reactions.delete_reaction(user_id, post_id, emoji_name))

    async def reactions(self, post_id: str) -> Any:
        return await _json(self._client.reactions.get_reactions(post_id))

    async def thread(self, post_id: str) -> Any:
        return await _json(self._client.posts.get_post_thread(post_id))

    async def posts(self, channel_id: str, **which: Any) -> Any:
        return await _json(self._client.posts.get_posts_for_channel(channel_id, **which))

    async def upload(self, channel_id: str, name: str, content: str) -> Any:
        form = {"channel_id": channel_id, "files": (name, base64.b64decode(content))}
        return await _json(self._client.files.upload_file(multipart_data=form))

    async def download(self, file_id: str) -> Any:
        answer = await _result(self._client.files.get_file(file_id))
        return base64.b64encode(answer.content).decode()

    async def file_info(self, file_id: str) -> Any:
        return await _json(self._client.files.get_file_info(file_id))

    async def create_channel(self, **channel: str) -> Any:
        return await _json(self._client.channels.create_channel(json_body=channel))

    async def open_direct_channel(self, user_ids: list[str]) -> Any:
        return await _json(self._client.channels.create_direct_channel(json_body=user_ids))

    async def open_group_channel(self, user_ids: list[str]) -> Any:
        return await _json(self._client.channels.create_group_channel(json_body=user_ids))

    async def rename_channel(self, channel_id: str, display_name: str) -> Any:
        body = {"display_name": display_name}
        return await _json(self._client.channels.patch_channel(channel_id, json_body=body))

    async def archive_channel(self, channel_id: str) -> Any:
        return await _json(self._client.channels.delete_channel(channel_id))

    async def channel_named(self, team_id: str, name: str) -> Any:
        return await _json(self._client.channels.get_channel_by_name(team_id, name))

    async def my_channels(self, team_id: str) -> Any:
        return await _json(self._client.channels.get_channels_for_team_for_user("me", team_id))

    async def public_channels(self, team_id: str) -> Any:
        return await _json(self._client.channels.get_public_channels_for_team(team_id))

    async def my_teams(self) -> Any:
        return await _json(self._client.teams.get_teams_for_user("me"))

    async def members(self, channel_id: str) -> Any:
        return await _json(self._client.channels.get_channel_members(channel_id))

    async def add_member(self, channel_id: str, user_id: str) -> Any:
        body = {"user_id": user_id}
        return await _json(self._client.channels.add_channel_member(channel_id, json_body=body))

    async def remove_member(self, channel_id: str, user_id: str) -> Any:
        return await _json(self._client.channels.remove_user_from_channel(channel_id, user_id))

    async def status(self, user_id: str) -> Any:
        return await _json(self._client.status.get_user_status(user_id))

    async def set_status(self, user_id: str, status: str) -> Any:
        body = {"user_id": user_id, "status": status}
        return await _json(self._client.status.update_user_status(user_id, json_body=body))

    def listen(self) -> None:
        reading = threading.Thread(
            target=self._client.start_ws_sync, args=(_tell_event,), daemon=True
        )
        reading.start()


class AsyncPerson(Person):
    client_class = AsyncClient

    def listen(self) -> None:
        self._reading = asyncio.create_task(self._client.start_ws(_tell_event))


def _tell_event(frame: dict[str, Any]) -> None:
    wire.tell(event=frame)


async def _result(call: Any) -> Any:
    return await call if inspect.isawaitable(call) else call


async def _json(call: Any) -> Any:
    """Models as JSON. An answer of a status that the client does not expect comes as it came."""
    result = await _result(call)
    if isinstance(result, list):
        return [item.model_dump(mode="json") for item in result]
    return result.model_dump(mode="json") if hasattr(result, "model_dump") else result.json()


def _status_of(error: Any) -> int:
    status: int = error.__cause__.response.status_code
    return status


if __name__ == "__main__":
    kind, url = sys.argv[1:]
    person = {"sync": Person, "async": AsyncPerson}[kind](url)
    asyncio.run(wire.obey(person, ApiError, _status_of))
