"""What platforms say loses secrets in all the forms that they take on the way."""

from __future__ import annotations

import base64
import json
import logging
import sys
from urllib.parse import quote, quote_plus

import pytest

from bots import scrub

SECRET = 'pass word/+"ö":ü'


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.urlsafe_b64encode(f"me:{SECRET}:x".encode()).decode(),
    ],
)
def test_a_secret_is_found_however_it_is_written(written):
    scrub.know(SECRET)

    assert "[removed]" in scrub.scrub(f"Failed: {written}")
    assert written not in scrub.scrub(f"Failed: {written}")


def test_keys_and_nested_values_are_scrubbed_and_numbers_stay_numbers():
    scrub.know(SECRET)

    shown = scrub.scrub({SECRET: [float("nan"), 1, {"url": f"/{SECRET}"}], "\x00": None})

    assert shown == {"[removed]": [None, 1, {"url": "/[removed]"}], "\ufffd": None}


@pytest.mark.parametrize("depth", [99, 400, 5_000])
def test_what_is_nested_too_deep_is_left_out_with_the_rest_kept(depth):
    deep: object = "down here"
    for level in range(depth):
        deep = {"a": deep} if level % 2 else [deep]

    kept = scrub.clean({"text": "hello", "props": deep})

    assert kept["text"] == "hello"
    assert ("down here" in json.dumps(kept)) == (depth < 100)


def test_log_lines_and_their_tracebacks_hold_no_secret():
    scrub.know(SECRET)
    try:
        raise ValueError(SECRET)
    except ValueError:
        record = logging.LogRecord(
            "x", logging.ERROR, "x.py", 1, "at %s", (SECRET,), sys.exc_info()
        )

    line = scrub.Formatter("{message}", style="{").format(record)

    assert SECRET not in line
    assert "ValueError: [removed]" in line
