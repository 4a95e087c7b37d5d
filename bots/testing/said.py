"""A message in a test's conversation."""

from __future__ import annotations

from dataclasses import dataclass

from spaces.models import LocalMessage, LocalReaction
from spaces.platforms.messages import Card, ChannelKind


@dataclass(frozen=True, slots=True)
class Said:
    """A message as it stands now: what is asked for is looked up at that moment."""

    id: int

    @property
    def text(self) -> str:
        return self._row.text

    @property
    def card(self) -> Card | None:
        told = self._row.card
        if told is None:
            return None
        return Card(**{**told, "fields": tuple(tuple(pair) for pair in told["fields"])})

    @property
    def files(self) -> dict[str, bytes]:
        """Their contents by name."""
        return {file.name: bytes(file.content) for file in self._row.files.order_by("pk")}

    @property
    def channel(self) -> str:
        """The name of its channel, empty for a direct conversation."""
        return self._row.room.name

    @property
    def to(self) -> str:
        """Who it was said to directly, empty in a channel."""
        row = self._row
        if row.room.kind != ChannelKind.DIRECT:
            return ""
        other = row.room.members.exclude(account=row.author_id).select_related("account").first()
        return other.account.username if other else ""

    @property
    def thread(self) -> Said | None:
        """The message that its thread began with."""
        row = self._row
        return Said(row.thread_id) if row.thread_id else None

    @property
    def reactions(self) -> list[str]:
        found = LocalReaction.objects.filter(message=self.id).order_by("pk")
        return list(found.values_list("name", flat=True))

    @property
    def is_deleted(self) -> bool:
        return self._row.deleted_at is not None

    @property
    def room(self) -> str:
        """The platform's id of its channel."""
        return str(self._row.room_id)

    @property
    def _row(self) -> LocalMessage:
        return LocalMessage.objects.select_related("room").get(pk=self.id)
