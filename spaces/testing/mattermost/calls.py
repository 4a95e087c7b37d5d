"""One REST call as its route sees it, and the table routes are entered in."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from .errors import (
    ApiError,
    bad_body,
    bad_url,
    no_array,
    no_channel,
    no_permission,
    no_team,
    no_user,
    not_logged_in,
)
from .simulation import Simulation
from .state import (
    Channel,
    ChannelMember,
    Command,
    IncomingHook,
    OutgoingHook,
    Post,
    Session,
    Team,
    User,
    is_id,
)

PER_PAGE, MOST_PER_PAGE = 60, 200
OK = {"status": "OK"}
OfTeam = TypeVar("OfTeam", Command, IncomingHook, OutgoingHook)


@dataclass
class Answer:
    """A status other than 200, headers, or a body that is not JSON."""

    body: Any = None  # JSON, or bytes to be sent as they are
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Call:
    simulation: Simulation
    request: web.BaseRequest
    request_id: str
    session: Session | None
    params: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    set_cookies: list[str] = field(default_factory=list)

    # Who

    @property
    def user(self) -> User:
        if self.session is None:
            raise not_logged_in()
        return self.simulation.world.users[self.session.user_id]

    @property
    def is_admin(self) -> bool:
        return self.simulation.is_admin(self.user)

    def require(self, permission: str) -> None:
        if not self.simulation.may_in_system(self.user, permission):
            raise no_permission()

    def require_in_team(self, permission: str, team_id: str) -> None:
        if not self.simulation.may_in_team(self.user, permission, team_id):
            raise no_permission()

    def require_in_channel(self, permission: str, channel_id: str) -> None:
        if not self.simulation.may_in_channel(self.user, permission, channel_id):
            raise no_permission()

    def require_self_or_admin(self, user: User) -> None:
        if user.id != self.user.id and not self.simulation.may_in_system(
            self.user, "edit_other_users"
        ):
            raise no_permission()

    # What the path names

    def named_user(self) -> User:
        return self.find_user(self.params["user_id"])

    def find_user(self, user_id: str) -> User:
        user = self.simulation.world.users.get(user_id)
        if user is None:
            raise no_user()
        return user

    def named_team(self) -> Team:
        """The team of the path, for whoever may see it."""
        team = self.simulation.world.teams.get(self.params["team_id"])
        if team is None:
            raise no_team()
        return team

    def of_team(self, rows: Mapping[str, OfTeam], id: str, permission: str, error: str) -> OfTeam:
        """What a team has, for whoever has this permission in it."""
        row = rows.get(id)
        if row is None:
            raise ApiError(404, error)
        self.require_in_team(permission, row.team_id)
        return row

    def named_channel(self) -> Channel:
        return self.find_channel(self.params["channel_id"])

    def find_channel(self, channel_id: str) -> Channel:
        channel = self.simulation.world.channels.get(channel_id)
        if channel is None:
            raise no_channel()
        return channel

    def member_channel(self) -> Channel:
        """The channel of the path, if the caller may look into it."""
        channel = self.named_channel()
        self.require_in_channel("read_channel", channel.id)
        return channel

    def member_of(self, channel: Channel) -> ChannelMember | None:
        return self.simulation.world.member(channel.id, self.user.id)

    def find_post(self, post_id: str) -> Post | None:
        post = self.simulation.world.posts.get(post_id)
        return None if post is None or post.delete_at else post

    # What was sent along

    def query(self, name: str, default: str = "") -> str:
        return self.request.query.get(name, default)

    def flag(self, name: str) -> bool:
        return self.query(name).lower() in ("true", "1", "t")

    def paging(self) -> tuple[int, int]:
        """(page, rows per page), by the server's rules for odd values."""
        page = _number(self.query("page"), -1)
        per_page = _number(self.query("per_page"), -1)
        return max(page, 0), min(per_page if per_page >= 0 else PER_PAGE, MOST_PER_PAGE)

    def page_of(self, rows: list[Any]) -> list[Any]:
        page, per_page = self.paging()
        return rows[page * per_page : (page + 1) * per_page]

    def json(self) -> dict[str, Any]:
        """The body, which must be an object."""
        try:
            value = json.loads(self.body or b"null")
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise bad_body("request_body")
        return value

    def text_of(self, name: str) -> str:
        """A field of the body that must be there and must be text."""
        value = self.json().get(name)
        if not isinstance(value, str) or not value:
            raise bad_body(name)
        return value

    def array(self) -> list[Any]:
        """The body, which must be a JSON array."""
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, list):
            raise no_array()
        return value

    def ids(self) -> list[str]:
        """The body as a JSON array of texts, sorted and without repeats."""
        value = self.array()
        if not all(isinstance(one, str) for one in value):
            raise no_array()
        return sorted(set(value))


def _number(text: str, default: int) -> int:
    return int(text) if re.fullmatch(r"-?\d+", text) else default


Handler = Callable[[Call], Any | Awaitable[Any]]


@dataclass(frozen=True)
class Route:
    method: str
    pattern: tuple[str, ...]
    handler: Handler
    needs_login: bool
    takes_files: bool

    def match(self, parts: list[str]) -> dict[str, str] | None:
        params: dict[str, str] = {}
        for wanted, got in zip(self.pattern, parts, strict=True):
            if not wanted.startswith("{"):
                if wanted != got:
                    return None
                continue
            name = wanted[1:-1]
            if not re.fullmatch(_SHAPES.get(name, "[A-Za-z0-9]+"), got):
                return None
            params[name] = got
        return params


_SHAPES = {
    "username": r"[A-Za-z0-9_.-]+",
    "email": r".+",
    "team_name": r"[A-Za-z0-9_-]+",
    "channel_name": r"[A-Za-z0-9_-]+",
    "emoji_name": r"[A-Za-z0-9_+-]+",
    "category": r"[A-Za-z0-9_]+",
    "name": r"[A-Za-z0-9_.~ -]+",
    "role_name": r"[a-z0-9_]+",
}


class Routes:
    """Routes of `/api/v4`, found by method and path; fixed words win over variables."""

    def __init__(self, prefix: str = "/api/v4"):
        self._prefix = prefix
        self._routes: dict[tuple[str, int], list[Route]] = {}

    def add(
        self, methods: str, path: str, *, needs_login: bool = True, takes_files: bool = False
    ) -> Callable[[Handler], Handler]:
        """Enter a function for one or more methods ("GET", "POST PUT") of a path."""

        def enter(handler: Handler) -> Handler:
            pattern = tuple((self._prefix + path).strip("/").split("/"))
            for method in methods.split():
                route = Route(method, pattern, handler, needs_login, takes_files)
                rows = self._routes.setdefault((method, len(pattern)), [])
                rows.append(route)
                rows.sort(key=lambda one: [part.startswith("{") for part in one.pattern])
            return handler

        return enter

    def include(self, other: Routes) -> None:
        for key, rows in other._routes.items():
            mine = self._routes.setdefault(key, [])
            mine.extend(rows)
            mine.sort(key=lambda one: [part.startswith("{") for part in one.pattern])

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        parts = path.strip("/").split("/")
        for route in self._routes.get((method, len(parts)), []):
            params = route.match(parts)
            if params is not None:
                return route, params
        return None


def check_params(params: dict[str, str], session: Session | None) -> dict[str, str]:
    """The path's ids, with `me` replaced. Raises for one that is none."""
    checked = {}
    for name, value in params.items():
        if name == "user_id" and value == "me":
            if session is None:
                raise not_logged_in()
            value = session.user_id
        if name.endswith("_id") and not is_id(value):
            raise bad_url(name)
        checked[name] = value
    return checked


__all__ = ["OK", "Answer", "ApiError", "Call", "Route", "Routes", "check_params"]
