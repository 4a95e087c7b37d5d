"""A real Chromium for the stories about pages, and what it must never complain about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Locator, Page, ViewportSize, expect, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)
PATIENCE = 30_000  # milliseconds; nothing but waiting is lost where others work beside
# `test_every_page_browser` sees light in a wide window and dark on a phone; stories see these two.
in_both_looks = pytest.mark.parametrize(
    ("dark", "phone"), [(False, True), (True, False)], ids=["light-phone", "dark-wide"]
)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


@dataclass
class Browser:
    """A page, and what it complained about or asked of others meanwhile."""

    page: Page
    home: str
    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on(
            "console",
            lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None,
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.home).netloc:
            self.foreign.append(url)

    def open(self, name: str, *args: object) -> None:
        """A page of the admin, by the name of its URL there."""
        self.visit(reverse(f"admin:{name}", args=args))

    def visit(self, path: str) -> None:
        self.page.goto(self.home + path)

    def is_page(self, path: str, *, holding: str = "") -> bool:
        """Whether a whole page answers there, with that in it; asked without going."""
        answer = self.page.context.request.get(self.home + path)
        text = answer.text() if answer.ok else ""
        return text.lstrip().lower().startswith("<!doctype html>") and holding in text

    def press(self, label: str) -> None:
        self.page.get_by_role("button", name=label, exact=True).click()

    def follow(self, label: str) -> None:
        """The first link of this name: what an empty list offers stands at its top, too."""
        self.page.get_by_role("link", name=label, exact=True).first.click()

    def text(self, text: str, *, exact: bool = False) -> Locator:
        """Where this is written for all to see: not in what is only read out (see live.js)."""
        return self.page.get_by_text(text, exact=exact).and_(self.page.locator(":not(.unseen)"))

    def become(self, user: User) -> None:
        """From here on this user is the one who is logged in."""
        client = Client()
        client.force_login(user)
        cookie = client.cookies["sessionid"]
        self.page.context.add_cookies(
            [{"name": "sessionid", "value": cookie.value, "url": self.home}]
        )

    def look(self, *, dark: bool = False, phone: bool = False) -> None:
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.page.set_viewport_size(PHONE if phone else WIDE)

    def barriers(self) -> list[str]:
        """What axe finds on the page that would keep somebody from using it."""
        options = {"runOnly": RULES, "resultTypes": ["violations"]}
        found = Axe().run(self.page, options=options).response["violations"]
        return [
            f"{rule['id']}: {rule['help']}: {node['html'][:200]}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        wider: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wider


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright runs an event loop in this thread, and Django then refuses the database here;
        # it cannot know that the loop only runs while we wait for the browser.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        expect.set_options(timeout=PATIENCE)
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def browser(chromium: Chromium, live_server: Any) -> Iterator[Browser]:
    """Alice is logged in, and runs everything."""
    context = chromium.new_context(viewport=WIDE)
    browser = Browser(page=context.new_page(), home=live_server.url)
    browser.become(User.objects.create_superuser("alice", password="password"))
    yield browser
    context.close()
    assert browser.complaints == []
    assert browser.foreign == []
