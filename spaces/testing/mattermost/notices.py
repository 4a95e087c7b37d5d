"""The posts the server itself writes: who came and went, and what became of the channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import posting
from .state import Channel, Post, User

if TYPE_CHECKING:
    from .simulation import Simulation


def joined(
    simulation: Simulation,
    channel: Channel,
    user: User,
    adder: User | None,
    *,
    root_id: str = "",
) -> None:
    """Into town-square one comes with the team, and only so."""
    if adder and adder.id != user.id:
        props = {
            "userId": adder.id,
            "username": adder.username,
            "addedUserId": user.id,
            "addedUsername": user.username,
        }
        team = "team" if channel.name == "town-square" else "channel"
        text = f"{user.username} added to the {team} by {adder.username}."
        _write(simulation, channel, adder, f"system_add_to_{team}", text, props, root_id)
    else:
        team = "team" if channel.name == "town-square" else "channel"
        text = f"{user.username} joined the {team}."
        props = {"username": user.username}
        _write(simulation, channel, user, f"system_join_{team}", text, props, root_id)


def left_team(simulation: Simulation, channel: Channel, user: User, remover: User) -> None:
    """Told in town-square, when the user is not in it any more."""
    if remover.id == user.id:
        text = f"{user.username} left the team."
        _write(simulation, channel, user, "system_leave_team", text, {"username": user.username})
        return
    text = f"{user.username} removed from the team."
    _write(simulation, channel, user, "system_remove_from_team", text, {"username": user.username})


def left(simulation: Simulation, channel: Channel, user: User, remover: User) -> None:
    if remover.id == user.id:
        text = f"{user.username} left the channel."
        _write(simulation, channel, user, "system_leave_channel", text, {"username": user.username})
        return
    text = f"{user.username} removed from the channel."
    props = {"removedUserId": user.id, "removedUsername": user.username}
    _write(simulation, channel, remover, "system_remove_from_channel", text, props)


def changed(
    simulation: Simulation, channel: Channel, user: User, what: str, *, old: str, new: str
) -> None:
    """A change of header, purpose or display name; a new name in addresses is not told."""
    types = {
        "header": ("system_header_change", "header"),
        "purpose": ("system_purpose_change", "purpose"),
        "display_name": ("system_displayname_change", "displayname"),
    }
    if what not in types:
        return
    type, prop = types[what]
    text = f"{user.username} changed the channel's {what.replace('_', ' ')} to: {new}"
    props = {"username": user.username, f"old_{prop}": old, f"new_{prop}": new}
    _write(simulation, channel, user, type, text, props)


def converted(simulation: Simulation, channel: Channel, user: User) -> None:
    type = "system_change_chan_privacy"
    kind = "public" if channel.type == "O" else "private"
    text = f"This channel is {kind} now."
    _write(simulation, channel, user, type, text, {"username": user.username})


def archived(simulation: Simulation, channel: Channel, user: User) -> None:
    text = f"{user.username} archived the channel."
    _write(simulation, channel, user, "system_channel_deleted", text, {"username": user.username})


def restored(simulation: Simulation, channel: Channel, user: User) -> None:
    text = f"{user.username} unarchived the channel."
    _write(simulation, channel, user, "system_channel_restored", text, {"username": user.username})


def _write(
    simulation: Simulation,
    channel: Channel,
    user: User,
    type: str,
    text: str,
    props: dict[str, Any],
    root_id: str = "",
) -> None:
    now = simulation.now()
    post = Post(
        channel_id=channel.id,
        user_id=user.id,
        message=text,
        type=type,
        props=props,
        root_id=root_id,
        create_at=now,
        update_at=now,
    )
    posting.store(simulation, post)
