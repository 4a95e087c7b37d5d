"""Teams and channels: making, changing and archiving them, and who is in them."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from . import assumptions, notices, posting, views
from .errors import ApiError, bad_body, no_permission, no_team_member
from .state import Channel, ChannelMember, Post, Team, TeamMember, User
from .views import as_text

if TYPE_CHECKING:
    from .simulation import Simulation

DEFAULT_CHANNEL = "town-square"
DEFAULT_CHANNELS = {"town-square": "Town Square", "off-topic": "Off-Topic"}


# Teams


def create_team(
    simulation: Simulation,
    *,
    name: str,
    display_name: str,
    type: str = "O",
    creator: User | None = None,
    **more: Any,
) -> Team:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{1,63}", name):
        raise ApiError(400, "model.team.is_valid.characters.app_error")
    if simulation.world.team_named(name):
        raise ApiError(400, "app.team.save.existing.app_error")
    now = simulation.now()
    team = Team(
        name=name, display_name=display_name, type=type, create_at=now, update_at=now, **more
    )
    simulation.world.teams[team.id] = team
    for channel_name, title in DEFAULT_CHANNELS.items():
        save_channel(simulation, team_id=team.id, name=channel_name, display_name=title, type="O")
    if creator:
        join_team(simulation, team, creator, admin=True)
    return team


def join_team(
    simulation: Simulation,
    team: Team,
    user: User,
    *,
    adder: User | None = None,
    admin: bool = False,
) -> TeamMember:
    world = simulation.world
    member = world.team_member(team.id, user.id)
    if member:
        return member
    size = sum(
        one.team_id == team.id and not one.delete_at and not world.users[one.user_id].delete_at
        for one in world.team_members.values()
    )
    if size >= simulation.setting("TeamSettings", "MaxUsersPerTeam"):
        raise ApiError(400, "app.team.join_user_to_team.save_member.max_accounts.app_error")
    if user.delete_at:
        raise ApiError(400, "app.team.join_user_to_team.deactivated.app_error")
    member = TeamMember(
        team_id=team.id, user_id=user.id, scheme_admin=admin, create_at=simulation.now()
    )
    world.team_members[team.id, user.id] = member
    for name in DEFAULT_CHANNELS:
        channel = world.channel_named(team.id, name)
        if channel:
            _save_member(simulation, channel, user)
            notices.joined(simulation, channel, user, adder)
            _tell_added(simulation, channel, user)
    simulation.publish("added_to_team", {"team_id": team.id, "user_id": user.id}, user_id=user.id)
    return member


def tell_added_to_team(simulation: Simulation, team: Team, user: User) -> None:
    """The members API says it once more."""
    simulation.publish("added_to_team", {"team_id": team.id, "user_id": user.id}, user_id=user.id)


def leave_team(simulation: Simulation, team: Team, user: User, remover: User) -> None:
    world = simulation.world
    member = world.team_member(team.id, user.id)
    if member is None:
        raise no_team_member()
    for channel in world.channels_of(user.id):
        if channel.team_id == team.id:
            del world.members[channel.id][user.id]
    data = {"user_id": user.id, "team_id": team.id}
    square = world.channel_named(team.id, DEFAULT_CHANNEL)
    if square:
        notices.left_team(simulation, square, user, remover)
    simulation.publish("leave_team", data, team_id=team.id, omit=(user.id,))
    simulation.publish("leave_team", data, user_id=user.id)
    member.delete_at = simulation.now()


def tell_team(simulation: Simulation, event: str, team: Team) -> None:
    simulation.publish(event, {"team": as_text(views.team(team))}, team_id=team.id)


# Channels


def create_channel(
    simulation: Simulation,
    *,
    team_id: str,
    name: str,
    display_name: str,
    type: str = "O",
    creator: User | None = None,
    header: str = "",
    purpose: str = "",
) -> Channel:
    world = simulation.world
    check_name(name)
    check_texts(display_name=display_name, header=header, purpose=purpose)
    if world.channel_named(team_id, name):
        raise ApiError(400, "store.sql_channel.save_channel.exists.app_error")
    living = sum(one.team_id == team_id and not one.delete_at for one in world.channels.values())
    if living >= simulation.setting("TeamSettings", "MaxChannelsPerTeam"):
        raise ApiError(400, "api.channel.create_channel.max_channel_limit.app_error")
    channel = save_channel(
        simulation,
        team_id=team_id,
        name=name,
        display_name=display_name,
        type=type,
        header=header,
        purpose=purpose,
        creator_id=creator.id if creator else "",
    )
    if creator:
        member = _save_member(simulation, channel, creator)
        member.scheme_admin = True
        notices.joined(simulation, channel, creator, None)
        simulation.publish(
            "channel_created", {"channel_id": channel.id, "team_id": team_id}, user_id=creator.id
        )
    return channel


def save_channel(
    simulation: Simulation, *, team_id: str, name: str, display_name: str, type: str, **more: str
) -> Channel:
    now = simulation.now()
    channel = Channel(
        team_id=team_id,
        name=name,
        display_name=display_name,
        type=type,
        create_at=now,
        update_at=now,
        **more,
    )
    simulation.world.channels[channel.id] = channel
    simulation.world.members[channel.id] = {}
    return channel


def check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ApiError(400, "model.channel.is_valid.1_or_more.app_error")
    if len(name) > 64:
        raise ApiError(assumptions.LONG_CHANNEL_NAME_STATUS, "app.channel.create_channel.app_error")


def check_texts(*, display_name: str = "", header: str = "", purpose: str = "") -> None:
    for text, limit, name in (
        (display_name, 64, "display_name"),
        (header, 1024, "header"),
        (purpose, 250, "purpose"),
    ):
        if len(text) > limit:
            raise ApiError(400, f"model.channel.is_valid.{name}.app_error")


def direct_channel(simulation: Simulation, one: User, other: User) -> tuple[Channel, bool]:
    """The channel of the two, and whether it is new."""
    name = "__".join(sorted([one.id, other.id]))
    existing = simulation.world.channel_named("", name)
    if existing:
        return existing, False
    if simulation.setting("TeamSettings", "RestrictDirectMessage") == "team":
        teams = [{team.id for team in simulation.world.teams_of(user.id)} for user in (one, other)]
        if not teams[0] & teams[1]:
            raise ApiError(403, "api.channel.create_channel.direct_channel.team_restricted_error")
    channel = save_channel(
        simulation, team_id="", name=name, display_name="", type="D", creator_id=one.id
    )
    for user in {one.id: one, other.id: other}.values():
        _save_member(simulation, channel, user)
    simulation.publish(
        "direct_added",
        {"creator_id": one.id, "teammate_id": other.id},
        channel_id=channel.id,
    )
    return channel, True


def group_channel(simulation: Simulation, users: list[User], creator: User) -> tuple[Channel, bool]:
    """The channel of three to eight users, and whether it is new."""
    everyone = {user.id: user for user in [*users, creator]}
    if not 3 <= len(everyone) <= 8:
        raise ApiError(400, "api.channel.create_group.bad_size.app_error")
    ids = sorted(everyone)
    name = hashlib.sha1("".join(ids).encode()).hexdigest()
    existing = simulation.world.channel_named("", name)
    if existing:
        return existing, False
    title = ", ".join(sorted(user.username for user in everyone.values()))
    channel = save_channel(
        simulation, team_id="", name=name, display_name=title, type="G", creator_id=creator.id
    )
    for user in everyone.values():
        _save_member(simulation, channel, user)
    for user_id in ids:
        simulation.publish("group_added", {"teammate_ids": as_text(ids)}, user_id=user_id)
    return channel, True


def patch_channel(
    simulation: Simulation, channel: Channel, changes: dict[str, str], user: User
) -> None:
    if channel.type in "DG" and changes.keys() - {"header"}:
        raise ApiError(400, "api.channel.patch_update_channel.forbidden.app_error")
    if changes.get("name", channel.name) != channel.name:
        if channel.name == DEFAULT_CHANNEL:
            raise ApiError(400, "api.channel.update_channel.tried.app_error")
        check_name(changes["name"])
        if simulation.world.channel_named(channel.team_id, changes["name"]):
            raise ApiError(400, "store.sql_channel.save_channel.exists.app_error")
    check_texts(**{key: value for key, value in changes.items() if key != "name"})
    before = {key: getattr(channel, key) for key in changes}
    for key, value in changes.items():
        setattr(channel, key, value)
    channel.update_at = simulation.now()
    tell_channel_updated(simulation, channel)
    for key, old in before.items():
        if old != changes[key]:
            notices.changed(simulation, channel, user, key, old=old, new=changes[key])


def tell_channel_updated(simulation: Simulation, channel: Channel) -> None:
    simulation.publish(
        "channel_updated", {"channel": as_text(views.channel(channel))}, channel_id=channel.id
    )


def convert(simulation: Simulation, channel: Channel, type: str, user: User) -> None:
    if channel.type == type:
        return
    channel.type = type
    channel.update_at = simulation.now()
    notices.converted(simulation, channel, user)
    simulation.publish("channel_converted", {"channel_id": channel.id}, team_id=channel.team_id)


def archive(simulation: Simulation, channel: Channel, user: User) -> None:
    if channel.type in "DG":
        raise ApiError(400, "api.channel.delete_channel.type.invalid")
    if channel.delete_at:
        raise ApiError(400, "api.channel.delete_channel.deleted.app_error")
    if channel.name == DEFAULT_CHANNEL:
        raise ApiError(400, "api.channel.delete_channel.cannot.app_error")
    notices.archived(simulation, channel, user)
    channel.delete_at = channel.update_at = simulation.now()
    _tell_channel_or_team(
        simulation,
        "channel_deleted",
        {"channel_id": channel.id, "delete_at": channel.delete_at},
        channel,
    )


def erase(simulation: Simulation, channel: Channel, user: User) -> None:
    """Archive, and then forget the channel with all that was in it."""
    if not channel.delete_at:
        archive(simulation, channel, user)
    world = simulation.world
    for post in world.posts_of.pop(channel.id, []):
        world.posts.pop(post.id, None)
    del world.members[channel.id], world.channels[channel.id]


def restore(simulation: Simulation, channel: Channel, user: User) -> None:
    if not channel.delete_at:
        raise ApiError(400, "api.channel.restore_channel.restored.app_error")
    channel.delete_at = 0
    channel.update_at = simulation.now()
    _tell_channel_or_team(simulation, "channel_restored", {"channel_id": channel.id}, channel)
    notices.restored(simulation, channel, user)


def _tell_channel_or_team(
    simulation: Simulation, event: str, data: dict[str, Any], channel: Channel
) -> None:
    if channel.type == "O":
        simulation.publish(event, data, team_id=channel.team_id)
    else:
        simulation.publish(event, data, channel_id=channel.id)


# Members of channels


def _save_member(simulation: Simulation, channel: Channel, user: User) -> ChannelMember:
    now = simulation.now()
    member = ChannelMember(
        channel_id=channel.id,
        user_id=user.id,
        last_viewed_at=0,
        last_update_at=now,
        msg_count=channel.total_msg_count,
        msg_count_root=channel.total_msg_count_root,
    )
    simulation.world.members[channel.id][user.id] = member
    return member


def join_channel(
    simulation: Simulation,
    channel: Channel,
    user: User,
    *,
    adder: User | None = None,
    root_id: str = "",
) -> ChannelMember:
    """Add somebody, by themselves or by another; a member stays what they are."""
    existing = simulation.world.member(channel.id, user.id)
    if existing:
        return existing
    if channel.delete_at:
        raise ApiError(400, "api.channel.add_user_to_channel.deleted.app_error")
    if channel.type in "DG":
        raise ApiError(400, "api.channel.add_user_to_channel.type.app_error")
    if simulation.world.team_member(channel.team_id, user.id) is None:
        raise no_team_member()
    member = _save_member(simulation, channel, user)
    _tell_added(simulation, channel, user)
    notices.joined(simulation, channel, user, adder, root_id=root_id)
    return member


def _tell_added(simulation: Simulation, channel: Channel, user: User) -> None:
    data = {"user_id": user.id, "team_id": channel.team_id}
    simulation.publish("user_added", data, channel_id=channel.id, omit=(user.id,))
    simulation.publish("user_added", data, channel_id=channel.id, user_id=user.id)


def leave_channel(simulation: Simulation, channel: Channel, user: User, remover: User) -> None:
    if channel.type in "DG":
        raise ApiError(400, "api.channel.remove_channel_member.type.app_error")
    if channel.name == DEFAULT_CHANNEL:
        raise ApiError(400, "api.channel.remove.default.app_error")
    del simulation.world.members[channel.id][user.id]
    simulation.publish(
        "user_removed", {"user_id": user.id, "remover_id": remover.id}, channel_id=channel.id
    )
    simulation.publish(
        "user_removed", {"channel_id": channel.id, "remover_id": remover.id}, user_id=user.id
    )
    notices.left(simulation, channel, user, remover)


def tell_member_updated(simulation: Simulation, member: ChannelMember, viewer: User) -> None:
    simulation.publish(
        "channel_member_updated",
        {"channelMember": as_text(views.member(member, viewer))},
        user_id=member.user_id,
    )


def mark_viewed(simulation: Simulation, user: User, channels: list[Channel]) -> dict[str, int]:
    """Move the read marks where posts are unread; the time of the last post of every channel."""
    times: dict[str, int] = {}
    changed: dict[str, int] = {}
    for channel in channels:
        member = simulation.world.member(channel.id, user.id)
        if member is None:
            continue
        times[channel.id] = channel.last_post_at
        if member.msg_count == channel.total_msg_count and not member.mention_count:
            continue
        member.last_viewed_at = max(member.last_viewed_at, channel.last_post_at)
        member.last_update_at = simulation.now()
        member.msg_count = channel.total_msg_count
        member.msg_count_root = channel.total_msg_count_root
        member.mention_count = member.mention_count_root = 0
        changed[channel.id] = channel.last_post_at
    if changed:
        simulation.publish("multiple_channels_viewed", {"channel_times": changed}, user_id=user.id)
    return times


def require_text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise bad_body(key)
    return value


def may_manage_members(simulation: Simulation, user: User, channel: Channel) -> None:
    kind = "public" if channel.type == "O" else "private"
    if not simulation.may_in_channel(user, f"manage_{kind}_channel_members", channel.id):
        raise no_permission()


def mark_unread(simulation: Simulation, user: User, post: Post) -> dict[str, Any]:
    """Move the read mark back to just before this post."""
    channel = simulation.world.channels[post.channel_id]
    member = simulation.world.members[channel.id][user.id]
    unseen = [
        one
        for one in simulation.world.posts_of[channel.id]
        if one.create_at >= post.create_at and not one.delete_at and posting.is_counted(one)
    ]
    member.last_viewed_at = post.create_at - 1
    member.last_update_at = simulation.now()
    member.msg_count = channel.total_msg_count - len(unseen)
    roots = sum(not one.root_id for one in unseen)
    member.msg_count_root = channel.total_msg_count_root - roots
    data = {
        "msg_count": member.msg_count,
        "msg_count_root": member.msg_count_root,
        "mention_count": member.mention_count,
        "mention_count_root": member.mention_count_root,
        "urgent_mention_count": 0,
        "last_viewed_at": member.last_viewed_at,
        "post_id": post.id,
    }
    simulation.publish(
        "post_unread", data, user_id=user.id, channel_id=channel.id, team_id=channel.team_id
    )
    return data | {"channel_id": channel.id, "team_id": channel.team_id, "user_id": user.id}
