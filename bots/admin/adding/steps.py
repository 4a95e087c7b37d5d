"""Where somebody is on the way, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

from bots.models import Bot
from spaces.models import Space

TITLES = ("Platform", "Space", "Bot", "First channels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    number: int
    title: str
    chosen: str  # what was decided there, empty before
    url: str  # empty where nobody can go back to
    is_now: bool


def first_url() -> str:
    return reverse("admin:bots_bot_add")


def space_url(platform: str) -> str:
    return reverse("admin:bots_bot_add", query={"platform": platform})


def bot_url(space: Space) -> str:
    return reverse("admin:bots_bot_add", query={"space": space.pk})


def way(
    now: int, *, platform: str = "", label: str = "", space: Space | None = None, bot: Bot | None
) -> list[Step]:
    """All steps, of which the one with the number `now` is shown. A bot that is stored cannot go
    back to where it was not."""
    chosen = (label, str(space or ""), str(bot or ""), "")
    urls = (first_url(), space_url(platform), bot_url(space) if space else "", "")
    return [
        Step(
            number=number,
            title=title,
            chosen=chosen[number - 1] if number < now else "",
            url=urls[number - 1] if number < now and bot is None else "",
            is_now=number == now,
        )
        for number, title in enumerate(TITLES, 1)
    ]
