"""JSON as it should be: what parsers are used to forgive is refused here, with the reason."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

DEEPEST = 50  # levels of arrays and objects
LARGEST_INTEGER = 2**63 - 1
LONGEST_NUMBER = 400  # characters; what is longer is no number that means anything


class StrictJSONParser(BaseParser):
    """Refuses what a database or a client of ours could not take: NUL characters and halves of
    surrogate pairs, NaN and infinities, huge numbers, repeated keys, deep nesting."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        return loads(stream.read())


def loads(content: bytes) -> Any:
    """Raises `ParseError`, whose text says what is wrong."""
    try:
        value = json.loads(
            content.decode(),
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_float,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError as error:
        raise ParseError("The body is not UTF-8.") from error
    except json.JSONDecodeError as error:
        raise ParseError(f"The body is not JSON: {error}.") from error
    except RecursionError as error:
        raise ParseError(f"The body is nested deeper than {DEEPEST} levels.") from error
    _check(value)
    return value


def _no_constant(name: str) -> None:
    raise ParseError(f"{name} is not JSON.")


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER or abs(number := int(text)) > LARGEST_INTEGER:
        raise ParseError("A number is too large.")
    return number


def _float(text: str) -> float:
    if len(text) > LONGEST_NUMBER or not math.isfinite(number := float(text)):
        raise ParseError("A number is too large.")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ParseError("An object has the same key twice.")
    return value


def _check(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        inner: list[Any] = []
        for item in level:
            match item:
                case str():
                    _check_text(item)
                case dict():
                    inner.extend(item)
                    inner.extend(item.values())
                case list():
                    inner.extend(item)
        if not inner:
            return
        level = inner
    raise ParseError(f"The body is nested deeper than {DEEPEST} levels.")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ParseError("A text holds a NUL character.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ParseError("A text holds half of a surrogate pair.") from error
