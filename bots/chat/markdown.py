"""What people wrote, as HTML that is safe to show.

HTML in a message is text. Links go to web and mail addresses only, and images of others are links:
showing them would tell their servers who reads here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

SCHEMES = frozenset({"http", "https", "mailto"})
LONGEST = 8_000  # characters; the time that a text takes may grow with the square of its length
SHORT = 1_000  # characters
BREAKS = frozenset({"softbreak", "hardbreak"})
IN_NEW_TAB = 'target="_blank" rel="noopener noreferrer nofollow"'
COLOUR = re.compile(r"#[0-9a-f]{3}|#[0-9a-f]{6}|[a-z]{3,20}", re.IGNORECASE)


def rendered(text: str) -> SafeString:
    """Texts longer than `LONGEST` stay as they were written."""
    if len(text) > LONGEST:
        return plain(text)
    return _short(text) if len(text) <= SHORT else _long(text)


# A page that follows shows the same texts again and again. Their HTML may be ten times as long.
@lru_cache(maxsize=2_000)
def _short(text: str) -> SafeString:
    return _made_of(text)


@lru_cache(maxsize=200)
def _long(text: str) -> SafeString:
    return _made_of(text)


def _made_of(text: str) -> SafeString:
    html: str = _markdown.render(text)
    return mark_safe(html)


@lru_cache(maxsize=2_000)
def words(text: str) -> str:
    """What a text says, in one line and without its marks."""
    said: list[str] = []
    for token in _markdown.parse(text):
        for part in token.children or (token,):
            said.append(" " if part.type in BREAKS else part.content)
        said.append(" ")
    return " ".join("".join(said).split())


def plain(text: str) -> SafeString:
    """The text as it is, line by line."""
    return mark_safe(f"<p>{escape(text)}</p>".replace("\n", "<br>\n"))


def is_link(url: str) -> bool:
    """Whether somebody who reads here may be sent there."""
    try:
        return urlsplit(url.strip()).scheme.lower() in SCHEMES
    except ValueError:
        return False


def colour(text: str) -> str:
    """A colour that a style sheet may hold; empty for anything else."""
    return text if COLOUR.fullmatch(text) else ""


class _Markdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        return is_link(url)


def _open_link(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    return f'<a href="{escape(str(tokens[at].attrGet("href") or ""))}" {IN_NEW_TAB}>'


def _image(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    url, name = str(tokens[at].attrGet("src") or ""), tokens[at].content or "image"
    return f'<a href="{escape(url)}" {IN_NEW_TAB}>{escape(name)}</a>'


def _paragraph(self: Any, tokens: Sequence[Token], at: int, options: Any, env: Any) -> str:
    """A heading of a message is none of the page."""
    return "<p><strong>" if tokens[at].nesting > 0 else "</strong></p>\n"


def _made() -> MarkdownIt:
    markdown = _Markdown("commonmark", {"html": False, "breaks": True, "linkify": True})
    markdown.enable(["table", "strikethrough", "linkify"])
    assert markdown.linkify is not None
    markdown.linkify.set({"fuzzy_link": False, "fuzzy_email": False, "fuzzy_ip": False})
    markdown.add_render_rule("link_open", _open_link)
    markdown.add_render_rule("image", _image)
    markdown.add_render_rule("heading_open", _paragraph)
    markdown.add_render_rule("heading_close", _paragraph)
    return markdown


_markdown = _made()
