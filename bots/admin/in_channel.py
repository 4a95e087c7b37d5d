"""Rows of one bot in one channel, which is called as it is for that bot."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.views import ChangeList

from bots import naming
from bots.admin import looks
from bots.admin.base import GrowingAdmin, Rows


class RoomRows(Rows):
    """The rows of a page, each with what its channel is called."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = self.result_list
        names = naming.names((row.bot, row.channel) for row in rows if row.channel)
        for row in rows:
            row.room = names.get((row.bot_id, row.channel_id), looks.NOTHING)


class InChannel(GrowingAdmin):
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RoomRows

    @display(description="Channel")
    def room(self, row: Any) -> str:
        """In the list."""
        told: str = row.room
        return told

    @display(description="Channel")
    def channel_shown(self, row: Any) -> SafeString | str:
        """On the page of the row."""
        if row.channel is None:
            return looks.NOTHING
        return looks.link(row.channel, naming.name(row.bot, row.channel))
