"""Writing posts: new ones, changes, deletions, pins, reactions, ephemeral ones."""

from __future__ import annotations

from typing import Any

from .. import mentions, places, posting, presence, views
from ..calls import OK, Answer, Call, Routes
from ..errors import ApiError, bad_body, no_permission, no_post
from ..faults import Kind, Place
from ..state import Channel, Post, User, is_id, new_id
from ..views import as_text
from .accounts import extend_session

routes = Routes()


def shown(call: Call, post: Post) -> dict[str, Any]:
    return views.post(call.simulation, post)


@routes.add("POST", "/posts")
async def create(call: Call) -> Answer:
    simulation, body = call.simulation, call.json()
    simulation.seen(call.session)
    channel_id = body.get("channel_id")
    if not is_id(channel_id):
        raise bad_body("channel_id")
    _require_posting(call, channel_id)
    channel = simulation.world.channels[channel_id]
    if channel.delete_at:
        raise ApiError(400, "api.post.create_post.can_not_post_to_deleted.error")
    if str(body.get("type") or "").startswith("system_"):
        raise ApiError(400, "api.context.invalid_param.app_error")
    pending = body.get("pending_post_id")
    pending = pending if isinstance(pending, str) else ""
    if pending:
        earlier = posting.known_pending(simulation, pending, call.user)
        if earlier:
            return Answer(shown(call, earlier), status=201)
    try:
        await _meet_stall(call)
        post = _store(call, body, pending)
    except BaseException:
        if pending:
            simulation.dedupe.forget(pending)
        raise
    if pending:
        simulation.dedupe.put(pending, post.id)
    _after_posting(call, channel, post)
    return Answer(views.post(simulation, post, pending_post_id=pending), status=201)


def _require_posting(call: Call, channel_id: str) -> None:
    simulation = call.simulation
    if simulation.may_in_channel(call.user, "create_post", channel_id):
        if channel_id in simulation.world.channels:
            return
        raise no_permission()
    channel = simulation.world.channels.get(channel_id)
    if channel is None or channel.type != "O":
        raise no_permission()
    call.require_in_channel("create_post_public", channel_id)


async def _meet_stall(call: Call) -> None:
    """The place where a request is known as in progress and nothing is stored yet."""
    fault = call.simulation.faults.take(
        Place.DURING, call.request.method, call.request.path, call.user.id
    )
    if fault and fault.kind == Kind.STALL:
        await call.simulation.faults.hang(fault)


def _store(call: Call, body: dict[str, Any], pending: str) -> Post:
    simulation = call.simulation
    if body.get("id"):
        raise ApiError(400, "app.post.save.existing.app_error")
    post = _from_body(call, body)
    posting.check(simulation, post)
    posting.complete(simulation, post)
    return posting.store(simulation, post, pending_post_id=pending, set_online=_sets_online(call))


def _sets_online(call: Call) -> bool:
    return call.query("set_online", "true").lower() != "false"


def _from_body(call: Call, body: dict[str, Any]) -> Post:
    now = call.simulation.now()
    created = body.get("create_at")
    if not (isinstance(created, int) and created > 0 and call.is_admin):
        created = now
    metadata = body.get("metadata")
    priority = metadata.get("priority") if isinstance(metadata, dict) else None
    file_ids = body.get("file_ids")
    props = body.get("props")
    return Post(
        channel_id=body["channel_id"],
        user_id=call.user.id,
        message=_text(body, "message"),
        root_id=_text(body, "root_id"),
        type=_text(body, "type"),
        props=props if isinstance(props, dict) else {},
        file_ids=list(dict.fromkeys(str(one) for one in file_ids)) if file_ids else [],
        is_pinned=body.get("is_pinned") is True,
        priority=priority if isinstance(priority, dict) else None,
        create_at=created,
        update_at=now,
    )


def _text(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise bad_body("post")
    return value or ""


def _after_posting(call: Call, channel: Channel, post: Post) -> None:
    simulation, user = call.simulation, call.user
    if user.id not in simulation.world.bots:
        places.mark_viewed(simulation, user, [channel])
    if _sets_online(call):
        presence.set_automatically(simulation, user.id, "online")
    extend_session(call)
    if mentions.names_everyone(post.message) and not simulation.may_in_channel(
        user, "use_channel_mentions", channel.id
    ):
        tell_ephemerally(call, user.id, channel.id, "Channel-wide mentions are not allowed here.")
    simulation.outgoing.on_post(post)


# Ephemeral posts


def tell_ephemerally(
    call: Call, user_id: str, channel_id: str, message: str, **fields: Any
) -> dict[str, Any]:
    """Show one person a post that is stored nowhere."""
    now = call.simulation.now()
    post = Post(
        id=new_id(),
        channel_id=channel_id,
        user_id=fields.pop("author_id", call.user.id),
        message=message,
        type="system_ephemeral",
        create_at=now,
        update_at=now,
        **fields,
    )
    view = views.post(call.simulation, post)
    call.simulation.publish("ephemeral_message", {"post": as_text(view)}, user_id=user_id)
    return view


@routes.add("POST", "/posts/ephemeral")
def create_ephemeral(call: Call) -> Answer:
    body = call.json()
    post = body.get("post")
    if not is_id(body.get("user_id")):
        raise bad_body("user_id")
    if not isinstance(post, dict):
        raise bad_body("post")
    call.require_in_channel("create_post_ephemeral", str(post.get("channel_id") or ""))
    view = tell_ephemerally(
        call,
        body["user_id"],
        str(post.get("channel_id")),
        _text(post, "message"),
        root_id=_text(post, "root_id"),
        props=post["props"] if isinstance(post.get("props"), dict) else {},
    )
    return Answer(view, status=201)


# Changing


def _to_edit(call: Call) -> Post:
    """The post of the path; whoever may not change it learns nothing about it."""
    post = call.find_post(call.params["post_id"])
    if post is None:
        raise no_permission()
    own = post.user_id == call.user.id
    call.require_in_channel("edit_post" if own else "edit_others_posts", post.channel_id)
    if call.simulation.world.channels[post.channel_id].delete_at:
        raise ApiError(400, "api.post.update_post.can_not_update_post_in_deleted.error")
    limit = call.simulation.setting("ServiceSettings", "PostEditTimeLimit")
    if 0 <= limit * 1000 < call.simulation.now() - post.create_at:
        raise ApiError(400, "api.post.update_post.permissions_time_limit.app_error")
    if post.type.startswith("system_"):
        raise ApiError(400, "api.post.update_post.system_message.app_error")
    return post


@routes.add("PUT", "/posts/{post_id}/patch")
def patch(call: Call) -> Any:
    body = call.json()
    changes = _changes(body, ("message", "props", "file_ids", "is_pinned"))
    return shown(call, posting.change(call.simulation, _to_edit(call), changes))


@routes.add("PUT", "/posts/{post_id}")
def update(call: Call) -> Any:
    """The whole post: what is not named is cleared."""
    body = call.json()
    if body.get("id") != call.params["post_id"]:
        raise bad_body("id")
    post = _to_edit(call)
    given = _changes(body, ("message", "props", "is_pinned", "file_ids"))
    cleared: dict[str, Any] = {"message": "", "props": {}, "is_pinned": False}
    return shown(call, posting.change(call.simulation, post, cleared | given))


def _changes(body: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    types = {"message": str, "props": dict, "file_ids": list, "is_pinned": bool}
    changes = {key: body[key] for key in keys if body.get(key) is not None}
    for key, value in changes.items():
        if not isinstance(value, types[key]):
            raise bad_body("post")
    return changes


@routes.add("DELETE", "/posts/{post_id}")
def delete(call: Call) -> Any:
    post = call.find_post(call.params["post_id"])
    if post is None:
        raise no_post()
    own = post.user_id == call.user.id
    call.require_in_channel("delete_post" if own else "delete_others_posts", post.channel_id)
    if call.flag("permanent"):
        if not call.simulation.setting("ServiceSettings", "EnableAPIPostDeletion"):
            raise ApiError(501, "api.post.delete_post.not_enabled.app_error")
        call.require("manage_system")
        posting.erase(call.simulation, post, call.user)
        return OK
    posting.delete(call.simulation, post, call.user)
    return OK


@routes.add("POST", "/posts/{post_id}/pin")
def pin(call: Call) -> Any:
    return _pin(call, pinned=True)


@routes.add("POST", "/posts/{post_id}/unpin")
def unpin(call: Call) -> Any:
    return _pin(call, pinned=False)


def _pin(call: Call, *, pinned: bool) -> Any:
    post = posting.readable(call.simulation, call.user, call.params["post_id"])
    call.require_in_channel("read_channel", post.channel_id)
    posting.pin(call.simulation, post, pinned=pinned)
    return OK


# Reactions


@routes.add("POST", "/reactions")
def react(call: Call) -> Any:
    body = call.json()
    if not is_id(body.get("user_id")) or not is_id(body.get("post_id")):
        raise bad_body("reaction")
    if body["user_id"] != call.user.id:
        raise ApiError(403, "api.reaction.save_reaction.user_id.app_error")
    post = call.find_post(body["post_id"])
    if post is None:
        raise no_permission()
    call.require_in_channel("add_reaction", post.channel_id)
    name = str(body.get("emoji_name") or "")
    return views.reaction(posting.react(call.simulation, post, call.user, name))


@routes.add("DELETE", "/users/{user_id}/posts/{post_id}/reactions/{emoji_name}")
def unreact(call: Call) -> Any:
    user: User = call.named_user()
    post = call.find_post(call.params["post_id"])
    if post is None:
        raise no_permission()
    call.require_in_channel("remove_reaction", post.channel_id)
    if user.id != call.user.id:
        call.require("manage_system")
    posting.unreact(call.simulation, post, user, call.params["emoji_name"])
    return OK


@routes.add("GET", "/posts/{post_id}/reactions")
def reactions(call: Call) -> Any:
    post = posting.readable(call.simulation, call.user, call.params["post_id"])
    given = call.simulation.world.reactions.get(post.id, {}).values()
    return [views.reaction(one) for one in given]


@routes.add("POST", "/posts/ids/reactions")
def reactions_of(call: Call) -> Any:
    found = {}
    for post_id in call.ids():
        posting.readable(call.simulation, call.user, post_id)
        given = call.simulation.world.reactions.get(post_id, {}).values()
        found[post_id] = [views.reaction(one) for one in given]
    return found
