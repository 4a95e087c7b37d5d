"""Slash commands: setting them up, running them, and their later answers."""

from __future__ import annotations

from typing import Any

from .. import outgoing, posting, views
from ..calls import OK, Answer, Call, Routes
from ..errors import ApiError, bad_body
from ..outgoing import CallFailed
from ..state import Channel, Command, User, is_id, new_id
from .posts import tell_ephemerally

routes = Routes()
public_routes = Routes(prefix="")

TEXTS = (
    "method",
    "username",
    "icon_url",
    "auto_complete_desc",
    "auto_complete_hint",
    "display_name",
    "description",
)


@routes.add("POST", "/commands")
def create(call: Call) -> Answer:
    body = call.json()
    if not is_id(body.get("team_id")):
        raise bad_body("team_id")
    call.require_in_team("manage_own_slash_commands", body["team_id"])
    trigger = call.text_of("trigger").lower()
    if trigger.startswith("/") or " " in trigger:
        raise ApiError(400, "model.command.is_valid.trigger.app_error")
    if _find(call, body["team_id"], trigger):
        raise ApiError(400, "api.command.duplicate_trigger.app_error")
    now = call.simulation.now()
    command = Command(
        creator_id=call.user.id,
        team_id=body["team_id"],
        trigger=trigger,
        url=call.text_of("url"),
        create_at=now,
        update_at=now,
    )
    _fill(command, body)
    call.simulation.world.commands[command.id] = command
    return Answer(views.stored(command), status=201)


def _find(call: Call, team_id: str, trigger: str) -> Command | None:
    for command in call.simulation.world.commands.values():
        if (command.team_id, command.trigger) == (team_id, trigger):
            return command
    return None


def _fill(command: Command, body: dict[str, Any]) -> None:
    for key in TEXTS:
        if isinstance(body.get(key), str):
            setattr(command, key, body[key])
    command.auto_complete = bool(body.get("auto_complete", command.auto_complete))


@routes.add("GET", "/commands")
def find(call: Call) -> Any:
    team_id = call.query("team_id")
    if not is_id(team_id):
        raise bad_body("team_id")
    call.require_in_team("view_team", team_id)
    return [
        views.stored(one)
        for one in call.simulation.world.commands.values()
        if one.team_id == team_id
    ]


@routes.add("GET", "/teams/{team_id}/commands/autocomplete")
def complete(call: Call) -> Any:
    call.require_in_team("view_team", call.named_team().id)
    commands = call.simulation.world.commands.values()
    return [
        views.stored(one) | {"token": "", "url": ""}
        for one in commands
        if one.team_id == call.params["team_id"] and one.auto_complete
    ]


def _named(call: Call) -> Command:
    return call.of_team(
        call.simulation.world.commands,
        call.params["command_id"],
        "manage_own_slash_commands",
        "store.sql_command.get.missing.app_error",
    )


@routes.add("GET", "/commands/{command_id}")
def get(call: Call) -> Any:
    return views.stored(_named(call))


@routes.add("PUT", "/commands/{command_id}")
def update(call: Call) -> Any:
    command, body = _named(call), call.json()
    _fill(command, body)
    for key in ("trigger", "url"):
        if isinstance(body.get(key), str) and body[key]:
            setattr(command, key, body[key])
    command.update_at = call.simulation.now()
    return views.stored(command)


@routes.add("PUT", "/commands/{command_id}/regen_token")
def renew_token(call: Call) -> Any:
    command = _named(call)
    command.token = new_id()
    return {"token": command.token}


@routes.add("DELETE", "/commands/{command_id}")
def delete(call: Call) -> Any:
    del call.simulation.world.commands[_named(call).id]
    return OK


# Running


@routes.add("POST", "/commands/execute")
async def execute(call: Call) -> Any:
    body = call.json()
    line = call.text_of("command")
    if len(line) <= 1 or not line.startswith("/"):
        raise ApiError(400, "api.command.execute_command.start.app_error")
    if not is_id(body.get("channel_id")):
        raise bad_body("channel_id")
    call.require_in_channel("create_post", body["channel_id"])
    channel = call.find_channel(body["channel_id"])
    if channel.delete_at:
        raise ApiError(400, "api.command.execute_command.deleted.error")
    trigger, _, text = line[1:].partition(" ")
    command = _find(call, channel.team_id or str(body.get("team_id") or ""), trigger.lower())
    if command is None:
        raise ApiError(404, "api.command.execute_command.not_found.app_error")
    root_id = str(body.get("root_id") or "")
    site = call.simulation.setting("ServiceSettings", "SiteURL")
    try:
        answer, trigger_id = await call.simulation.outgoing.run_command(
            command, text=text, user=call.user, channel=channel, root_id=root_id, site=site
        )
    except CallFailed as failure:
        raise ApiError(500, "api.command.execute_command.failed.app_error", str(failure)) from None
    _answer(call, command, call.user, channel, root_id, answer)
    return answer | {"trigger_id": trigger_id}


def _answer(
    call: Call,
    command: Command,
    user: User,
    channel: Channel,
    root_id: str,
    answer: dict[str, Any],
) -> None:
    for one in [answer, *_extra(answer)]:
        _say(call, command, user, channel, root_id, one)


def _extra(answer: dict[str, Any]) -> list[dict[str, Any]]:
    extra = answer.get("extra_responses")
    return [one for one in extra if isinstance(one, dict)] if isinstance(extra, list) else []


def _say(
    call: Call,
    command: Command,
    user: User,
    channel: Channel,
    root_id: str,
    answer: dict[str, Any],
) -> None:
    """To everyone in the channel, or to whoever gave the command."""
    if not answer.get("text") and not answer.get("attachments"):
        return
    simulation = call.simulation
    chosen = simulation.world.channels.get(str(answer.get("channel_id") or ""))
    if chosen and simulation.may_in_channel(user, "create_post", chosen.id):
        channel = chosen
    if answer.get("response_type") == "in_channel":
        outgoing.write(
            simulation,
            author=user,
            channel=channel,
            answer=answer,
            root_id=root_id,
            override=(command.username, command.icon_url),
        )
        return
    props = {"from_webhook": "true"}
    if answer.get("attachments"):
        props["attachments"] = answer["attachments"]
    tell_ephemerally(
        call,
        user.id,
        channel.id,
        str(answer.get("text") or ""),
        author_id=user.id,
        root_id=root_id,
        props=props,
    )


@public_routes.add("POST", "/hooks/commands/{response_id}", needs_login=False)
def answer_later(call: Call) -> Answer:
    known = call.simulation.response_urls.get(call.params["response_id"])
    if known is None or known.until <= call.simulation.clock.seconds():
        raise ApiError(404, "app.command_webhook.get.missing")
    if known.uses_left == 0:
        raise ApiError(400, "app.command_webhook.try_use.invalid")
    known.uses_left -= 1
    answer = outgoing.as_answer(call.body)
    _answer(call, known.command, known.user, known.channel, known.root_id, answer)
    return Answer(b"ok", headers={"Content-Type": "text/plain"})


# Buttons and menus of cards


@routes.add("POST", "/posts/{post_id}/actions/{action_id}")
async def press(call: Call) -> Any:
    post = posting.readable(call.simulation, call.user, call.params["post_id"])
    action = _action_of(post.props.get("attachments"), call.params["action_id"])
    if action is None:
        raise ApiError(404, "api.post.do_action.action_id.app_error")
    body = call.json() if call.body else {}
    trigger_id = new_id()
    try:
        answer = await call.simulation.outgoing.press(
            post, action, call.user, trigger_id, str(body.get("selected_option") or "")
        )
    except CallFailed as failure:
        refused = "api.post.do_action.action_integration.app_error"
        raise ApiError(400, refused, str(failure)) from None
    changes = answer.get("update")
    if isinstance(changes, dict):
        known = {key: changes[key] for key in ("message", "props") if key in changes}
        posting.change(call.simulation, post, known)
    if answer.get("ephemeral_text"):
        text = str(answer["ephemeral_text"])
        tell_ephemerally(call, call.user.id, post.channel_id, text, author_id=post.user_id)
    return OK | {"trigger_id": trigger_id}


def _action_of(attachments: Any, action_id: str) -> dict[str, Any] | None:
    for attachment in attachments if isinstance(attachments, list) else []:
        for action in attachment.get("actions") or []:
            if action.get("id") == action_id and action.get("integration"):
                found: dict[str, Any] = action
                return found
    return None
