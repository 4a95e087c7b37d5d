"""Teams and who is in them."""

from __future__ import annotations

from typing import Any

from .. import places, views
from ..calls import OK, Answer, Call, Routes
from ..errors import ApiError, bad_body, no_permission, no_team, no_team_member
from ..state import Team, TeamMember, User, is_id
from ..views import as_text

routes = Routes()


def shown(call: Call, team: Team) -> dict[str, Any]:
    """Only who may invite sees the id that invites."""
    view = views.team(team)
    if not call.simulation.may_in_team(call.user, "invite_user", team.id):
        view["invite_id"] = ""
    return view


def _visible(call: Call, team: Team | None) -> Team:
    if team is None or (team.delete_at and not call.is_admin):
        raise no_team()
    open_to_all = team.allow_open_invite and call.simulation.may_in_system(
        call.user, "list_public_teams"
    )
    if not open_to_all:
        call.require_in_team("view_team", team.id)
    return team


@routes.add("GET", "/users/{user_id}/teams")
def of_user(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    teams = [one for one in call.simulation.world.teams_of(user.id) if not one.delete_at]
    return [shown(call, one) for one in teams]


@routes.add("GET", "/users/{user_id}/teams/members")
def memberships(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    return [
        views.team_member(one)
        for one in call.simulation.world.team_members.values()
        if one.user_id == user.id and not one.delete_at
    ]


@routes.add("GET", "/users/{user_id}/teams/unread")
def unread(call: Call) -> Any:
    user, world = call.named_user(), call.simulation.world
    call.require_self_or_admin(user)
    rows = []
    for team in world.teams_of(user.id):
        counts = [
            (world.channels[id].total_msg_count - members[user.id].msg_count, members[user.id])
            for id, members in world.members.items()
            if user.id in members and world.channels[id].team_id == team.id
        ]
        rows.append(
            {
                "team_id": team.id,
                "msg_count": sum(max(0, count) for count, _ in counts),
                "mention_count": sum(member.mention_count for _, member in counts),
            }
        )
    return rows


@routes.add("GET", "/teams")
def find(call: Call) -> Any:
    teams = sorted(call.simulation.world.teams.values(), key=lambda one: one.display_name)
    if not call.is_admin:
        teams = [one for one in teams if one.allow_open_invite and not one.delete_at]
    listed = [shown(call, one) for one in call.page_of(teams)]
    if call.flag("include_total_count"):
        return {"teams": listed, "total_count": len(teams)}
    return listed


@routes.add("POST", "/teams")
def create(call: Call) -> Answer:
    body = call.json()
    call.require("create_team")
    if body.get("type") not in ("O", "I"):
        raise bad_body("team")
    team = places.create_team(
        call.simulation,
        name=call.text_of("name"),
        display_name=call.text_of("display_name"),
        type=body["type"],
        creator=call.user,
        allow_open_invite=bool(body.get("allow_open_invite")),
        description=str(body.get("description") or ""),
    )
    return Answer(shown(call, team), status=201)


@routes.add("POST", "/teams/search")
def search(call: Call) -> Any:
    term = str(call.json().get("term") or "").lower()
    teams = [
        one
        for one in call.simulation.world.teams.values()
        if term in one.name or term in one.display_name.lower()
    ]
    if not call.is_admin:
        teams = [one for one in teams if one.allow_open_invite]
    return [shown(call, one) for one in teams]


@routes.add("GET", "/teams/{team_id}")
def get(call: Call) -> Any:
    return shown(call, _visible(call, call.named_team()))


@routes.add("GET", "/teams/name/{team_name}")
def get_by_name(call: Call) -> Any:
    return shown(call, _visible(call, call.simulation.world.team_named(call.params["team_name"])))


@routes.add("GET", "/teams/name/{team_name}/exists")
def exists(call: Call) -> Any:
    return {"exists": call.simulation.world.team_named(call.params["team_name"]) is not None}


@routes.add("PUT", "/teams/{team_id}")
@routes.add("PUT", "/teams/{team_id}/patch")
def patch(call: Call) -> Any:
    team, body = call.named_team(), call.json()
    call.require_in_team("manage_team", team.id)
    for key in ("display_name", "description"):
        if isinstance(body.get(key), str):
            setattr(team, key, body[key])
    if isinstance(body.get("allow_open_invite"), bool):
        team.allow_open_invite = body["allow_open_invite"]
    team.update_at = call.simulation.now()
    places.tell_team(call.simulation, "update_team", team)
    return shown(call, team)


@routes.add("DELETE", "/teams/{team_id}")
def delete(call: Call) -> Any:
    team = call.named_team()
    call.require_in_team("manage_team", team.id)
    team.delete_at = team.update_at = call.simulation.now()
    places.tell_team(call.simulation, "delete_team", team)
    return OK


@routes.add("POST", "/teams/{team_id}/restore")
def restore(call: Call) -> Any:
    team = call.named_team()
    call.require_in_team("manage_team", team.id)
    team.delete_at, team.update_at = 0, call.simulation.now()
    places.tell_team(call.simulation, "restore_team", team)
    return shown(call, team)


@routes.add("GET", "/teams/{team_id}/stats")
def stats(call: Call) -> Any:
    team, world = call.named_team(), call.simulation.world
    call.require_in_team("view_team", team.id)
    members = [
        world.users[one.user_id]
        for one in world.team_members.values()
        if one.team_id == team.id and not one.delete_at
    ]
    active = sum(not one.delete_at for one in members)
    return {
        "team_id": team.id,
        "total_member_count": len(members),
        "active_member_count": active,
    }


# Members


def _add(call: Call, team: Team, user: User) -> TeamMember:
    simulation = call.simulation
    if user.id != call.user.id:
        call.require_in_team("add_user_to_team", team.id)
    elif not simulation.may_in_team(call.user, "add_user_to_team", team.id):
        if not team.allow_open_invite:
            raise no_permission()
        call.require("join_public_teams")
    adder = None if user.id == call.user.id else call.user
    member = places.join_team(simulation, team, user, adder=adder)
    places.tell_added_to_team(simulation, team, user)
    return member


@routes.add("POST", "/teams/{team_id}/members")
def add_member(call: Call) -> Answer:
    team, body = call.named_team(), call.json()
    if not is_id(body.get("team_id")) or body["team_id"] != team.id:
        raise bad_body("team_id")
    if not is_id(body.get("user_id")):
        raise bad_body("user_id")
    member = _add(call, team, call.find_user(body["user_id"]))
    return Answer(views.team_member(member), status=201)


@routes.add("POST", "/teams/{team_id}/members/batch")
def add_members(call: Call) -> Answer:
    team, rows = call.named_team(), call.array()
    results = []
    for row in rows:
        user_id = row.get("user_id") if isinstance(row, dict) else None
        if not is_id(user_id) or row.get("team_id") != team.id:
            raise bad_body("user_id")
        result: dict[str, Any] = {"user_id": user_id, "member": None, "error": None}
        try:
            result["member"] = views.team_member(_add(call, team, call.find_user(user_id)))
        except ApiError as refusal:
            if not call.flag("graceful"):
                raise
            result["error"] = refusal.as_json()
        results.append(result)
    if call.flag("graceful"):
        return Answer(results, status=201)
    return Answer([one["member"] for one in results], status=201)


@routes.add("POST", "/teams/members/invite")
def join_by_invitation(call: Call) -> Answer:
    for team in call.simulation.world.teams.values():
        if team.invite_id == call.query("invite_id"):
            member = places.join_team(call.simulation, team, call.user)
            return Answer(views.team_member(member), status=201)
    raise no_team()


@routes.add("GET", "/teams/{team_id}/members")
def list_members(call: Call) -> Any:
    team = call.named_team()
    call.require_in_team("view_team", team.id)
    members = [
        one
        for one in call.simulation.world.team_members.values()
        if one.team_id == team.id and not one.delete_at
    ]
    members.sort(key=lambda one: one.user_id)
    return [views.team_member(one) for one in call.page_of(members)]


@routes.add("POST", "/teams/{team_id}/members/ids")
def get_members(call: Call) -> Any:
    team = call.named_team()
    call.require_in_team("view_team", team.id)
    found = [call.simulation.world.team_member(team.id, one) for one in call.ids()]
    return [views.team_member(one) for one in found if one]


@routes.add("GET", "/teams/{team_id}/members/{user_id}")
def get_member(call: Call) -> Any:
    team = call.named_team()
    call.require_in_team("view_team", team.id)
    member = call.simulation.world.team_member(team.id, call.params["user_id"])
    if member is None:
        raise no_team_member()
    return views.team_member(member)


@routes.add("DELETE", "/teams/{team_id}/members/{user_id}")
def remove_member(call: Call) -> Any:
    team, user = call.named_team(), call.named_user()
    if user.id != call.user.id:
        call.require_in_team("remove_user_from_team", team.id)
    places.leave_team(call.simulation, team, user, call.user)
    return OK


@routes.add("PUT", "/teams/{team_id}/members/{user_id}/roles")
def set_roles(call: Call) -> Any:
    roles = call.text_of("roles").split()
    _change_roles(call, admin="team_admin" in roles)
    return OK


@routes.add("PUT", "/teams/{team_id}/members/{user_id}/schemeRoles")
def set_scheme_roles(call: Call) -> Any:
    _change_roles(call, admin=bool(call.json().get("scheme_admin")))
    return OK


def _change_roles(call: Call, *, admin: bool) -> None:
    team = call.named_team()
    call.require_in_team("manage_team_roles", team.id)
    member = call.simulation.world.team_member(team.id, call.params["user_id"])
    if member is None:
        raise no_team_member()
    member.scheme_admin = admin
    call.simulation.publish(
        "memberrole_updated", {"member": as_text(views.team_member(member))}, user_id=member.user_id
    )
