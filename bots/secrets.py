"""Encryption at rest, and where credentials may point instead of holding a value."""

from __future__ import annotations

import os
from functools import cache
from netrc import NetrcParseError, netrc
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from bots import scrub
from spaces.platforms.errors import Misconfigured


def encrypt(text: str) -> str:
    return _fernet(tuple(settings.BOTADMIN_ENCRYPTION_KEYS)).encrypt(text.encode()).decode()


def decrypt(encrypted: str) -> str:
    """Raises `Misconfigured` when none of the keys at hand made it."""
    fernet = _fernet(tuple(settings.BOTADMIN_ENCRYPTION_KEYS))
    try:
        secret = fernet.decrypt(encrypted.encode()).decode()
    except InvalidToken as error:
        raise Misconfigured(
            "A stored credential was encrypted with a key that is not here.",
            next_step="Add the old key to BOTADMIN_ENCRYPTION_KEYS, or set the credential anew.",
        ) from error
    scrub.know(secret)
    return secret


def is_reference(text: str) -> bool:
    """Whether `text` says where the secret is; `$$` at the start stands for a plain `$`."""
    points = text.startswith(("file:", "netrc:"))
    return points or (text.startswith("$") and not text.startswith("$$"))


def reveal(entered: str) -> str:
    """The secret that an operator entered: as it is, or by a reference. Raises as `resolve`."""
    if is_reference(entered):
        return resolve(entered)
    secret = as_entered(entered)
    if secret:
        scrub.know(secret)
    return secret


def as_entered(text: str) -> str:
    """The value that was meant by one that is no reference."""
    return text[1:] if text.startswith("$$") else text


def resolve(reference: str) -> str:
    """The secret that `$NAME`, `file:path` or `netrc:host` points to, or the login name that
    `netrc:host:login` does. Raises `Misconfigured`.

    Only variables whose names begin as `BOTADMIN_CREDENTIAL_VARIABLES` says and files below the
    secrets folder can be reached: who may edit a bot must not be able to send other secrets of
    the server to a server of their choice.
    """
    if reference.startswith("$"):
        name = reference[1:]
        prefixes = tuple(settings.BOTADMIN_CREDENTIAL_VARIABLES)
        if not name.startswith(prefixes):
            raise Misconfigured(
                f"${name} may not be a credential: its name does not begin with "
                f"{' or '.join(prefixes)}.",
                next_step="Rename the variable, or let an operator of the server allow its name "
                "with BOTADMIN_CREDENTIAL_VARIABLES.",
            )
        value = os.environ.get(name, "")
        if not value:
            raise Misconfigured(
                f"The environment variable {name} is not set for this process.",
                next_step=f"Set {name} for all processes of botadmin and restart them.",
            )
    elif reference.startswith("netrc:"):
        host, _, part = reference.removeprefix("netrc:").partition(":")
        login, value = _netrc_entry(host)
        if part == "login":
            return login
        if part:
            raise Misconfigured(
                f"{reference} asks for {part!r}: netrc:{host} is the password, "
                f"netrc:{host}:login the login name."
            )
    else:
        value = _read(reference.removeprefix("file:"))
    scrub.know(value)
    return value


def _read(path: str) -> str:
    target = _secret_file(path, f"file:{path}")
    try:
        value = target.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"file:{path} cannot be read.",
            next_step="Put the file into the secrets folder, readable by botadmin's processes.",
        ) from error
    if not value:
        raise Misconfigured(f"file:{path} is empty.")
    return value


def _netrc_entry(host: str) -> tuple[str, str]:
    """Login name and password for this host, or those that the file has for any other."""
    target = _secret_file(settings.BOTADMIN_NETRC, "The file that BOTADMIN_NETRC names")
    try:
        found = netrc(str(target)).authenticators(host)
    except NetrcParseError as error:
        # Its message quotes what stands there, and so does the traceback.
        raise Misconfigured(
            f"The netrc file cannot be understood near line {error.lineno}.",
            next_step="Each entry reads: machine HOST login NAME password SECRET.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            "The netrc file cannot be read.",
            next_step=f"Put it into the secrets folder as {settings.BOTADMIN_NETRC}, readable by "
            "botadmin's processes.",
        ) from error
    if not found or not found[2]:
        raise Misconfigured(
            f"The netrc file has no password for {host or 'a host without a name'}.",
            next_step=f"Add a line: machine {host or 'HOST'} login NAME password SECRET.",
        )
    return found[0] or "", found[2]


def _secret_file(path: str, called: str) -> Path:
    folder = Path(settings.BOTADMIN_SECRETS_DIR).resolve()
    target = (folder / path).resolve()
    if not target.is_relative_to(folder):
        raise Misconfigured(f"{called} lies outside the secrets folder.")
    return target


@cache
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
