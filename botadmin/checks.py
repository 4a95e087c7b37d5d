"""System checks: mistakes of a deployment, found before they hurt."""

from __future__ import annotations

import ipaddress
import os
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from botadmin import env
from spaces.platforms import registry


@register(Tags.security)
def encryption_keys(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for place, key in enumerate(settings.BOTADMIN_ENCRYPTION_KEYS, start=1):
        try:
            Fernet(key)
        except ValueError:
            found.append(
                Error(
                    f"Number {place} of BOTADMIN_ENCRYPTION_KEYS is not a Fernet key.",
                    hint="Make one with: python -c 'from cryptography.fernet import Fernet;"
                    " print(Fernet.generate_key().decode())'",
                    id="botadmin.E001",
                )
            )
    return found


@register()
def data_directory(**_: Any) -> list[CheckMessage]:
    if os.access(settings.BOTADMIN_DATA_DIR, os.R_OK | os.W_OK | os.X_OK):
        return []
    return [
        Error(
            f"The data directory {settings.BOTADMIN_DATA_DIR} is not readable and writable.",
            hint="Give it to the user that botadmin runs as, or set BOTADMIN_DATA_DIR.",
            id="botadmin.E002",
        )
    ]


@register(Tags.security)
def debug_in_the_open(**_: Any) -> list[CheckMessage]:
    if not settings.DEBUG or is_loopback(settings.BOTADMIN_BIND):
        return []
    return [
        Error(
            f"BOTADMIN_DEBUG is on while the web server listens on {settings.BOTADMIN_BIND}.",
            hint="Its error pages show source and settings: switch it off, or bind to 127.0.0.1.",
            id="botadmin.E003",
        )
    ]


@register()
def platforms(**_: Any) -> list[CheckMessage]:
    return [
        Warning(
            f"A platform cannot be used: {problem}",
            hint="Upgrade or remove the package that brings it. The other platforms work.",
            id="botadmin.W001",
        )
        for problem in registry.problems()
    ]


@register(Tags.security)
def keys_of_one_machine(**_: Any) -> list[CheckMessage]:
    if not settings.DATABASE_IS_SERVER or env.secret("BOTADMIN_ENCRYPTION_KEYS"):
        return []
    return [
        Warning(
            "Credentials in the database server are encrypted with keys that lie in"
            f" {settings.KEYS_DIR}.",
            hint="Processes on other machines cannot read them: set BOTADMIN_ENCRYPTION_KEYS (and"
            " BOTADMIN_SECRET_KEY) for all of them, and keep a copy.",
            id="botadmin.W002",
        )
    ]


@register()
def broker_of_one_process(**_: Any) -> list[CheckMessage]:
    if not settings.DATABASE_IS_SERVER or settings.BROKER_IS_SERVER:
        return []
    return [
        Warning(
            "The database is a server, the broker is memory inside one process.",
            hint="Fine with `manage.py up` alone. Separate web and worker processes need"
            " BROKER_URL to hear of new work at once instead of at the next sweep.",
            id="botadmin.W003",
        )
    ]


def is_loopback(host: str) -> bool:
    """Whether only this machine can mean itself by it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
