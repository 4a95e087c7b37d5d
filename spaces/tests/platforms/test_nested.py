"""JSON that somebody nested without end is read, but for what is down there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spaces.platforms.nested import loads
from spaces.testing.http_server import HttpServer, answer
from spaces.tests.platforms.mattermost_company import Company

ENDLESS = 20_000  # levels
POST = {
    "id": "p" * 26,
    "create_at": 1,
    "update_at": 1,
    "edit_at": 0,
    "delete_at": 0,
    "user_id": "u" * 26,
    "channel_id": "c" * 26,
    "root_id": "",
    "message": "hello",
    "type": "",
    "props": "here",
}


def depth(value: Any) -> int:
    levels = [value]
    found = 0
    while levels := [
        child
        for one in levels
        if isinstance(one, dict | list)
        for child in (one.values() if isinstance(one, dict) else one)
    ]:
        found += 1
    return found


@pytest.mark.parametrize(
    "text",
    ["7", '"text"', "[]", '{"a": [1, {"b": null}]}', "[" * 500 + "]" * 500],
)
def test_what_can_be_read_is_read_as_it_is(text):
    assert loads(text) == loads(text.encode()) == json.loads(text)


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}"), ('[{"]}": ', "}]")])
def test_what_is_nested_without_end_leaves_the_rest_as_it_is(start, end):
    around = {"before": 'a "quoted" [brace} \\\\', "here": 0, "after": [{"b": "ü"}, "\\u00fc"]}
    deep = start * ENDLESS + "7" + end * ENDLESS
    text = json.dumps(around).replace(": 0", f": [1, {deep}, 2, {deep}]")

    for told in (loads(text), loads(text.encode())):
        assert {**told, "here": 0} == around
        assert [told["here"][0], told["here"][2]] == [1, 2]
        assert 50 < depth(told) < 200


@pytest.mark.parametrize(
    "text",
    ["[" * ENDLESS, "{" * ENDLESS, "[" * ENDLESS + "}" * ENDLESS + "]", '["' + "[" * ENDLESS, ""],
)
def test_what_is_broken_stays_broken(text):
    with pytest.raises(ValueError):  # noqa: PT011 - any of them
        loads(text)


def test_a_channel_with_such_a_message_is_read(company: Company):
    """Any member can write one, and must not be able to keep a bot from the others' messages."""
    deep = '{"a":' * ENDLESS + "7" + "}" * ENDLESS
    page = {"order": [POST["id"], "q" * 26], "posts": {}}
    page["posts"] = {POST["id"]: POST, "q" * 26: {**POST, "id": "q" * 26, "props": {}}}
    listed = json.dumps(page).replace('"here"', deep).encode()

    with HttpServer() as server:
        server.will(answer({"id": "u" * 26}), answer(listed), answer([]))
        messages = list(company.bot(url=server.url).history("c" * 26))

    assert [one.text for one in messages] == ["hello", "hello"]
