"""What the simulated server knows: plain objects, and the world that holds them.

The parts a real server keeps in its database are all here, so that a restart loses none of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any

ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
_random = SystemRandom()  # tests seed the common generator, and ids must differ all the same


def new_id() -> str:
    return "".join(_random.choices(ALPHABET, k=26))


def is_id(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch("[A-Za-z0-9]{26}", text) is not None


@dataclass(kw_only=True)
class User:
    id: str = field(default_factory=new_id)
    username: str
    email: str
    password: str = ""
    roles: str = "system_user"
    create_at: int
    update_at: int
    delete_at: int = 0
    nickname: str = ""
    first_name: str = ""
    last_name: str = ""
    position: str = ""
    locale: str = "en"
    notify_props: dict[str, str] = field(
        default_factory=lambda: {
            "channel": "true",
            "comments": "never",
            "desktop": "mention",
            "email": "true",
            "first_name": "false",
            "mention_keys": "",
            "push": "mention",
        }
    )
    props: dict[str, str] = field(default_factory=dict)
    timezone: dict[str, str] = field(
        default_factory=lambda: {
            "automaticTimezone": "",
            "manualTimezone": "",
            "useAutomaticTimezone": "true",
        }
    )
    failed_attempts: int = 0
    mfa_secret: str = ""
    mfa_active: bool = False
    mfa_used: set[int] = field(default_factory=set)  # time windows whose code was used up
    picture: bytes = b""
    last_picture_update: int = 0


@dataclass(kw_only=True)
class Bot:
    user_id: str
    owner_id: str
    display_name: str = ""
    description: str = ""
    create_at: int
    update_at: int
    delete_at: int = 0


@dataclass(kw_only=True)
class Session:
    id: str = field(default_factory=new_id)
    token: str = field(default_factory=new_id)
    csrf: str = field(default_factory=new_id)
    user_id: str
    create_at: int
    expires_at: int
    extended_at: int
    last_activity_at: int
    device_id: str = ""
    props: dict[str, str] = field(default_factory=dict)

    @property
    def is_access_token(self) -> bool:
        return self.props.get("type") == "UserAccessToken"


@dataclass(kw_only=True)
class AccessToken:
    id: str = field(default_factory=new_id)
    token: str = field(default_factory=new_id)
    user_id: str
    description: str
    is_active: bool = True


@dataclass(kw_only=True)
class Team:
    id: str = field(default_factory=new_id)
    name: str
    display_name: str
    type: str = "O"
    description: str = ""
    allow_open_invite: bool = False
    invite_id: str = field(default_factory=new_id)
    create_at: int
    update_at: int
    delete_at: int = 0


@dataclass(kw_only=True)
class TeamMember:
    team_id: str
    user_id: str
    scheme_admin: bool = False
    explicit_roles: str = ""
    delete_at: int = 0
    create_at: int = 0

    @property
    def roles(self) -> str:
        admin = ["team_admin"] if self.scheme_admin else []
        return " ".join([*self.explicit_roles.split(), "team_user", *admin])


@dataclass(kw_only=True)
class Channel:
    id: str = field(default_factory=new_id)
    team_id: str
    type: str
    name: str
    display_name: str
    header: str = ""
    purpose: str = ""
    creator_id: str = ""
    create_at: int
    update_at: int
    delete_at: int = 0
    last_post_at: int = 0
    last_root_post_at: int = 0
    total_msg_count: int = 0
    total_msg_count_root: int = 0


@dataclass(kw_only=True)
class ChannelMember:
    channel_id: str
    user_id: str
    scheme_admin: bool = False
    scheme_user: bool = True
    scheme_guest: bool = False
    explicit_roles: str = ""
    last_viewed_at: int = 0
    last_update_at: int = 0
    msg_count: int = 0
    msg_count_root: int = 0
    mention_count: int = 0
    mention_count_root: int = 0
    notify_props: dict[str, str] = field(
        default_factory=lambda: {
            "desktop": "default",
            "email": "default",
            "ignore_channel_mentions": "default",
            "mark_unread": "all",
            "push": "default",
        }
    )

    @property
    def roles(self) -> str:
        names = self.explicit_roles.split()
        names += ["channel_guest"] if self.scheme_guest else []
        names += ["channel_user"] if self.scheme_user else []
        names += ["channel_admin"] if self.scheme_admin else []
        return " ".join(names)


@dataclass(kw_only=True)
class Post:
    id: str = field(default_factory=new_id)
    channel_id: str
    user_id: str
    message: str = ""
    root_id: str = ""
    original_id: str = ""
    type: str = ""
    props: dict[str, Any] = field(default_factory=dict)
    hashtags: str = ""
    file_ids: list[str] = field(default_factory=list)
    is_pinned: bool = False
    priority: dict[str, Any] | None = None
    create_at: int
    update_at: int
    edit_at: int = 0
    delete_at: int = 0
    last_reply_at: int = 0


@dataclass(kw_only=True)
class Reaction:
    user_id: str
    post_id: str
    channel_id: str
    emoji_name: str
    create_at: int


@dataclass(kw_only=True)
class StoredFile:
    id: str = field(default_factory=new_id)
    user_id: str
    channel_id: str
    post_id: str = ""
    name: str
    mime_type: str
    content: bytes
    create_at: int
    delete_at: int = 0


@dataclass(kw_only=True)
class Emoji:
    id: str = field(default_factory=new_id)
    name: str
    creator_id: str
    image: bytes
    create_at: int


@dataclass(kw_only=True)
class Status:
    user_id: str
    status: str = "offline"
    manual: bool = False
    last_activity_at: int = 0
    dnd_end_time: int = 0  # seconds


@dataclass(kw_only=True)
class IncomingHook:
    id: str = field(default_factory=new_id)
    user_id: str
    team_id: str
    channel_id: str
    display_name: str = ""
    description: str = ""
    username: str = ""
    icon_url: str = ""
    channel_locked: bool = False
    create_at: int
    update_at: int
    delete_at: int = 0


@dataclass(kw_only=True)
class OutgoingHook:
    id: str = field(default_factory=new_id)
    token: str = field(default_factory=new_id)
    creator_id: str
    team_id: str
    channel_id: str = ""
    display_name: str = ""
    description: str = ""
    trigger_words: list[str] = field(default_factory=list)
    trigger_when: int = 0
    callback_urls: list[str] = field(default_factory=list)
    content_type: str = ""
    username: str = ""
    icon_url: str = ""
    create_at: int
    update_at: int
    delete_at: int = 0


@dataclass(kw_only=True)
class Command:
    id: str = field(default_factory=new_id)
    token: str = field(default_factory=new_id)
    creator_id: str
    team_id: str
    trigger: str
    method: str = "P"
    url: str
    username: str = ""
    icon_url: str = ""
    auto_complete: bool = False
    auto_complete_desc: str = ""
    auto_complete_hint: str = ""
    display_name: str = ""
    description: str = ""
    create_at: int
    update_at: int
    delete_at: int = 0


@dataclass
class World:
    """Everything stored. Keys are ids; members are found by (place, user)."""

    users: dict[str, User] = field(default_factory=dict)
    bots: dict[str, Bot] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)  # by token
    tokens: dict[str, AccessToken] = field(default_factory=dict)  # by token
    teams: dict[str, Team] = field(default_factory=dict)
    team_members: dict[tuple[str, str], TeamMember] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    members: dict[str, dict[str, ChannelMember]] = field(default_factory=dict)  # by channel, user
    posts: dict[str, Post] = field(default_factory=dict)
    posts_of: dict[str, list[Post]] = field(default_factory=dict)  # by channel, in order
    replies_of: dict[str, list[Post]] = field(default_factory=dict)  # by root
    reactions: dict[str, dict[tuple[str, str], Reaction]] = field(default_factory=dict)  # by post
    files: dict[str, StoredFile] = field(default_factory=dict)
    uploads: dict[str, dict[str, Any]] = field(default_factory=dict)  # begun, not complete
    emoji: dict[str, Emoji] = field(default_factory=dict)
    incoming_hooks: dict[str, IncomingHook] = field(default_factory=dict)
    outgoing_hooks: dict[str, OutgoingHook] = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)
    preferences: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)  # by user
    following: dict[str, dict[str, bool]] = field(default_factory=dict)  # by root, user

    def user_named(self, username: str) -> User | None:
        username = username.lower()
        return next((user for user in self.users.values() if user.username == username), None)

    def team_named(self, name: str) -> Team | None:
        return next((team for team in self.teams.values() if team.name == name), None)

    def channel_named(self, team_id: str, name: str) -> Channel | None:
        return next(
            (one for one in self.channels.values() if one.team_id == team_id and one.name == name),
            None,
        )

    def team_member(self, team_id: str, user_id: str) -> TeamMember | None:
        member = self.team_members.get((team_id, user_id))
        return member if member and not member.delete_at else None

    def member(self, channel_id: str, user_id: str) -> ChannelMember | None:
        return self.members.get(channel_id, {}).get(user_id)

    def teams_of(self, user_id: str) -> list[Team]:
        return [
            self.teams[member.team_id]
            for member in self.team_members.values()
            if member.user_id == user_id and not member.delete_at
        ]

    def channels_of(self, user_id: str) -> list[Channel]:
        return [self.channels[id] for id, members in self.members.items() if user_id in members]

    def save_post(self, post: Post) -> None:
        self.posts[post.id] = post
        self.posts_of.setdefault(post.channel_id, []).append(post)
        if post.root_id and not post.original_id:
            self.replies_of.setdefault(post.root_id, []).append(post)

    def live_replies(self, root_id: str) -> list[Post]:
        return [reply for reply in self.replies_of.get(root_id, []) if not reply.delete_at]
