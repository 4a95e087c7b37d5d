"""The running simulation: the world, its settings, its clock, who is connected, what goes wrong."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from .clock import Clock
from .dedupe import Dedupe
from .faults import Faults, FrameFaults
from .limits import RateLimiter
from .outgoing import Outgoing
from .roles import PERMISSIONS
from .settings import DEFAULTS, Settings, merged
from .state import Channel, Command, Session, Status, User, World
from .traffic import Traffic
from .websocket import Event, Hub

RESPONSE_URL_SECONDS = 30 * 60
IN_PROGRESS = ""


@dataclass
class ResponseUrl:
    """Where a slash command's program may answer later: five times within half an hour."""

    command: Command
    user: User
    channel: Channel
    root_id: str
    until: float  # seconds on the clock
    uses_left: int = 5


class Simulation:
    """One server. Everything here runs on the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: Settings):
        self.loop = loop
        self.settings = merged(DEFAULTS, settings)
        self.clock = Clock(loop)
        self.world = World()
        self.faults = Faults(self.clock)
        self.frames = FrameFaults()
        self.limiter = RateLimiter(self)
        self.traffic = Traffic()
        self.dedupe = Dedupe(self.clock)
        self.statuses: dict[str, Status] = {}
        self.response_urls: dict[str, ResponseUrl] = {}
        self.hub = Hub(self)
        self.outgoing = Outgoing(self)
        self.chance = random.Random(0)  # the same for every run
        self.hidden_until = 0  # posts written before are not shown, as by a licence's limit
        self.left_out: frozenset[str] = frozenset()  # posts that lists count and do not show
        self.no_channels_status = 200
        self._background: set[asyncio.Task[Any]] = set()

    def setting(self, section: str, key: str) -> Any:
        return self.settings[section][key]

    def now(self) -> int:
        return self.clock.now()

    def in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self.loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def stop_background(self) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    def remember_response_url(
        self, id: str, *, command: Command, user: User, channel: Channel, root_id: str
    ) -> None:
        until = self.clock.seconds() + RESPONSE_URL_SECONDS
        self.response_urls[id] = ResponseUrl(command, user, channel, root_id, until)

    def lose_memory(self) -> None:
        """What a restart of the process forgets; the database keeps the rest."""
        self.hub.drop_everything()
        self.faults.die()
        self.dedupe.clear()
        self.limiter.clear()
        self.response_urls.clear()

    # Who may do what

    def may_in_system(self, user: User, permission: str) -> bool:
        return _grants(user.roles, permission)

    def may_in_team(self, user: User, permission: str, team_id: str) -> bool:
        member = self.world.team_member(team_id, user.id)
        return bool(member and _grants(member.roles, permission)) or _grants(user.roles, permission)

    def may_in_channel(self, user: User, permission: str, channel_id: str) -> bool:
        member = self.world.member(channel_id, user.id)
        if member and _grants(member.roles, permission):
            return True
        channel = self.world.channels.get(channel_id)
        if channel and channel.team_id:
            return self.may_in_team(user, permission, channel.team_id)
        return _grants(user.roles, permission)

    def may_read(self, user: User, channel: Channel) -> bool:
        if self.may_in_channel(user, "read_channel_content", channel.id):
            return True
        return channel.type == "O" and self.may_in_team(
            user, "read_public_channel", channel.team_id
        )

    def is_admin(self, user: User) -> bool:
        return self.may_in_system(user, "manage_system")

    # Telling the connected

    def publish(
        self,
        name: str,
        data: dict[str, Any],
        *,
        channel_id: str = "",
        user_id: str = "",
        team_id: str = "",
        omit: tuple[str, ...] = (),
        sanitized: bool = False,
        sensitive: bool = False,
        personal: Callable[[str], dict[str, Any]] | None = None,
        connection_id: str = "",
    ) -> None:
        self.hub.publish(
            Event(
                name=name,
                data=data,
                channel_id=channel_id,
                user_id=user_id,
                team_id=team_id,
                omit_users=frozenset(omit),
                sanitized=sanitized,
                sensitive=sensitive,
                personal=personal,
                connection_id=connection_id,
            )
        )

    def seen(self, session: Session) -> None:
        """The user did something: keeps the websocket's resume window open."""
        self.hub.note_activity(session.token)


def _grants(roles: str, permission: str) -> bool:
    return any(permission in PERMISSIONS.get(role, ()) for role in roles.split())
