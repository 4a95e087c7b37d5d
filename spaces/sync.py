"""What platforms tell of people, channels and participants, written into the common tables.

The one door for all platforms, whether an answer, an event or a listing brought the news. Every
function takes many values at once, costs a constant number of queries, and may be repeated.

Writers wait for each other instead of deadlocking, because all write in one order: people, then
channels, then who takes part, each sorted; messages come last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from spaces.models import Channel, Participant, Person
from spaces.platforms.messages import ChannelInfo, ChannelKind, ParticipantInfo, PersonInfo
from spaces.storable import storable

NAME_LENGTH = 255


def people(space_id: int, infos: Iterable[PersonInfo]) -> dict[str, int]:
    """Write down `infos`; returns remote id → our id. What a newer value leaves empty is kept."""
    latest = {info.id: info for info in infos}
    known = {
        person.remote_id: person
        for person in Person.objects.filter(space_id=space_id, remote_id__in=latest)
    }
    changed = []
    for info in latest.values():
        person = known.get(info.id) or Person(space_id=space_id, remote_id=info.id)
        fresh = {
            "username": storable(info.username)[:NAME_LENGTH] or person.username,
            "name": storable(info.name)[:NAME_LENGTH] or person.name,
            "email": storable(info.email)[:NAME_LENGTH] or person.email,
            "is_bot": info.is_bot or person.is_bot,
        }
        if _apply(person, fresh) or person.pk is None:
            person.seen_at = timezone.now()
            changed.append(person)
    Person.objects.bulk_create(
        sorted(changed, key=lambda p: p.remote_id),
        update_conflicts=True,
        unique_fields=["space", "remote_id"],
        update_fields=["username", "name", "email", "is_bot", "seen_at"],
    )
    found = {remote_id: person.pk for remote_id, person in known.items()}
    return found | _ids(Person, space_id, latest.keys() - found.keys())


def channels(space_id: int, infos: Iterable[ChannelInfo]) -> dict[str, int]:
    """Write down `infos`; returns remote id → our id."""
    latest = {info.id: info for info in infos}
    known = {
        channel.remote_id: channel
        for channel in Channel.objects.filter(space_id=space_id, remote_id__in=latest)
    }
    changed = []
    for info in latest.values():
        channel = known.get(info.id) or Channel(space_id=space_id, remote_id=info.id)
        fresh = {
            "kind": info.kind.value,
            "name": storable(info.name)[:NAME_LENGTH],
            "title": storable(info.title)[:NAME_LENGTH],
            "topic": storable(info.topic),
            "purpose": storable(info.purpose),
            "archived": info.archived,
        }
        if _apply(channel, fresh) or channel.pk is None:
            changed.append(channel)
    Channel.objects.bulk_create(
        sorted(changed, key=lambda c: c.remote_id),
        update_conflicts=True,
        unique_fields=["space", "remote_id"],
        update_fields=["kind", "name", "title", "topic", "purpose", "archived"],
    )
    found = {remote_id: channel.pk for remote_id, channel in known.items()}
    return found | _ids(Channel, space_id, latest.keys() - found.keys())


def named_channels(
    space_id: int, remote_ids: Iterable[str], *, kind: ChannelKind
) -> dict[str, int]:
    """The channels with these ids; the unknown are written down as of this kind, to be described
    by the next sync. What is known of the others stays."""
    remote_ids = sorted(remote_ids)
    found = _ids(Channel, space_id, remote_ids)
    if missing := [remote_id for remote_id in remote_ids if remote_id not in found]:
        Channel.objects.bulk_create(
            [Channel(space_id=space_id, remote_id=r, kind=kind.value) for r in missing],
            ignore_conflicts=True,
        )
        found |= _ids(Channel, space_id, missing)
    return found


def joined(channel_id: int, space_id: int, infos: Iterable[ParticipantInfo]) -> None:
    """These people take part in the channel, with these roles."""
    infos = list(infos)
    _join(channel_id, infos, people(space_id, [info.person for info in infos]))


def _join(channel_id: int, infos: Iterable[ParticipantInfo], person_ids: Mapping[str, int]) -> None:
    latest = {person_ids[info.person.id]: info for info in infos}
    Participant.objects.bulk_create(
        [
            Participant(
                channel_id=channel_id,
                person_id=person_id,
                role=info.role.value,
                joined_at=info.joined_at,
            )
            for person_id, info in sorted(latest.items(), key=lambda one: one[0])
        ],
        update_conflicts=True,
        unique_fields=["channel", "person"],
        update_fields=["role", "joined_at"],
    )


def left(channel_id: int, space_id: int, infos: Iterable[PersonInfo]) -> None:
    """These people no longer take part in the channel."""
    Participant.objects.filter(
        channel_id=channel_id,
        person__space_id=space_id,
        person__remote_id__in=[info.id for info in infos],
    ).delete()


def participants(channel_id: int, space_id: int, infos: Iterable[ParticipantInfo]) -> None:
    """These and no others take part in the channel."""
    infos = list(infos)
    with transaction.atomic():
        person_ids = people(space_id, [info.person for info in infos])
        Channel.objects.filter(pk=channel_id).update(synced_at=timezone.now())
        _join(channel_id, infos, person_ids)
        Participant.objects.filter(channel_id=channel_id).exclude(
            person__remote_id__in=[info.person.id for info in infos]
        ).delete()


def take_part(channel_id: int, person_id: int) -> None:
    """A person we know takes part in the channel; a role that is known is kept."""
    Participant.objects.bulk_create(
        [Participant(channel_id=channel_id, person_id=person_id)], ignore_conflicts=True
    )


def take_parts(pairs: Iterable[tuple[int, int]]) -> None:
    """As `take_part`, for many pairs of channel and person."""
    pairs = set(pairs)
    known = Participant.objects.filter(
        channel_id__in={channel_id for channel_id, _ in pairs},
        person_id__in={person_id for _, person_id in pairs},
    )
    # Looked up first: nearly always all are known, and nothing is written.
    missing = pairs.difference(known.values_list("channel_id", "person_id"))
    Participant.objects.bulk_create(
        [Participant(channel_id=pk, person_id=who) for pk, who in sorted(missing)],
        ignore_conflicts=True,
    )


def take_leave(channel_id: int, person_id: int) -> None:
    Participant.objects.filter(channel_id=channel_id, person_id=person_id).delete()


def bot_channels(space_id: int, person_id: int, infos: Iterable[ChannelInfo]) -> dict[str, int]:
    """The bot that is this person is in these channels and no others; returns as `channels`."""
    with transaction.atomic():
        ids = found_channels(space_id, person_id, infos)
        Participant.objects.filter(person_id=person_id, channel__space_id=space_id).exclude(
            channel_id__in=ids.values()
        ).delete()
    return ids


def found_channels(space_id: int, person_id: int, infos: Iterable[ChannelInfo]) -> dict[str, int]:
    """The bot that is this person is in these channels, maybe in others too; returns as `channels`.

    The other person of a direct channel is written down as its participant.
    """
    infos = list(infos)
    peers = {info.id: info.peer for info in infos if info.peer}
    with transaction.atomic():
        peer_ids = people(space_id, peers.values())
        ids = channels(space_id, infos)
        pairs = {(pk, person_id) for pk in ids.values()}
        pairs |= {(ids[channel], peer_ids[peer.id]) for channel, peer in peers.items()}
        Participant.objects.bulk_create(
            [Participant(channel_id=pk, person_id=who) for pk, who in sorted(pairs)],
            ignore_conflicts=True,
        )
    return ids


def _apply(row: Any, fresh: Mapping[str, Any]) -> bool:
    """Set what differs; True when anything did."""
    different = {name: value for name, value in fresh.items() if getattr(row, name) != value}
    for name, value in different.items():
        setattr(row, name, value)
    return bool(different)


def _ids(
    model: type[Person] | type[Channel], space_id: int, remote_ids: Iterable[str]
) -> dict[str, int]:
    remote_ids = list(remote_ids)
    if not remote_ids:
        return {}
    rows = model._default_manager.filter(space_id=space_id, remote_id__in=remote_ids)
    return dict(rows.values_list("remote_id", "pk"))
