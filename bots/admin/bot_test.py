"""Testing a bot while one looks on: each step, and each finding as soon as it is known.

The answer is one JSON object a line, which `bots/static/bots/bot.js` shows. Whoever closes the page
ends the test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path

from bots import lifecycle
from bots.admin.base import OperatorAdmin
from bots.admin.posting import looked_at
from bots.api import outside
from bots.lifecycle import Step
from bots.models import Bot
from bots.refusals import Busy
from spaces.platforms.messages import Finding


class StepByStep(OperatorAdmin):
    """What `BotAdmin` has for this."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.test)
        return [path("<int:pk>/test/", view, name=self._url_name("test")), *super().get_urls()]

    def test(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        bot = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_operate_permission(request, bot):
            raise PermissionDenied
        if request.method != "POST":
            return looked_at(request, self.url("change", bot.pk))
        answer = StreamingHttpResponse(_lines(bot), content_type="application/x-ndjson")
        answer["Cache-Control"] = "no-store"
        answer["X-Accel-Buffering"] = "no"  # proxies hand it on line by line
        return answer


def _lines(bot: Bot) -> Iterator[str]:
    try:
        with outside.place():
            yield from _tested(bot)
    except Busy as busy:
        yield _line(level="error", text=busy.detail, remedy="")
        yield _line(done="The test did not begin.")


def _tested(bot: Bot) -> Iterator[str]:
    levels = []
    for told in lifecycle.check_step_by_step(bot):
        match told:
            case Step():
                yield _line(doing=f"{told.name} …")
            case Finding():
                levels.append(told.level)
                yield _line(level=told.mark, text=told.text, remedy=told.remedy)
    yield _line(done=_sum(levels.count("error"), levels.count("warning")))


def _sum(errors: int, warnings: int) -> str:
    if errors:
        return "The test is over: put right what is wrong, then test again."
    if warnings:
        return f"The test is over: it works, with {warnings} warning{'s' if warnings > 1 else ''}."
    return "The test is over: all is well."


def _line(**told: Any) -> str:
    return json.dumps(told) + "\n"
