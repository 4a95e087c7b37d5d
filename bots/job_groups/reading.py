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
    passed_over: tuple[str, ...]  # headings, and names beside what tells people apart


def read(text: str) -> Reading:
    """Everybody who is named in `text`. Empty lines and the heading of a column are passed over."""
    found: dict[str, str] = {}  # by what makes two of them the same
    count = 0
    passed_over: list[str] = []
    lines = storable(text).translate(INVISIBLE).splitlines()
    lines = [line for line in lines if line.strip(" \t,;\"'")]
    for number, line in enumerate(lines):
        names, others = _named(line)
        if number == 0 and len(lines) > 1:  # alone it is somebody who is called so
            others += [name for name in names if name.lower() in HEADINGS]
            names = [name for name in names if name.lower() not in HEADINGS]
        passed_over += others
        count += len(names)
        for name in names:
            found.setdefault(name.casefold(), name)
    return Reading(
        people=tuple(found.values()),
        doubles=count - len(found),
        passed_over=tuple(passed_over),
    )


def _named(line: str) -> tuple[list[str], list[str]]:
    """Who is named in a line, and what else stands there."""
    entries = [entry.strip() for entry in _entries(line)]
    addressed = [match for entry in entries for match in ADDRESS.findall(entry)]
    if addressed:
        # What stands before an address in brackets, with or without a comma in it, is a name.
        rest = [entry for entry in entries if not ADDRESS.search(entry)]
        named = [_clean(name) for name in (*addressed, *(one for one in rest if "@" in one))]
        return named, [name for one in rest if "@" not in one and (name := _clean(one))]
    names = [name for entry in entries if (name := _clean(entry))]
    if not any("@" in name for name in names):
        return names, []
    # A row of a table has a name with spaces beside what tells people apart.
    named = [name for name in names if "@" in name or " " not in name]
    return named, [name for name in names if "@" not in name and " " in name]


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
