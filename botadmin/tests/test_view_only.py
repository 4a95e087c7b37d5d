"""Somebody who may only look sees everything, and can change nothing: tried at every address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from botadmin.tests import estate
from botadmin.tests.estate import Estate
from bots.api.schema import Generator

pytestmark = pytest.mark.django_db

# Wherever they stand in a statement: what stores many rows at once begins with their values.
WRITES = re.compile(
    r"(?<!\bFOR )(?<!\bDO )\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+(?!SET\b)\W?(\w+)", re.IGNORECASE
)
# What requests leave behind by themselves: that somebody is logged in, what they were told.
HARMLESS = "django_session"
LOGGED_IN = re.compile(r'UPDATE "auth_user" SET "last_login" = \S+ WHERE', re.IGNORECASE)
# What must be there for them, whatever else is.
FOR_EVERYBODY = re.compile(
    r"(?<!password)_(changelist|change|history|trace)$|^chat:(choose|rooms|room|thread)$|:index$"
)
LOGOUT = "/admin/logout/"


class Doors(HTMLParser):
    """What on a page could be pressed to change something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._posts = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if tag == "form":
            self._posts = told.get("method") == "post" and told.get("action") != LOGOUT
        submits = tag in ("button", "input") and told.get("type", "submit") == "submit"
        by_htmx = any(name in told for name in ("hx-post", "hx-put", "hx-patch", "hx-delete"))
        if (submits and self._posts and "disabled" not in told) or by_htmx:
            self.found.append(self.get_starttag_text() or tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._posts = False


@pytest.fixture
def the_estate() -> Estate:
    built = estate.build()
    may_view = Permission.objects.filter(codename__startswith="view_")
    built.keeper.user_permissions.set(may_view)
    return built


@pytest.fixture
def watcher(the_estate: Estate) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(the_estate.keeper)
    return client


def writes(sql: str) -> bool:
    changed = set(WRITES.findall(sql)) - {HARMLESS}
    return bool(changed) and not LOGGED_IN.match(sql)


@contextmanager
def nothing_changes(about: str) -> Iterator[None]:
    written = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if writes(sql):
            written.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield
    assert not written, f"{about}: {written}"


@pytest.mark.parametrize(
    ("sql", "is_write"),
    [
        ('INSERT INTO "bots_job" ("id") VALUES (1)', True),
        ("WITH given AS (SELECT 1) INSERT INTO bots_event (id) SELECT 1", True),
        ("WITH lane AS (INSERT INTO bots_lane (id) VALUES (1) RETURNING id) SELECT id", True),
        ('DELETE FROM "bots_bot" WHERE id = 1', True),
        ('UPDATE "auth_user" SET "password" = %s WHERE id = 1', True),
        ('UPDATE "auth_user" SET "last_login" = %s WHERE id = 1', False),
        ('UPDATE "django_session" SET "session_data" = %s', False),
        ('SELECT "id" FROM "bots_lane" FOR UPDATE OF "bots_lane"', False),
        ("SELECT 1", False),
    ],
)
def test_what_is_written_is_noticed_wherever_it_stands(sql, is_write):
    assert writes(sql) == is_write


def doors_in(html: str) -> list[str]:
    doors = Doors()
    doors.feed(html)
    return doors.found


def test_who_may_only_look_sees_every_page_and_nothing_to_press(the_estate, watcher):
    seen = 0
    for address in estate.addresses(the_estate):
        with nothing_changes(address.path):
            answer = watcher.get(address.path)
        assert answer.status_code in (200, 204, 302, 403, 404, 405), (address, answer.status_code)
        if FOR_EVERYBODY.search(address.name):
            assert answer.status_code == 200, (address, answer.status_code)
            seen += 1
        if answer.status_code == 200 and not answer.streaming:
            assert not doors_in(answer.content.decode(errors="replace")), address
    assert seen > 50


def test_who_may_nothing_sees_nothing_of_the_bots_of_their_group(the_estate, watcher):
    the_estate.keeper.user_permissions.clear()

    for address in estate.addresses(the_estate):
        answer = watcher.get(address.path)
        assert answer.status_code < 500, (address, answer.status_code)
        told = b"".join(answer).decode(errors="replace")
        for word in ("Treasury", "vault", "dagobert"):
            assert word not in told, (address, word)


def test_who_may_only_look_changes_nothing_at_any_address(the_estate, watcher):
    for address in estate.addresses(the_estate):
        with nothing_changes(address.path):
            answer = watcher.post(address.path, {"post": "yes", "action": "delete_selected"})
        assert answer.status_code < 500, (address, answer.status_code)


def test_who_may_only_look_changes_nothing_through_the_api(the_estate, watcher):
    api = APIClient(raise_request_exception=False)
    api.force_login(the_estate.keeper)
    values = {
        "slug": the_estate.bot.slug,
        "channel": the_estate.channel.pk,
        "message": the_estate.bot.messages.first().pk,
        "job": the_estate.bot.jobs.first().pk,
        "subscription": 1,
        "delivery": 1,
    }
    paths = Generator().get_schema(public=True)["paths"]
    tried = 0
    for path, operations in paths.items():
        for method in operations.keys() & {"post", "put", "patch", "delete"}:
            url = path.format_map(values)
            with nothing_changes(f"{method} {url}"):
                answer = getattr(api, method)(url, {}, format="json")
            assert answer.status_code in (403, 404), (method, path, answer.status_code)
            tried += 1
    assert tried > 30
