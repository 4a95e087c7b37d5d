"""The pictures of the README, taken of an install that is made for them and removed again.

python -m botadmin.tests.screenshots

It starts an install with data and port of its own, fills it through the doors that everybody has
(see `botadmin.tests.pictured`), looks at four pages with Chromium, and writes `docs/images/`.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
import requests

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "botadmin.settings")
django.setup()

from playwright.sync_api import Page, sync_playwright  # noqa: E402

from botadmin.tests import pictured  # noqa: E402
from botadmin.tests.browser import ARGUMENTS, CHROMIUM, PHONE, WIDE  # noqa: E402
from botadmin.tests.processes import MANAGE, TOKEN, Install, manage, until  # noqa: E402

IMAGES = MANAGE.parent / "docs" / "images"
PASSWORD = "open-sesame-42"
LIVE = "SELECT count(*) FROM bots_connection WHERE state = 'live'"
REFUSED = "SELECT count(*) FROM bots_connection WHERE state = 'bad_credentials'"
UNDER_WAY = "SELECT count(*) FROM bots_job WHERE state IN ('queued', 'running')"
LONGEST_WAIT = 30_000  # milliseconds, for a page to show something


class Company:
    """The install on the pictures, and how it is filled."""

    def __init__(self, install: Install) -> None:
        self.install = install
        self.home = f"http://127.0.0.1:{install.port}"
        self._api = requests.Session()
        self._api.headers["Authorization"] = f"Bearer {TOKEN}"

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._api.request(method, f"{self.home}/api/v1/{path}", json=body, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def shell(self, call: str) -> None:
        code = f"from botadmin.tests import pictured; pictured.{call}()"
        done = manage("shell", "-c", code, env=self.install.env)
        assert done.returncode == 0, done.stderr

    def fill(self) -> None:
        self._clear()
        for space in pictured.SPACES:
            self.ask("POST", "spaces/", space)
        for bot in pictured.BOTS:
            self._add(*bot)
        until(lambda: self._count(LIVE) == len(pictured.BOTS), lambda: f"{self._count(LIVE)} live")
        self.shell("arrive")
        until(lambda: all(map(self._knows_its_rooms, {slug for slug, _, _ in pictured.SAID})))
        for slug, room, message in pictured.SAID:
            self._say(slug, room, message)
        self.shell("answer")
        self.ask("POST", f"bots/{pictured.STOPPED}/stop/")
        wrong = {"credentials": {"secret": "a word of yesterday"}}
        self.ask("PATCH", f"bots/{pictured.REFUSED}/", wrong)
        until(lambda: self._count(REFUSED) == 1)
        self._say("alerts", pictured.ON_CALL, {"text": pictured.CALMED})
        self.shell("yesterday")

    def _clear(self) -> None:
        """The demo is for those who have nothing else to look at."""
        for bot in self.ask("GET", "bots/")["results"]:
            self.ask("DELETE", f"bots/{bot['slug']}/")
        for space in self.ask("GET", "spaces/")["results"]:
            self.ask("DELETE", f"spaces/{space['slug']}/")

    def _add(self, slug: str, name: str, space: str, labels: list[str]) -> None:
        bot = {"slug": slug, "name": name, "space": space, "labels": labels}
        self.ask("POST", "bots/", {**bot, "credentials": {"secret": f"{slug}-{PASSWORD}"}})

    def _say(self, slug: str, room: str, message: dict[str, Any]) -> None:
        self.ask("POST", f"bots/{slug}/messages/", {"channel": room, **message})
        until(lambda: self._count(UNDER_WAY) == 0)  # so that all is said in this order

    def _knows_its_rooms(self, slug: str) -> bool:
        return bool(self.ask("GET", f"bots/{slug}/channels/")["results"])

    def _count(self, query: str) -> int:
        return int(self.install.rows(query)[0])

    def pk(self, query: str, *values: object) -> int:
        return int(self.install.rows(query, *values)[0])


@contextmanager
def company() -> Iterator[Company]:
    with tempfile.TemporaryDirectory(prefix="botadmin-screenshots-") as folder:
        install = Install(Path(folder), BOTADMIN_ADMIN_PASSWORD=PASSWORD)
        try:
            install.start()
            made = Company(install)
            made.fill()
            yield made
            install.end(signal.SIGTERM)
        finally:
            install.clean_up()


def log_in(page: Page, home: str) -> None:
    page.goto(f"{home}/admin/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.locator("[type=submit]").click()
    page.wait_for_url(f"{home}/admin/")


def take(page: Page, name: str, path: str, shows: str, *, dark: bool, phone: bool) -> None:
    """A picture of what fits into the window, as soon as it shows this text."""
    page.emulate_media(color_scheme="dark" if dark else "light", reduced_motion="reduce")
    page.set_viewport_size(PHONE if phone else WIDE)
    page.goto(path)
    page.get_by_text(shows).first.wait_for()
    page.evaluate("document.fonts.ready")
    page.screenshot(path=IMAGES / f"{name}.png", scale="css")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with company() as made, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = chromium.new_page()
        page.set_default_timeout(LONGEST_WAIT)
        log_in(page, made.home)
        admin, bots = f"{made.home}/admin/", f"{made.home}/admin/bots/bot/"
        bot = made.pk("SELECT id FROM bots_bot WHERE slug = 'deploys'")
        room = made.pk("SELECT id FROM spaces_channel WHERE name = ?", pictured.ON_CALL)
        alarm = "SELECT id FROM bots_message WHERE bot_id = ? AND text = ?"
        chat = f"{made.home}/chat/deploys/{room}/{made.pk(alarm, bot, pictured.ALARM)}/"
        take(page, "fleet", admin, "needs somebody", dark=False, phone=False)
        take(page, "bot", f"{bots}{bot}/change/", "The last day", dark=True, phone=False)
        take(page, "chat", chat, pictured.ANSWERS[-1], dark=False, phone=False)
        take(page, "phone", admin, "needs somebody", dark=True, phone=True)
        chromium.close()


if __name__ == "__main__":
    sys.exit(main())
