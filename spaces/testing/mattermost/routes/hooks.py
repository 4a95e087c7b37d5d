"""Incoming and outgoing webhooks: setting them up, and the address programs post to."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs

from .. import outgoing, places, views
from ..calls import OK, Answer, Call, Routes
from ..errors import ApiError, bad_body, no_channel
from ..state import Channel, IncomingHook, OutgoingHook, User, is_id, new_id

routes = Routes()
public_routes = Routes(prefix="")


def _require_enabled(call: Call, setting: str, kind: str) -> None:
    if not call.simulation.setting("ServiceSettings", setting):
        raise ApiError(501, f"api.{kind}_webhook.disabled.app_error")


# Incoming


@routes.add("POST", "/hooks/incoming")
def create_incoming(call: Call) -> Answer:
    body = call.json()
    _require_enabled(call, "EnableIncomingWebhooks", "incoming")
    if not is_id(body.get("channel_id")):
        raise bad_body("channel_id")
    channel = call.find_channel(body["channel_id"])
    call.require_in_team("manage_own_incoming_webhooks", channel.team_id)
    now = call.simulation.now()
    hook = IncomingHook(
        user_id=call.user.id,
        team_id=channel.team_id,
        channel_id=channel.id,
        create_at=now,
        update_at=now,
    )
    _fill_incoming(hook, body)
    call.simulation.world.incoming_hooks[hook.id] = hook
    return Answer(views.stored(hook), status=201)


def _fill_incoming(hook: IncomingHook, body: dict[str, Any]) -> None:
    for key in ("display_name", "description", "username", "icon_url"):
        if isinstance(body.get(key), str):
            setattr(hook, key, body[key])
    hook.channel_locked = bool(body.get("channel_locked", hook.channel_locked))


@routes.add("GET", "/hooks/incoming")
def find_incoming(call: Call) -> Any:
    team_id = call.query("team_id")
    if team_id:
        call.require_in_team("manage_own_incoming_webhooks", team_id)
    else:
        call.require("manage_system")
    hooks = [
        one
        for one in call.simulation.world.incoming_hooks.values()
        if one.team_id == team_id or not team_id
    ]
    return [views.stored(one) for one in call.page_of(hooks)]


def _incoming(call: Call) -> IncomingHook:
    return call.of_team(
        call.simulation.world.incoming_hooks,
        call.params["hook_id"],
        "manage_own_incoming_webhooks",
        "app.webhooks.get_incoming.app_error",
    )


@routes.add("GET", "/hooks/incoming/{hook_id}")
def get_incoming(call: Call) -> Any:
    return views.stored(_incoming(call))


@routes.add("PUT", "/hooks/incoming/{hook_id}")
def update_incoming(call: Call) -> Answer:
    hook, body = _incoming(call), call.json()
    if is_id(body.get("channel_id")):
        hook.channel_id = call.find_channel(body["channel_id"]).id
    _fill_incoming(hook, body)
    hook.update_at = call.simulation.now()
    return Answer(views.stored(hook), status=201)


@routes.add("DELETE", "/hooks/incoming/{hook_id}")
def delete_incoming(call: Call) -> Any:
    del call.simulation.world.incoming_hooks[_incoming(call).id]
    return OK


# Posting through an incoming webhook


@public_routes.add("POST", "/hooks/{hook_id}", needs_login=False, takes_files=True)
async def receive(call: Call) -> Answer:
    """Without a login: whoever knows the address may write."""
    payload = await _payload(call)
    try:
        _post_payload(call, payload)
    except ApiError as refusal:
        told = ApiError(refusal.status, "web.incoming_webhook.general.app_error", refusal.id)
        raise told from refusal
    return Answer(b"ok", headers={"Content-Type": "text/plain"})


async def _payload(call: Call) -> dict[str, Any]:
    kind = call.request.content_type
    if kind == "multipart/form-data":
        form = await call.request.post()
        text = str(form.get("payload") or "")
        fields = {key: value for key, value in form.items() if isinstance(value, str)}
        return _decoded(text) if text else fields
    body = (await call.request.read()).decode(errors="replace")
    if kind == "application/x-www-form-urlencoded":
        body = parse_qs(body).get("payload", [""])[0]
    return _decoded(body)


def _decoded(text: str) -> dict[str, Any]:
    try:
        payload = json.loads(text)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise ApiError(400, "web.incoming_webhook.decode.app_error")
    return payload


def _post_payload(call: Call, payload: dict[str, Any]) -> None:
    simulation = call.simulation
    if not simulation.setting("ServiceSettings", "EnableIncomingWebhooks"):
        raise ApiError(501, "web.incoming_webhook.disabled.app_error")
    hook = simulation.world.incoming_hooks.get(call.params["hook_id"])
    if hook is None:
        raise ApiError(400, "web.incoming_webhook.invalid.app_error")
    if not payload.get("text") and not payload.get("attachments"):
        raise ApiError(400, "web.incoming_webhook.text.app_error")
    author = simulation.world.users[hook.user_id]
    channel = _wanted_channel(call, hook, author, str(payload.get("channel") or ""))
    if hook.channel_locked and channel.id != hook.channel_id:
        raise ApiError(403, "web.incoming_webhook.channel_locked.app_error")
    if channel.type != "O" and simulation.world.member(channel.id, author.id) is None:
        raise ApiError(403, "web.incoming_webhook.permissions.app_error")
    if channel.delete_at:
        raise ApiError(400, "api.post.create_post.can_not_post_to_deleted.error")
    outgoing.write(
        simulation,
        author=author,
        channel=channel,
        answer=payload,
        override=(hook.username, hook.icon_url),
        hook_name=hook.display_name,
    )


def _wanted_channel(call: Call, hook: IncomingHook, author: User, wanted: str) -> Channel:
    world = call.simulation.world
    if not wanted:
        return world.channels[hook.channel_id]
    if wanted.startswith("@"):
        other = world.user_named(wanted[1:])
        if other is None:
            raise ApiError(400, "web.incoming_webhook.user.app_error")
        return places.direct_channel(call.simulation, author, other)[0]
    channel = world.channel_named(hook.team_id, wanted.lstrip("#")) or world.channels.get(wanted)
    if channel is None:
        raise no_channel()
    return channel


# Outgoing


@routes.add("POST", "/hooks/outgoing")
def create_outgoing(call: Call) -> Answer:
    body = call.json()
    _require_enabled(call, "EnableOutgoingWebhooks", "outgoing")
    if not is_id(body.get("team_id")):
        raise bad_body("team_id")
    call.require_in_team("manage_own_outgoing_webhooks", body["team_id"])
    if body.get("channel_id") and call.find_channel(body["channel_id"]).type != "O":
        raise ApiError(403, "api.webhook.create_outgoing.not_open.app_error")
    if not body.get("channel_id") and not body.get("trigger_words"):
        raise ApiError(400, "api.webhook.create_outgoing.triggers.app_error")
    if not body.get("callback_urls"):
        raise ApiError(400, "model.outgoing_hook.is_valid.callback.app_error")
    now = call.simulation.now()
    hook = OutgoingHook(
        creator_id=call.user.id, team_id=body["team_id"], create_at=now, update_at=now
    )
    _fill_outgoing(hook, body)
    call.simulation.world.outgoing_hooks[hook.id] = hook
    return Answer(views.stored(hook), status=201)


def _fill_outgoing(hook: OutgoingHook, body: dict[str, Any]) -> None:
    texts = ("channel_id", "display_name", "description", "content_type", "username", "icon_url")
    for key in texts:
        if isinstance(body.get(key), str):
            setattr(hook, key, body[key])
    for key in ("trigger_words", "callback_urls"):
        if isinstance(body.get(key), list):
            setattr(hook, key, [str(one) for one in body[key]])
    hook.trigger_when = int(body.get("trigger_when") or 0)


@routes.add("GET", "/hooks/outgoing")
def find_outgoing(call: Call) -> Any:
    team_id, channel_id = call.query("team_id"), call.query("channel_id")
    if team_id:
        call.require_in_team("manage_own_outgoing_webhooks", team_id)
    else:
        call.require("manage_system")
    hooks = [
        one
        for one in call.simulation.world.outgoing_hooks.values()
        if one.team_id == team_id or not team_id
        if one.channel_id == channel_id or not channel_id
    ]
    return [views.stored(one) for one in call.page_of(hooks)]


def _outgoing(call: Call) -> OutgoingHook:
    return call.of_team(
        call.simulation.world.outgoing_hooks,
        call.params["hook_id"],
        "manage_own_outgoing_webhooks",
        "app.webhooks.get_outgoing.app_error",
    )


@routes.add("GET", "/hooks/outgoing/{hook_id}")
def get_outgoing(call: Call) -> Any:
    return views.stored(_outgoing(call))


@routes.add("PUT", "/hooks/outgoing/{hook_id}")
def update_outgoing(call: Call) -> Any:
    hook = _outgoing(call)
    _fill_outgoing(hook, call.json())
    hook.update_at = call.simulation.now()
    return views.stored(hook)


@routes.add("POST", "/hooks/outgoing/{hook_id}/regen_token")
def renew_token(call: Call) -> Any:
    hook = _outgoing(call)
    hook.token = new_id()
    return views.stored(hook)


@routes.add("DELETE", "/hooks/outgoing/{hook_id}")
def delete_outgoing(call: Call) -> Any:
    del call.simulation.world.outgoing_hooks[_outgoing(call).id]
    return OK
