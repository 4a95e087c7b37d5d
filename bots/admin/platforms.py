"""Platforms to choose from: what each is called, and what it can, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.template.response import TemplateResponse

from spaces.platforms import registry
from spaces.platforms.contract import Ability, Platform

# What people look for when they choose; the rest follows from these or is a matter of course.
WORDS: tuple[tuple[Ability, str], ...] = (
    (Ability.POST, "send messages"),
    (Ability.FILES, "send files"),
    (Ability.CARDS, "show cards"),
    (Ability.THREADS, "answer in threads"),
    (Ability.DIRECT, "write to people directly"),
    (Ability.EDIT, "edit what it sent"),
    (Ability.REACT, "react"),
    (Ability.CREATE_CHANNEL, "create channels"),
    (Ability.ADD_PARTICIPANTS, "add people"),
    (Ability.REMOVE_PARTICIPANTS, "remove people"),
    (Ability.READ_RECEIPTS, "switch read receipts off"),
)
HEARS: tuple[tuple[Ability, str], ...] = (
    (Ability.STREAM, "over a live connection"),
    (Ability.CATCH_UP, "by asking now and then"),
    (Ability.WEBHOOK, "by webhooks"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A platform as pages show it."""

    name: str
    label: str
    needs_url: bool
    guide: tuple[str, ...]
    needs: str  # what somebody must enter for it
    can: str
    cannot: str
    hears: str  # how it learns what is said; empty: not at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    label: str
    detail: str
    url: str


def find(name: str) -> type[Platform] | None:
    """The platform, or None for one whose package went away."""
    return registry.platforms().get(name)


def label(name: str) -> str:
    platform = find(name)
    return platform.label if platform else f"{name} (not installed)"


def cards() -> list[Card]:
    """One for each platform that is installed."""
    return [card(platform) for _, platform in sorted(registry.platforms().items())]


def card(platform: type[Platform]) -> Card:
    can = platform.abilities
    needs = ["the address of its server"] if platform.needs_url else []
    needs += [one.label[0].lower() + one.label[1:] for one in platform.credentials if one.usual]
    return Card(
        name=platform.name,
        label=platform.label,
        needs_url=platform.needs_url,
        guide=platform.guide,
        needs=_listed(needs, "and"),
        can=_listed([word for ability, word in WORDS if ability in can], "and"),
        cannot=_listed([word for ability, word in WORDS if ability not in can], "or"),
        hears=_listed([word for ability, word in HEARS if ability in can], "or"),
    )


def _listed(words: list[str], joint: str) -> str:
    return f" {joint} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def choose(
    request: HttpRequest,
    page: Any,
    *,
    title: str,
    choices: Iterable[Choice],
    nothing: str,
) -> TemplateResponse:
    """The first step. `nothing` says what to do when there is nothing to choose from."""
    context = {
        **page.admin_site.each_context(request),
        "opts": page.opts,
        "title": title,
        "choices": list(choices),
        "nothing": nothing,
    }
    return TemplateResponse(request, "admin/bots/choose.html", context)
