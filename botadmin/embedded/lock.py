"""One `manage.py up` at a time on the same data."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class DataInUse(Exception):
    """Another process holds the lock; the text says which one."""


class Lock:
    """A lock on a file. The system lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self) -> None:
        """Raises `DataInUse`."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 20).decode("ascii", "replace").strip() or "?"
            raise DataInUse(f"process {holder} holds {self.path}") from None
        os.truncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
