"""The server itself: is it there, how is it set up, which roles and emoji does it know."""

from __future__ import annotations

import json
from typing import Any

from .. import posting, views
from ..calls import OK, Answer, Call, Routes
from ..errors import ApiError, bad_body
from ..roles import PERMISSIONS
from ..settings import full_client_config, limited_client_config, merged
from ..state import Emoji

routes = Routes()


@routes.add("GET", "/system/ping", needs_login=False)
def ping(call: Call) -> Any:
    status = {
        "status": "OK",
        "AndroidLatestVersion": "",
        "AndroidMinVersion": "",
        "IosLatestVersion": "",
        "IosMinVersion": "",
        "ActiveSearchBackend": "database",
    }
    if call.flag("get_server_status"):
        status |= {"database_status": "OK", "filestore_status": "OK"}
    return status


@routes.add("GET", "/config/client", needs_login=False)
def client_config(call: Call) -> Any:
    """`format=old` is accepted as ever and changes nothing."""
    settings = call.simulation.settings
    if call.session is None:
        return limited_client_config(settings, no_accounts=not call.simulation.world.users)
    return full_client_config(settings, max_post_size=posting.MAX_MESSAGE)


@routes.add("GET", "/config")
def config(call: Call) -> Any:
    call.require("manage_system")
    return call.simulation.settings


@routes.add("PUT", "/config")
@routes.add("PUT", "/config/patch")
def change_config(call: Call) -> Any:
    call.require("manage_system")
    changes = call.json()
    if not all(isinstance(section, dict) for section in changes.values()):
        raise bad_body("config")
    call.simulation.settings = merged(call.simulation.settings, changes)
    call.simulation.publish("config_changed", {"config": client_config(call)})
    return call.simulation.settings


@routes.add("GET", "/license/client", needs_login=False)
def license(call: Call) -> Any:
    return {"IsLicensed": "false"}


# Roles


def _role(name: str) -> dict[str, Any]:
    return {
        "id": (name.replace("_", "") + "0" * 26)[:26],
        "name": name,
        "display_name": f"authentication.roles.{name}.name",
        "description": f"authentication.roles.{name}.description",
        "create_at": 0,
        "update_at": 0,
        "delete_at": 0,
        "permissions": sorted(PERMISSIONS[name]),
        "scheme_managed": True,
        "built_in": True,
    }


@routes.add("POST", "/roles/names")
def roles_by_names(call: Call) -> Any:
    names = call.ids()
    if not names or len(names) > 100:
        raise bad_body("rolenames")
    return [_role(name) for name in names if name in PERMISSIONS]


@routes.add("GET", "/roles/name/{role_name}")
def role_by_name(call: Call) -> Any:
    if call.params["role_name"] not in PERMISSIONS:
        raise ApiError(404, "app.role.get_by_name.app_error")
    return _role(call.params["role_name"])


# Emoji


@routes.add("POST", "/emoji", takes_files=True)
async def create_emoji(call: Call) -> Answer:
    call.require("create_emojis")
    image, name = b"", ""
    async for part in await call.request.multipart():
        if part.name == "image":
            image = await part.read()
        elif part.name == "emoji":
            described = json.loads(await part.read())
            name = str(described.get("name") or "")
    if not image or not name:
        raise bad_body("emoji")
    if any(one.name == name for one in call.simulation.world.emoji.values()):
        raise ApiError(400, "api.emoji.create.duplicate.app_error")
    emoji = Emoji(name=name, creator_id=call.user.id, image=image, create_at=call.simulation.now())
    call.simulation.world.emoji[emoji.id] = emoji
    call.simulation.publish("emoji_added", {"emoji": json.dumps(views.emoji(emoji))})
    return Answer(views.emoji(emoji), status=201)


@routes.add("GET", "/emoji")
def find_emoji(call: Call) -> Any:
    return [views.emoji(one) for one in call.page_of(list(call.simulation.world.emoji.values()))]


@routes.add("GET", "/emoji/name/{emoji_name}")
def emoji_by_name(call: Call) -> Any:
    for one in call.simulation.world.emoji.values():
        if one.name == call.params["emoji_name"]:
            return views.emoji(one)
    raise ApiError(404, "app.emoji.get_by_name.no_result")


def _emoji(call: Call) -> Emoji:
    emoji = call.simulation.world.emoji.get(call.params["emoji_id"])
    if emoji is None:
        raise ApiError(404, "app.emoji.get.no_result")
    return emoji


@routes.add("GET", "/emoji/{emoji_id}")
def get_emoji(call: Call) -> Any:
    return views.emoji(_emoji(call))


@routes.add("GET", "/emoji/{emoji_id}/image")
def emoji_image(call: Call) -> Any:
    return Answer(_emoji(call).image, headers={"Content-Type": "image/png"})


@routes.add("DELETE", "/emoji/{emoji_id}")
def delete_emoji(call: Call) -> Any:
    emoji = _emoji(call)
    if emoji.creator_id != call.user.id:
        call.require("manage_system")
    del call.simulation.world.emoji[emoji.id]
    return OK
