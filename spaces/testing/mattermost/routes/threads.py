"""Threads somebody follows, and posts they saved."""

from __future__ import annotations

from typing import Any

from .. import posting, views
from ..calls import OK, Call, Routes
from ..state import Post

routes = Routes()


@routes.add("GET", "/users/{user_id}/teams/{team_id}/threads")
def followed(call: Call) -> Any:
    """Newest reply first. What is unread in a thread is not counted here."""
    user, team, world = call.named_user(), call.named_team(), call.simulation.world
    call.require_self_or_admin(user)
    roots = [
        world.posts[root_id]
        for root_id, followers in world.following.items()
        if followers.get(user.id) and not world.posts[root_id].delete_at
    ]
    roots = [one for one in roots if world.channels[one.channel_id].team_id in (team.id, "")]
    roots.sort(key=lambda one: -one.last_reply_at)
    return {
        "total": len(roots),
        "total_unread_threads": 0,
        "total_unread_mentions": 0,
        "total_unread_urgent_mentions": 0,
        "threads": [views.thread(call.simulation, one) for one in call.page_of(roots)],
    }


@routes.add("PUT", "/users/{user_id}/teams/{team_id}/threads/{thread_id}/following")
def follow(call: Call) -> Any:
    return _set_following(call, following=True)


@routes.add("DELETE", "/users/{user_id}/teams/{team_id}/threads/{thread_id}/following")
def unfollow(call: Call) -> Any:
    return _set_following(call, following=False)


def _set_following(call: Call, *, following: bool) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    root = posting.readable(call.simulation, call.user, call.params["thread_id"])
    call.simulation.world.following.setdefault(root.id, {})[user.id] = following
    replies = call.simulation.world.live_replies(root.id)
    call.simulation.publish(
        "thread_follow_changed",
        {"thread_id": root.id, "state": following, "reply_count": len(replies)},
        team_id=call.params["team_id"],
        user_id=user.id,
    )
    return OK


@routes.add("GET", "/users/{user_id}/posts/flagged")
def saved(call: Call) -> Any:
    """What the preferences of category `flagged_post` name."""
    user, world = call.named_user(), call.simulation.world
    call.require_self_or_admin(user)
    names = [
        name
        for (category, name), value in world.preferences.get(user.id, {}).items()
        if category == "flagged_post" and value == "true"
    ]
    posts: list[Post] = [world.posts[one] for one in names if call.find_post(one)]
    posts = call.page_of(sorted(posts, key=lambda one: -one.create_at))
    return {
        "order": [one.id for one in posts],
        "posts": {one.id: views.post(call.simulation, one) for one in posts},
        "next_post_id": "",
        "prev_post_id": "",
        "first_inaccessible_post_time": 0,
    }
