"""What a test said of what is in the form, remembered until it is saved.

Only a mark of the tested values is kept, in the session, and what the platform remembers of the
test, in `bots.held`: the values themselves stay in the browser's fields.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from django.http import HttpRequest
from django.utils.safestring import SafeString

from bots import adding, held, rotation
from bots.admin import looks, spent
from bots.admin.adding.bots import NewBotForm
from bots.admin.bot_credentials import MARKS
from spaces.platforms import registry
from spaces.platforms.messages import Finding

KEPT_SECONDS = 3600
REMEMBERED = "tested-new-bot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the page tells after Test or Save; `anyway` is why a bot is not saved just so."""

    findings: list[tuple[SafeString, Finding]]
    passed: bool = False
    proven: bool = True  # False: it passed, and nobody was asked
    anyway: str = ""


def test(request: HttpRequest, form: NewBotForm) -> Outcome:
    """Let the platform say who this would be. Raises `Refused`."""
    bot = form.instance
    found = rotation.attempt(bot, form.values(), learned=spent.before(request, bot))
    spent.note(request, bot, found)
    passed = found.ok and all(one.level != "error" for one in found.findings)
    forget(request)
    if passed:
        learned = held.hold(found.learned, seconds=KEPT_SECONDS)
        request.session[REMEMBERED] = [_mark(form), time.time() + KEPT_SECONDS, learned]
    return Outcome(
        findings=[(looks.badge(*MARKS[one.mark]), one) for one in found.findings],
        passed=passed,
        proven=registry.get(bot.space.platform).has_accounts,
        anyway="" if passed else _first_error(found.findings),
    )


def why_not(request: HttpRequest, form: NewBotForm) -> str:
    """Why what is in the form is not saved just so; empty when a test passed with it."""
    mark, until, _ = request.session.get(REMEMBERED) or ("", 0, "")
    if not mark or time.time() > until:
        return "These credentials were not tested yet, or the test failed."
    if mark != _mark(form):
        return "Something was changed after the test that passed."
    return ""


def forget(request: HttpRequest) -> str:
    """Returns what the test did, as `rotation.Trial` has it."""
    *_, learned = request.session.pop(REMEMBERED, None) or [""]
    return held.take(learned) or ""


def _mark(form: NewBotForm) -> str:
    return adding.mark_of(form.instance, form.values())


def _first_error(findings: list[Finding]) -> str:
    return next((one.text for one in findings if one.level == "error"), "The test did not pass.")
