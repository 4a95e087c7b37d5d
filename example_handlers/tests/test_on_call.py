"""`!who is on call`"""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from django.utils import timezone

from example_handlers.handlers import on_call
from example_handlers.rota import Turns


@pytest.fixture
def alice(chat):
    chat.switch_on(on_call)
    return chat.person("alice")


@pytest.fixture
def write_rota(tmp_path, monkeypatch):
    path = tmp_path / "rota.json"
    monkeypatch.setenv("EXAMPLE_ROTA", str(path))

    def write(content: object) -> None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))

    return write


def test_everybody_can_see_who_is_on_call(chat, alice, write_rota):
    began = timezone.localdate() - timedelta(days=8)
    turns = {"people": ["alice", "bob", "carla"], "since": began.isoformat()}
    write_rota({"ops": turns, "web": {**turns, "days": 1}})

    alice.says("!who is on call")
    assert chat.last.card.fields == (("ops", "bob"), ("web", "carla"))

    alice.says("!who is on call ops")
    assert chat.last.card.fields == (("ops", "bob"),)


def test_a_team_that_does_not_exist_is_said_so(chat, alice, write_rota):
    write_rota({"ops": {"people": ["alice"], "since": "2026-01-05"}})

    alice.says("!who is on call sales")

    assert chat.last.text == "There is no team sales; there are: ops."


def test_a_team_that_somebody_made_up_calls_nobody(chat, alice, write_rota):
    write_rota({"ops": {"people": ["alice"], "since": "2026-01-05"}})

    alice.says('!who is on call "@all\n# Fire"')

    assert chat.last.text == "There is no team ＠all ＃ Fire; there are: ops."


@pytest.mark.parametrize(
    "rota", ["", "[]", '{"ops": {}}', '{"ops": {"people": [], "since": "2026-01-05"}}']
)
def test_a_rota_that_makes_no_sense_is_told_instead_of_failing(chat, alice, write_rota, rota):
    write_rota(rota)

    alice.says("!who is on call")

    assert chat.last.text.startswith("I cannot read the rota: ")


def test_turns_go_round():
    turns = Turns(people=("alice", "bob"), since=date(2026, 1, 5), days=7)

    days = (date(2026, 1, 4), date(2026, 1, 5), date(2026, 1, 11), date(2026, 1, 12))
    assert [turns.at(day) for day in days] == ["bob", "alice", "alice", "bob"]
    assert turns.at(date(2026, 1, 19)) == "alice"
