"""People: finding and changing them, statuses, preferences, pictures."""

from __future__ import annotations

from typing import Any

from .. import actions, people, presence, views
from ..calls import OK, Answer, Call, Routes
from ..errors import ApiError, bad_body, bad_url, no_permission, no_user
from ..roles import PERMISSIONS
from ..state import User, is_id
from ..views import as_text

routes = Routes()


def shown(call: Call, user: User) -> dict[str, Any]:
    return views.user(call.simulation, user, call.user)


@routes.add("POST", "/users", needs_login=False)
def create(call: Call) -> Answer:
    """The first account becomes the administrator; later ones need an open door or an admin."""
    world, body = call.simulation.world, call.json()
    by_admin = call.session is not None and call.is_admin
    invited = any(team.invite_id == call.query("iid") for team in world.teams.values())
    is_open = call.simulation.setting("TeamSettings", "EnableOpenServer")
    if world.users and not (by_admin or invited or is_open):
        raise ApiError(403, "api.user.create_user.no_open_server")
    for key in ("username", "email", "password"):
        if not isinstance(body.get(key), str) or not body[key]:
            raise bad_body(key)
    people.check_password(call.simulation, body["password"])
    names = {
        key: body[key]
        for key in ("nickname", "first_name", "last_name", "position", "locale")
        if isinstance(body.get(key), str)
    }
    user = people.create(
        call.simulation,
        username=body["username"],
        email=body["email"],
        password=body["password"],
        roles="system_user" if world.users else "system_admin system_user",
        **names,
    )
    return Answer(views.user(call.simulation, user, user), status=201)


@routes.add("GET", "/users/{user_id}")
def get(call: Call) -> Any:
    call.simulation.seen(call.session)
    return shown(call, call.named_user())


@routes.add("GET", "/users/username/{username}")
def get_by_username(call: Call) -> Any:
    user = call.simulation.world.user_named(call.params["username"])
    if user is None:
        raise no_user()
    return shown(call, user)


@routes.add("GET", "/users/email/{email}")
def get_by_email(call: Call) -> Any:
    if not call.simulation.setting("PrivacySettings", "ShowEmailAddress") and not call.is_admin:
        raise ApiError(403, "api.user.get_user_by_email.permissions.app_error")
    for user in call.simulation.world.users.values():
        if user.email.lower() == call.params["email"].lower():
            return shown(call, user)
    raise no_user()


@routes.add("POST", "/users/ids")
def get_by_ids(call: Call) -> Any:
    ids = set(call.ids())
    if not ids:
        raise bad_body("user_ids")
    since = int(call.query("since") or 0)
    users = [one for one in _by_name(call) if one.id in ids and one.update_at >= since]
    return [shown(call, one) for one in users]


@routes.add("POST", "/users/usernames")
def get_by_usernames(call: Call) -> Any:
    names = set(call.ids())
    if not names:
        raise bad_body("usernames")
    return [shown(call, one) for one in _by_name(call) if one.username in names]


def _by_name(call: Call) -> list[User]:
    return sorted(call.simulation.world.users.values(), key=lambda one: one.username)


@routes.add("GET", "/users")
def find(call: Call) -> Any:
    """Ordered by username unless asked otherwise."""
    call.simulation.seen(call.session)
    world = call.simulation.world
    users = _by_name(call)
    in_team, in_channel = call.query("in_team"), call.query("in_channel")
    not_in_channel, not_in_team = call.query("not_in_channel"), call.query("not_in_team")
    for name, value in (
        ("in_team", in_team),
        ("in_channel", in_channel),
        ("not_in_channel", not_in_channel),
        ("not_in_team", not_in_team),
    ):
        if value and not is_id(value):
            raise bad_url(name)
    if in_channel:
        call.require_in_channel("read_channel", in_channel)
        users = [one for one in users if world.member(in_channel, one.id)]
    elif not_in_channel:
        call.require_in_channel("read_channel", not_in_channel)
        users = [one for one in users if not world.member(not_in_channel, one.id)]
    if in_team:
        call.require_in_team("view_team", in_team)
        users = [one for one in users if world.team_member(in_team, one.id)]
    if not_in_team:
        users = [one for one in users if not world.team_member(not_in_team, one.id)]
    if call.flag("active"):
        users = [one for one in users if not one.delete_at]
    if call.flag("inactive"):
        users = [one for one in users if one.delete_at]
    if call.query("role"):
        users = [one for one in users if call.query("role") in one.roles.split()]
    return [shown(call, one) for one in call.page_of(_sorted(call, users, in_team, in_channel))]


def _sorted(call: Call, users: list[User], in_team: str, in_channel: str) -> list[User]:
    sort, world = call.query("sort"), call.simulation.world
    if sort not in ("", "status", "admin", "last_activity_at", "create_at", "display_name"):
        raise bad_url("sort")
    if sort in ("status", "admin") and not in_channel:
        raise bad_url("sort")
    if sort in ("last_activity_at", "create_at") and not in_team:
        raise bad_url("sort")
    if sort == "create_at":
        return sorted(users, key=lambda one: -one.create_at)
    if sort == "last_activity_at":
        seen = call.simulation.statuses
        return sorted(
            users, key=lambda one: -seen[one.id].last_activity_at if one.id in seen else 0
        )
    if sort == "status":
        rank = {"online": 0, "away": 1, "dnd": 2}
        return sorted(
            users,
            key=lambda one: rank.get(presence.status_of(call.simulation, one.id).status, 3),
        )
    if sort == "admin":
        return sorted(users, key=lambda one: not world.members[in_channel][one.id].scheme_admin)
    return users


@routes.add("POST", "/users/search")
def search(call: Call) -> Any:
    body, world = call.json(), call.simulation.world
    term = str(body.get("term") or "").lower().lstrip("@")
    if not term:
        raise bad_body("term")
    limit = min(int(body.get("limit") or 100), 1000)
    users = [one for one in _by_name(call) if _matches(one, term)]
    if not body.get("allow_inactive"):
        users = [one for one in users if not one.delete_at]
    if body.get("team_id"):
        users = [one for one in users if world.team_member(body["team_id"], one.id)]
    if body.get("in_channel_id"):
        users = [one for one in users if world.member(body["in_channel_id"], one.id)]
    if body.get("not_in_channel_id"):
        users = [one for one in users if not world.member(body["not_in_channel_id"], one.id)]
    return [shown(call, one) for one in users[:limit]]


def _matches(user: User, term: str) -> bool:
    names = (user.username, user.first_name, user.last_name, user.nickname, user.email)
    return any(name.lower().startswith(term) for name in names)


@routes.add("GET", "/users/autocomplete")
def complete(call: Call) -> Any:
    world, term = call.simulation.world, call.query("name").lower()
    users = [one for one in _by_name(call) if _matches(one, term) and not one.delete_at]
    if call.query("in_team"):
        users = [one for one in users if world.team_member(call.query("in_team"), one.id)]
    if not call.query("in_channel"):
        return {"users": [shown(call, one) for one in users[:100]]}
    inside = [one for one in users if world.member(call.query("in_channel"), one.id)]
    outside = [one for one in users if one not in inside]
    return {
        "users": [shown(call, one) for one in inside[:100]],
        "out_of_channel": [shown(call, one) for one in outside[:100]],
    }


@routes.add("GET", "/users/known")
def known(call: Call) -> Any:
    """Ids of everyone the caller shares a channel with."""
    members = call.simulation.world.members.values()
    together = [inside for inside in members if call.user.id in inside]
    return sorted({user_id for inside in together for user_id in inside} - {call.user.id})


@routes.add("GET", "/users/stats")
def stats(call: Call) -> Any:
    users = call.simulation.world.users.values()
    return {"total_users_count": sum(not one.delete_at for one in users)}


@routes.add("PUT", "/users/{user_id}/patch")
def patch(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    people.patch(call.simulation, user, call.json())
    return shown(call, user)


@routes.add("PUT", "/users/{user_id}/active")
def set_active(call: Call) -> Any:
    user, active = call.named_user(), call.json().get("active")
    if not isinstance(active, bool):
        raise bad_body("active")
    if not call.is_admin and (active or user.id != call.user.id):
        raise no_permission()
    people.set_active(call.simulation, user, active=active)
    return OK


@routes.add("DELETE", "/users/{user_id}")
def deactivate(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    people.set_active(call.simulation, user, active=False)
    return OK


@routes.add("PUT", "/users/{user_id}/roles")
def set_roles(call: Call) -> Any:
    user, roles = call.named_user(), call.text_of("roles")
    call.require("manage_roles")
    if any(role not in PERMISSIONS for role in roles.split()):
        raise bad_body("roles")
    people.set_roles(call.simulation, user, roles)
    return OK


# Status


@routes.add("GET", "/users/{user_id}/status")
def get_status(call: Call) -> Any:
    user = call.named_user()
    return presence.as_json(presence.status_of(call.simulation, user.id))


@routes.add("POST", "/users/status/ids")
def get_statuses(call: Call) -> Any:
    ids = call.ids()
    if not ids or not all(is_id(one) for one in ids):
        raise bad_body("user_ids")
    return [presence.as_json(presence.status_of(call.simulation, one)) for one in ids]


@routes.add("PUT", "/users/{user_id}/status")
def set_status(call: Call) -> Any:
    user, body = call.named_user(), call.json()
    if body.get("user_id") != user.id:
        raise bad_body("user_id")
    call.require_self_or_admin(user)
    if body.get("status") not in presence.NAMES:
        raise bad_body("status")
    status = presence.set_manually(
        call.simulation, user.id, body["status"], int(body.get("dnd_end_time") or 0)
    )
    return presence.as_json(status)


@routes.add("PUT", "/users/{user_id}/status/custom")
def set_custom_status(call: Call) -> Any:
    user, body = call.named_user(), call.json()
    call.require_self_or_admin(user)
    if not call.simulation.setting("TeamSettings", "EnableCustomUserStatuses"):
        raise ApiError(501, "api.custom_status.disabled")
    if not body.get("emoji") and not body.get("text"):
        raise bad_body("custom_status")
    user.props = user.props | {"customStatus": as_text(body)}
    people.tell_updated(call.simulation, user)
    return OK


@routes.add("DELETE", "/users/{user_id}/status/custom")
def clear_custom_status(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    user.props = {key: value for key, value in user.props.items() if key != "customStatus"}
    people.tell_updated(call.simulation, user)
    return OK


@routes.add("POST", "/users/{user_id}/typing")
def typing(call: Call) -> Any:
    user, body = call.named_user(), call.json()
    if user.id != call.user.id:
        call.require("manage_system")
    channel_id = body.get("channel_id")
    if not is_id(channel_id):
        raise bad_body("channel_id")
    call.require_in_channel("create_post", channel_id)
    actions.tell_typing(call.simulation, user.id, channel_id, str(body.get("parent_id") or ""))
    return OK


# Preferences


def _preferences(call: Call, user: User) -> list[dict[str, str]]:
    kept = call.simulation.world.preferences.get(user.id, {})
    return [
        {"user_id": user.id, "category": category, "name": name, "value": value}
        for (category, name), value in kept.items()
    ]


@routes.add("GET", "/users/{user_id}/preferences")
def get_preferences(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    return _preferences(call, user)


@routes.add("GET", "/users/{user_id}/preferences/{category}")
def get_preferences_of(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    found = [one for one in _preferences(call, user) if one["category"] == call.params["category"]]
    if not found:
        raise ApiError(404, "api.preference.preferences_category.get.app_error")
    return found


@routes.add("GET", "/users/{user_id}/preferences/{category}/name/{name}")
def get_preference(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    for one in _preferences(call, user):
        if (one["category"], one["name"]) == (call.params["category"], call.params["name"]):
            return one
    raise ApiError(404, "app.preference.get.app_error")


@routes.add("PUT", "/users/{user_id}/preferences")
def set_preferences(call: Call) -> Any:
    return _change_preferences(call, "preferences_changed")


@routes.add("POST", "/users/{user_id}/preferences/delete")
def delete_preferences(call: Call) -> Any:
    return _change_preferences(call, "preferences_deleted")


def _change_preferences(call: Call, event: str) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    rows = call.array()
    kept = call.simulation.world.preferences.setdefault(user.id, {})
    for row in rows:
        if not isinstance(row, dict) or row.get("user_id") != user.id:
            raise no_permission()
        key = (str(row.get("category")), str(row.get("name")))
        if event == "preferences_changed":
            kept[key] = str(row.get("value"))
        else:
            kept.pop(key, None)
    call.simulation.publish(event, {"preferences": as_text(rows)}, user_id=user.id)
    return OK


# Pictures


@routes.add("POST", "/users/{user_id}/image", takes_files=True)
async def set_picture(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    async for part in await call.request.multipart():
        if part.name == "image":
            user.picture = await part.read()
    if not user.picture:
        raise ApiError(400, "api.user.upload_profile_user.no_file.app_error")
    user.last_picture_update = user.update_at = call.simulation.now()
    people.tell_updated(call.simulation, user)
    return OK


@routes.add("GET", "/users/{user_id}/image")
@routes.add("GET", "/users/{user_id}/image/default")
def get_picture(call: Call) -> Any:
    return Answer(call.named_user().picture, headers={"Content-Type": "image/png"})


@routes.add("DELETE", "/users/{user_id}/image")
def reset_picture(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    user.picture, user.last_picture_update = b"", 0
    return OK
