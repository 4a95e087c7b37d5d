"""What people may type after a command: patterns such as `deploy {service} {env?}`, and reading.

A pattern is words and fields. A word has to be there as it stands, in any case. A field takes one
word, or several in "double quotes", and becomes an argument:

| field | takes |
| --- | --- |
| `{name}` | a word |
| `{name:int}`, `{name:float}` | a number |
| `{name:prod|test}` | one of these words |
| `{name...}` | all the rest as it was typed, with its spaces and lines; only at the end |
| `{name?}`, `{name:int?}`, `{name...?}` | the same, or nothing; only before others of this kind |
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

from bots.handling.harmless import harmless

LONGEST_INT = 18  # digits; no database takes more

_FIELD = re.compile(
    r"\{(?P<name>[^\W\d]\w*)(?::(?P<type>[^{}?.\s]+))?(?P<rest>\.\.\.)?(?P<optional>\?)?\}"
)
_BARE = re.compile(r"\S+")
# What opens and closes several words that are one; phones write curly marks.
QUOTES = {'"': '"', "“": "”"}


class Unreadable(Exception):
    """What was typed does not fit; the text says what is wrong, for who typed it."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it was meant, and where in the text it begins."""

    text: str
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One argument of a pattern."""

    name: str
    type: str = ""  # empty: any word; int, float; or choices parted by |
    rest: bool = False
    optional: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(self.type.split("|")) if "|" in self.type else ()

    def read(self, text: str) -> Any:
        """The argument that `text` is. Raises `Unreadable`."""
        if self.choices:
            for choice in self.choices:
                if choice.casefold() == text.casefold():
                    return choice
            raise Unreadable(
                f"{self.name} is one of {', '.join(self.choices)}, not “{harmless(text)}”."
            )
        if self.type == "int":
            if re.fullmatch(r"[+-]?[0-9]+", text) and len(text) <= LONGEST_INT:
                return int(text)
            raise Unreadable(f"{self.name} is a whole number, not “{harmless(text)}”.")
        if self.type == "float":
            return self._float(text)
        return text

    def _float(self, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not isfinite(number):
            raise Unreadable(f"{self.name} is a number, not “{harmless(text)}”.")
        return number

    def __str__(self) -> str:
        """As people are told: `<env>` or `[env]`."""
        told = "|".join(self.choices) or self.name
        told += " …" if self.rest else ""
        return f"[{told}]" if self.optional else f"<{told}>"


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a command looks like; `parts` begin with a word, which is the command itself."""

    parts: tuple[str | Field, ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises `ValueError` for a pattern that makes no sense."""
        parts = tuple(_part(text, word) for word in text.split())
        if not parts or isinstance(parts[0], Field):
            raise ValueError(f"command {text!r} begins with no word")
        fields = [part for part in parts if isinstance(part, Field)]
        if len({field.name for field in fields}) < len(fields):
            raise ValueError(f"command {text!r} has two fields of one name")
        if any(field.rest for field in fields) and not _is_rest(parts[-1]):
            raise ValueError(f"command {text!r}: nothing can follow a field that takes the rest")
        if sum(field.rest for field in fields) > 1:
            raise ValueError(f"command {text!r} has two fields that take the rest")
        optional = [isinstance(part, Field) and part.optional for part in parts]
        if optional != sorted(optional):
            raise ValueError(f"command {text!r}: only optional fields can follow an optional one")
        return cls(parts)

    @property
    def word(self) -> str:
        """The command itself, as it is compared."""
        return str(self.parts[0]).casefold()

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(part for part in self.parts if isinstance(part, Field))

    def read(self, text: str) -> dict[str, Any]:
        """The arguments in `text`, without optional ones that are not there. Raises `Unreadable`,
        also for what is another command."""
        given = words(text)
        arguments: dict[str, Any] = {}
        for part in self.parts:
            if isinstance(part, str):
                word = next(given, None)
                if word is None or word.text.casefold() != part.casefold():
                    raise Unreadable(f"“{part}” is missing.")
            elif part.rest:
                if (word := next(given, None)) is not None:
                    return arguments | {part.name: text[word.start :].strip()}
                if not part.optional:
                    raise Unreadable(f"{part.name} is missing.")
            elif (word := next(given, None)) is not None:
                arguments[part.name] = part.read(word.text)
            elif not part.optional:
                raise Unreadable(f"{part.name} is missing.")
        if (word := next(given, None)) is not None:
            raise Unreadable(f"“{harmless(word.text)}” is too much.")
        return arguments

    def __str__(self) -> str:
        return " ".join(map(str, self.parts))


def words(text: str) -> Iterator[Word]:
    """The words of a text; several in quotation marks are one. A mark that is not closed before a
    space, or the end, is a character like any other.

    Each character is looked at a few times at most, whatever people type: this runs while events
    are stored.
    """
    closing = dict.fromkeys(QUOTES, 0)  # where the next mark was found that closes
    position = 0
    while bare := _BARE.search(text, position):
        word, position = Word(bare[0], bare.start()), bare.end()
        if (mark := text[word.start]) in QUOTES:
            inside = word.start + 1
            if 0 <= closing[mark] < inside:
                closing[mark] = text.find(QUOTES[mark], inside)
            end = closing[mark]
            if end >= 0 and not text[end + 1 : end + 2].strip():
                word, position = Word(text[inside:end], word.start), end + 1
        yield word


def check_signature(function: Callable[..., object], pattern: Pattern) -> None:
    """Raises `ValueError` unless the function takes a call and each field by its name."""
    name = getattr(function, "__name__", repr(function))
    signature = inspect.signature(function)
    arguments = {field.name: None for field in pattern.fields}
    try:
        signature.bind(None, **arguments)
    except TypeError as error:
        wanted = ", ".join(["call", *arguments])
        raise ValueError(f"{name} cannot be called as {name}({wanted}): {error}") from None


def defaults(function: Callable[..., object], pattern: Pattern) -> dict[str, None]:
    """None for each optional field for which the function has no default of its own."""
    parameters = inspect.signature(function).parameters
    return {
        field.name: None
        for field in pattern.fields
        if field.optional
        and (
            field.name not in parameters
            or parameters[field.name].default is inspect.Parameter.empty
        )
    }


def _part(pattern: str, word: str) -> str | Field:
    if "{" not in word and "}" not in word:
        return word
    match = _FIELD.fullmatch(word)
    if match is None:
        raise ValueError(f"command {pattern!r}: {word} is no field")
    field = Field(
        name=match["name"],
        type=match["type"] or "",
        rest=bool(match["rest"]),
        optional=bool(match["optional"]),
    )
    if field.type not in ("", "int", "float") and not (field.choices and all(field.choices)):
        raise ValueError(f"command {pattern!r}: {field.type} is not int, float, or choices a|b")
    if field.rest and field.type:
        raise ValueError(f"command {pattern!r}: {field.name} takes the rest, as text")
    return field


def _is_rest(part: str | Field) -> bool:
    return isinstance(part, Field) and part.rest
