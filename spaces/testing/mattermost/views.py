"""How stored things look on the wire."""

from __future__ import annotations

import json
import mimetypes
from typing import TYPE_CHECKING, Any

from .state import (
    AccessToken,
    Bot,
    Channel,
    ChannelMember,
    Command,
    Emoji,
    IncomingHook,
    OutgoingHook,
    Post,
    Reaction,
    Session,
    StoredFile,
    Team,
    TeamMember,
    User,
)

if TYPE_CHECKING:
    from .simulation import Simulation

Json = dict[str, Any]


def as_text(value: Any) -> str:
    """JSON inside JSON, as the websocket has it for posts, channels and members."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def user(simulation: Simulation, one: User, viewer: User | None) -> Json:
    """Complete for oneself, without the settings for others, almost complete for admins."""
    shown: Json = {
        "id": one.id,
        "create_at": one.create_at,
        "update_at": one.update_at,
        "delete_at": one.delete_at,
        "username": one.username,
        "auth_data": "",
        "auth_service": "",
        "email": one.email,
        "nickname": one.nickname,
        "first_name": one.first_name,
        "last_name": one.last_name,
        "position": one.position,
        "roles": one.roles,
        "locale": one.locale,
        "timezone": one.timezone,
        "props": one.props,
        "disable_welcome_email": False,
    }
    if one.last_picture_update:
        shown["last_picture_update"] = one.last_picture_update
    bot = simulation.world.bots.get(one.id)
    if bot:
        shown |= {"is_bot": True, "bot_description": bot.description}
    is_self = viewer is not None and viewer.id == one.id
    is_admin = viewer is not None and simulation.is_admin(viewer)
    if is_self or is_admin:
        shown |= {"notify_props": one.notify_props, "email_verified": True}
        shown |= {"mfa_active": True} if one.mfa_active else {}
    elif not simulation.setting("PrivacySettings", "ShowEmailAddress"):
        shown["email"] = ""
    return shown


def bot(simulation: Simulation, one: Bot) -> Json:
    shown: Json = {
        "user_id": one.user_id,
        "username": simulation.world.users[one.user_id].username,
        "owner_id": one.owner_id,
        "create_at": one.create_at,
        "update_at": one.update_at,
        "delete_at": one.delete_at,
    }
    if one.display_name:
        shown["display_name"] = one.display_name
    if one.description:
        shown["description"] = one.description
    return shown


def session(simulation: Simulation, one: Session) -> Json:
    return {
        "id": one.id,
        "token": "",
        "create_at": one.create_at,
        "expires_at": one.expires_at,
        "last_activity_at": one.last_activity_at,
        "user_id": one.user_id,
        "device_id": one.device_id,
        "roles": simulation.world.users[one.user_id].roles,
        "is_oauth": False,
        "props": one.props,
        "team_members": None,
        "local": False,
    }


def access_token(one: AccessToken) -> Json:
    """Without the token itself, which only its creator sees once."""
    return {
        "id": one.id,
        "user_id": one.user_id,
        "description": one.description,
        "is_active": one.is_active,
    }


def team(one: Team) -> Json:
    return {
        "id": one.id,
        "create_at": one.create_at,
        "update_at": one.update_at,
        "delete_at": one.delete_at,
        "display_name": one.display_name,
        "name": one.name,
        "description": one.description,
        "email": "",
        "type": one.type,
        "company_name": "",
        "allowed_domains": "",
        "invite_id": one.invite_id,
        "allow_open_invite": one.allow_open_invite,
        "scheme_id": "",
        "group_constrained": None,
        "policy_id": None,
    }


def team_member(one: TeamMember) -> Json:
    return {
        "team_id": one.team_id,
        "user_id": one.user_id,
        "roles": one.roles,
        "delete_at": one.delete_at,
        "scheme_guest": False,
        "scheme_user": True,
        "scheme_admin": one.scheme_admin,
        "explicit_roles": one.explicit_roles,
    }


def channel(one: Channel) -> Json:
    return {
        "id": one.id,
        "create_at": one.create_at,
        "update_at": one.update_at,
        "delete_at": one.delete_at,
        "team_id": one.team_id,
        "type": one.type,
        "display_name": one.display_name,
        "name": one.name,
        "header": one.header,
        "purpose": one.purpose,
        "last_post_at": one.last_post_at,
        "total_msg_count": one.total_msg_count,
        "total_msg_count_root": one.total_msg_count_root,
        "last_root_post_at": one.last_root_post_at,
        "extra_update_at": 0,
        "creator_id": one.creator_id,
        "scheme_id": None,
        "props": None,
        "group_constrained": None,
        "shared": None,
        "policy_id": None,
        "banner_info": None,
        "autotranslation": False,
        "policy_enforced": False,
        "policy_is_active": False,
        "default_category_name": "",
    }


def member(one: ChannelMember, viewer: User) -> Json:
    """When others looked last is nobody's business: theirs are -1."""
    own = one.user_id == viewer.id
    return {
        "channel_id": one.channel_id,
        "user_id": one.user_id,
        "roles": one.roles,
        "last_viewed_at": one.last_viewed_at if own else -1,
        "msg_count": one.msg_count,
        "mention_count": one.mention_count,
        "mention_count_root": one.mention_count_root,
        "urgent_mention_count": 0,
        "msg_count_root": one.msg_count_root,
        "notify_props": one.notify_props,
        "last_update_at": one.last_update_at if own else -1,
        "scheme_guest": one.scheme_guest,
        "scheme_user": one.scheme_user,
        "scheme_admin": one.scheme_admin,
        "explicit_roles": one.explicit_roles,
        "autotranslation_disabled": False,
    }


def post(simulation: Simulation, one: Post, *, pending_post_id: str = "") -> Json:
    world = simulation.world
    replies = world.live_replies(one.root_id or one.id)
    reactions = world.reactions.get(one.id, {})
    metadata: Json = {}
    if one.props.get("attachments"):
        metadata["embeds"] = [{"type": "message_attachment"}]
    if one.file_ids:
        metadata["files"] = [file(world.files[id]) for id in one.file_ids if id in world.files]
    if reactions:
        metadata["reactions"] = [reaction(given) for given in reactions.values()]
    if one.priority:
        metadata["priority"] = one.priority
    shown: Json = {
        "id": one.id,
        "create_at": one.create_at,
        "update_at": one.update_at,
        "edit_at": one.edit_at,
        "delete_at": one.delete_at,
        "is_pinned": one.is_pinned,
        "user_id": one.user_id,
        "channel_id": one.channel_id,
        "root_id": one.root_id,
        "original_id": one.original_id,
        "message": one.message,
        "type": one.type,
        "props": without_integrations(one.props),
        "hashtags": one.hashtags,
        "file_ids": one.file_ids,
        "pending_post_id": pending_post_id,
        "remote_id": "",
        "reply_count": len(replies),
        "last_reply_at": one.last_reply_at,
        "participants": None,
        "metadata": metadata,
    }
    if reactions:
        shown["has_reactions"] = True
    return shown


def thread(simulation: Simulation, root: Post) -> Json:
    replies = simulation.world.live_replies(root.id)
    participants = dict.fromkeys([root.user_id, *(one.user_id for one in replies)])
    return {
        "id": root.id,
        "reply_count": len(replies),
        "last_reply_at": root.last_reply_at,
        "last_viewed_at": 0,
        "participants": [{"id": user_id} for user_id in participants],
        "post": post(simulation, root),
        "unread_replies": 0,
        "unread_mentions": 0,
        "is_urgent": False,
        "delete_at": 0,
    }


def without_integrations(props: Json) -> Json:
    """Where the buttons of a card lead is never told to readers."""
    if not isinstance(props.get("attachments"), list):
        return props
    attachments = []
    for attachment in props["attachments"]:
        if isinstance(attachment, dict) and isinstance(attachment.get("actions"), list):
            actions = [
                {key: value for key, value in action.items() if key != "integration"}
                for action in attachment["actions"]
                if isinstance(action, dict)
            ]
            attachment = attachment | {"actions": actions}
        attachments.append(attachment)
    return props | {"attachments": attachments}


def reaction(one: Reaction) -> Json:
    return {
        "user_id": one.user_id,
        "post_id": one.post_id,
        "emoji_name": one.emoji_name,
        "create_at": one.create_at,
        "update_at": one.create_at,
        "delete_at": 0,
        "remote_id": "",
        "channel_id": one.channel_id,
    }


def file(one: StoredFile) -> Json:
    shown: Json = {
        "id": one.id,
        "user_id": one.user_id,
        "channel_id": one.channel_id,
        "create_at": one.create_at,
        "update_at": one.create_at,
        "delete_at": one.delete_at,
        "name": one.name,
        "extension": one.name.rpartition(".")[2] if "." in one.name else "",
        "size": len(one.content),
        "mime_type": one.mime_type,
        "mini_preview": None,
        "remote_id": "",
        "archived": False,
    }
    return shown | ({"post_id": one.post_id} if one.post_id else {})


def mime_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def emoji(one: Emoji) -> Json:
    return {
        "id": one.id,
        "name": one.name,
        "creator_id": one.creator_id,
        "create_at": one.create_at,
        "update_at": one.create_at,
        "delete_at": 0,
    }


def stored(one: IncomingHook | OutgoingHook | Command) -> Json:
    """Hooks and commands go out as they are kept."""
    return dict(vars(one))
