"""What a client may say on a websocket, and the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import presence, sessions
from .errors import ApiError
from .settings import BUILD
from .state import is_id

if TYPE_CHECKING:
    from .simulation import Simulation
    from .sockets import Socket

Data = dict[str, Any]


def answer(simulation: Simulation, socket: Socket, frame: Data) -> Data | None:
    """The reply frame, None for silence. Raises ApiError for a FAIL."""
    action, seq, data = frame.get("action"), frame.get("seq"), frame.get("data")
    data = data if isinstance(data, dict) else {}
    if action == "authentication_challenge":
        return _authenticate(simulation, socket, seq, data)
    if socket.connection is None:
        return None  # not registered: nobody is there to tell
    if not action or not isinstance(action, str):
        raise ApiError(400, "api.web_socket_router.no_action.app_error")
    if not isinstance(seq, int) or seq <= 0:
        raise ApiError(400, "api.web_socket_router.bad_seq.app_error")
    session = simulation.world.sessions.get(socket.connection.token)
    if session is None or session.expires_at <= simulation.now():
        socket.connection.token = ""
        raise ApiError(401, "api.web_socket_router.not_authenticated.app_error")
    if action.startswith("custom_"):
        return None
    if action not in ACTIONS:
        raise ApiError(500, "api.web_socket_router.bad_action.app_error")
    result = ACTIONS[action](simulation, socket, data)
    reply: Data = {"status": "OK", "seq_reply": seq}
    return reply | ({"data": result} if result is not None else {})


def _authenticate(simulation: Simulation, socket: Socket, seq: Any, data: Data) -> Data | None:
    connection = socket.connection
    if connection and connection.token:
        return None
    session = sessions.by_token(simulation, str(data.get("token") or ""))
    if session is None:
        socket.drop()
        return None
    if connection:
        socket.register_again(session)
    else:
        socket.register(session)
    return {"status": "OK", "seq_reply": seq}


def _ping(simulation: Simulation, socket: Socket, data: Data) -> Data:
    return {"text": "pong", "version": BUILD, "server_time": simulation.now(), "node_id": ""}


def _typing(simulation: Simulation, socket: Socket, data: Data) -> None:
    assert socket.connection
    session = simulation.world.sessions[socket.connection.token]
    sessions.extend(simulation, session)
    tell_typing(
        simulation, session.user_id, data.get("channel_id"), str(data.get("parent_id") or "")
    )


def tell_typing(simulation: Simulation, user_id: str, channel_id: Any, parent_id: str) -> None:
    if not is_id(channel_id):
        raise ApiError(400, "api.websocket_handler.invalid_param.app_error")
    user = simulation.world.users[user_id]
    if not simulation.may_in_channel(user, "create_post", channel_id):
        raise ApiError(400, "api.websocket_handler.invalid_param.app_error")
    presence.set_automatically(simulation, user_id, "online")
    simulation.publish(
        "typing",
        {"parent_id": parent_id, "user_id": user_id},
        channel_id=channel_id,
        omit=(user_id,),
    )


def _statuses(simulation: Simulation, socket: Socket, data: Data) -> Data:
    return {
        user_id: status.status
        for user_id, status in simulation.statuses.items()
        if status.status != "offline"
    }


def _statuses_of(simulation: Simulation, socket: Socket, data: Data) -> Data:
    user_ids = data.get("user_ids")
    if not isinstance(user_ids, list) or not all(isinstance(one, str) for one in user_ids):
        raise ApiError(400, "api.websocket_handler.invalid_param.app_error")
    return {user_id: presence.status_of(simulation, user_id).status for user_id in user_ids}


def _active(simulation: Simulation, socket: Socket, data: Data) -> None:
    if not isinstance(data.get("user_is_active"), bool):
        raise ApiError(400, "api.websocket_handler.invalid_param.app_error")
    name = "online" if data["user_is_active"] else "away"
    if data.get("manual"):
        presence.set_manually(simulation, socket.user_id, name)
    else:
        presence.set_automatically(simulation, socket.user_id, name)


def _present(simulation: Simulation, socket: Socket, data: Data) -> None:
    assert socket.connection
    if isinstance(data.get("channel_id"), str):
        socket.connection.viewed_channel_id = data["channel_id"]


def _noted(simulation: Simulation, socket: Socket, data: Data) -> None:
    """Acknowledgements are counted by the real server and change nothing."""


ACTIONS: dict[str, Callable[[Simulation, Socket, Data], Data | None]] = {
    "ping": _ping,
    "user_typing": _typing,
    "get_statuses": _statuses,
    "get_statuses_by_ids": _statuses_of,
    "user_update_active_status": _active,
    "presence": _present,
    "posted_notify_ack": _noted,
}
