"""What a message becomes on a platform, before it is sent: made by what will send it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from django.utils.safestring import SafeString

from bots import actions
from bots.api.sending import Draft
from bots.chat import cards, markdown
from bots.chat.cards import ShownCard
from bots.models import Job, JobKind
from spaces.platforms import registry
from spaces.platforms.contract import Ability, Limits, Platform
from spaces.platforms.messages import File

# Of a message longer than this its ends are shown, this much of each.
LONG, LONG_LINES = 800, 12  # characters, lines
END, END_LINES = 200, 3
NEEDED = {"files": Ability.FILES, "thread": Ability.THREADS, "only_for": Ability.EPHEMERAL}
IMPOSSIBLE = {
    "files": "Files cannot be sent here.",
    "thread": "There are no threads here: it cannot be an answer.",
    "only_for": "Nothing can be shown to one person alone here.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What is known of a file before it is handed in."""

    name: str
    size: int  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One message that goes out."""

    number: int
    text: SafeString
    ends: Sequence[SafeString]  # how a long one begins and ends: what is around a cut
    size: int
    card: ShownCard | None
    files: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    label: str
    refusals: Sequence[str]  # why it would not be sent like this
    notes: Sequence[str]  # what becomes different from how it was written
    unit: str
    parts: Sequence[Part]


def previews(draft: Draft, attached: Sequence[Attached], names: Iterable[str]) -> list[Preview]:
    """One for each of these platforms."""
    return [preview(draft, attached, registry.get(name)) for name in names]


def preview(draft: Draft, attached: Sequence[Attached], platform: type[Platform]) -> Preview:
    limits = platform.limits
    payload: dict[str, Any] = {"text": draft.text}
    if draft.card:
        payload["card"] = asdict(draft.card)
    job = Job(kind=JobKind.POST, payload=payload)
    files = [_file(one) for one in attached] if Ability.FILES in platform.abilities else []
    # Composing reads what a class says of itself as well as an object.
    outgoing = actions.compose(cast(Platform, platform), job, files)
    parts = [
        Part(
            number=number,
            text=_shown(message.text, platform),
            ends=_ends(message.text),
            size=_size(message.text, limits),
            card=cards.shown(asdict(message.card)) if message.card else None,
            files=[file.name for file in message.files],
        )
        for number, message in enumerate(outgoing, 1)
    ]
    return Preview(
        label=platform.label,
        refusals=_refusals(draft, attached, platform),
        notes=_notes(draft, parts, platform),
        unit=limits.text_unit,
        parts=parts,
    )


def _file(attached: Attached) -> File:
    def unread() -> Any:
        raise AssertionError("a preview reads no file")

    return File(
        name=attached.name, content_type="application/octet-stream", size=attached.size, open=unread
    )


def _shown(text: str, platform: type[Platform]) -> SafeString:
    if not text:
        return SafeString()
    has_markdown = Ability.MARKDOWN in platform.abilities
    return markdown.rendered(text) if has_markdown else markdown.plain(text)


def _ends(text: str) -> list[SafeString]:
    lines = text.strip().split("\n")
    if len(text) <= LONG and len(lines) <= LONG_LINES:
        return []
    first = "\n".join(lines[:END_LINES])[:END]
    last = "\n".join(lines[-END_LINES:])[-END:]
    return [markdown.plain(first), markdown.plain(last)]


def _size(text: str, limits: Limits) -> int:
    return len(text.encode()) if limits.text_unit == "bytes" else len(text)


def _refusals(draft: Draft, attached: Sequence[Attached], platform: type[Platform]) -> list[str]:
    limits = platform.limits
    wanted = {"files": attached, "thread": draft.thread, "only_for": draft.only_for}
    refusals = [
        IMPOSSIBLE[name]
        for name, ability in NEEDED.items()
        if wanted[name] and ability not in platform.abilities
    ]
    if Ability.FILES not in platform.abilities:
        return refusals
    if limits.files and len(attached) > limits.files:
        refusals.append(f"A message carries at most {limits.files} files here.")
    if limits.file_bytes:
        refusals += [
            f"{file.name} is larger than the {limits.file_bytes:,} bytes allowed here."
            for file in attached
            if file.size > limits.file_bytes
        ]
    return refusals


def _notes(draft: Draft, parts: Sequence[Part], platform: type[Platform]) -> list[str]:
    limits = platform.limits
    notes = []
    if draft.card and Ability.CARDS in platform.abilities:
        notes.append("The card goes out as a card.")
    elif draft.card:
        notes.append("There are no cards here: it becomes markdown, without its colour.")
    if draft.text and Ability.MARKDOWN not in platform.abilities:
        notes.append("There is no markdown here: it shows as it is written.")
    if len(parts) > 1:
        most = f"{limits.text:,} {limits.text_unit}"
        notes.append(
            f"It goes out as {len(parts)} messages: one holds at most {most}"
            + (f" and {limits.files} files." if limits.files else ".")
        )
    return notes
