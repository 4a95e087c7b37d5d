"""Reading posts: channels page by page, by time, threads, versions, search."""

from __future__ import annotations

import re
from typing import Any

from .. import assumptions, places, posting, views
from ..calls import Call, Routes
from ..errors import ApiError, bad_body, bad_url, no_permission, no_post
from ..state import Channel, Post, is_id

routes = Routes()

MOST_IDS = 1000


def _post_list(
    call: Call,
    order: list[Post],
    *,
    more: list[Post] | None = None,
    next_id: str = "",
    prev_id: str = "",
) -> dict[str, Any]:
    """`order` says what was asked for; `posts` brings the threads along, unless refused. What is
    hidden is taken out after the rows were counted, so that pages get shorter."""
    hidden_until = call.simulation.hidden_until
    hides = any(one.create_at < hidden_until for one in order)
    left_out = call.simulation.left_out
    order = [one for one in order if one.create_at >= hidden_until and one.id not in left_out]
    together = {one.id: one for one in [*order, *(more or [])]}
    if not call.flag("skipFetchThreads"):
        world = call.simulation.world
        for root_id in {one.root_id or one.id for one in order if not one.original_id}:
            root = world.posts.get(root_id)
            thread = [*([root] if root else []), *world.replies_of.get(root_id, [])]
            for one in thread:
                if not one.delete_at:
                    together.setdefault(one.id, one)
    return {
        "order": [one.id for one in order],
        "posts": {id: views.post(call.simulation, one) for id, one in together.items()},
        "next_post_id": next_id,
        "prev_post_id": prev_id,
        "first_inaccessible_post_time": hidden_until if hides else 0,
    }


@routes.add("GET", "/channels/{channel_id}/posts")
def of_channel(call: Call) -> Any:
    channel = call.named_channel()
    if not call.simulation.may_read(call.user, channel):
        raise no_permission()
    if call.flag("include_deleted"):
        call.require("manage_system")
    for name in ("before", "after"):
        if call.query(name) and not is_id(call.query(name)):
            raise bad_url(name)
    since = call.query("since")
    if since and not re.fullmatch(r"-?\d+", since):
        raise bad_url("since")
    if since and int(since) > 0:
        return _since(call, channel, int(since))
    living = _living(call, channel)
    if call.query("after"):
        return _after(call, living)
    if call.query("before"):
        return _before(call, living)
    return _page(call, living)


def _living(call: Call, channel: Channel) -> list[Post]:
    """Newest first, by the time of writing alone."""
    posts = [
        one
        for one in call.simulation.world.posts_of.get(channel.id, [])
        if not one.delete_at or (call.flag("include_deleted") and not one.original_id)
    ]
    posts.reverse()
    return sorted(posts, key=lambda one: -one.create_at)


def _since(call: Call, channel: Channel, since: int) -> Any:
    """Every row changed later, deleted ones and old versions too; which of many is chance."""
    rows = [
        one for one in call.simulation.world.posts_of.get(channel.id, []) if one.update_at > since
    ]
    if len(rows) > assumptions.SINCE_ROWS:
        rows = call.simulation.chance.sample(rows, assumptions.SINCE_ROWS)
    rows.sort(key=lambda one: -one.create_at)
    return _post_list(call, rows)


def _page(call: Call, living: list[Post]) -> Any:
    page, per_page = call.paging()
    start = page * per_page
    return _with_neighbours(call, living, living[start : start + per_page])


def _before(call: Call, living: list[Post]) -> Any:
    anchor = call.simulation.world.posts.get(call.query("before"))
    if anchor is None:
        return _post_list(call, [])
    older = [one for one in living if one.create_at < anchor.create_at]
    page, per_page = call.paging()
    chosen = older[page * per_page : (page + 1) * per_page]
    return _with_neighbours(call, living, chosen)


def _after(call: Call, living: list[Post]) -> Any:
    """The posts right after the anchor, still newest first."""
    anchor = call.simulation.world.posts.get(call.query("after"))
    if anchor is None:
        return _post_list(call, [])
    newer = [one for one in living if one.create_at > anchor.create_at]
    newer.reverse()
    page, per_page = call.paging()
    chosen = newer[page * per_page : (page + 1) * per_page]
    chosen.reverse()
    return _with_neighbours(call, living, chosen)


def _with_neighbours(call: Call, living: list[Post], chosen: list[Post]) -> Any:
    if not chosen:
        return _post_list(call, [])
    newer = [one for one in living if one.create_at > chosen[0].create_at]
    older = [one for one in living if one.create_at < chosen[-1].create_at]
    return _post_list(
        call,
        chosen,
        next_id=newer[-1].id if newer else "",
        prev_id=older[0].id if older else "",
    )


@routes.add("GET", "/users/{user_id}/channels/{channel_id}/posts/unread")
def around_unread(call: Call) -> Any:
    user, channel = call.named_user(), call.member_channel()
    member = call.simulation.world.member(channel.id, user.id)
    if member is None:
        raise no_permission()
    living = _living(call, channel)
    seen = [one for one in living if one.create_at <= member.last_viewed_at]
    unseen = [one for one in living if one.create_at > member.last_viewed_at]
    before = int(call.query("limit_before") or 60)
    after = int(call.query("limit_after") or 60)
    return _with_neighbours(call, living, unseen[-after:] + seen[:before])


# Single posts and threads


@routes.add("GET", "/posts/{post_id}")
def get(call: Call) -> Any:
    post = call.simulation.world.posts.get(call.params["post_id"])
    if post and post.delete_at and call.flag("include_deleted") and call.is_admin:
        return views.post(call.simulation, post)
    return views.post(
        call.simulation, posting.readable(call.simulation, call.user, call.params["post_id"])
    )


@routes.add("POST", "/posts/ids")
def get_many(call: Call) -> Any:
    ids = call.ids()
    if not ids or len(ids) > MOST_IDS:
        raise bad_body("post_ids")
    found = []
    for post_id in ids:
        post = call.find_post(post_id)
        if post is None:
            continue
        if call.simulation.may_read(call.user, call.simulation.world.channels[post.channel_id]):
            found.append(views.post(call.simulation, post))
    return found


@routes.add("GET", "/posts/{post_id}/info")
def info(call: Call) -> Any:
    post = posting.readable(call.simulation, call.user, call.params["post_id"])
    channel = call.simulation.world.channels[post.channel_id]
    team = call.simulation.world.teams.get(channel.team_id)
    return {
        "channel_id": channel.id,
        "channel_type": channel.type,
        "channel_display_name": channel.display_name,
        "has_joined_channel": call.member_of(channel) is not None,
        "team_id": channel.team_id,
        "team_type": team.type if team else "",
        "team_display_name": team.display_name if team else "",
        "has_joined_team": bool(team and call.simulation.world.team_member(team.id, call.user.id)),
    }


@routes.add("GET", "/posts/{post_id}/edit_history")
def edit_history(call: Call) -> Any:
    post = posting.readable(call.simulation, call.user, call.params["post_id"])
    if post.user_id != call.user.id:
        raise no_permission()
    versions = [
        one for one in call.simulation.world.posts_of[post.channel_id] if one.original_id == post.id
    ]
    if not versions:
        raise ApiError(404, "app.post.get_edit_history.app_error")
    versions.sort(key=lambda one: -one.edit_at)
    return [views.post(call.simulation, one) for one in versions]


@routes.add("GET", "/posts/{post_id}/thread")
def thread(call: Call) -> Any:
    """The post asked for comes first; the rest is in order only if a direction is given."""
    world = call.simulation.world
    post = posting.readable(call.simulation, call.user, call.params["post_id"])
    root = world.posts.get(post.root_id or post.id)
    if root is None:
        raise no_post()
    per_page = call.query("perPage") or "0"
    if not per_page.isdigit() or int(per_page) > 200:
        raise bad_url("perPage")
    direction = call.query("direction")
    if direction not in ("", "up", "down"):
        raise bad_url("direction")
    by = "update_at" if call.query("fromUpdateAt", "0") != "0" else "create_at"
    replies = sorted(
        world.live_replies(root.id),
        key=lambda one: (getattr(one, by), one.id),
        reverse=direction != "down",
    )
    replies = _from_cursor(call, replies, by, direction)
    if not direction:
        replies.sort(key=lambda one: one.id)
    most = int(per_page)
    has_next = bool(most) and len(replies) > most
    replies = replies[:most] if most else replies
    rest = [one for one in [root, *replies] if one.id != post.id]
    listed = _post_list(call, [post, *rest]) if not most else _exactly(call, [post, *rest])
    return listed | {"has_next": has_next}


def _from_cursor(call: Call, replies: list[Post], by: str, direction: str) -> list[Post]:
    start = call.query(f"from{'UpdateAt' if by == 'update_at' else 'CreateAt'}") or "0"
    if not start.isdigit():
        raise bad_url("fromCreateAt")
    if int(start) == 0:
        return replies
    cursor = (int(start), call.query("fromPost"))
    if direction == "down":
        return [one for one in replies if (getattr(one, by), one.id) > cursor]
    return [one for one in replies if (getattr(one, by), one.id) < cursor]


def _exactly(call: Call, order: list[Post]) -> dict[str, Any]:
    return {
        "order": [one.id for one in order],
        "posts": {one.id: views.post(call.simulation, one) for one in order},
        "next_post_id": "",
        "prev_post_id": "",
        "first_inaccessible_post_time": 0,
    }


@routes.add("POST", "/users/{user_id}/posts/{post_id}/set_unread")
def set_unread(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    post = posting.readable(call.simulation, call.user, call.params["post_id"])
    return places.mark_unread(call.simulation, user, post)


# Search


@routes.add("POST", "/posts/search")
def search(call: Call) -> Any:
    return _search(call, "")


@routes.add("POST", "/teams/{team_id}/posts/search")
def search_team(call: Call) -> Any:
    call.require_in_team("view_team", call.named_team().id)
    return _search(call, call.params["team_id"])


def _search(call: Call, team_id: str) -> Any:
    """Words, `from:` and `in:`; the real server knows more."""
    body, world = call.json(), call.simulation.world
    terms = call.text_of("terms")
    words = [word.lower() for word in terms.split() if ":" not in word]
    named = [word for word in terms.split() if word.startswith(("from:", "in:"))]
    filters = dict(word.split(":", 1) for word in named)
    channels = [
        one
        for one in world.channels_of(call.user.id)
        if one.team_id in (team_id, "") or not team_id
        if not one.delete_at or body.get("include_deleted_channels")
        if filters.get("in", one.name) == one.name
    ]
    every = any if body.get("is_or_search") else all
    found = [
        post
        for channel in channels
        for post in world.posts_of.get(channel.id, [])
        if not post.delete_at and not post.type.startswith("system_")
        if filters.get("from", "") in ("", world.users[post.user_id].username)
        if every(_has_word(post.message, word) for word in words)
    ]
    found.sort(key=lambda one: -one.create_at)
    page, per_page = int(body.get("page") or 0), int(body.get("per_page") or 60)
    return _exactly(call, found[page * per_page : (page + 1) * per_page]) | {"matches": None}


def _has_word(text: str, word: str) -> bool:
    if word.endswith("*"):
        return re.search(rf"\b{re.escape(word[:-1])}", text.lower()) is not None
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text.lower()) is not None
