"""What a Mattermost bot hears on its websocket: frames in our words, with the position after each.

Told apart are events of teams that the bot is not to listen to, answers to our own pings, and what
the server does not make as we know it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from spaces.platforms import _mattermost_events as events
from spaces.platforms import _mattermost_wire as wire
from spaces.platforms import nested
from spaces.platforms._mattermost_api import SESSION_ENDED, Api, Fields
from spaces.platforms._mattermost_channels import teams
from spaces.platforms._mattermost_posts import Reader
from spaces.platforms.errors import Unavailable
from spaces.platforms.messages import Cursor, Incoming

log = logging.getLogger(__name__)


class Listening:
    """One bot's, over all its streams, of which it has one at a time. `teams_wanted`: their names;
    none: all teams are listened to."""

    def __init__(self, api: Api, teams_wanted: Sequence[str]):
        self._api = api
        self._teams_wanted = teams_wanted
        self._own_id = ""
        # Where teams are named: the ids of all that the bot is in, of those that are not named
        # and of their channels. Renewed whenever a stream is opened.
        self._team_ids: frozenset[str] = frozenset()
        self._foreign_team_ids: frozenset[str] = frozenset()
        self._foreign: frozenset[str] = frozenset()
        self._passed_over: set[str] = set()  # names of events that were not as expected
        self._reached: dict[str, int] = {}  # positions in time, in the server's milliseconds
        self._reaching = threading.Lock()

    def begin(self, own_id: str, cursor: Cursor) -> None:
        """A stream is about to be opened at this position."""
        self._own_id = own_id
        if self._teams_wanted:
            self._learn_what_is_foreign()
        self.reach(cursor)

    def reach(self, cursor: Cursor) -> None:
        """Positions in time only grow. Catching up and the stream move them, each in a thread."""
        now = self._server_now()
        with self._reaching:
            for name in {"at", "changes"} & cursor.keys():
                at = min(int(cursor[name]), now)
                self._reached[name] = max(at, self._reached.get(name, 0))

    def decode(self, frame: bytes, *, connection_id: str) -> list[Incoming]:
        """Raises `ValueError` for what cannot be passed over, and `Unavailable` when the stream
        has to be opened anew."""
        told = nested.loads(frame)
        if not isinstance(told, dict):
            raise ValueError("a frame that is no object")
        if "seq_reply" in told:
            _judge_reply(told)
            return []
        now = wire.moment(self._server_now())
        try:
            event = events.frame(told, connection_id=connection_id, own_id=self._own_id, now=now)
            self._require_known_team(event)
            if self._is_foreign(event):
                return []
            return [replace(one, cursor=self._cursor(event, one)) for one in events.told_by(event)]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            name = told.get("event")
            if not isinstance(name, str) or name in events.VITAL:
                raise ValueError(f"not as the server makes events: {error!r}") from error
            self._pass_over(name, error)
            return []

    def _pass_over(self, name: str, error: Exception) -> None:
        """One that is not as we know it must not end the stream, which others come by."""
        if name not in self._passed_over:
            self._passed_over.add(name)
            # Not what the error says: it may quote what people wrote.
            log.warning("%s events that are not as expected: %s", name, type(error).__name__)

    def _cursor(self, event: events.Frame, told: Incoming) -> Cursor:
        """Where to resume the websocket, and, by the server's own times, where to catch up.

        An import may bring posts of any time: of the future, from where nothing would be heard any
        more, and of the past, where all would be read again.
        """
        if told.id.startswith(("post:", "edit:")):
            at = wire.milliseconds(told.occurred_at)
            self.reach({"at": at, "changes": at})
        with self._reaching:
            return {"resume": [event.connection_id, event.seq + 1], **self._reached}

    def _server_now(self) -> int:
        return int((time.time() + self._api.http.clock_skew_seconds) * 1000)

    # Teams that are not listened to ---------------------------------------------------------------

    def _learn_what_is_foreign(self) -> None:
        mine = teams(self._api, ())
        self._team_ids = frozenset(team["id"] for team in mine)
        self._foreign_team_ids = frozenset(
            team["id"] for team in mine if team["name"] not in self._teams_wanted
        )
        self._foreign = frozenset(
            channel["id"]
            for channel in Reader(self._api, self._own_id).channels()
            if channel.get("team_id") in self._foreign_team_ids
        )

    def _is_foreign(self, event: events.Frame) -> bool:
        team_id = event.data.get("team_id") or event.team_id
        if team_id in self._foreign_team_ids:
            self._foreign |= {event.channel_id} - {""}  # most events name their channel only
            return True
        return bool({event.channel_id, event.data.get("channel_id")} & self._foreign)

    def _require_known_team(self, event: events.Frame) -> None:
        """A team that the bot has come to while it listens may be one of those named. Ends the
        stream: the next one is caught up with, and knows all teams."""
        is_mine = event.event == "added_to_team" and event.data["user_id"] == event.own_id
        if self._teams_wanted and is_mine and event.data["team_id"] not in self._team_ids:
            raise Unavailable("The bot has come to a team.", code="teams_changed")


def _judge_reply(told: Fields) -> None:
    error: Any = told.get("error")
    if not isinstance(error, dict):
        return
    if told.get("status") == "FAIL" and error.get("status_code") == 401:
        # Whether the credentials count no more shows when it connects anew: a token outlives its
        # session, and a login may bring another.
        raise Unavailable(
            "The session was revoked: the websocket is open and mute.", code=SESSION_ENDED
        )
