"""Posts: writing, changing, deleting, reacting, and telling everyone who reads."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import emoji, mentions, views
from .dedupe import IN_PROGRESS
from .errors import ApiError, no_permission, no_post
from .state import Channel, Post, Reaction, User, is_id, new_id
from .views import as_text

if TYPE_CHECKING:
    from .simulation import Simulation

MAX_MESSAGE = 16383  # code points
MAX_PROPS = 800_000
MAX_FILE_IDS = 300  # characters of their JSON
STRIPPED_PROPS = frozenset(["add_channel_member", "force_notification"])


def check(simulation: Simulation, post: Post) -> None:
    """Everything the server checks before it stores a post of a client."""
    if len(post.message) > MAX_MESSAGE:
        raise ApiError(400, "model.post.is_valid.message_length.app_error")
    if len(json.dumps(post.file_ids, separators=(",", ":"))) > MAX_FILE_IDS:
        raise ApiError(400, "model.post.is_valid.file_ids.app_error")
    if len(json.dumps(post.props)) > MAX_PROPS:
        raise ApiError(400, "model.post.is_valid.props.app_error")
    if post.root_id:
        root = simulation.world.posts.get(post.root_id)
        if root is None or root.root_id or root.delete_at:
            raise ApiError(400, "api.post.create_post.root_id.app_error")
        if root.channel_id != post.channel_id:
            raise ApiError(400, "api.post.create_post.channel_root_id.app_error")


def complete(simulation: Simulation, post: Post) -> None:
    """What the server adds to a post on its own."""
    post.props = {key: value for key, value in post.props.items() if key not in STRIPPED_PROPS}
    if post.user_id in simulation.world.bots:
        post.props["from_bot"] = "true"
    _name_actions(post.props)
    post.hashtags = " ".join(re.findall(r"(?<!\w)#[^\W\d_][\w.-]*", post.message))[:1000]
    channel = simulation.world.channels[post.channel_id]
    links = mentions.channel_links(simulation.world, channel, post.message)
    if links:
        post.props["channel_mentions"] = links


def _name_actions(props: dict[str, Any]) -> None:
    attachments = props.get("attachments")
    for attachment in attachments if isinstance(attachments, list) else []:
        for action in attachment.get("actions") or [] if isinstance(attachment, dict) else []:
            if isinstance(action, dict) and not action.get("id"):
                action["id"] = new_id()


def known_pending(simulation: Simulation, pending: str, user: User) -> Post | None:
    """The post an earlier request with this id made. Marks the id as in progress otherwise."""
    post_id = simulation.dedupe.get(pending)
    if post_id == IN_PROGRESS:
        raise ApiError(500, "api.post.deduplicate_create_post.pending")
    if post_id is not None:
        post = simulation.world.posts.get(post_id)
        if post is None or post.delete_at:
            raise ApiError(500, "api.post.deduplicate_create_post.failed_to_get")
        if simulation.may_read(user, simulation.world.channels[post.channel_id]):
            return post
    simulation.dedupe.put(pending, IN_PROGRESS)
    return None


def store(
    simulation: Simulation, post: Post, *, pending_post_id: str = "", set_online: bool = False
) -> Post:
    """Save a checked post and tell everyone. The event comes before any answer to its author."""
    world = simulation.world
    channel = world.channels[post.channel_id]
    _attach_files(simulation, post)
    world.save_post(post)
    _count(simulation, post, channel)
    mentioned = _count_mentions(simulation, post, channel)
    _follow(simulation, post, mentioned)
    _publish_posted(simulation, post, channel, mentioned, pending_post_id, set_online)
    return post


def _attach_files(simulation: Simulation, post: Post) -> None:
    """Take the files that are the author's and belong to no post yet; drop the rest silently."""
    taken = []
    for file_id in post.file_ids:
        file = simulation.world.files.get(file_id)
        if (
            file
            and not file.post_id
            and file.user_id == post.user_id
            and file.channel_id == post.channel_id
        ):
            file.post_id = post.id
            taken.append(file_id)
    post.file_ids = taken


def _count(simulation: Simulation, post: Post, channel: Channel) -> None:
    channel.last_post_at = max(channel.last_post_at, post.create_at)
    if post.root_id:
        root = simulation.world.posts[post.root_id]
        root.update_at = max(root.update_at, post.create_at)
        root.last_reply_at = post.create_at
    else:
        channel.last_root_post_at = max(channel.last_root_post_at, post.create_at)
    if is_counted(post):
        channel.total_msg_count += 1
        channel.total_msg_count_root += 0 if post.root_id else 1


def is_counted(post: Post) -> bool:
    """Coming and going makes no channel unread."""
    return not post.type.startswith(("system_join", "system_leave", "system_add", "system_remove"))


def _count_mentions(simulation: Simulation, post: Post, channel: Channel) -> set[str]:
    if post.type.startswith("system_"):
        return set()
    author = simulation.world.users[post.user_id]
    everyone = simulation.may_in_channel(author, "use_channel_mentions", channel.id)
    found = mentions.mentioned(simulation.world, channel, post.message, everyone=everyone)
    if channel.type in "DG":
        found |= simulation.world.members[channel.id].keys()
    found.discard(author.id)
    for user_id in found:
        member = simulation.world.members[channel.id][user_id]
        member.mention_count += 1
        member.mention_count_root += 0 if post.root_id else 1
    return found


def _follow(simulation: Simulation, post: Post, mentioned: set[str]) -> None:
    if post.root_id and not post.type:
        root = simulation.world.posts[post.root_id]
        followers = simulation.world.following.setdefault(root.id, {})
        for user_id in {root.user_id, post.user_id, *mentioned}:
            followers.setdefault(user_id, True)


def _publish_posted(
    simulation: Simulation,
    post: Post,
    channel: Channel,
    mentioned: set[str],
    pending_post_id: str,
    set_online: bool,
) -> None:
    author = simulation.world.users[post.user_id]
    override = post.props.get("override_username")
    sender = f"@{override or author.username}"
    files = [simulation.world.files[file_id] for file_id in post.file_ids]
    data: dict[str, Any] = {
        "post": as_text(views.post(simulation, post, pending_post_id=pending_post_id)),
        "channel_type": channel.type,
        "channel_display_name": channel.display_name or _direct_title(simulation, channel),
        "channel_name": channel.name,
        "sender_name": "System" if post.type.startswith("system_") else sender,
        "team_id": channel.team_id,
        "set_online": set_online,
    }
    if files:
        data["otherFile"] = "true"
    if any(file.mime_type.startswith("image/") for file in files):
        data["image"] = "true"
    if (post.priority or {}).get("requested_ack"):
        data["should_ack"] = True
    followers = simulation.world.following.get(post.root_id, {})

    def personal(reader_id: str) -> dict[str, Any]:
        more = {"mentions": as_text([reader_id])} if reader_id in mentioned else {}
        if followers.get(reader_id) and reader_id != post.user_id:
            more["followers"] = as_text([reader_id])
        return more

    simulation.publish("posted", data, channel_id=channel.id, personal=personal)
    if post.root_id:
        root = simulation.world.posts[post.root_id]
        thread = {"thread": as_text(views.thread(simulation, root))}
        for user_id in [one for one, on in followers.items() if on and one != post.user_id]:
            simulation.publish("thread_updated", thread, team_id=channel.team_id, user_id=user_id)


def _direct_title(simulation: Simulation, channel: Channel) -> str:
    names = [simulation.world.users[id].username for id in simulation.world.members[channel.id]]
    return ", ".join(f"@{name}" for name in sorted(names))


# Changing


def change(simulation: Simulation, post: Post, changes: dict[str, Any]) -> Post:
    """Apply checked changes; the version before is kept as a row of its own when text changed."""
    before = replace(post, id=new_id(), original_id=post.id, props=deepcopy(post.props))
    now = max(simulation.now(), post.update_at + 1)
    content = _content(post)
    for key, value in changes.items():
        setattr(post, key, value)
    complete(simulation, post)
    if "file_ids" in changes:
        kept = [id for id in post.file_ids if id in before.file_ids]
        post.file_ids = [id for id in post.file_ids if id not in before.file_ids]
        _attach_files(simulation, post)
        post.file_ids = kept + post.file_ids
    if len(post.message) > MAX_MESSAGE:
        post.message = before.message
        raise ApiError(400, "model.post.is_valid.message_length.app_error")
    post.update_at = now
    if _content(post) != content:
        post.edit_at = now
        before.delete_at = before.update_at = before.edit_at = now
        simulation.world.save_post(before)
    channel = simulation.world.channels[post.channel_id]
    channel.last_post_at = max(channel.last_post_at, now)
    tell_edited(simulation, post)
    return post


def _content(post: Post) -> tuple[str, list[str], Any]:
    return post.message, list(post.file_ids), deepcopy(post.props.get("attachments"))


def tell_edited(simulation: Simulation, post: Post) -> None:
    simulation.publish(
        "post_edited",
        {"post": as_text(views.post(simulation, post))},
        channel_id=post.channel_id,
    )


def pin(simulation: Simulation, post: Post, *, pinned: bool) -> None:
    post.is_pinned = pinned
    post.update_at = max(simulation.now(), post.update_at + 1)
    tell_edited(simulation, post)


def delete(simulation: Simulation, post: Post, deleter: User) -> None:
    """Gone for readers, kept as a row; the replies of a root go silently with it."""
    before = as_text(views.post(simulation, post))
    now = simulation.now()
    for one in [post, *simulation.world.live_replies(post.id)]:
        one.delete_at = one.update_at = now
        one.props = one.props | {"deleteBy": deleter.id}
        for file_id in one.file_ids:
            simulation.world.files[file_id].delete_at = now
    data = {"post": before}
    simulation.publish("post_deleted", data, channel_id=post.channel_id, sanitized=True)
    simulation.publish(
        "post_deleted", data | {"delete_by": deleter.id}, channel_id=post.channel_id, sensitive=True
    )


def erase(simulation: Simulation, post: Post, deleter: User) -> None:
    """Delete, and keep no row of it, its replies and its earlier versions."""
    delete(simulation, post, deleter)
    world = simulation.world
    gone = {post.id, *(reply.id for reply in world.replies_of.pop(post.id, []))}
    rows = world.posts_of[post.channel_id]
    gone |= {row.id for row in rows if row.original_id in gone}
    world.posts_of[post.channel_id] = [row for row in rows if row.id not in gone]
    for post_id in gone:
        del world.posts[post_id]


# Reactions


def react(simulation: Simulation, post: Post, user: User, name: str) -> Reaction:
    if not re.fullmatch(r"[A-Za-z0-9_+-]{1,64}", name):
        raise ApiError(400, "model.reaction.is_valid.emoji_name.app_error")
    channel = simulation.world.channels[post.channel_id]
    if channel.delete_at:
        raise ApiError(403, "api.reaction.save.archived_channel.app_error")
    if not emoji.exists(simulation.world, name):
        raise ApiError(404, "app.emoji.get_by_name.no_result")
    given = simulation.world.reactions.setdefault(post.id, {})
    distinct = {one.emoji_name for one in given.values()}
    most = simulation.setting("ServiceSettings", "UniqueEmojiReactionLimitPerPost")
    if name not in distinct and len(distinct) >= most:
        raise ApiError(400, "app.reaction.save.save.too_many_reactions")
    reaction = given.setdefault(
        (user.id, name),
        Reaction(
            user_id=user.id,
            post_id=post.id,
            channel_id=post.channel_id,
            emoji_name=name,
            create_at=simulation.now(),
        ),
    )
    post.update_at = max(simulation.now(), post.update_at + 1)
    _tell_reaction(simulation, "reaction_added", reaction)
    return reaction


def unreact(simulation: Simulation, post: Post, user: User, name: str) -> None:
    reaction = simulation.world.reactions.get(post.id, {}).pop((user.id, name), None)
    if reaction:
        post.update_at = max(simulation.now(), post.update_at + 1)
        _tell_reaction(simulation, "reaction_removed", reaction)


def _tell_reaction(simulation: Simulation, event: str, reaction: Reaction) -> None:
    simulation.publish(
        event, {"reaction": as_text(views.reaction(reaction))}, channel_id=reaction.channel_id
    )


# Finding


def readable(simulation: Simulation, user: User, post_id: str) -> Post:
    """The post, if it is there and the user may read its channel."""
    post = simulation.world.posts.get(post_id) if is_id(post_id) else None
    if post is None or post.delete_at:
        raise no_post()
    if not simulation.may_read(user, simulation.world.channels[post.channel_id]):
        raise no_permission()
    return post
