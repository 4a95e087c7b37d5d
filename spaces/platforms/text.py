"""Texts that have to fit: long markdown in several parts, and cards where there are no cards."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from spaces.platforms.contract import Limits
from spaces.platforms.messages import Card

# Below this there is no room for a code fence's own lines, nor for a character of four bytes.
SMALLEST_LIMIT = 16

_BLANK = r"[^\S\n\u00a0\u202f]"  # white space within a line where it may be broken
_PARAGRAPH = re.compile(rf"(?<!{_BLANK}){_BLANK}*\n(?:{_BLANK}*\n)+")
_LINE = re.compile(rf"(?<!{_BLANK}){_BLANK}*\n")
# A word that starts with fence marks would open a fence if it came first in the next part.
_WORD = re.compile(rf"(?<=\S){_BLANK}+(?=\S)(?!`{{3}}|~{{3}})")
_FENCE = re.compile(r"^(?P<indent>[^\S\n]*)(?P<marks>`{3,}(?=[^`\n]*$)|~{3,})[^\n]*$", re.M)

_ZERO_WIDTH_JOINER = "\u200d"
_MARKS = ("Mn", "Mc", "Me")  # Unicode categories; variation selectors are among them


def split_text(text: str, limits: Limits) -> list[str]:
    """The text in parts of at most `limits.text` characters or UTF-8 bytes, none of them blank.

    Cut at the last paragraph border that fits, else the last line border, else the last word
    border, else wherever it fits, then not between a character and its marks unless the marks
    alone are too many. A code fence is cut only if it does not fit into one part: then at a line
    border, closed at the end of the part and opened again, info string included, in the next.

    What is lost: at a paragraph border its blank lines, at a line border the line end with the
    blanks before it (indentation of the next line stays), at a word border the blanks between
    the two words, inside a fence the one line end; parts that would hold white space only; and
    halves of surrogate pairs without the other half, which no wire can carry, become U+FFFD.

    Raises `ValueError` for limits too small to mean a message (see `SMALLEST_LIMIT`).
    """
    text = _well_formed(text)
    if limits.text and limits.text < SMALLEST_LIMIT:
        raise ValueError(f"A text cannot be split into parts of {limits.text}.")
    if not limits.text:
        parts = [text]
    elif limits.text_unit == "bytes":
        parts = list(_ByteSplitter(text, limits.text).parts())
    else:
        parts = list(_Splitter(text, limits.text).parts())
    return [part for part in parts if part.strip()]


def card_to_markdown(card: Card) -> str:
    """What a platform without cards of its own shows for one; the colour is dropped."""
    title = _plain(card.title)
    if card.link:
        title = f"[{title or _plain(card.link)}]({_url(card.link)})"
    image = card.image or card.thumbnail
    blocks = (
        f"**{title}**" if title else "",
        card.body or card.summary,
        "\n".join(f"**{_plain(name)}:** {value}  " for name, value in card.fields).rstrip(),
        f"[Image]({_url(image)})" if image else "",
    )
    return "\n\n".join(block for block in blocks if block.strip())


@dataclass(frozen=True, slots=True)
class _Fence:
    """A fenced code block of the text: offsets, and the lines that reopen and close it."""

    start: int
    content: int  # where the first line of code starts
    end: int  # after the closing marks
    opening: str
    closing: str


class _Splitter:
    """Cuts one text from front to back, always the longest part that ends at the best border."""

    def __init__(self, text: str, limit: int):
        self.text = text
        self.limit = limit
        # A fence that has to be divided, but whose own lines fill half a part, is cut like text.
        self.fences = [
            fence
            for fence in _fences(text)
            if self.size(text[fence.start : fence.end]) <= limit
            or self.size(f"{fence.opening}\n\n{fence.closing}") <= limit // 2
        ]
        self.fence_starts = [fence.start for fence in self.fences]

    def size(self, text: str) -> int:
        return len(text)

    def reach(self, start: int, room: int) -> int:
        """The furthest offset such that the text from `start` to it is within `room`."""
        return min(len(self.text), start + room)

    def parts(self) -> Iterator[str]:
        at = 0
        while at < len(self.text):
            part, at = self._next_part(at)
            yield part

    def _next_part(self, at: int) -> tuple[str, int]:
        """The part that starts at `at`, and where the next one does."""
        divided = self._fence_around(at)
        prefix = f"{divided.opening}\n" if divided else ""
        end = self.reach(at, self.limit - self.size(prefix))
        if end == len(self.text):
            return prefix + self.text[at:], end
        fence = self._fence_around(end)
        if fence is None:
            cut, following = self._cut(at, end)
        elif (inside := self._cut_inside(fence, at, prefix)) is not None:
            cut, following = inside
            return f"{prefix}{self.text[at:cut]}\n{fence.closing}", following
        else:
            cut, following = self._cut(at, fence.start)
        return prefix + self.text[at:cut], following

    def _cut(self, at: int, end: int) -> tuple[int, int]:
        """Where a part ends at the latest at `end` outside of fences, and the next one starts."""
        seen = end
        while seen < len(self.text) and self.text[seen].isspace():
            seen += 1  # white space is dropped, so it need not fit
        seen += 4  # what the patterns look ahead for
        for border in (_PARAGRAPH, _LINE, _WORD):
            last = None
            for match in border.finditer(self.text, at, seen):
                if at < match.start() <= end and not self._fenced(match.start()):
                    last = match
            if last:
                return last.start(), last.end()
        cut = _between_characters(self.text, at, end)
        return cut, cut

    def _cut_inside(self, fence: _Fence, at: int, prefix: str) -> tuple[int, int] | None:
        """As `_cut`, for a fence that has to be divided; `None` to end the part before it."""
        if at < fence.start and self.size(self.text[fence.start : fence.end]) <= self.limit:
            return None
        room = self.limit - self.size(f"{prefix}\n{fence.closing}")
        end = min(self.reach(at, room), fence.end)
        first = max(at, fence.content) + 1
        line_end = self.text.rfind("\n", first, end + 1)
        if line_end >= 0:
            return line_end, line_end + 1
        if at < fence.start:
            return None
        cut = self.text.rfind(" ", first, end) + 1
        cut = cut or _between_characters(self.text, first - 1, end)
        return cut, cut

    def _fence_around(self, offset: int) -> _Fence | None:
        before = bisect_left(self.fence_starts, offset)
        if before and offset < self.fences[before - 1].end:
            return self.fences[before - 1]
        return None

    def _fenced(self, offset: int) -> bool:
        return self._fence_around(offset + 1) is not None


class _ByteSplitter(_Splitter):
    """Counts UTF-8 bytes."""

    def size(self, text: str) -> int:
        return len(text.encode())

    def reach(self, start: int, room: int) -> int:
        window = self.text[start : start + room].encode()[:room]
        # What is ignored is the beginning of a character that does not fit.
        return start + len(window.decode(errors="ignore"))


def _fences(text: str) -> Iterator[_Fence]:
    """Fences at any indentation, so that those inside lists count; not those inside quotes."""
    at = 0
    while opening := _FENCE.search(text, at):
        indent, marks = opening["indent"], opening["marks"]
        content = opening.end() + 1
        closing = re.compile(rf"^[^\S\n]*{marks[0]}{{{len(marks)},}}(?=[^\S\n]*$)", re.M)
        closed = closing.search(text, content)
        at = closed.end() if closed else len(text)
        yield _Fence(
            start=opening.start(),
            content=content,
            end=at,
            opening=opening[0].rstrip(),
            closing=closed[0] if closed else indent + marks,
        )


def _between_characters(text: str, start: int, end: int) -> int:
    """The last offset up to `end` that parts no character from its marks, `end` if none does."""
    cut = end
    while cut > start and _belong_together(text, cut):
        cut -= 1
    return cut if cut > start else end


def _belong_together(text: str, offset: int) -> bool:
    """Whether what is before and after this offset shows as one character."""
    before, after = text[offset - 1], text[offset]
    if _ZERO_WIDTH_JOINER in (before, after) or unicodedata.category(after) in _MARKS:
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff":  # skin tones
        return True
    if not _is_flag_letter(after):
        return False
    letters = 0  # two make a flag
    while offset > letters and _is_flag_letter(text[offset - letters - 1]):
        letters += 1
    return letters % 2 == 1


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _well_formed(text: str) -> str:
    """The text with surrogate pairs joined to the characters they stand for."""
    if not re.search("[\ud800-\udfff]", text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _plain(text: str) -> str:
    """The text in one line of markdown, where it looks the way it was written."""
    return re.sub(r"([\\`*_\[\]<>])", r"\\\1", " ".join(text.split()))


def _url(url: str) -> str:
    """An address that does not end its markdown link early."""
    quoted = {" ": "%20", "\n": "%0A", "(": "%28", ")": "%29", "<": "%3C", ">": "%3E"}
    return "".join(quoted.get(character, character) for character in url)
