"""What people typed, said again in the bot's own voice."""

from __future__ import annotations

import pytest

from bots.handlers import harmless


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("api", "api"),
        ("my_service-2 (blue), 50 % of it!", "my_service-2 (blue), 50 % of it!"),
        ("größer, 東京, naïve", "größer, 東京, naïve"),
        ("@all", "＠all"),
        ("<!channel> <@U123>", "‹!channel› ‹＠U123›"),
        ("#ops ~ops", "＃ops ∼ops"),
        ("`code` *bold* _it_ __very__", "'code' ∗bold∗ ＿it＿ ＿＿very＿＿"),
        ("[click](http://evil.example)", "(click)(http:∕∕evil.example)"),
        ("www.evil.example", "www․evil.example"),
        ("| a | b |", "¦ a ¦ b ¦"),
        ("one\n\n# two\r\n\tthree", "one ＃ two three"),
        ("a\u202eb\x00c\u200bd", "abcd"),
        ("", ""),
        ("a" * 80, "a" * 80),
        ("a" * 81, "a" * 79 + "…"),
        (" " * 5_000 + "hidden", "…"),
    ],
)
def test_what_was_typed_is_one_short_line_that_does_nothing(typed, said):
    assert harmless(typed) == said


def test_an_author_may_let_more_through():
    assert harmless("b" * 200, 100) == "b" * 99 + "…"
