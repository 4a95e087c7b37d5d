"""What people typed, made fit to be said in the bot's own voice."""

from __future__ import annotations

import re

LONGEST = 80  # characters

# Looks much the same, and means nothing to a platform: mentions, Markdown, links to channels, HTML.
_ALIKE = str.maketrans("@`*~|[]<>#\\", "＠'∗∼¦()‹›＃＼")
# Underscores within a word are letters like any other.
_EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_LINK = re.compile(r"//|(?<=\bwww)\.", re.IGNORECASE)


def harmless(text: str, longest: int = LONGEST) -> str:
    """`text` as one line of at most `longest` characters that mentions nobody, links nowhere and
    formats nothing, for what a bot says again of what it was told."""
    line = " ".join(text[: 10 * longest].split())
    seen = "".join(character for character in line if character.isprintable())
    if len(seen) > longest or len(text) > 10 * longest:
        seen = f"{seen[: longest - 1]}…"
    plain = _EMPHASIS.sub("＿", seen.translate(_ALIKE))
    return _LINK.sub(lambda found: "∕∕" if found[0] == "//" else "․", plain)
