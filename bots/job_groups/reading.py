"""People as somebody pasted them: lines, lists, addresses out of a mail program, a column of a
spreadsheet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from spaces.storable import storable

LONGEST = 255
HEADINGS = frozenset(
    {"email", "e-mail", "mail", "email address", "username", "user", "name", "id", "person"}
)
ADDRESS = re.compile(r"<\s*(?:mailto:)?([^<>\s@]+@[^<>\s@]+)\s*>")
BETWEEN = frozenset(",;\t")  # two entries
INVISIBLE = str.maketrans(dict.fromkeys("\ufeff\u200b\u200c\u200d\u2060\u00ad"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    people: tuple[str, ...]  # as they were named, in order, each once
    doubles: int  # how many more times somebody was named


def read(text: str) -> Reading:
    """Everybody who is named in `text`. Empty lines and the heading of a column are passed over."""
    found: dict[str, str] = {}  # by what makes two of them the same
    count = 0
    lines = storable(text).translate(INVISIBLE).splitlines()
    for number, line in enumerate(line for line in lines if line.strip(" \t,;\"'")):
        for name in _named(line):
            if number == 0 and name.lower() in HEADINGS:
                continue
            count += 1
            found.setdefault(name.casefold(), name)
    return Reading(people=tuple(found.values()), doubles=count - len(found))


def _named(line: str) -> list[str]:
    entries = [entry.strip() for entry in _entries(line)]
    addressed = [match for entry in entries for match in ADDRESS.findall(entry)]
    if addressed:
        # What stands before an address in brackets, with or without a comma in it, is a name.
        others = [entry for entry in entries if "@" in entry and not ADDRESS.search(entry)]
        return [_clean(name) for name in (*addressed, *others)]
    names = [name for entry in entries if (name := _clean(entry))]
    if any("@" in name for name in names):
        # A row of a table has a name with spaces beside what tells people apart.
        names = [name for name in names if "@" in name or " " not in name]
    return names


def _entries(line: str) -> Iterator[str]:
    """What stands between separators that are not inside quotes, where a mail program has
    `"Doe, Jane" <jane@…>`. One pass: a line may have a million characters."""
    begin, quotes_left = 0, line.count('"')
    for place, character in enumerate(line):
        if character == '"':
            quotes_left -= 1
        elif character in BETWEEN and quotes_left % 2 == 0:
            yield line[begin:place]
            begin = place + 1
    yield line[begin:]


def _clean(entry: str) -> str:
    return entry.strip(" \t\"'<>").removeprefix("mailto:").strip()[:LONGEST]
