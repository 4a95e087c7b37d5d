"""Files: those to send, stored when a client hands them in or fetched from a URL; those received.

A URL comes from a client and the request would come from us, so only public addresses are asked,
unless an operator allowed a network: the address that was really connected to decides, whatever
the name resolved to a moment before.
"""

from __future__ import annotations

import mimetypes
import shutil
import socket
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path, PurePath
from typing import IO, Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

import requests
from django.conf import settings
from django.core.files.base import File as DjangoFile
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from bots.models import Bot, Job, StoredFile
from spaces.platforms.contract import Platform
from spaces.platforms.errors import Rejected, Unavailable
from spaces.platforms.messages import File

TIMEOUT_SECONDS = (10, 60)  # connecting, silence while reading
LARGEST_FETCH = 100 * 1024 * 1024  # bytes
CHUNK = 64 * 1024
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
    return StoredFile.objects.bulk_create(
        [
            StoredFile(
                bot=bot,
                name=safe_name(file.name),
                content_type=mimetypes.guess_type(file.name)[0] or "application/octet-stream",
                size=file.size,
                content=DjangoFile(file.content, name=safe_name(file.name)),
            )
            for file in handed
        ]
    )


def discard(stored: Iterable[StoredFile]) -> None:
    """Remove the contents of files whose rows will not be."""
    for file in stored:
        file.content.delete(save=False)


def safe_name(name: str) -> str:
    """The last part of what somebody called a file, without what a path or a header could read."""
    last = PurePath(name.replace("\\", "/")).name
    clean = "".join(c for c in last if c.isprintable() and c not in '"<>|:*?/').strip(". ")
    return clean[:200] or "file"


def outgoing(job: Job, stack: ExitStack) -> list[File]:
    """The files of a job, ready to be sent; fetched ones are gone when `stack` closes.

    Raises `Rejected` for a URL that will not do, `Unavailable` for a server that is away.
    """
    found = []
    stored = StoredFile.objects.in_bulk(
        [f["id"] for f in job.payload.get("files", ()) if "id" in f]
    )
    for wanted in job.payload.get("files", ()):
        if "url" in wanted:
            found.append(_fetched(wanted["url"], wanted.get("name", ""), stack))
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

    Raises `NotFound`, and whatever else the platform raises.
    """
    content = cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=IN_MEMORY))  # noqa: SIM115
    try:
        with platform.download_file(file_id) as stream:
            shutil.copyfileobj(stream, content, CHUNK)
    except BaseException:
        content.close()
        raise
    content.seek(0)
    return content


def _open(file: StoredFile) -> BinaryIO:
    # A fresh look at the store each time; Django's own file object would hand out one for all.
    return cast(BinaryIO, file.content.storage.open(str(file.content.name)))


def _fetched(url: str, name: str, stack: ExitStack) -> File:
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="botadmin-"))) / "file"
    with path.open("wb") as content:
        content_type, size = _fetch(url, content)
    name = safe_name(name or unquote(PurePath(urlsplit(url).path).name))
    return File(name=name, content_type=content_type, size=size, open=lambda: path.open("rb"))


def _fetch(url: str, into: IO[bytes]) -> tuple[str, int]:
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", _GuardedAdapter())
    session.mount("https://", _GuardedAdapter())
    try:
        with session.get(
            url, timeout=TIMEOUT_SECONDS, stream=True, allow_redirects=False
        ) as answer:
            if answer.status_code >= 500 or answer.status_code == 429:
                raise Unavailable(f"The file's server answered {answer.status_code}.")
            if answer.status_code != 200:
                raise Rejected(
                    f"The file's server answered {answer.status_code}.", code="file_not_fetched"
                )
            size = 0
            for chunk in answer.iter_content(CHUNK):
                size += len(chunk)
                if size > LARGEST_FETCH:
                    raise Rejected("The file is too large.", code="file_too_large")
                into.write(chunk)
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
            return kind or "application/octet-stream", size
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, ValueError) as error:
        raise Rejected("This is no http or https URL.", code="file_not_fetched") from error
    except requests.RequestException as error:
        raise Unavailable("The file's server could not be reached.") from error
    finally:
        session.close()


# Connections that look at whom they reached before they say a word.


def _check_peer(connected: socket.socket) -> socket.socket:
    address = ip_address(connected.getpeername()[0].partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if not address.is_global and not any(
        address in network for network in settings.BOTADMIN_ALLOWED_NETWORKS
    ):
        connected.close()
        raise Rejected(
            "The file's URL leads to a private address.",
            code="private_address",
            next_step="An operator can allow the network with BOTADMIN_ALLOWED_NETWORKS.",
        )
    return connected


class _GuardedHTTP(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _check_peer(super()._new_conn())


class _GuardedHTTPS(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _check_peer(super()._new_conn())


class _GuardedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _GuardedHTTP


class _GuardedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedHTTPS


class _GuardedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        assert isinstance(self.poolmanager, PoolManager)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _GuardedHTTPPool,
            "https": _GuardedHTTPSPool,
        }
