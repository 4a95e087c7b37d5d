"""Other bots in a room: they are called as here, whatever the platform calls their accounts."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import QuerySet

from bots.models import Bot
from spaces.models import Person


def introduce(people: Iterable[Person | None], bots: QuerySet[Bot]) -> None:
    """Let those of `people` who are one of `bots` be shown as that bot: one query.

    Nothing is written down. Pass the bots that who looks may see: what somebody may not see has no
    other name than the platform's for them.
    """
    found = [person for person in people if person is not None]
    accounts = bots.filter(person__in={person.pk for person in found}).order_by("-pk")
    names = dict(accounts.values_list("person", "name"))
    for person in found:
        if person.pk in names:
            person.name, person.is_bot = names[person.pk], True
