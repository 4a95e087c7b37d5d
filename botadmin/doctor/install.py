"""Settings and keys: what can be judged without asking anybody."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import ERROR, WARNING, run_checks

from botadmin.checks import is_loopback
from botadmin.doctor.findings import error, ok, warning
from bots import secrets
from bots.models import Credential
from spaces.platforms.errors import Misconfigured
from spaces.platforms.messages import Finding

SHORTEST_SECRET_KEY = 32  # characters
CREDENTIALS_TRIED = 500  # the oldest, for they are under the oldest keys


def system_checks() -> Iterator[Finding]:
    """What `manage.py check` says, too."""
    found = [message for message in run_checks() if message.level >= WARNING]
    for message in found:
        make = error if message.level >= ERROR else warning
        yield make(message.id or "check", message.msg, message.hint or "See the text.")
    if not found:
        yield ok("settings_checked", "The settings agree with each other.")


def settings_of_production() -> Iterator[Finding]:
    if len(settings.SECRET_KEY) < SHORTEST_SECRET_KEY:
        yield error(
            "secret_key_weak",
            f"BOTADMIN_SECRET_KEY is shorter than {SHORTEST_SECRET_KEY} characters.",
            "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'",
        )
    if settings.DEBUG:
        yield warning(
            "debug_on",
            "BOTADMIN_DEBUG is on: error pages show source and settings.",
            "Switch it off unless you develop botadmin.",
        )
    if "*" in settings.ALLOWED_HOSTS:
        yield warning(
            "any_host",
            "BOTADMIN_ALLOWED_HOSTS lets requests use any host name.",
            "Name the hosts that people and programs really use.",
        )
    elif all(map(is_loopback, settings.ALLOWED_HOSTS)) and not is_loopback(settings.BOTADMIN_BIND):
        yield warning(
            "no_host",
            f"The web server listens on {settings.BOTADMIN_BIND}, and answers to no name but those"
            " of this machine itself.",
            "Set BOTADMIN_ALLOWED_HOSTS to the host names that people and programs use.",
        )


def credentials() -> Iterator[Finding]:
    """Whether the encryption keys at hand open what is stored."""
    stored = Credential.objects.exclude(value="").order_by("changed_at")[:CREDENTIALS_TRIED]
    closed = set()
    for slug, value in stored.values_list("bot__slug", "value"):
        try:
            secrets.decrypt(value)
        except Misconfigured:
            closed.add(slug)
    if closed:
        yield error(
            "credentials_unreadable",
            f"Credentials of {_some(closed)} were encrypted with a key that is not here.",
            "Add the old key to BOTADMIN_ENCRYPTION_KEYS, or enter these credentials anew.",
        )
    else:
        yield ok("credentials_readable", "The encryption keys open the stored credentials.")


def _some(names: set[str]) -> str:
    shown = sorted(names)[:5]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more
