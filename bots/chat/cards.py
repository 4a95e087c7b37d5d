"""Cards as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from bots.chat import markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCard:
    title: str
    link: str  # empty unless somebody may be sent there
    body: SafeString
    image: str  # as the link
    colour: str
    fields: Sequence[tuple[str, SafeString]]


def shown(card: Mapping[str, Any] | None) -> ShownCard | None:
    """`card` holds the fields of `messages.Card`, as a message or a job keeps them."""
    if not card:
        return None
    link = card.get("link") or ""
    image = card.get("image") or card.get("thumbnail") or ""
    return ShownCard(
        title=card.get("title") or "",
        link=link if markdown.is_link(link) else "",
        body=markdown.rendered(card.get("body") or card.get("summary") or ""),
        image=image if markdown.is_link(image) else "",
        colour=markdown.colour(card.get("color") or ""),
        fields=[(name, markdown.rendered(value)) for name, value in card.get("fields") or ()],
    )
