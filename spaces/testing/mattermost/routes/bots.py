"""Bot accounts."""

from __future__ import annotations

from typing import Any

from .. import people, places, posting, views
from ..calls import Answer, Call, Routes
from ..errors import ApiError, no_bot, no_permission, no_user
from ..state import Bot, Post

routes = Routes()


def _named(call: Call, *, to_change: bool = False) -> Bot:
    """The bot of the path; whoever may not know of it is told there is none."""
    bot = call.simulation.world.bots.get(call.params["bot_user_id"])
    if bot is None:
        raise no_bot()
    own = bot.owner_id == call.user.id
    verb = "manage" if to_change else "read"
    permission = f"{verb}_bots" if own else f"{verb}_others_bots"
    if not call.simulation.may_in_system(call.user, permission):
        raise no_bot()
    return bot


@routes.add("POST", "/bots")
def create(call: Call) -> Answer:
    simulation, body = call.simulation, call.json()
    call.require("create_bot")
    if call.user.id in simulation.world.bots:
        raise no_permission()
    if not simulation.setting("ServiceSettings", "EnableBotAccountCreation"):
        raise ApiError(403, "api.bot.create_disabled")
    bot = people.create_bot(
        simulation,
        username=call.text_of("username"),
        owner_id=call.user.id,
        display_name=str(body.get("display_name") or ""),
        description=str(body.get("description") or ""),
    )
    _welcome(call, bot)
    return Answer(views.bot(simulation, bot), status=201)


def _welcome(call: Call, bot: Bot) -> None:
    """The bot greets its owner, with a hint to add it somewhere."""
    simulation = call.simulation
    user = simulation.world.users[bot.user_id]
    channel, _ = places.direct_channel(simulation, user, call.user)
    now = simulation.now()
    post = Post(
        channel_id=channel.id,
        user_id=user.id,
        type="add_bot_teams_channels",
        message="Please add me to teams and channels.",
        create_at=now,
        update_at=now,
    )
    posting.complete(simulation, post)
    posting.store(simulation, post)


@routes.add("GET", "/bots")
def find(call: Call) -> Any:
    simulation = call.simulation
    may_others = simulation.may_in_system(call.user, "read_others_bots")
    if not may_others:
        call.require("read_bots")
    bots = [
        one
        for one in simulation.world.bots.values()
        if (may_others or one.owner_id == call.user.id)
        and (call.flag("include_deleted") or not one.delete_at)
        and (not call.flag("only_orphaned") or _is_orphaned(call, one))
    ]
    return [views.bot(simulation, one) for one in call.page_of(bots)]


def _is_orphaned(call: Call, bot: Bot) -> bool:
    owner = call.simulation.world.users.get(bot.owner_id)
    return owner is not None and owner.delete_at > 0


@routes.add("GET", "/bots/{bot_user_id}")
def get(call: Call) -> Any:
    bot = _named(call)
    if bot.delete_at and not call.flag("include_deleted"):
        raise no_bot()
    return views.bot(call.simulation, bot)


@routes.add("PUT", "/bots/{bot_user_id}")
def patch(call: Call) -> Any:
    bot, body = _named(call, to_change=True), call.json()
    if isinstance(body.get("username"), str):
        user = call.simulation.world.users[bot.user_id]
        people.patch(call.simulation, user, {"username": body["username"]})
    for key in ("display_name", "description"):
        if isinstance(body.get(key), str):
            setattr(bot, key, body[key])
    bot.update_at = call.simulation.now()
    return views.bot(call.simulation, bot)


@routes.add("POST", "/bots/{bot_user_id}/disable")
def disable(call: Call) -> Any:
    return _set_active(call, active=False)


@routes.add("POST", "/bots/{bot_user_id}/enable")
def enable(call: Call) -> Any:
    return _set_active(call, active=True)


def _set_active(call: Call, *, active: bool) -> Any:
    bot = _named(call, to_change=True)
    user = call.simulation.world.users[bot.user_id]
    people.set_active(call.simulation, user, active=active)
    return views.bot(call.simulation, bot)


@routes.add("POST", "/bots/{bot_user_id}/assign/{user_id}")
def assign(call: Call) -> Any:
    bot = _named(call, to_change=True)
    owner = call.named_user()
    if owner.id in call.simulation.world.bots:
        raise no_user()
    bot.owner_id = owner.id
    return views.bot(call.simulation, bot)
