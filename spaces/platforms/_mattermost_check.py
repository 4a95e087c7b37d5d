"""What an operator should know of a bot's account on Mattermost: its teams, and what its roles do
not allow, each with what an administrator does about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spaces.platforms._mattermost_api import Api, Fields
from spaces.platforms.errors import Forbidden, NotFound, Rejected
from spaces.platforms.messages import CANNOT, Finding, Identity

LARGEST_SKEW_SECONDS = 60.0

# What bots are made for, and the permission each needs.
NEEDED = {
    "create_post": "write messages",
    "upload_file": "send files",
    "edit_post": "edit its messages",
    "delete_post": "delete its messages",
    "add_reaction": "add reactions",
    "remove_reaction": "take its reactions away",
    "read_channel": "read channels",
    "create_direct_channel": "write to people directly",
    "create_group_channel": "write to groups of people",
    "create_public_channel": "create public channels",
    "create_private_channel": "create private channels",
    "join_public_channels": "join public channels",
    "manage_public_channel_members": "add and remove people in public channels",
    "manage_private_channel_members": "add and remove people in private channels",
    "manage_public_channel_properties": "change public channels",
    "manage_private_channel_properties": "change private channels",
    "delete_public_channel": "archive public channels",
    "delete_private_channel": "archive private channels",
}
# Permissions of bots → what they come to on a server.
WORDS = {
    "post": ("create_post", "upload_file"),
    "direct": ("create_direct_channel", "create_group_channel"),
    "edit": ("edit_post", "delete_post"),
    "react": ("add_reaction", "remove_reaction"),
    "channels": (
        "create_public_channel",
        "create_private_channel",
        "join_public_channels",
        "manage_public_channel_properties",
        "manage_private_channel_properties",
        "delete_public_channel",
        "delete_private_channel",
    ),
    "participants": ("manage_public_channel_members", "manage_private_channel_members"),
    "receipts": ("read_channel",),
}
# In the words of Mattermost's own pages, for somebody who adds a bot.
HOW_TO_GET_A_TOKEN = (
    "A system administrator allows bot accounts once: System Console, Integrations, Bot Accounts, "
    "Enable Bot Account Creation.",
    "In the product menu open Integrations, then Bot Accounts, and press Add Bot Account. The role "
    "Member is enough for all but what only administrators may.",
    "Copy the token that is shown then: Mattermost does not show it again. A further one is made "
    "there with Create New Token.",
    "Instead, a person's account can have one: profile picture, Profile, Security, Personal Access "
    "Tokens. A system administrator allows them under System Console, Integrations, Integration "
    "Management, and gives the account the role for it.",
)
WHAT_AN_ACCOUNT_NEEDS = (
    "It is a member of each team whose channels it uses. A team administrator adds it: team menu, "
    "Invite People, then the bot's name.",
    "It is a member of the channels that it reads and writes in. Public ones it can join in the "
    "next step; to a private one a member adds it.",
    "What its roles do not allow is told by Test, with what an administrator does about it.",
)
# What only administrators may, as a server comes: good to know, and nothing to mend.
EXTRA = {
    "create_post_ephemeral": "send messages that only one person sees",
    "manage_channel_roles": "make channel admins",
    "manage_team": "restore archived channels",
    "edit_others_posts": "edit messages of others",
}


def permissions(api: Api, me: Fields) -> tuple[str, ...] | None:
    """All that the bot's roles allow somewhere: in the system, in its teams, as a channel's member;
    `None` where the server does not tell."""
    names = set(str(me.get("roles") or "").split())
    try:
        # In no team yet, it is told what it may do once it is in one.
        for member in api.get("/users/me/teams/members") or [{}]:
            names |= set(str(member.get("roles") or "").split()) or {"team_user"}
        roles = api.look_up("/roles/names", sorted(names | {"channel_user"}))
    except (Forbidden, NotFound, Rejected):
        return None
    return tuple(sorted({one for role in roles for one in role.get("permissions") or ()}))


def findings(
    api: Api, me: Fields, identity: Identity, *, teams_wanted: Sequence[str]
) -> list[Finding]:
    return [
        *_account(me, identity),
        *_teams(api, teams_wanted),
        *_permissions(identity),
        *_clock(api),
    ]


def _account(me: Fields, identity: Identity) -> Iterator[Finding]:
    yield _ok("server", f"The server is {identity.server}.")
    if me.get("is_bot"):
        yield _ok("bot_account", f"{me['username']} is a bot account.")
        return
    yield Finding(
        level="warning",
        code="no_bot_account",
        text=f"{me['username']} is a person's account: it takes a licence where people do, and its "
        "login can expire or be locked.",
        remedy="An administrator makes a bot account (Integrations, Bot Accounts) and gives you "
        "its token.",
    )


def _teams(api: Api, wanted: Sequence[str]) -> Iterator[Finding]:
    names = sorted(str(team["name"]) for team in api.get("/users/me/teams") or [])
    if names:
        yield _ok("teams", f"It is in the teams {', '.join(names)}.")
    else:
        yield Finding(
            level="error",
            code="no_team",
            text="The bot is in no team, so it sees no channel.",
            remedy="A team administrator adds it: team menu, Invite People, then the bot's name.",
        )
    for name in wanted:
        if name not in names:
            yield Finding(
                level="error",
                code="not_in_team",
                text=f"The bot is not in the team {name}.",
                remedy="A team administrator adds it, or you correct the option Teams.",
            )


def _permissions(identity: Identity) -> Iterator[Finding]:
    if identity.permissions is None:
        yield Finding(
            level="warning",
            code="permissions_unknown",
            text="The server does not tell what the bot may do.",
        )
        return
    allowed = set(identity.permissions)
    missing = [name for name in NEEDED if name not in allowed]
    if not missing:
        yield _ok("permissions", "Its roles allow all that bots usually do.")
    for name in missing:
        yield Finding(
            level="warning",
            code="permission_missing",
            text=f"The bot may not {NEEDED[name]} ({name}).",
            remedy="A system administrator allows it in the System Console (User Management, "
            "Permissions), for all members or for a role that the bot is given.",
        )
    for name in EXTRA:
        if name in allowed:
            yield _ok("permission_extra", f"The bot may {EXTRA[name]} ({name}).")
        else:
            yield _ok(CANNOT, f"The bot may not {EXTRA[name]} ({name}).")


def _clock(api: Api) -> Iterator[Finding]:
    skew = api.http.clock_skew_seconds
    if abs(skew) > LARGEST_SKEW_SECONDS:
        direction = "ahead of" if skew > 0 else "behind"
        yield Finding(
            level="warning",
            code="clock_skew",
            text=f"The server's clock is {abs(skew):.0f} s {direction} ours.",
            remedy="Let both machines set their clocks by NTP.",
        )


def _ok(code: str, text: str) -> Finding:
    return Finding(level="ok", code=code, text=text)
