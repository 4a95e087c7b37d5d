"""Events in a short sentence each: who did what, and what changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.text import Truncator

from bots.models import Event
from spaces.platforms.messages import Kind

QUOTED = 120  # characters of what was written
NAMED = 3  # people; the others are counted

Data = Mapping[str, Any]


def sentence(event: Event) -> str:
    """What it tells, as text that nothing is interpreted in; its kind where that says it all."""
    tell = SENTENCES.get(event.kind)
    return tell(event.data) if tell else event.kind


def who(person: Any) -> str:
    if not isinstance(person, Mapping):
        return "Somebody"
    named = person.get("name") or person.get("username") or person.get("email") or person.get("id")
    return str(named or "Somebody")


def quoted(text: Any) -> str:
    return f"“{Truncator(' '.join(str(text).split())).chars(QUOTED)}”"


def _actor(data: Data) -> str:
    return "The bot" if data.get("own") else who(data.get("person"))


def _message(data: Data) -> Data:
    message = data.get("message")
    return message if isinstance(message, Mapping) else {}


def _posted(data: Data) -> str:
    message = _message(data)
    if message.get("system"):
        return f"The platform wrote {quoted(message.get('text', ''))}"
    return f"{_actor(data)} {_wrote(message)}"


def _wrote(message: Data) -> str:
    files = message.get("files") or ()
    if text := message.get("text"):
        more = f" with {_count(len(files), 'file')}" if files else ""
        return f"wrote {quoted(text)}{more}"
    if message.get("card"):
        return f"sent a card: {quoted(message['card'].get('title', ''))}"
    return f"sent {_count(len(files), 'file')}" if files else "wrote nothing"


def _edited(data: Data) -> str:
    return f"{_actor(data)} changed a message to {quoted(_message(data).get('text', ''))}"


def _deleted(data: Data) -> str:
    return "A message was deleted"


def _read(data: Data) -> str:
    return f"{_actor(data)} has read the channel"


def _reacted(data: Data) -> str:
    return f"{_actor(data)} reacted with {data.get('reaction', '')}"


def _unreacted(data: Data) -> str:
    return f"{_actor(data)} took back {data.get('reaction', '')}"


def _people(data: Data) -> str:
    people = [who(person) for person in data.get("people") or ()]
    named = ", ".join(people[:NAMED]) or who(data.get("person"))
    more = len(people) - NAMED
    return f"{named} and {_count(more, 'other')}" if more > 0 else named


def _joined(data: Data) -> str:
    return f"{_people(data)} joined{_by(data)}"


def _left(data: Data) -> str:
    return f"{_people(data)} left{_by(data)}"


def _by(data: Data) -> str:
    """Who added or removed them, where that was somebody else."""
    person = data.get("person")
    alone = not person or person in (data.get("people") or [person])
    return "" if alone else f", by {who(person)}"


def _channel(data: Data) -> str:
    channel = data.get("channel")
    channel = channel if isinstance(channel, Mapping) else {}
    name = channel.get("title") or channel.get("name")
    return f"Channel {name}" if name else "A conversation"


def _created(data: Data) -> str:
    return f"{_channel(data)} was created"


def _changed(data: Data) -> str:
    channel = data.get("channel") or {}
    topic = f", topic {quoted(channel['topic'])}" if channel.get("topic") else ""
    return f"{_channel(data)} was changed{topic}"


def _gone(data: Data) -> str:
    return f"{_channel(data)} is archived or gone"


def _presence(data: Data) -> str:
    return f"{_actor(data)} is {data.get('presence', '')}"


def _typing(data: Data) -> str:
    return f"{_actor(data)} is writing"


def _invoked(data: Data) -> str:
    asked = f"{data.get('command', '')} {data.get('text', '')}".strip()
    return f"{_actor(data)} asked {quoted(asked)}"


def _gap(data: Data) -> str:
    return f"What happened meanwhile cannot be had any more: {data.get('why', '')}"


def _connection(data: Data) -> str:
    was, state = (str(data.get(name, "")).replace("_", " ") for name in ("was", "state"))
    change = f"{was} → {state}" if was and was != state else state
    return f"Connection {change}: {data.get('reason') or ''}".removesuffix(": ")


def _job(data: Data) -> str:
    ended = f"Job {data.get('job', '')} ({data.get('kind', '')}) ended {data.get('state', '')}"
    error = data.get("error")
    if not isinstance(error, Mapping):
        return ended
    return f"{ended}: {error.get('code', '')} {error.get('detail', '')}".rstrip()


def _incident(data: Data) -> str:
    code = str(data.get("code", "")).replace("_", " ")
    return f"{code}: {data.get('subject', '')}. {data.get('detail', '')}".rstrip()


def _opened(data: Data) -> str:
    return f"Incident opened, {_incident(data)}"


def _closed(data: Data) -> str:
    return f"Incident closed, {_incident(data)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


SENTENCES: dict[str, Callable[[Data], str]] = {
    Kind.MESSAGE_POSTED: _posted,
    Kind.MESSAGE_EDITED: _edited,
    Kind.MESSAGE_DELETED: _deleted,
    Kind.MESSAGE_READ: _read,
    Kind.REACTION_ADDED: _reacted,
    Kind.REACTION_REMOVED: _unreacted,
    Kind.PARTICIPANT_JOINED: _joined,
    Kind.PARTICIPANT_LEFT: _left,
    Kind.CHANNEL_CREATED: _created,
    Kind.CHANNEL_CHANGED: _changed,
    Kind.CHANNEL_DELETED: _gone,
    Kind.PRESENCE_CHANGED: _presence,
    Kind.TYPING: _typing,
    Kind.COMMAND_INVOKED: _invoked,
    Kind.GAP: _gap,
    Kind.CONNECTION_CHANGED: _connection,
    Kind.JOB_FINISHED: _job,
    Kind.INCIDENT_OPENED: _opened,
    Kind.INCIDENT_CLOSED: _closed,
}
