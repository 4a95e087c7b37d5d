"""Labels: operators' own words on bots. They come with the first bot and go with the last."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from django.db import transaction
from django.db.models import Exists, OuterRef

from bots import audit
from bots.models import Bot, Label
from bots.refusals import Invalid

LONGEST = 50  # characters, as many as the column holds
MOST = 20  # of one bot

_uses = Bot.labels.through.objects


def parse(text: str) -> list[str]:
    """The labels in a text with commas between them, as `clean` gives them."""
    return clean(text.split(","))


def clean(words: Iterable[str]) -> list[str]:
    """Each label once, in small letters, in the order of the alphabet. Raises `Invalid`."""
    names = {" ".join(word.split()).lower() for word in words} - {""}
    for name in names:
        if "," in name or not name.isprintable():
            raise Invalid("A label has no commas and no control characters.", field="labels")
        if len(name) > LONGEST:
            raise Invalid(f"A label has at most {LONGEST} characters.", field="labels")
    if len(names) > MOST:
        raise Invalid(f"A bot has at most {MOST} labels.", field="labels")
    return sorted(names)


def put_on(bot: Bot, names: Collection[str]) -> None:
    """Give a bot these labels, from `clean`, and no others."""
    with transaction.atomic():
        with audit.changing(bot, ["labels"]):
            bot.labels.set(_held(names))
        forget_unused()


def forget_unused() -> None:
    """Remove the labels that no bot has any more."""
    unused = ~Exists(_uses.filter(label=OuterRef("pk")))
    with transaction.atomic():
        # One that somebody holds is about to be used. Asked twice: what was put on bots just
        # before the lock came is seen by a statement that begins after it.
        free = Label.objects.select_for_update(skip_locked=True).filter(unused)
        held = list(free.values_list("pk", flat=True))
        if held:
            Label.objects.filter(unused, pk__in=held).delete()


def _held(names: Collection[str]) -> list[Label]:
    """Labels with these names, made where they are missing, that nobody removes before the
    transaction ends."""
    return Label.objects.bulk_create(
        [Label(name=name) for name in sorted(names)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["name"],
    )
