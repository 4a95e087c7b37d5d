"""Calls the server makes itself: outgoing webhooks, slash commands, buttons of cards."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import aiohttp

from . import posting
from .state import Channel, Command, OutgoingHook, Post, User, new_id

if TYPE_CHECKING:
    from .simulation import Simulation

TIMEOUT_SECONDS = 30
LARGEST_ANSWER = 1024 * 1024


class CallFailed(Exception):
    """Nobody answered at this address, or not with a 200."""


class Outgoing:
    def __init__(self, simulation: Simulation):
        self._simulation = simulation
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def post(self, url: str, body: bytes, content_type: str, **headers: str) -> bytes:
        """The body of the answer. Raises CallFailed."""
        if not self._may_call(url):
            raise CallFailed(f"{url} is not in AllowedUntrustedInternalConnections")
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.post(
                url,
                data=body,
                headers={"Content-Type": content_type, "Accept": "application/json", **headers},
            ) as answer:
                content = await answer.content.read(LARGEST_ANSWER)
                if answer.status != 200:
                    raise CallFailed(f"{url} answered {answer.status}")
                return content
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CallFailed(f"{url}: {error}") from error

    def _may_call(self, url: str) -> bool:
        """The simulator never leaves the machine, and asks its setting even there."""
        host = urlsplit(url).hostname or ""
        allowed = self._simulation.setting(
            "ServiceSettings", "AllowedUntrustedInternalConnections"
        ).split()
        if host == "localhost":
            return "localhost" in allowed
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        nets = [one for one in allowed if one[0].isdigit() or ":" in one]
        return address.is_loopback and any(
            address in ipaddress.ip_network(one, strict=False) for one in nets
        )

    # Outgoing webhooks

    def on_post(self, post: Post) -> None:
        """Call the webhooks a post in a public channel triggers."""
        simulation = self._simulation
        channel = simulation.world.channels[post.channel_id]
        if (
            channel.type != "O"
            or post.props.get("from_webhook") == "true"
            or post.type.startswith("system_")
            or not simulation.setting("ServiceSettings", "EnableOutgoingWebhooks")
        ):
            return
        for hook in simulation.world.outgoing_hooks.values():
            word = _trigger(hook, channel, post.message)
            if word is not None:
                for url in hook.callback_urls:
                    simulation.in_background(self._call_hook(hook, url, post, word))

    async def _call_hook(self, hook: OutgoingHook, url: str, post: Post, word: str) -> None:
        body, content_type = self._hook_body(hook, post, word)
        try:
            content = await self.post(url, body, content_type)
        except CallFailed:
            return  # the real server writes it to its log
        try:
            answer = json.loads(content)
        except ValueError:
            answer = {"text": content.decode(errors="replace")}
        if isinstance(answer, dict) and (answer.get("text") or answer.get("attachments")):
            self._post_answer(hook, post, answer)

    def _hook_body(self, hook: OutgoingHook, post: Post, word: str) -> tuple[bytes, str]:
        world = self._simulation.world
        channel, user = world.channels[post.channel_id], world.users[post.user_id]
        as_json = hook.content_type == "application/json"
        values: dict[str, Any] = {
            "token": hook.token,
            "team_id": channel.team_id,
            "team_domain": world.teams[channel.team_id].name,
            "channel_id": channel.id,
            "channel_name": channel.name,
            "timestamp": post.create_at if as_json else post.create_at // 1000,
            "user_id": user.id,
            "user_name": user.username,
            "post_id": post.id,
            "text": post.message,
            "trigger_word": word,
            "file_ids": ",".join(post.file_ids),
        }
        if as_json:
            return json.dumps(values).encode(), "application/json"
        return urlencode(values).encode(), "application/x-www-form-urlencoded"

    def _post_answer(self, hook: OutgoingHook, post: Post, answer: dict[str, Any]) -> None:
        root_id = (post.root_id or post.id) if answer.get("response_type") == "comment" else ""
        write(
            self._simulation,
            author=self._simulation.world.users[hook.creator_id],
            channel=self._simulation.world.channels[post.channel_id],
            answer=answer,
            root_id=root_id,
            override=(hook.username, hook.icon_url),
            hook_name=hook.display_name,
        )

    # Slash commands

    async def run_command(
        self, command: Command, *, text: str, user: User, channel: Channel, root_id: str, site: str
    ) -> tuple[dict[str, Any], str]:
        """(the program's answer, trigger id). Raises CallFailed."""
        world = self._simulation.world
        trigger_id, response_id = new_id(), new_id()
        self._simulation.remember_response_url(
            response_id, command=command, user=user, channel=channel, root_id=root_id
        )
        team = world.teams[command.team_id]
        values = {
            "token": command.token,
            "team_id": team.id,
            "team_domain": team.name,
            "channel_id": channel.id,
            "channel_name": channel.name,
            "user_id": user.id,
            "user_name": user.username,
            "command": f"/{command.trigger}",
            "text": text,
            "trigger_id": trigger_id,
            "root_id": root_id,
            "response_url": f"{site}/hooks/commands/{response_id}",
        }
        content = await self.post(
            command.url,
            urlencode(values).encode(),
            "application/x-www-form-urlencoded",
            Authorization=f"Token {command.token}",
        )
        return as_answer(content), trigger_id

    # Buttons of cards

    async def press(
        self, post: Post, action: dict[str, Any], user: User, trigger_id: str, selected: str
    ) -> dict[str, Any]:
        """What the program behind a button or menu answers. Raises CallFailed."""
        world = self._simulation.world
        channel = world.channels[post.channel_id]
        team = world.teams.get(channel.team_id)
        context = dict(action["integration"].get("context") or {})
        if action.get("type") == "select":
            context["selected_option"] = selected
        body = {
            "user_id": user.id,
            "user_name": user.username,
            "channel_id": channel.id,
            "channel_name": channel.name,
            "team_id": channel.team_id,
            "team_domain": team.name if team else "",
            "post_id": post.id,
            "trigger_id": trigger_id,
            "type": action.get("type") or "",
            "data_source": action.get("data_source") or "",
            "context": context,
        }
        url = str(action["integration"].get("url") or "")
        return as_answer(await self.post(url, json.dumps(body).encode(), "application/json"))


def as_answer(content: bytes) -> dict[str, Any]:
    """JSON as it is; anything else is the text of an answer."""
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"text": content.decode(errors="replace")}


def _trigger(hook: OutgoingHook, channel: Channel, message: str) -> str | None:
    """The word that triggers, "" for a hook that takes everything, None for no match."""
    if hook.delete_at or hook.team_id != channel.team_id:
        return None
    if hook.channel_id and hook.channel_id != channel.id:
        return None
    if not hook.trigger_words:
        return "" if hook.channel_id else None
    first = message.split(" ", 1)[0].split("\n", 1)[0]
    for word in hook.trigger_words:
        if first == word or (hook.trigger_when == 1 and first.startswith(word)):
            return word
    return None


def write(
    simulation: Simulation,
    *,
    author: User,
    channel: Channel,
    answer: dict[str, Any],
    root_id: str = "",
    override: tuple[str, str] = ("", ""),
    hook_name: str = "",
) -> list[Post]:
    """Post what a webhook or command says; a text that is too long becomes several posts."""
    props = dict(answer["props"]) if isinstance(answer.get("props"), dict) else {}
    props["from_webhook"] = "true"
    service = simulation.settings["ServiceSettings"]
    if hook_name:
        props["webhook_display_name"] = hook_name
    name, icon = answer.get("username") or override[0], answer.get("icon_url") or override[1]
    if service["EnablePostUsernameOverride"] and name:
        props["override_username"] = name
    if service["EnablePostIconOverride"] and icon:
        props["override_icon_url"] = icon
    if service["EnablePostIconOverride"] and answer.get("icon_emoji"):
        props["override_icon_emoji"] = answer["icon_emoji"]
    if answer.get("attachments"):
        props["attachments"] = answer["attachments"]
    text = str(answer.get("text") or "")
    pieces = [
        text[start : start + posting.MAX_MESSAGE]
        for start in range(0, len(text), posting.MAX_MESSAGE)
    ] or [""]
    written = []
    for number, piece in enumerate(pieces):
        now = simulation.now()
        is_last = number == len(pieces) - 1
        post = Post(
            channel_id=channel.id,
            user_id=author.id,
            message=piece,
            root_id=root_id,
            type="slack_attachment" if is_last and answer.get("attachments") else "",
            props=props if is_last else {k: v for k, v in props.items() if k != "attachments"},
            create_at=now,
            update_at=now,
        )
        posting.check(simulation, post)
        posting.complete(simulation, post)
        written.append(posting.store(simulation, post))
    return written
