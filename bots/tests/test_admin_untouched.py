"""Forms of the admin that are saved as they were opened, whatever other doors have stored."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from django.db.models import Model
from django.urls import reverse

from bots.handlers import Call, on
from bots.models import ApiToken, AuditEntry, Bot, Receive, Subscription
from bots.tests import cast
from bots.tests.builders import make_bot, make_channel, make_client, make_space, make_subscription
from spaces.models import Space
from spaces.platforms.messages import Kind

pytestmark = pytest.mark.django_db


@on("message.posted", name="test_untouched")
def answer_nothing(call: Call) -> None:
    """Made for the order of a list."""


ONE_LINE = str.maketrans("", "", "\r\n")


class AsSent(HTMLParser):
    """What a browser sends of a form whose fields nobody touched."""

    def __init__(self, page: str):
        super().__init__()
        self.fields: dict[str, list[str]] = {}
        self._select = ""
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = told.get("id", "").endswith("_form")
        if not self._inside or "disabled" in told:
            return
        match tag, told.get("type", "text"):
            case "input", "checkbox" | "radio" if "checked" not in told:
                return
            case "input", "submit" | "button" | "file":
                return
            case "input", "checkbox" | "radio":
                self._send(told["name"], told.get("value", "on"))
            case "input", _ if "name" in told:
                self._send(told["name"], told.get("value", "").translate(ONE_LINE))
            case "select", _:
                self._select = told["name"]
            case "option", _ if "selected" in told:
                self._send(self._select, told["value"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False

    def _send(self, name: str, value: str) -> None:
        self.fields.setdefault(name, []).append(value)


def page_of(row: Model) -> str:
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def opened(client: Any, row: Model) -> dict[str, list[str]]:
    return AsSent(client.get(page_of(row)).content.decode()).fields


def text_of(answer: Any) -> str:
    return html.unescape(answer.content.decode())


def as_stored(row: Model) -> dict[str, Any]:
    fresh = type(row)._default_manager.get(pk=row.pk)
    related = {
        f.name: sorted(getattr(fresh, f.name).values_list("pk", flat=True))
        for f in row._meta.many_to_many
    }
    return {f.attname: getattr(fresh, f.attname) for f in row._meta.concrete_fields} | related


def save_untouched(client: Any, row: Model) -> None:
    before, told = as_stored(row), AuditEntry.objects.count()

    answer = client.post(page_of(row), opened(client, row))

    assert answer.status_code == 302, text_of(answer)
    assert as_stored(row) == before
    assert AuditEntry.objects.count() == told


def patch(path: str, **changes: Any) -> None:
    answer = make_client().patch(f"/api/v1/{path}/", changes, format="json")
    assert answer.status_code == 200, answer.content


UNUSUAL = {
    "command_prefix": "",
    "event_handling": "concurrently",
    "messages_per_second": 0.30000000000000004,
    "poll_seconds": 7,
    "fault_seed": " two spaces ",
}


def test_what_rest_set_survives_forms_that_are_saved_untouched():
    bot = make_bot("echo")
    channel = make_channel(bot)
    subscription, _ = make_subscription(bots=[bot], channels=[channel])
    patch(
        f"spaces/{bot.space.slug}",
        options=UNUSUAL | {"read_receipts_locked": False},
        keep_events_days=0,
    )
    patch(
        "bots/echo",
        name="Echo\nthe second",
        options=UNUSUAL | {"username": ""},
        permissions=["react", "post", "post"],
        handlers=["test_untouched", "echo"],
        labels=["zulu", "alpha"],
        enabled=False,
    )
    kinds = [str(Kind.MESSAGE_POSTED), str(Kind.MESSAGE_POSTED)]
    patch(f"subscriptions/{subscription.pk}", name="  two\nlines ", kinds=kinds)
    token = ApiToken.objects.first()
    ApiToken.objects.update(expires_at=datetime(2099, 1, 31, 17, 0, 5, 123456, tzinfo=UTC))
    root = cast.root()

    for row in (bot, bot.space, subscription, token):
        save_untouched(root, row)


def test_what_an_older_version_stored_survives_and_is_told():
    bot = make_bot("echo")
    subscription, _ = make_subscription(kinds=["message.posted"])
    make_client()
    stored = {
        "event_handling": "by_moonlight",
        "poll_seconds": "often",
        "messages_per_second": 5000,
        "carrier": {"pigeons": 3},
        "session_token": "sesame",
    }
    Bot.objects.update(
        options=stored,
        receive=Receive.WEBHOOK,
        permissions=["post", "levitate"],
        handlers=["retired", "echo"],
    )
    Space.objects.update(options=stored)
    Subscription.objects.update(kinds=["moon.rose"])
    ApiToken.objects.update(scopes=["read", "dream"])
    root = cast.root()

    for row in (bot, bot.space, subscription, ApiToken.objects.get()):
        save_untouched(root, row)
    page = text_of(root.get(page_of(bot)))
    for told in (
        "As it is: by_moonlight",
        "As it is: often",
        "Keep: {'pigeons': 3}",
        "Keep: set",
        "Webhooks (not offered here any more)",
        "levitate (not known any more)",
        "retired (not installed here)",
    ):
        assert told in page
    assert "sesame" not in page
    assert "moon.rose (not known any more)" in text_of(root.get(page_of(subscription)))


def test_what_an_older_version_stored_is_no_reason_for_rest_to_refuse_another_change():
    bot = make_bot("echo")
    Bot.objects.update(options={"carrier": "pigeon"}, handlers=["retired"])

    patch("bots/echo", name="Echo")

    assert (
        make_client()
        .patch("/api/v1/bots/echo/", {"options": {"carrier": "swallow"}}, format="json")
        .status_code
        == 400
    )
    bot.refresh_from_db()
    assert bot.options == {"carrier": "pigeon"}


def test_what_is_not_offered_any_more_can_be_taken_away_on_purpose():
    bot = make_bot("echo")
    stored = {"event_handling": "by_moonlight", "poll_seconds": "often", "carrier": "pigeon"}
    Bot.objects.update(options=stored, handlers=["retired", "echo"], receive=Receive.WEBHOOK)
    root = cast.root()

    chosen = {
        "option_event_handling": "in_order",
        "option_poll_seconds": "",
        "option_carrier": "",
        "handlers": ["echo", "test_untouched"],
        "receive": "off",
    }
    root.post(page_of(bot), opened(root, bot) | chosen)

    bot.refresh_from_db()
    assert bot.options == {"event_handling": "in_order"}
    assert (bot.handlers, bot.receive) == (["echo", "test_untouched"], "off")


def test_a_prefix_can_be_nothing_at_all_and_follow_the_space_again():
    bot = make_bot("echo", space=make_space(options={"command_prefix": "?"}))
    root = cast.root()
    form = opened(root, bot)
    assert "Tick it to have none, instead of “?”." in text_of(root.get(page_of(bot)))

    root.post(page_of(bot), form | {"nothing_command_prefix": "on"})
    bot.refresh_from_db()
    assert bot.options == {"command_prefix": ""}

    both = {"option_command_prefix": "!"}
    wrong = root.post(page_of(bot), opened(root, bot) | both)
    assert "Take the tick away, or empty the field above." in text_of(wrong)

    without = opened(root, bot)
    del without["nothing_command_prefix"]
    root.post(page_of(bot), without)
    bot.refresh_from_db()
    assert bot.options == {}


def test_what_is_stored_is_shown_as_text():
    bot = make_bot("echo", space=make_space(options={"command_prefix": "<i>!"}))
    Bot.objects.update(
        options={"<i>carrier": "<i>pigeon", "event_handling": "<i>"}, handlers=["<i>retired"]
    )

    for client in (cast.root(), cast.bob(bot)):
        page = client.get(page_of(bot)).content.decode()

        assert "&lt;i&gt;pigeon" in page
        assert "<i>" not in page


def test_who_may_only_look_sees_what_is_not_known_any_more():
    bot = make_bot("echo")
    Bot.objects.update(options={"carrier": "pigeon", "command_prefix": ""})

    page = text_of(cast.bob(bot).get(page_of(bot)))

    assert "carrier (not known any more)" in page
    assert "nothing at all" in page


def test_a_token_keeps_what_somebody_else_gave_it():
    mine, other = make_bot("mine"), make_bot("other")
    rights = (*cast.RUNS, "change_apitoken", "view_apitoken")
    alice = cast.person("alice", rights, mine)
    make_client(bots=[mine, other])
    ApiToken.objects.update(created_by=alice)

    save_untouched(cast.browser(alice), ApiToken.objects.get())
