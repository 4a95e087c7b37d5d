"""Who is in a channel, as what, and how far they have read."""

from __future__ import annotations

from random import Random
from typing import Any

from .. import places, views
from ..calls import OK, Answer, Call, Routes
from ..errors import ApiError, bad_body, no_channel_member, no_permission
from ..state import Channel, ChannelMember, User, is_id
from .accounts import extend_session

routes = Routes()

MOST_AT_ONCE = 1000


@routes.add("POST", "/channels/{channel_id}/members")
def add(call: Call) -> Answer:
    """One by `user_id`, or many by `user_ids`, of whom those that fail are not mentioned."""
    channel, body = call.named_channel(), call.json()
    many = body.get("user_ids")
    ids = many if isinstance(many, list) else [body.get("user_id")]
    if not ids or len(ids) > MOST_AT_ONCE or not all(is_id(one) for one in ids):
        raise bad_body("user_ids" if many is not None else "user_id")
    root_id = str(body.get("post_root_id") or "")
    if channel.type in "DG":
        raise ApiError(400, "api.channel.add_user_to_channel.type.app_error")
    added: list[ChannelMember] = []
    failure: ApiError | None = None
    for user_id in ids:
        try:
            added.append(_add(call, channel, user_id, root_id))
        except ApiError as refusal:
            failure = refusal
    if failure and not added:
        raise failure
    shown = [views.member(one, call.user) for one in added]
    return Answer(shown if many is not None else shown[0], status=201)


def _add(call: Call, channel: Channel, user_id: str, root_id: str) -> ChannelMember:
    simulation = call.simulation
    existing = simulation.world.member(channel.id, user_id)
    if user_id == call.user.id and existing is None:
        if channel.type != "O":
            raise no_permission()
        call.require_in_team("join_public_channels", channel.team_id)
    else:
        places.may_manage_members(simulation, call.user, channel)
    user = call.find_user(user_id)
    return places.join_channel(simulation, channel, user, adder=call.user, root_id=root_id)


@routes.add("DELETE", "/channels/{channel_id}/members/{user_id}")
def remove(call: Call) -> Any:
    channel, user = call.named_channel(), call.named_user()
    if channel.type not in "DG" and user.id != call.user.id:
        places.may_manage_members(call.simulation, call.user, channel)
    _found(call, channel, user.id)
    places.leave_channel(call.simulation, channel, user, call.user)
    return OK


def _found(call: Call, channel: Channel, user_id: str) -> ChannelMember:
    member = call.simulation.world.member(channel.id, user_id)
    if member is None:
        raise no_channel_member()
    return member


@routes.add("GET", "/channels/{channel_id}/members")
def find(call: Call) -> Any:
    """In no order: every page shuffles anew, so that paging repeats some and misses others."""
    channel = call.member_channel()
    members = list(call.simulation.world.members[channel.id].values())
    page, per_page = call.paging()
    if per_page == 0:
        rows = members
    else:
        if len(members) > per_page:
            Random(f"{channel.id} {page}").shuffle(members)
        rows = members[page * per_page : (page + 1) * per_page]
    return [views.member(one, call.user) for one in rows]


@routes.add("POST", "/channels/{channel_id}/members/ids")
def get_many(call: Call) -> Any:
    channel, ids = call.member_channel(), call.ids()
    members = call.simulation.world.members[channel.id]
    return [views.member(members[one], call.user) for one in ids if one in members]


@routes.add("GET", "/channels/{channel_id}/members/{user_id}")
def get(call: Call) -> Any:
    channel = call.member_channel()
    return views.member(_found(call, channel, call.params["user_id"]), call.user)


def _memberships(call: Call, user: User, team_id: str | None) -> list[ChannelMember]:
    call.require_self_or_admin(user)
    world = call.simulation.world
    return [
        members[user.id]
        for channel_id, members in world.members.items()
        if user.id in members
        and (team_id is None or world.channels[channel_id].team_id in (team_id, ""))
    ]


@routes.add("GET", "/users/{user_id}/teams/{team_id}/channels/members")
def of_user_in_team(call: Call) -> Any:
    found = _memberships(call, call.named_user(), call.named_team().id)
    return [views.member(one, call.user) for one in found]


@routes.add("GET", "/users/{user_id}/channel_members")
def of_user(call: Call) -> Any:
    found = call.page_of(_memberships(call, call.named_user(), None))
    return [views.member(one, call.user) for one in found]


# Roles and notifications


@routes.add("PUT", "/channels/{channel_id}/members/{user_id}/roles")
def set_roles(call: Call) -> Any:
    roles = call.text_of("roles").split()
    known = {"channel_user", "channel_admin", "channel_guest"}
    if not known.issuperset(roles):
        raise ApiError(400, "api.channel.update_channel_member_roles.scheme_role.app_error")
    member = _to_manage(call)
    member.scheme_admin = "channel_admin" in roles
    return _changed(call, member)


@routes.add("PUT", "/channels/{channel_id}/members/{user_id}/schemeRoles")
def set_scheme_roles(call: Call) -> Any:
    member, body = _to_manage(call), call.json()
    member.scheme_admin = bool(body.get("scheme_admin"))
    member.scheme_user = bool(body.get("scheme_user"))
    return _changed(call, member)


def _to_manage(call: Call) -> ChannelMember:
    channel = call.named_channel()
    call.require_in_channel("manage_channel_roles", channel.id)
    return _found(call, channel, call.params["user_id"])


def _changed(call: Call, member: ChannelMember) -> Any:
    member.last_update_at = call.simulation.now()
    user = call.simulation.world.users[member.user_id]
    places.tell_member_updated(call.simulation, member, user)
    return OK


@routes.add("PUT", "/channels/{channel_id}/members/{user_id}/notify_props")
def set_notify_props(call: Call) -> Any:
    channel, user, body = call.named_channel(), call.named_user(), call.json()
    call.require_self_or_admin(user)
    member = _found(call, channel, user.id)
    known = member.notify_props.keys() & body.keys()
    member.notify_props = member.notify_props | {key: str(body[key]) for key in known}
    return _changed(call, member)


# Reading


@routes.add("POST", "/channels/members/{user_id}/view")
def view(call: Call) -> Any:
    user, body = call.named_user(), call.json()
    call.require_self_or_admin(user)
    wanted = [body.get("channel_id"), body.get("prev_channel_id")]
    if any(one and not is_id(one) for one in wanted):
        raise bad_body("channel_id")
    return _view(call, user, [one for one in wanted if one])


@routes.add("POST", "/channels/members/{user_id}/mark_read")
def mark_read(call: Call) -> Any:
    user, ids = call.named_user(), call.ids()
    call.require_self_or_admin(user)
    return _view(call, user, ids)


def _view(call: Call, user: User, channel_ids: list[str]) -> Any:
    world = call.simulation.world
    call.simulation.seen(call.session)
    extend_session(call)
    channels = [world.channels[one] for one in channel_ids if one in world.channels]
    for channel in channels:
        call.require_in_channel("read_channel", channel.id)
    times = places.mark_viewed(call.simulation, user, channels)
    return OK | {"last_viewed_at_times": times}


@routes.add("GET", "/users/{user_id}/channels/{channel_id}/unread")
def unread(call: Call) -> Any:
    user, channel = call.named_user(), call.named_channel()
    call.require_self_or_admin(user)
    member = _found(call, channel, user.id)
    return {
        "team_id": channel.team_id,
        "channel_id": channel.id,
        "msg_count": max(0, channel.total_msg_count - member.msg_count),
        "msg_count_root": max(0, channel.total_msg_count_root - member.msg_count_root),
        "mention_count": member.mention_count,
        "mention_count_root": member.mention_count_root,
        "urgent_mention_count": 0,
        "notify_props": member.notify_props,
    }
