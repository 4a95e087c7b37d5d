"""Channels: making, finding, changing, archiving them."""

from __future__ import annotations

import json
from typing import Any

from .. import places, views
from ..calls import OK, Answer, Call, Routes
from ..errors import ApiError, bad_body, no_channel, no_permission, no_team, no_user
from ..state import Channel, Team, is_id

routes = Routes()

KINDS = {"O": "public", "P": "private"}


@routes.add("POST", "/channels")
def create(call: Call) -> Answer:
    body = call.json()
    team_id, kind = body.get("team_id"), KINDS.get(str(body.get("type")))
    if not is_id(team_id):
        raise bad_body("team_id")
    if kind is None:
        raise bad_body("type")
    display_name = call.text_of("display_name")
    call.require_in_team(f"create_{kind}_channel", team_id)
    if team_id not in call.simulation.world.teams:
        raise no_team()
    channel = places.create_channel(
        call.simulation,
        team_id=team_id,
        name=call.text_of("name"),
        display_name=display_name,
        type=body["type"],
        creator=call.user,
        header=str(body.get("header") or ""),
        purpose=str(body.get("purpose") or ""),
    )
    return Answer(views.channel(channel), status=201)


@routes.add("POST", "/channels/direct")
def create_direct(call: Call) -> Answer:
    ids = call.array()
    if len(ids) not in (1, 2) or not all(is_id(one) for one in ids):
        raise bad_body("user_ids")
    call.require("create_direct_channel")
    if call.user.id not in ids:
        call.require("manage_system")
    users = [call.find_user(one) for one in (ids if len(ids) == 2 else ids * 2)]
    channel, _ = places.direct_channel(call.simulation, users[0], users[1])
    return Answer(views.channel(channel), status=201)


@routes.add("POST", "/channels/group")
def create_group(call: Call) -> Answer:
    ids = call.ids()
    if not all(is_id(one) for one in ids):
        raise bad_body("user_ids")
    call.require("create_group_channel")
    if any(one not in call.simulation.world.users for one in ids):
        raise no_user()
    users = [call.find_user(one) for one in ids]
    channel, _ = places.group_channel(call.simulation, users, call.user)
    return Answer(views.channel(channel), status=201)


# Finding


def _visible(call: Call, channel: Channel | None) -> Channel:
    """Public channels of one's teams and all of one's own; the rest is not there."""
    if channel is None:
        raise no_channel()
    if call.simulation.may_in_channel(call.user, "read_channel", channel.id):
        return channel
    if channel.type != "O":
        raise no_channel()
    call.require_in_team("read_public_channel", channel.team_id)
    return channel


@routes.add("GET", "/channels/{channel_id}")
def get(call: Call) -> Any:
    return views.channel(_visible(call, call.named_channel()))


@routes.add("GET", "/teams/{team_id}/channels/name/{channel_name}")
def get_by_name(call: Call) -> Any:
    return _get_by_name(call, call.named_team())


@routes.add("GET", "/teams/name/{team_name}/channels/name/{channel_name}")
def get_by_names(call: Call) -> Any:
    team = call.simulation.world.team_named(call.params["team_name"])
    if team is None:
        raise no_team()
    return _get_by_name(call, team)


def _get_by_name(call: Call, team: Team) -> Any:
    name = call.params["channel_name"]
    world = call.simulation.world
    channel = world.channel_named(team.id, name) or world.channel_named("", name)
    if channel and channel.delete_at and not call.flag("include_deleted"):
        channel = None
    return views.channel(_visible(call, channel))


@routes.add("GET", "/channels")
def find_all(call: Call) -> Any:
    call.require("manage_system")
    channels = [one for one in call.simulation.world.channels.values() if one.team_id]
    if not call.flag("include_deleted"):
        channels = [one for one in channels if not one.delete_at]
    listed = [views.channel(one) for one in call.page_of(_by_title(channels))]
    if call.flag("include_total_count"):
        return {"channels": listed, "total_count": len(channels)}
    return listed


def _by_title(channels: list[Channel]) -> list[Channel]:
    return sorted(channels, key=lambda one: (one.display_name.lower(), one.name))


def _of_team(call: Call, type: str, *, archived: bool = False) -> list[Channel]:
    return _by_title(
        [
            one
            for one in call.simulation.world.channels.values()
            if one.team_id == call.params["team_id"]
            and one.type in type
            and bool(one.delete_at) == archived
        ]
    )


@routes.add("GET", "/teams/{team_id}/channels")
def find_public(call: Call) -> Any:
    call.require_in_team("list_team_channels", call.named_team().id)
    return [views.channel(one) for one in call.page_of(_of_team(call, "O"))]


@routes.add("GET", "/teams/{team_id}/channels/private")
def find_private(call: Call) -> Any:
    call.require_in_team("manage_system", call.named_team().id)
    return [views.channel(one) for one in call.page_of(_of_team(call, "P"))]


@routes.add("GET", "/teams/{team_id}/channels/deleted")
def find_archived(call: Call) -> Any:
    call.require_in_team("list_team_channels", call.named_team().id)
    channels = [
        one
        for one in _of_team(call, "OP", archived=True)
        if one.type == "O" or call.member_of(one) or call.is_admin
    ]
    return [views.channel(one) for one in call.page_of(channels)]


@routes.add("POST", "/teams/{team_id}/channels/ids")
def find_by_ids(call: Call) -> Any:
    ids = set(call.ids())
    call.require_in_team("view_team", call.named_team().id)
    return [views.channel(one) for one in _of_team(call, "O") if one.id in ids]


@routes.add("POST", "/teams/{team_id}/channels/search")
def search(call: Call) -> Any:
    """Public ones only, archived included."""
    call.require_in_team("list_team_channels", call.named_team().id)
    term = str(call.json().get("term") or "").lower()
    channels = _of_team(call, "O") + _of_team(call, "O", archived=True)
    found = [one for one in _by_title(channels) if _matches(one, term)]
    return [views.channel(one) for one in found[:100]]


def _matches(channel: Channel, term: str) -> bool:
    texts = (channel.name, channel.display_name, channel.purpose)
    return any(term in text.lower() for text in texts)


@routes.add("GET", "/teams/{team_id}/channels/autocomplete")
@routes.add("GET", "/teams/{team_id}/channels/search_autocomplete")
def complete(call: Call) -> Any:
    call.require_in_team("list_team_channels", call.named_team().id)
    term = call.query("name").lower()
    channels = [
        one
        for one in _of_team(call, "OP")
        if _matches(one, term) and (one.type == "O" or call.member_of(one))
    ]
    return [views.channel(one) for one in channels[:50]]


@routes.add("POST", "/channels/search")
def search_all(call: Call) -> Any:
    call.require("manage_system")
    body = call.json()
    term = str(body.get("term") or "").lower()
    channels = [one for one in call.simulation.world.channels.values() if one.team_id]
    found = [views.channel(one) for one in _by_title(channels) if _matches(one, term)]
    if body.get("page") is None or body.get("per_page") is None:
        return found
    page, per_page = int(body["page"]), int(body["per_page"])
    return {
        "channels": found[page * per_page : (page + 1) * per_page],
        "total_count": len(found),
    }


@routes.add("GET", "/users/{user_id}/teams/{team_id}/channels")
def of_user_in_team(call: Call) -> Any:
    """One's channels of a team, with the direct and group ones. Not paged."""
    user, team = call.named_user(), call.named_team()
    call.require_self_or_admin(user)
    channels = [
        one
        for one in call.simulation.world.channels_of(user.id)
        if one.team_id in (team.id, "") and (not one.delete_at or call.flag("include_deleted"))
    ]
    if not channels:
        raise ApiError(404, "app.channel.get_channels.not_found.app_error")
    return [views.channel(one) for one in _by_title(channels)]


@routes.add("GET", "/users/{user_id}/channels")
def of_user(call: Call) -> Any:
    """Streamed: when there is nothing, the error comes inside the array that was begun."""
    user = call.named_user()
    call.require_self_or_admin(user)
    channels = [
        one
        for one in call.simulation.world.channels_of(user.id)
        if not one.delete_at or call.flag("include_deleted")
    ]
    if channels:
        return [views.channel(one) for one in sorted(channels, key=lambda one: one.id)]
    error = ApiError(404, "app.channel.get_channels.not_found.app_error").as_json()
    return Answer(
        b"[" + json.dumps(error | {"request_id": call.request_id}).encode(),
        status=call.simulation.no_channels_status,
    )


@routes.add("GET", "/channels/{channel_id}/stats")
def stats(call: Call) -> Any:
    channel, world = call.member_channel(), call.simulation.world
    users = [world.users[user_id] for user_id in world.members[channel.id]]
    posts = [one for one in world.posts_of.get(channel.id, []) if not one.delete_at]
    files = [one for one in world.files.values() if one.channel_id == channel.id and one.post_id]
    return {
        "channel_id": channel.id,
        "member_count": sum(not one.delete_at for one in users),
        "guest_count": 0,
        "pinnedpost_count": sum(one.is_pinned for one in posts),
        "files_count": sum(not one.delete_at for one in files),
    }


@routes.add("POST", "/channels/stats/member_count")
def member_counts(call: Call) -> Any:
    world, counts = call.simulation.world, {}
    for channel_id in call.ids():
        call.require_in_channel("read_channel", channel_id)
        counts[channel_id] = len(world.members.get(channel_id, {}))
    return counts


@routes.add("GET", "/channels/{channel_id}/timezones")
def timezones(call: Call) -> Any:
    call.member_channel()
    return []


# Changing


def _require_properties(call: Call, channel: Channel) -> None:
    if channel.type in KINDS:
        kind = KINDS[channel.type]
        call.require_in_channel(f"manage_{kind}_channel_properties", channel.id)
    elif call.member_of(channel) is None:
        raise no_permission()


@routes.add("PUT", "/channels/{channel_id}/patch")
def patch(call: Call) -> Any:
    channel, body = call.named_channel(), call.json()
    changes = {
        key: body[key]
        for key in ("display_name", "name", "header", "purpose")
        if isinstance(body.get(key), str)
    }
    if not changes:
        raise bad_body("channel")
    _require_properties(call, channel)
    if channel.delete_at:
        raise ApiError(400, "api.channel.update_channel.deleted.app_error")
    places.patch_channel(call.simulation, channel, changes, call.user)
    return views.channel(channel)


@routes.add("PUT", "/channels/{channel_id}")
def update(call: Call) -> Any:
    if call.json().get("id") != call.params["channel_id"]:
        raise bad_body("channel_id")
    return patch(call)


@routes.add("PUT", "/channels/{channel_id}/privacy")
def convert(call: Call) -> Any:
    channel, type = call.named_channel(), call.json().get("privacy")
    if type not in KINDS:
        raise bad_body("privacy")
    if type == "P":
        call.require_in_channel("convert_public_channel_to_private", channel.id)
        if channel.name == places.DEFAULT_CHANNEL:
            raise ApiError(400, "api.channel.update_channel_privacy.default_channel_error")
    else:
        call.require_in_channel("convert_private_channel_to_public", channel.id)
    places.convert(call.simulation, channel, type, call.user)
    return views.channel(channel)


@routes.add("DELETE", "/channels/{channel_id}")
def archive(call: Call) -> Any:
    channel = call.named_channel()
    if channel.type in "DG":
        raise ApiError(400, "api.channel.delete_channel.type.invalid")
    call.require_in_channel(f"delete_{KINDS[channel.type]}_channel", channel.id)
    if call.flag("permanent"):
        if not call.simulation.setting("ServiceSettings", "EnableAPIChannelDeletion"):
            raise ApiError(401, "api.user.delete_channel.not_enabled.app_error")
        call.require("manage_system")
        places.erase(call.simulation, channel, call.user)
        return OK
    places.archive(call.simulation, channel, call.user)
    return OK


@routes.add("POST", "/channels/{channel_id}/restore")
def restore(call: Call) -> Any:
    channel = call.named_channel()
    call.require_in_team("manage_team", channel.team_id)
    places.restore(call.simulation, channel, call.user)
    return views.channel(channel)


@routes.add("GET", "/channels/{channel_id}/pinned")
def pinned(call: Call) -> Any:
    channel = call.named_channel()
    if not call.simulation.may_read(call.user, channel):
        raise no_permission()
    posts = [
        one
        for one in call.simulation.world.posts_of.get(channel.id, [])
        if one.is_pinned and not one.delete_at
    ]
    posts.sort(key=lambda one: one.create_at)
    return {
        "order": [one.id for one in posts],
        "posts": {one.id: views.post(call.simulation, one) for one in posts},
        "next_post_id": "",
        "prev_post_id": "",
        "first_inaccessible_post_time": 0,
    }
