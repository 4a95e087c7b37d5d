"""Roles and what they permit, as far as anything here asks for it.

`system_admin` is not listed: it may do everything.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


CHANNEL_USER = _names(
    "read_channel read_channel_content create_post add_reaction remove_reaction upload_file "
    "use_channel_mentions use_group_mentions edit_post delete_post manage_public_channel_members "
    "manage_private_channel_members manage_public_channel_properties "
    "manage_private_channel_properties delete_public_channel delete_private_channel"
)
CHANNEL_ADMIN = frozenset(["manage_channel_roles"])
TEAM_USER = _names(
    "view_team list_team_channels join_public_channels read_public_channel "
    "create_public_channel create_private_channel invite_user add_user_to_team"
)
TEAM_ADMIN = _names(
    "manage_team manage_team_roles remove_user_from_team manage_channel_roles "
    "manage_others_slash_commands manage_slash_commands manage_own_slash_commands "
    "manage_others_incoming_webhooks "
    "manage_incoming_webhooks manage_own_incoming_webhooks manage_others_outgoing_webhooks "
    "manage_outgoing_webhooks manage_own_outgoing_webhooks convert_public_channel_to_private "
    "convert_private_channel_to_public delete_others_posts bypass_incoming_webhook_channel_lock "
    "manage_public_channel_members manage_private_channel_members manage_public_channel_properties "
    "manage_private_channel_properties delete_public_channel delete_private_channel "
    "read_public_channel delete_post create_post upload_file"
)
SYSTEM_USER = _names(
    "list_public_teams join_public_teams create_direct_channel create_group_channel "
    "view_members create_team create_emojis delete_emojis"
)
ACCESS_TOKENS = _names("create_user_access_token read_user_access_token revoke_user_access_token")
ADMIN_ONLY = _names(
    "manage_system create_bot read_bots read_others_bots manage_bots manage_others_bots "
    "create_post_ephemeral edit_others_posts edit_other_users manage_roles "
    "list_private_teams join_private_teams create_post_public"
)

PERMISSIONS: dict[str, frozenset[str]] = {
    "system_user": SYSTEM_USER,
    "system_guest": frozenset(["create_direct_channel", "create_group_channel"]),
    "system_user_access_token": ACCESS_TOKENS,
    "system_post_all": frozenset(["create_post", "use_channel_mentions"]),
    "system_post_all_public": frozenset(["create_post_public", "use_channel_mentions"]),
    "team_user": TEAM_USER,
    "team_guest": frozenset(["view_team"]),
    "team_admin": TEAM_ADMIN,
    "team_post_all": frozenset(["create_post", "use_channel_mentions"]),
    "team_post_all_public": frozenset(["create_post_public", "use_channel_mentions"]),
    "channel_user": CHANNEL_USER,
    "channel_guest": CHANNEL_USER - TEAM_ADMIN,
    "channel_admin": CHANNEL_ADMIN,
}
PERMISSIONS["system_admin"] = ADMIN_ONLY.union(*PERMISSIONS.values())
