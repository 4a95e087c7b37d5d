"""Telling people: once when an incident opens and once when it closes, in each way that is set up.

What is to be told is stored in the transaction that opens or closes, and is told by a task of its
own: a mail server that is away holds up nobody and is asked again. What comes within a moment is
told in one message.

An incident that opens again soon is told again only if it lasts: until then its telling is held
back, and goes when it closes first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from bots.incidents import ways
from bots.incidents.ways import NotTold
from bots.incidents.wording import words
from bots.models import Incident, News, Telling, Way

log = logging.getLogger(__name__)

FLAPS = timedelta(minutes=10)
GATHERED = timedelta(seconds=20)  # a server that is down is noticed by its bots one by one
AGAIN = timedelta(seconds=60)  # after it did not work, or was begun by somebody who died
MOST = 2_000  # told in one message


# What is to be told, in the transaction that makes it so -----------------------------------------


def opened(incidents: Sequence[Incident], now: datetime) -> None:
    _store(_pairs(incidents), News.OPENED, not_before=now)


def closed(incidents: Sequence[Incident], now: datetime) -> None:
    """To those who were told, or will be, that it opened."""
    pairs = _pairs(incidents)
    of_these = Telling.objects.filter(incident__in=incidents)
    held_back = of_these.filter(told_at=None, not_before__gt=now)
    silent = _pairs_of(held_back)
    held_back.delete()
    known = _pairs_of(of_these.filter(news=News.OPENED)) - silent
    _store([pair for pair in pairs if pair in known], News.CLOSED, not_before=now)


def opened_again(incidents: Sequence[Incident], now: datetime) -> None:
    """To those who were told that it closed. Others still take it for open."""
    # What somebody is about to tell counts as told.
    untold = _untried(now).filter(incident__in=incidents, news=News.CLOSED)
    unaware = _pairs_of(untold)
    untold.delete()
    aware = [pair for pair in _pairs(incidents) if pair not in unaware]
    _store(aware, News.OPENED, not_before=now + FLAPS)


def _untried(now: datetime) -> QuerySet[Telling]:
    """What is still to be told, and nobody is at."""
    return Telling.objects.filter(Q(try_at=None) | Q(try_at__lte=now), told_at=None)


def _pairs(incidents: Sequence[Incident]) -> list[tuple[int, str]]:
    """Each incident with each way to tell of it."""
    return [
        (incident.pk, str(way))
        for way in ways.set_up()
        for incident in ways.those_to_tell(way, incidents)
    ]


def _pairs_of(tellings: QuerySet[Telling]) -> set[tuple[int, str]]:
    return set(tellings.values_list("incident_id", "way"))


def _store(pairs: Sequence[tuple[int, str]], news: News, *, not_before: datetime) -> None:
    Telling.objects.bulk_create(
        Telling(incident_id=incident_id, way=way, news=news, not_before=not_before)
        for incident_id, way in pairs
    )


# Telling it -------------------------------------------------------------------------------------


def tell() -> None:
    """Tell what is due, one message for each way. What does not work is tried again later."""
    for way in ways.set_up():
        try:
            if tellings := _take(way):
                _TELL[way](tellings)
        except NotTold as error:
            log.warning("incidents could not be told by %s: %s", way, error)
        except Exception:
            # Whatever stops one way must not stop the others. It is tried again, as above.
            log.exception("incidents could not be told by %s", way)


def tidy() -> None:
    """Forget what would be told in ways that are not set up any more."""
    Telling.objects.filter(told_at=None).exclude(way__in=ways.set_up()).delete()


def _take(way: Way) -> list[Telling]:
    """What is due, ours for as long as nobody else tries it. Empty while more may follow soon."""
    now = timezone.now()
    due = _untried(now).filter(way=way, not_before__lte=now)
    if not due.filter(not_before__lte=now - GATHERED).exists():
        return []
    with transaction.atomic():
        ids = list(due.select_for_update(skip_locked=True).values_list("pk", flat=True)[:MOST])
        Telling.objects.filter(pk__in=ids).update(try_at=now + AGAIN)
    rows = Telling.objects.filter(pk__in=ids).select_related("incident")
    return [row for row in rows if row.try_at == now + AGAIN]


def _by_mail(tellings: Sequence[Telling]) -> None:
    """Sent first and noted then: whoever dies in between lets it be sent once more."""
    ways.mail(words(tellings))
    _note(tellings)


def _by_bot(tellings: Sequence[Telling]) -> None:
    """Noted together with the job that tells it: that is stored once or not at all."""
    with transaction.atomic():
        if _note(tellings):
            ways.submit(words(tellings))


_TELL = {Way.MAIL: _by_mail, Way.BOT: _by_bot}


def _note(tellings: Sequence[Telling]) -> bool:
    """That they are told; False when somebody else took them since, for we were slow."""
    ours = Telling.objects.filter(told_at=None, try_at=tellings[0].try_at)
    return bool(ours.filter(pk__in=[one.pk for one in tellings]).update(told_at=timezone.now()))
