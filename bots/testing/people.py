"""People in a test's conversation, and what they do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from io import BytesIO
from mimetypes import guess_type
from typing import TYPE_CHECKING
from uuid import uuid4

from django.utils import timezone

from bots import inbox
from bots.testing.said import Said
from spaces.models import LocalEvent, LocalMember, LocalMessage, Participant
from spaces.platforms.local import Local
from spaces.platforms.messages import File, Incoming, Kind, Outgoing, PersonInfo, PersonRef

if TYPE_CHECKING:
    from bots.testing.chat import Chat


class Person:
    """Somebody at a keyboard. After each thing they do, all that follows from it is done."""

    def __init__(self, chat: Chat, platform: Local, info: PersonInfo):
        self.info = info
        self._chat = chat
        self._platform = platform

    def says(
        self,
        text: str = "",
        *,
        channel: str = "lobby",
        thread: Said | None = None,
        files: Mapping[str, bytes] | None = None,
    ) -> Said:
        """Post into a channel, after joining it; into the thread of a message, if one is given.
        `files` are contents by name."""
        room = thread.room if thread else self._enter(channel)
        message = Outgoing(
            key=uuid4().hex,
            channel=room,
            text=text,
            files=_attached(files or {}),
            thread=str(thread.id) if thread else "",
        )
        return self._post(message)

    def said(self, text: str, *, ago: timedelta, channel: str = "lobby") -> Said:
        """Have posted into a channel so long ago, while the bot was there and did not listen."""
        room = self._enter(channel)
        sent = self._platform.post_message(Outgoing(key=uuid4().hex, channel=room, text=text))
        message = LocalMessage.objects.get(pk=sent.message_id)
        at = timezone.now() - ago
        LocalMessage.objects.filter(pk=message.pk).update(posted_at=at)
        LocalEvent.objects.filter(space=self._chat.bot.space_id, seq=message.seq).update(at=at)
        LocalMember.objects.filter(room=room, joined_at__gt=at).update(joined_at=at)
        here = Participant.objects.filter(channel__remote_id=room)
        here.filter(joined_at__gt=at).update(joined_at=at)
        self._chat.settle()
        return Said(message.pk)

    def says_directly(self, text: str = "", *, files: Mapping[str, bytes] | None = None) -> Said:
        """Write to the bot alone."""
        bot = PersonRef(username=self._chat.bot.slug)
        files_sent = _attached(files or {})
        return self._post(Outgoing(key=uuid4().hex, person=bot, text=text, files=files_sent))

    def invokes(self, line: str, *, channel: str = "lobby") -> None:
        """Use a slash command, such as `/deploy api`, as platforms tell of it that have them. What
        is answered at once is posted as a message here."""
        command, _, text = line.partition(" ")
        told = Incoming(
            kind=Kind.COMMAND_INVOKED,
            id=uuid4().hex,
            occurred_at=timezone.now(),
            channel_id=self._enter(channel),
            person=self.info,
            command=command,
            text=text.strip(),
        )
        inbox.receive_call(self._chat.bot, [told])
        self._chat.settle()

    def edits(self, said: Said, text: str) -> None:
        self._platform.edit_message(said.room, str(said.id), text)
        self._chat.settle()

    def deletes(self, said: Said) -> None:
        self._platform.delete_message(said.room, str(said.id))
        self._chat.settle()

    def reacts(self, name: str, to: Said) -> None:
        self._platform.react(to.room, str(to.id), name)
        self._chat.settle()

    def joins(self, channel: str) -> None:
        self._platform.join_channel(self._chat.channel(channel))
        self._chat.settle()

    def leaves(self, channel: str) -> None:
        self._platform.leave_channel(self._chat.channel(channel))
        self._chat.settle()

    def _enter(self, channel: str) -> str:
        room = self._chat.channel(channel)
        if not any(mine.id == room for mine in self._platform.list_channels()):
            self._platform.join_channel(room)
            self._chat.settle()
        return room

    def _post(self, message: Outgoing) -> Said:
        sent = self._platform.post_message(message)
        self._chat.settle()
        return Said(int(sent.message_id))


def _attached(files: Mapping[str, bytes]) -> tuple[File, ...]:
    return tuple(
        File(
            name=name,
            content_type=guess_type(name)[0] or "application/octet-stream",
            size=len(content),
            open=lambda content=content: BytesIO(content),
        )
        for name, content in files.items()
    )
