"""Files: bringing them, fetching them, in one piece or in several."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import BodyPartReader

from .. import views
from ..calls import Answer, Call, Routes
from ..errors import ApiError, bad_body, no_permission
from ..state import StoredFile, is_id, new_id

routes = Routes()

REQUEST_OVERHEAD = 64 * 1024  # what multipart wraps around the largest file


def _too_large() -> ApiError:
    return ApiError(413, "api.file.upload_file.too_large_detailed.app_error")


def _no_file() -> ApiError:
    return ApiError(404, "app.file_info.get.app_error")


@dataclass
class Upload:
    """What one request brought."""

    channel_id: str
    files: list[tuple[str, bytes]]  # name, content
    client_ids: list[str]


@routes.add("POST", "/files", takes_files=True)
async def upload(call: Call) -> Answer:
    if not call.simulation.setting("FileSettings", "EnableFileAttachments"):
        raise ApiError(403, "api.file.attachments.disabled.app_error")
    if call.request.content_length == 0:
        raise ApiError(400, "api.file.upload_file.incorrect_number_of_files.app_error")
    if (call.request.content_length or 0) > _limit(call) + REQUEST_OVERHEAD:
        raise _too_large()
    is_form = call.request.content_type == "multipart/form-data"
    received = await (_from_form(call) if is_form else _from_body(call))
    if not is_id(received.channel_id):
        raise bad_body("channel_id")
    if received.client_ids and len(received.client_ids) != len(received.files):
        raise ApiError(400, "api.file.upload_file.incorrect_number_of_client_ids.app_error")
    call.require_in_channel("upload_file", received.channel_id)
    stored = [_store(call, received.channel_id, name, content) for name, content in received.files]
    body = {"file_infos": [views.file(one) for one in stored], "client_ids": received.client_ids}
    return Answer(body, status=201)


def _limit(call: Call) -> int:
    return int(call.simulation.setting("FileSettings", "MaxFileSize"))


async def _from_form(call: Call) -> Upload:
    """Form fields first, then the files under any name; other fields are refused."""
    received = Upload(call.query("channel_id"), [], [])
    async for part in await call.request.multipart():
        if not isinstance(part, BodyPartReader):
            raise bad_body("files")
        content = await _read(call, part)
        if part.filename is not None:
            received.files.append((part.filename, content))
        elif part.name == "channel_id":
            received.channel_id = content.decode()
        elif part.name == "client_ids":
            if received.files:
                raise bad_body("client_ids")
            received.client_ids.append(content.decode())
        else:
            raise bad_body(part.name or "form")
    if not received.files:
        raise ApiError(400, "api.file.upload_file.incorrect_number_of_files.app_error")
    return received


async def _read(call: Call, part: BodyPartReader) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk(64 * 1024):
        content += chunk
        if len(content) > _limit(call):
            raise _too_large()
    return bytes(content)


async def _from_body(call: Call) -> Upload:
    name = call.query("filename")
    if not name:
        raise bad_body("filename")
    content = bytearray()
    async for chunk in call.request.content.iter_any():
        content += chunk
        if len(content) > _limit(call):
            raise _too_large()
    return Upload(call.query("channel_id"), [(name, bytes(content))], [])


def _store(call: Call, channel_id: str, name: str, content: bytes) -> StoredFile:
    file = StoredFile(
        user_id=call.user.id,
        channel_id=channel_id,
        name=name,
        mime_type=views.mime_type(name),
        content=content,
        create_at=call.simulation.now(),
    )
    call.simulation.world.files[file.id] = file
    return file


# Fetching


def _readable(call: Call) -> StoredFile:
    file = call.simulation.world.files.get(call.params["file_id"])
    if file is None or file.delete_at:
        raise _no_file()
    channel = call.simulation.world.channels[file.channel_id]
    if file.user_id != call.user.id and not call.simulation.may_read(call.user, channel):
        raise no_permission()
    return file


@routes.add("GET HEAD", "/files/{file_id}")
def download(call: Call) -> Answer:
    file = _readable(call)
    way = "attachment" if call.flag("download") else "inline"
    plain, quoted = file.name.encode("ascii", "replace").decode(), quote(file.name)
    headers = {
        "Content-Type": file.mime_type,
        "Content-Disposition": f"{way};filename=\"{plain}\"; filename*=UTF-8''{quoted}",
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
    }
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", call.request.headers.get("Range", ""))
    if not wanted or wanted.groups() == ("", ""):
        return Answer(file.content, headers=headers)
    return _range(file, wanted[1], wanted[2], headers)


def _range(file: StoredFile, first: str, last: str, headers: dict[str, str]) -> Answer:
    size = len(file.content)
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size or end < start:
        return Answer(b"", status=416, headers={"Content-Range": f"bytes */{size}"})
    headers = headers | {"Content-Range": f"bytes {start}-{end}/{size}"}
    return Answer(file.content[start : end + 1], status=206, headers=headers)


@routes.add("GET HEAD", "/files/{file_id}/info")
def info(call: Call) -> Answer:
    headers = {"Cache-Control": "max-age=2592000, private"}
    return Answer(views.file(_readable(call)), headers=headers)


@routes.add("GET HEAD", "/files/{file_id}/thumbnail")
@routes.add("GET HEAD", "/files/{file_id}/preview")
def preview(call: Call) -> Answer:
    """Images are their own previews here; other files have none."""
    file = _readable(call)
    if not file.mime_type.startswith("image/"):
        raise ApiError(400, "api.file.get_file_thumbnail.no_thumbnail.app_error")
    return Answer(file.content, headers={"Content-Type": file.mime_type})


@routes.add("GET", "/files/{file_id}/link")
def link(call: Call) -> Any:
    file = _readable(call)
    if not call.simulation.setting("FileSettings", "EnablePublicLink"):
        raise ApiError(403, "api.file.get_public_link.disabled.app_error")
    site = call.simulation.setting("ServiceSettings", "SiteURL")
    return {"link": f"{site}/files/{file.id}/public?h={file.id}"}


@routes.add("GET", "/posts/{post_id}/files/info")
def of_post(call: Call) -> Any:
    post = call.find_post(call.params["post_id"])
    if post is None or not call.simulation.may_read(
        call.user, call.simulation.world.channels[post.channel_id]
    ):
        raise no_permission()
    return [views.file(call.simulation.world.files[one]) for one in post.file_ids]


# In several pieces


def _upload_view(call: Call, upload_id: str) -> dict[str, Any]:
    begun = call.simulation.world.uploads[upload_id]
    return {key: value for key, value in begun.items() if key != "content"}


@routes.add("POST", "/uploads")
def begin(call: Call) -> Answer:
    body = call.json()
    if not is_id(body.get("channel_id")):
        raise bad_body("channel_id")
    size = body.get("file_size")
    if not isinstance(size, int) or size <= 0 or not body.get("filename"):
        raise bad_body("upload")
    if size > _limit(call):
        raise ApiError(413, "api.upload.create.upload_too_large.app_error")
    call.require_in_channel("upload_file", body["channel_id"])
    begun = {
        "id": new_id(),
        "type": "attachment",
        "create_at": call.simulation.now(),
        "user_id": call.user.id,
        "channel_id": body["channel_id"],
        "filename": str(body["filename"]),
        "file_size": size,
        "file_offset": 0,
        "content": b"",
    }
    call.simulation.world.uploads[begun["id"]] = begun
    return Answer(_upload_view(call, begun["id"]), status=201)


def _own_upload(call: Call) -> dict[str, Any]:
    begun = call.simulation.world.uploads.get(call.params["upload_id"])
    if begun is None:
        raise ApiError(404, "app.upload.get.app_error")
    if begun["user_id"] != call.user.id:
        raise no_permission()
    return begun


@routes.add("GET", "/uploads/{upload_id}")
def get_upload(call: Call) -> Any:
    return _upload_view(call, _own_upload(call)["id"])


@routes.add("POST", "/uploads/{upload_id}", takes_files=True)
async def go_on(call: Call) -> Answer:
    """The next piece: 204 as long as more is missing, then the file."""
    begun = _own_upload(call)
    if call.request.content_type == "multipart/form-data":
        piece = b"".join([await part.read() async for part in await call.request.multipart()])
    else:
        piece = await call.request.read()
    begun["content"] += piece
    begun["file_offset"] = len(begun["content"])
    if begun["file_offset"] > begun["file_size"]:
        raise ApiError(400, "api.upload.upload_data.invalid_content_length")
    if begun["file_offset"] < begun["file_size"]:
        return Answer(b"", status=204)
    del call.simulation.world.uploads[begun["id"]]
    file = _store(call, begun["channel_id"], begun["filename"], begun["content"])
    return Answer(views.file(file), status=201)
