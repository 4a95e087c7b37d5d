"""Files: those to send, stored when a client hands them in or fetched; those received."""

from __future__ import annotations

import mimetypes
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path, PurePath
from typing import IO, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from django.core.files.base import File as DjangoFile
from django.db.models import Q
from django.utils import timezone

from bots import guard, outbound
from bots.models import Bot, Job, StoredFile
from bots.models.lane import FINISHED
from spaces.platforms.contract import Platform
from spaces.platforms.errors import Rejected, Unavailable
from spaces.platforms.messages import File

FETCH_SECONDS = 60.0  # for all that one job fetches: its lane is leased for no longer
DISK_SECONDS = 30.0  # for the last of it to reach a disk that is slow
LARGEST_FETCH = 100 * 1024 * 1024  # bytes
CHUNK = 64 * 1024
KEPT_AFTER_END = timedelta(days=7)
KEPT_WITHOUT_JOB = timedelta(days=1)
PRUNED_AT_ONCE = 500
IN_MEMORY = 1024 * 1024  # bytes of a file on its way to a client before it goes to the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """A file that a client handed in."""

    name: str
    content: IO[bytes]
    size: int  # bytes


def store(bot: Bot, handed: Sequence[Handed]) -> list[StoredFile]:
    """Keep what a client handed in; to be called in the transaction that stores the jobs. One
    query, however many."""
    stored: list[StoredFile] = []
    try:
        for file in handed:
            row = StoredFile(
                bot=bot,
                name=safe_name(file.name),
                content_type=mimetypes.guess_type(file.name)[0] or "application/octet-stream",
                size=file.size,
            )
            row.content.name = row.content.field.generate_filename(row, row.name)
            stored.append(row)  # before it is written: half a file has to go, too
            row.content.storage.save(row.content.name, DjangoFile(file.content))
        return StoredFile.objects.bulk_create(stored)
    except BaseException:
        discard(stored)  # no transaction takes these back
        raise


def discard(stored: Iterable[StoredFile]) -> None:
    """Remove the contents of files whose rows will not be."""
    for file in stored:
        file.content.delete(save=False)


def prune() -> int:
    """Remove files that will not be sent any more; returns how many.

    Those of ended jobs stay for some days, so that the jobs can be retried.
    """
    now = timezone.now()
    ended = Q(job__state__in=FINISHED, job__finished_at__lt=now - KEPT_AFTER_END)
    unnamed = Q(job=None, created_at__lt=now - KEPT_WITHOUT_JOB)
    pruned = 0
    while batch := list(StoredFile.objects.filter(ended | unnamed)[:PRUNED_AT_ONCE]):
        discard(batch)  # first: after a crash the rows are still here to be found again
        StoredFile.objects.filter(pk__in=[file.pk for file in batch]).delete()
        pruned += len(batch)
    return pruned


def safe_name(name: str) -> str:
    """The last part of what somebody called a file, without what a path or a header could read."""
    last = PurePath(name.replace("\\", "/")).name
    clean = "".join(c for c in last if c.isprintable() and c not in '"<>|:*?/').strip(". ")
    return clean[:200] or "file"


def seconds_to_fetch(job: Job) -> float:
    """How long `outgoing` may take for the job."""
    fetches = any("url" in wanted for wanted in job.payload.get("files", ()))
    return FETCH_SECONDS + DISK_SECONDS if fetches else 0.0


def outgoing(job: Job, stack: ExitStack) -> list[File]:
    """The files of a job, ready to be sent; fetched ones are gone when `stack` closes.

    Raises `Rejected` for a URL that will not do, `Unavailable` for a server that is away
    or too slow.
    """
    deadline = time.monotonic() + FETCH_SECONDS
    found = []
    stored = StoredFile.objects.in_bulk(
        [f["id"] for f in job.payload.get("files", ()) if "id" in f]
    )
    for wanted in job.payload.get("files", ()):
        if "url" in wanted:
            found.append(_fetched(wanted["url"], wanted.get("name", ""), stack, deadline))
        elif (file := stored.get(wanted["id"])) is not None:
            found.append(
                File(
                    name=file.name,
                    content_type=file.content_type,
                    size=file.size,
                    open=partial(_open, file),
                )
            )
        else:
            raise Rejected("A file of this job was pruned.", code="file_gone")
    return found


def incoming(platform: Platform, file_id: str) -> IO[bytes]:
    """The content of a file that a message carries, read to its end; to be closed by the caller.

    Raises `NotFound`, `Rejected` for one that is too large, and whatever else the platform raises.
    """
    content = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=IN_MEMORY))  # noqa: SIM115
    try:
        with platform.download_file(file_id) as stream:
            size = 0
            while chunk := stream.read(CHUNK):
                size = _within_limit(size + len(chunk))
                content.write(chunk)
    except BaseException:
        content.close()
        raise
    content.seek(0)
    return content


def _open(file: StoredFile) -> BinaryIO:
    # A fresh look at the store each time; Django's own file object would hand out one for all.
    return cast(BinaryIO, file.content.storage.open(str(file.content.name)))


def _fetched(url: str, name: str, stack: ExitStack, deadline: float) -> File:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="botadmin-"))) / "file"
    with path.open("wb") as content:
        content_type, size = _fetch(url, content, deadline)
    name = safe_name(name or unquote(PurePath(urlsplit(url).path).name))
    return File(name=name, content_type=content_type, size=size, open=lambda: path.open("rb"))


def _fetch(url: str, into: IO[bytes], deadline: float) -> tuple[str, int]:
    try:
        with outbound.get(url, seconds=deadline - time.monotonic()) as download:
            if download.status >= 500 or download.status == 429:
                raise Unavailable(f"The file's server answered {download.status}.")
            if download.status != 200:
                raise Rejected(
                    f"The file's server answered {download.status}.", code="file_not_fetched"
                )
            size = 0
            for chunk in download.chunks():
                size = _within_limit(size + len(chunk))
                into.write(chunk)
            kind = download.headers.get("Content-Type", "").partition(";")[0].strip()
            return kind or "application/octet-stream", size
    except guard.PrivateAddress as error:
        raise Rejected(error.detail, code=error.code, next_step=error.next_step) from error
    except guard.UrlRefused as error:
        raise Rejected(error.detail, code="file_not_fetched") from error
    except outbound.TimedOut as error:
        raise Unavailable(f"The file did not arrive within {FETCH_SECONDS:.0f} s.") from error
    except outbound.NoAnswer as error:
        raise Unavailable(f"The file was not fetched: {error.detail}") from error
    except OSError as error:
        raise Unavailable(
            f"The file could not be kept on its way: {error.strerror}.",
            next_step="Make room on the disk of the workers.",
        ) from error


def _within_limit(size: int) -> int:
    if size > LARGEST_FETCH:
        raise Rejected("The file is too large.", code="file_too_large")
    return size
