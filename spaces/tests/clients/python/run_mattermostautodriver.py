"""A person who uses mattermostautodriver: its driver that blocks, or the asynchronous one.

python -m spaces.tests.clients.python.run_mattermostautodriver sync|async http://127.0.0.1:8065
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import threading
from typing import Any
from urllib.parse import urlsplit

from mattermostautodriver import (  # type: ignore[import-not-found]
    AsyncTypedDriver,
    TypedDriver,
)
from mattermostautodriver.exceptions import MattermostError  # type: ignore[import-not-found]

from spaces.tests.clients.python import wire


async def _tell_event(frame: str) -> None:
    wire.tell(event=json.loads(frame))


class Person:
    """Each method is one call of the driver, which the asynchronous one lets us await."""

    driver_class: Any = TypedDriver

    def __init__(self, url: str):
        self._url = urlsplit(url)
        self._driver: Any = None

    def log_in(self, **credentials: str) -> Any:
        self._driver = self.driver_class(
            {
                "scheme": self._url.scheme,
                "url": self._url.hostname,
                "port": self._url.port,
                "keepalive": True,
                "keepalive_delay": 0.1,
                **credentials,
            }
        )
        return self._driver.login()

    def log_out(self) -> Any:
        return self._driver.logout()

    def me(self) -> Any:
        return self._driver.users.get_user("me")

    def user_named(self, username: str) -> Any:
        return self._driver.users.get_user_by_username(username)

    def create_token(self, user_id: str, description: str) -> Any:
        return self._driver.users.create_user_access_token(user_id, description)

    def create_bot(self, username: str) -> Any:
        return self._driver.bots.create_bot(username)

    def post(self, **post: Any) -> Any:
        return self._driver.posts.create_post(**post)

    def read_post(self, post_id: str) -> Any:
        return self._driver.posts.get_post(post_id)

    def edit(self, post_id: str, message: str) -> Any:
        return self._driver.posts.patch_post(post_id, message=message)

    def delete(self, post_id: str) -> Any:
        return self._driver.posts.delete_post(post_id)

    def pin(self, post_id: str) -> Any:
        return self._driver.posts.pin_post(post_id)

    def unpin(self, post_id: str) -> Any:
        return self._driver.posts.unpin_post(post_id)

    def react(self, user_id: str, post_id: str, emoji_name: str) -> Any:
        return self._driver.reactions.save_reaction(
            {"user_id": user_id, "post_id": post_id, "emoji_name": emoji_name}
        )

    def unreact(self, user_id: str, post_id: str, emoji_name: str) -> Any:
        return self._driver.reactions.delete_reaction(user_id, post_id, emoji_name)

    def reactions(self, post_id: str) -> Any:
        return self._driver.reactions.get_reactions(post_id)

    def thread(self, post_id: str) -> Any:
        return self._driver.posts.get_post_thread(post_id)

    def posts(self, channel_id: str, **which: Any) -> Any:
        return self._driver.posts.get_posts_for_channel(channel_id, **which)

    def upload(self, channel_id: str, name: str, content: str) -> Any:
        file = (name, base64.b64decode(content))
        return self._driver.files.upload_file(channel_id=channel_id, files=file)

    def download(self, file_id: str) -> Any:
        return base64.b64encode(self._driver.files.get_file(file_id).content).decode()

    def file_info(self, file_id: str) -> Any:
        return self._driver.files.get_file_info(file_id)

    def create_channel(self, team_id: str, name: str, display_name: str, type: str) -> Any:
        return self._driver.channels.create_channel(team_id, name, display_name, type)

    def open_direct_channel(self, user_ids: list[str]) -> Any:
        return self._driver.channels.create_direct_channel(user_ids)

    def open_group_channel(self, user_ids: list[str]) -> Any:
        return self._driver.channels.create_group_channel(user_ids)

    def rename_channel(self, channel_id: str, display_name: str) -> Any:
        return self._driver.channels.patch_channel(channel_id, display_name=display_name)

    def archive_channel(self, channel_id: str) -> Any:
        return self._driver.channels.delete_channel(channel_id)

    def channel_named(self, team_id: str, name: str) -> Any:
        return self._driver.channels.get_channel_by_name(team_id, name)

    def my_channels(self, team_id: str) -> Any:
        return self._driver.channels.get_channels_for_team_for_user("me", team_id)

    def public_channels(self, team_id: str) -> Any:
        return self._driver.channels.get_public_channels_for_team(team_id)

    def my_teams(self) -> Any:
        return self._driver.teams.get_teams_for_user("me")

    def members(self, channel_id: str) -> Any:
        return self._driver.channels.get_channel_members(channel_id)

    def add_member(self, channel_id: str, user_id: str) -> Any:
        return self._driver.channels.add_channel_member(channel_id, user_id=user_id)

    def remove_member(self, channel_id: str, user_id: str) -> Any:
        return self._driver.channels.remove_user_from_channel(channel_id, user_id)

    def status(self, user_id: str) -> Any:
        return self._driver.status.get_user_status(user_id)

    def set_status(self, user_id: str, status: str) -> Any:
        return self._driver.status.update_user_status(user_id, status)

    def listen(self) -> None:
        threading.Thread(target=self._read_events, daemon=True).start()

    def _read_events(self) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())  # the driver takes the thread's
        self._driver.init_websocket(_tell_event)


class AsyncPerson(Person):
    driver_class = AsyncTypedDriver

    async def download(self, file_id: str) -> Any:
        answer = await self._driver.files.get_file(file_id)
        return base64.b64encode(answer.content).decode()

    def listen(self) -> None:
        self._reading = asyncio.create_task(self._driver.init_websocket(_tell_event))


if __name__ == "__main__":
    kind, url = sys.argv[1:]
    person = {"sync": Person, "async": AsyncPerson}[kind](url)
    asyncio.run(wire.obey(person, MattermostError, lambda error: error.status_code))
