"""Files that handlers send: from bytes, from text, from a path, or stored already."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, cast

from django.db import transaction

from bots import files, jobs
from bots.files import Handed
from bots.models import Bot, Job, StoredFile


@dataclass(frozen=True, slots=True)
class File:
    """A file to send: its name, and what is in it. A path is read when the file is sent off."""

    name: str
    content: bytes | str | Path


Attachment = File | Path | StoredFile


def submit(
    bot: Bot, request: jobs.Request, attached: Sequence[Attachment], *, requested_by: str
) -> Job:
    """Store a job and the files it sends, all or none; in the caller's transaction if there is one.

    Raises as `jobs.submit`, and `OSError` for a path that cannot be read.
    """
    if not attached:
        return jobs.submit(bot, request, requested_by=requested_by)
    with transaction.atomic(), ExitStack() as stack:
        # Before anything is copied: what the bot may not do, it is refused.
        request.payload["files"] = [None for _ in attached]
        jobs.check(bot, request)
        stored = files.store(bot, [stack.enter_context(_handed(file)) for file in attached])
        try:
            request.payload["files"] = [{"id": file.pk} for file in stored]
            job = jobs.submit(bot, request, requested_by=requested_by)
            StoredFile.objects.filter(pk__in=[file.pk for file in stored]).update(job=job)
        except BaseException:
            files.discard(stored)  # no transaction takes these back
            raise
    return job


@contextmanager
def _handed(file: Attachment) -> Iterator[Handed]:
    name, content = _parts(file)
    with content:
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        yield Handed(name=name, content=content, size=size)


def _parts(file: Attachment) -> tuple[str, IO[bytes]]:
    if isinstance(file, StoredFile):
        # A copy: each job has files of its own, which go when it does.
        return file.name, cast(IO[bytes], file.content.storage.open(str(file.content.name)))
    if isinstance(file, Path):
        return file.name, file.open("rb")
    if isinstance(file.content, Path):
        return file.name, file.content.open("rb")
    content = file.content.encode() if isinstance(file.content, str) else file.content
    return file.name, BytesIO(content)
