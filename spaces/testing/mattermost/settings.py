"""The server's configuration: sections and keys of the real one, values as text on the wire."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

VERSION = "11.6.0"
BUILD = "11.6.0.0.0123456789abcdef0123456789abcdef.false"

Settings = dict[str, dict[str, Any]]

# The real defaults, except where a comment says that testing asks for another value.
DEFAULTS: Settings = {
    "ServiceSettings": {
        "SiteURL": "",
        "WebsocketURL": "",
        "AllowCorsFrom": "",
        "EnableBotAccountCreation": True,  # really False: tests make bots
        "EnableUserAccessTokens": True,  # really False: tests log in with them
        "AllowedUntrustedInternalConnections": "127.0.0.1/32 localhost",  # really empty
        "DisableBotsWhenOwnerIsDeactivated": True,
        "EnableDeveloper": False,
        "EnableIncomingWebhooks": True,
        "EnableOutgoingWebhooks": True,
        "EnableCommands": True,
        "EnablePostUsernameOverride": False,
        "EnablePostIconOverride": False,
        "EnableMultifactorAuthentication": True,  # really False: tests use the codes
        "EnforceMultifactorAuthentication": False,
        "EnableAPIPostDeletion": False,
        "EnableAPIChannelDeletion": False,
        "ExperimentalStrictCSRFEnforcement": False,
        "ExtendSessionLengthWithActivity": True,
        "SessionLengthWebInHours": 720,
        "SessionIdleTimeoutInMinutes": 43200,
        "MaximumLoginAttempts": 10,
        "MaximumPayloadSizeBytes": 300000,
        "MaximumURLLength": 2048,
        "PostEditTimeLimit": -1,
        "EnableUserTypingMessages": True,
        "EnableCustomEmoji": True,
        "UniqueEmojiReactionLimitPerPost": 50,
    },
    "TeamSettings": {
        "SiteName": "Mattermost",
        "EnableOpenServer": True,  # really False: tests sign up
        "MaxUsersPerTeam": 50,
        "MaxChannelsPerTeam": 2000,
        "RestrictDirectMessage": "any",
        "EnableCustomUserStatuses": True,
    },
    "FileSettings": {
        "EnableFileAttachments": True,
        "MaxFileSize": 104857600,
        "EnablePublicLink": False,
    },
    "PrivacySettings": {"ShowEmailAddress": True, "ShowFullName": True},
    "EmailSettings": {"EnableSignInWithEmail": True, "EnableSignInWithUsername": True},
    "PasswordSettings": {"MinimumLength": 8},
    "RateLimitSettings": {
        "Enable": False,
        "PerSec": 10,
        "MaxBurst": 100,
        "MemoryStoreSize": 10000,
        "VaryByRemoteAddr": True,
        "VaryByUser": False,
        "VaryByHeader": "",
    },
    "LocalizationSettings": {"DefaultClientLocale": "en", "DefaultServerLocale": "en"},
}


def merged(base: Settings, changes: Settings) -> Settings:
    """A copy of `base` with the changed keys; unknown sections and keys are kept as given."""
    settings = deepcopy(base)
    for section, values in changes.items():
        settings.setdefault(section, {}).update(values)
    return settings


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def limited_client_config(settings: Settings, *, no_accounts: bool) -> dict[str, str]:
    """What anybody may read before logging in."""
    service, team = settings["ServiceSettings"], settings["TeamSettings"]
    values = {
        "Version": VERSION,
        "BuildNumber": "0",
        "BuildDate": "",
        "BuildHash": BUILD.split(".")[4],
        "BuildEnterpriseReady": False,
        "SiteURL": service["SiteURL"],
        "WebsocketURL": service["WebsocketURL"],
        "SiteName": team["SiteName"],
        "EnableBotAccountCreation": service["EnableBotAccountCreation"],
        "EnableOpenServer": team["EnableOpenServer"],
        "EnableMultifactorAuthentication": service["EnableMultifactorAuthentication"],
        "EnableSignInWithEmail": settings["EmailSettings"]["EnableSignInWithEmail"],
        "EnableSignInWithUsername": settings["EmailSettings"]["EnableSignInWithUsername"],
        "PasswordMinimumLength": settings["PasswordSettings"]["MinimumLength"],
        "PasswordRequireLowercase": False,
        "PasswordRequireUppercase": False,
        "PasswordRequireNumber": False,
        "PasswordRequireSymbol": False,
        "NoAccounts": no_accounts,
        "DefaultClientLocale": settings["LocalizationSettings"]["DefaultClientLocale"],
        "DiagnosticsEnabled": False,
    }
    return {key: _text(value) for key, value in values.items()}


def full_client_config(settings: Settings, *, max_post_size: int) -> dict[str, str]:
    service, team, files = (
        settings["ServiceSettings"],
        settings["TeamSettings"],
        settings["FileSettings"],
    )
    values = {
        "MaxPostSize": max_post_size,
        "MaxFileSize": files["MaxFileSize"],
        "EnableFileAttachments": files["EnableFileAttachments"],
        "EnablePublicLink": files["EnablePublicLink"],
        "EnableUserAccessTokens": service["EnableUserAccessTokens"],
        "EnableIncomingWebhooks": service["EnableIncomingWebhooks"],
        "EnableOutgoingWebhooks": service["EnableOutgoingWebhooks"],
        "EnableCommands": service["EnableCommands"],
        "EnablePostUsernameOverride": service["EnablePostUsernameOverride"],
        "EnablePostIconOverride": service["EnablePostIconOverride"],
        "EnableCustomEmoji": service["EnableCustomEmoji"],
        "EnableUserTypingMessages": service["EnableUserTypingMessages"],
        "PostEditTimeLimit": service["PostEditTimeLimit"],
        "RestrictDirectMessage": team["RestrictDirectMessage"],
        "MaxNotificationsPerChannel": 1000,
        "EnableCustomUserStatuses": team["EnableCustomUserStatuses"],
    }
    limited = limited_client_config(settings, no_accounts=False)
    return limited | {key: _text(value) for key, value in values.items()}
