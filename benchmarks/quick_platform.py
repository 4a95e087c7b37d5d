"""As much of Mattermost's REST API as a sending bot needs, by a server quicker than its clients.

The simulated server of the tests does what the real one does, and is slower than what is measured
with it. In this one there is one user, who may post anywhere. Below `/after-20-ms` an answer to a
post comes after 20 milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import re
from itertools import count
from typing import Any

from benchmarks.quick_server import Client, response

ME = {"id": "b" * 26, "username": "bot", "roles": "system_user", "is_bot": True}
ANSWERS: dict[bytes, Any] = {
    b"/users/me": ME,
    b"/config/client?format=old": {"MaxPostSize": "16383", "MaxFileSize": "104857600"},
    b"/users/me/teams/members": [],
    b"/roles/names": [],
}
PATH = re.compile(rb"\w+ (?:/after-(\d+)-ms)?/api/v4(\S+)")
CHANNEL = re.compile(rb'"channel_id": *"(\w{26})"')
NOW_MS = 1_700_000_000_000
# What the real server answers to a post, with all that our adapter does not look at.
POST = json.dumps(
    {
        "id": "%026d",
        "create_at": NOW_MS,
        "update_at": NOW_MS,
        "edit_at": 0,
        "delete_at": 0,
        "is_pinned": False,
        "user_id": ME["id"],
        "channel_id": "%s",
        "root_id": "",
        "original_id": "",
        "message": "The quick brown fox jumps over the lazy dog.",
        "type": "",
        "props": {"from_bot": "true"},
        "hashtags": "",
        "file_ids": [],
        "pending_post_id": "",
        "remote_id": "",
        "reply_count": 0,
        "last_reply_at": 0,
        "participants": None,
        "metadata": {},
    }
).encode()


def channel_id(number: int) -> str:
    """Any text of this form is a channel here."""
    return f"{number:026d}"


class Platform(Client):
    numbers = count()

    def answer(self, head: bytes, body: bytes) -> None:
        asked = PATH.match(head)
        delay_ms, path = asked.groups() if asked else (None, b"")
        channel = CHANNEL.search(body)
        if path == b"/posts" and channel:
            answer = response(b"201 Created", POST % (next(self.numbers), channel[1]))
        elif path in ANSWERS:
            answer = response(b"200 OK", json.dumps(ANSWERS[path]).encode())
        else:
            answer = response(b"404 Not Found", b"{}")
        if delay_ms and path == b"/posts":
            asyncio.get_running_loop().call_later(int(delay_ms) / 1000, self.write, answer)
        else:
            self.write(answer)
