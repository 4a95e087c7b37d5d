"""Reactions as they are drawn, for the names that most platforms know."""

from __future__ import annotations

COMMON = {
    "+1": "👍",
    "heart": "❤️",
    "tada": "🎉",
    "eyes": "👀",
    "white_check_mark": "✅",
    "smile": "😄",
    "rocket": "🚀",
    "-1": "👎",
}
ALSO = {
    "thumbsup": "👍",
    "thumbsdown": "👎",
    "grinning": "😀",
    "joy": "😂",
    "fire": "🔥",
    "pray": "🙏",
    "wave": "👋",
    "x": "❌",
    "warning": "⚠️",
    "thinking_face": "🤔",
    "100": "💯",
    "clap": "👏",
    "cry": "😢",
}


def drawn(name: str) -> str:
    """Empty where we know no picture for the name."""
    return COMMON.get(name) or ALSO.get(name) or ""
