"""Messages of the local platform: what is stored in a room, and what is shown to one person.

The rules stand in the docstring of `local.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from spaces.models.local import LocalAccount, LocalFile, LocalMessage, LocalRoom
from spaces.platforms import _local_accounts as accounts
from spaces.platforms import _local_log as log
from spaces.platforms import _local_wire as wire
from spaces.platforms.contract import Limits
from spaces.platforms.errors import NotFound, Rejected
from spaces.platforms.messages import Card, File, Kind, Outgoing, PersonRef, Sent


def find(room: LocalRoom, message_id: str) -> LocalMessage:
    live = LocalMessage.objects.filter(room=room, pk=accounts.row_id(message_id), deleted_at=None)
    if row := live.first():
        return row
    raise NotFound("There is no such message in this channel.")


def thread(room: LocalRoom, message_id: str) -> LocalMessage | None:
    """The message that the thread hangs on; an answer to an answer joins its thread."""
    if not message_id:
        return None
    row = find(room, message_id)
    return row.thread or row


def sent(me: LocalAccount, key: str) -> Sent | None:
    """What was posted under this key."""
    row = LocalMessage.objects.filter(author=me, key=key).first()
    if row is None:
        return None
    return Sent(message_id=str(row.pk), channel_id=str(row.room_id), sent_at=row.posted_at)


def post(write: log.Write, room: LocalRoom, message: Outgoing, contents: Sequence[bytes]) -> Sent:
    row = LocalMessage.objects.create(
        room=room,
        author=write.me,
        seq=write.next_seq,
        text=message.text,
        card=wire.card_json(message.card),
        thread=thread(room, message.thread),
        key=message.key,
        posted_at=write.at,
    )
    files = _store_files(row, message.files, contents)
    write.emit(Kind.MESSAGE_POSTED, room, **log.message_json(row, files))
    return Sent(message_id=str(row.pk), channel_id=str(room.pk), sent_at=write.at)


def whisper(write: log.Write, room: LocalRoom, message: Outgoing, reader: PersonRef) -> Sent:
    """Show a message to one member, if they listen now; nothing of it is stored as a message.

    Its id is none that anybody could edit, delete or answer.
    """
    account = accounts.find(write.me, reader)
    if not room.members.filter(account=account, left_seq=None).exists():
        raise Rejected(
            f"{account.username} is not a member of this channel.", code="person_not_in_channel"
        )
    shown = LocalMessage(
        text=message.text,
        card=wire.card_json(message.card),
        thread=thread(room, message.thread),
    )
    message_id = f"shown-{write.next_seq}"
    content = log.message_json(shown, []) | {"message": message_id, "shown_to": account.username}
    write.emit(Kind.MESSAGE_POSTED, room, only_for=account, **content)
    return Sent(message_id=message_id, channel_id=str(room.pk), sent_at=write.at)


def read(file: File, limits: Limits) -> bytes:
    with file.open() as stream:
        content = stream.read(limits.file_bytes + 1)
    if len(content) > limits.file_bytes:
        raise Rejected(
            f"{file.name} is larger than {limits.file_bytes} bytes.", code="file_too_large"
        )
    return content


def refuse_unpostable(message: Outgoing, limits: Limits) -> None:
    if not (message.text.strip() or message.card or message.files):
        raise Rejected("A message cannot be empty.", code="message_empty")
    accounts.checked(message.text, limits.text, "text")
    for value in _texts(message.card):
        accounts.checked(value, limits.text, "card")
    if len(message.files) > limits.files:
        raise Rejected(f"A message carries at most {limits.files} files.", code="too_many_files")
    for file in message.files:
        accounts.checked(file.name, 255, "file_name")
        accounts.checked(file.content_type, 255, "content_type")
    if message.only_for and (message.person or message.files):
        raise Rejected(
            "What one member of a channel alone sees is text or a card.", code="not_for_one_person"
        )


def _store_files(
    row: LocalMessage, files: Sequence[File], contents: Sequence[bytes]
) -> list[LocalFile]:
    return LocalFile.objects.bulk_create(
        LocalFile(
            message=row,
            name=file.name,
            content_type=file.content_type,
            size=len(content),
            content=content,
        )
        for file, content in zip(files, contents, strict=True)
    )


def _texts(card: Card | None) -> Iterator[str]:
    for value in asdict(card).values() if card else ():
        if isinstance(value, str):
            yield value
        else:
            for pair in value:
                yield from pair
