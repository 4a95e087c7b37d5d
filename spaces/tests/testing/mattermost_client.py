"""A small client for the tests of the simulated server: it hides nothing the server says."""

from __future__ import annotations

import json
from typing import Any

import requests
import websocket

from spaces.testing.mattermost import SimulatedMattermost

TIMEOUT = 5.0  # seconds until a test gives up


class Rest:
    """REST as one user; every answer comes back as it is."""

    def __init__(self, server: SimulatedMattermost, token: str = ""):
        self._base = f"{server.url}/api/v4"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = self._headers | more.pop("headers", {})
        with requests.Session() as session:
            return session.request(
                method, self._base + path, headers=headers, timeout=TIMEOUT, **more
            )

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> requests.Response:
        return self.call("POST", path, json=body, **more)

    def put(self, path: str, body: Any = None, **more: Any) -> requests.Response:
        return self.call("PUT", path, json=body, **more)

    def delete(self, path: str, **more: Any) -> requests.Response:
        return self.call("DELETE", path, **more)


class Socket:
    """One websocket; frames are read one by one, or looked through for an event."""

    def __init__(self, server: SimulatedMattermost, token: str = "", query: str = "", **more: Any):
        headers = [f"Authorization: Bearer {token}"] if token else []
        self._socket = websocket.create_connection(
            f"ws{server.url.removeprefix('http')}/api/v4/websocket{query}",
            header=headers,
            timeout=TIMEOUT,
            **{"suppress_origin": True, "skip_utf8_validation": True, **more},
        )

    def frame(self) -> dict[str, Any]:
        """The next frame. Raises when the server ends the connection."""
        return json.loads(self._socket.recv())

    def event(self, name: str) -> dict[str, Any]:
        """The next event of this name; others before it are passed over."""
        while True:
            frame = self.frame()
            if frame.get("event") == name:
                return frame

    def act(self, action: str, seq: int = 1, **data: Any) -> None:
        self._socket.send(json.dumps({"seq": seq, "action": action, "data": data}))

    def reply(self, seq: int = 1) -> dict[str, Any]:
        while True:
            frame = self.frame()
            if frame.get("seq_reply") == seq:
                return frame

    def ask(self, action: str, seq: int = 1, **data: Any) -> dict[str, Any]:
        self.act(action, seq, **data)
        return self.reply(seq)

    def send_text(self, text: str) -> None:
        self._socket.send(text)

    def close_code(self) -> int:
        """Read to the end: the code of the close frame, 1005 for an empty one, 1006 for none."""
        try:
            while True:
                opcode, data = self._socket.recv_data(control_frame=True)
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    return int.from_bytes(data[:2], "big") if data else 1005
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            return 1006

    def is_quiet(self, seconds: float = 0.1) -> bool:
        """Whether nothing comes for a moment."""
        self._socket.settimeout(seconds)
        try:
            self._socket.recv()
        except websocket.WebSocketTimeoutException:
            return True
        finally:
            self._socket.settimeout(TIMEOUT)
        return False

    def close(self) -> None:
        self._socket.shutdown()
