"""Who is online, away or not there. Kept in memory, as far as anybody was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .state import Status

if TYPE_CHECKING:
    from .simulation import Simulation

AWAY_AFTER_MS = 300_000
NAMES = frozenset(["online", "away", "dnd", "offline"])


def status_of(simulation: Simulation, user_id: str) -> Status:
    return simulation.statuses.get(user_id) or Status(user_id=user_id)


def set_automatically(simulation: Simulation, user_id: str, name: str) -> None:
    """Follow what the user does, unless they said themselves what to show."""
    status = simulation.statuses.setdefault(user_id, Status(user_id=user_id))
    if status.manual and name != "offline":
        status.last_activity_at = simulation.now()
        return
    if name == "online":
        status.last_activity_at = simulation.now()
    if status.status == name or status.manual:
        return
    status.status = name
    tell(simulation, status)


def set_manually(simulation: Simulation, user_id: str, name: str, dnd_end_time: int = 0) -> Status:
    status = simulation.statuses.setdefault(user_id, Status(user_id=user_id))
    changed = status.status != name
    status.status = name
    status.manual = name != "online"
    status.last_activity_at = simulation.now()
    status.dnd_end_time = dnd_end_time if name == "dnd" else 0
    if changed:
        tell(simulation, status)
    return status


def look_for_idleness(simulation: Simulation, user_id: str) -> None:
    status = simulation.statuses.get(user_id)
    if status is None or status.manual or status.status != "online":
        return
    if simulation.now() - status.last_activity_at >= AWAY_AFTER_MS:
        status.status = "away"
        tell(simulation, status)


def tell(simulation: Simulation, status: Status) -> None:
    simulation.publish(
        "status_change",
        {"status": status.status, "user_id": status.user_id},
        user_id=status.user_id,
    )


def as_json(status: Status) -> dict[str, Any]:
    return {
        "user_id": status.user_id,
        "status": status.status,
        "manual": status.manual,
        "last_activity_at": status.last_activity_at,
        "dnd_end_time": status.dnd_end_time,
    }
