"""`!help` tells what this app offers; a bot in tests runs all of it unless told otherwise."""

from __future__ import annotations

import example_handlers.handlers  # noqa: F401 - registers what is tested


def test_help_tells_of_both_commands(chat):
    chat.person("alice").says("!help")

    assert "Remind you of something, right here." in chat.last.text
    assert "Tell who is on call, of one team or of all." in chat.last.text


def test_help_shows_how_to_ask_for_a_reminder(chat):
    chat.person("alice").says_directly("help remind")

    assert "The reminder is stored until its time comes: it survives restarts." in chat.last.text
