"""Folders and files: who may read them, and whether there is room for more."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from botadmin.doctor.findings import error, ok, warning
from spaces.platforms.messages import Finding

MEGABYTE = 1024 * 1024
LITTLE_SPACE, NO_SPACE = 1024 * MEGABYTE, 100 * MEGABYTE  # bytes


def permissions() -> Iterator[Finding]:
    """Whether anybody but ourselves can get at keys, secrets and data."""
    open_keys = [path for path in _files_in(settings.KEYS_DIR) if _mode(path) & 0o077]
    if open_keys:
        yield error(
            "keys_open",
            f"Other users of this machine can get at {_named(open_keys)}.",
            f"Run: chmod 700 {settings.KEYS_DIR} && chmod 600 {settings.KEYS_DIR}/*",
        )
    secrets = Path(settings.BOTADMIN_SECRETS_DIR)
    open_secrets = [path for path in _files_in(secrets) if _mode(path) & 0o007]
    if open_secrets:
        yield warning(
            "secrets_open",
            f"Every user of this machine can read {_named(open_secrets)}.",
            f"Run: chmod o= {secrets} {secrets}/*",
        )
    data = Path(settings.BOTADMIN_DATA_DIR)
    if data.exists() and _mode(data) & 0o007:
        yield warning(
            "data_open",
            f"Every user of this machine can look into {data}.",
            f"Run: chmod o= {data}",
        )
    elif not open_keys and not open_secrets:
        yield ok("files_private", "Keys, secrets and data are private.")


def store() -> Iterator[Finding]:
    """Whether files that clients hand in can be stored."""
    folder = _existing(Path(settings.MEDIA_ROOT))
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
        free = shutil.disk_usage(folder).free
    except OSError as refused:
        yield error(
            "store_not_writable",
            f"No file can be stored in {folder}: {refused.strerror}.",
            "Give the folder to the user that botadmin runs as, and see that its disk has room.",
        )
        return
    left = f"{free / MEGABYTE:,.0f} MB are left in {folder}."
    remedy = "Make room: the database and the file store stop when the disk is full."
    if free < NO_SPACE:
        yield error("store_full", left, remedy)
    elif free < LITTLE_SPACE:
        yield warning("store_nearly_full", left, remedy)
    else:
        yield ok("store_writable", left)


def _files_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _named(paths: list[Path]) -> str:
    more = f" and {len(paths) - 3} more files" if len(paths) > 3 else ""
    return ", ".join(map(str, paths[:3])) + more


def _existing(folder: Path) -> Path:
    """The folder, or the one in which it will be made."""
    return next(path for path in (folder, *folder.parents) if path.exists())
