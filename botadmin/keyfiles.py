"""Secrets that botadmin makes for itself at its first start and finds again at every later one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def private_folder(path: Path) -> Path:
    """Make `path` and its missing parents, readable for their owner only."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"{path} cannot be made: {error.strerror}.") from error
    return path


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """What stands in the file at `path`; made with `make`, mode 0600, when there is none.

    Several processes may start at once: the first one's value is what all of them return.
    """
    try:
        if not path.exists():
            _create(path, make())
        value = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{path} cannot be read or made: {error}.") from error
    if not value:
        raise ImproperlyConfigured(f"{path} is empty: restore it from a backup, or remove it.")
    return value


def write(path: Path, value: str) -> None:
    """Replace the file at `path`, mode 0600; a reader sees the old or the new value, whole."""
    os.replace(_stored_beside(path, value), path)


def _create(path: Path, value: str) -> None:
    whole = _stored_beside(path, value)
    try:
        # A link, other than a rename, does not replace what another process put there first.
        os.link(whole, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(whole)


def _stored_beside(path: Path, value: str) -> str:
    private_folder(path.parent)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(value + "\n")
        file.flush()
        os.fsync(file.fileno())
    return name
