"""Requests in a platform's own words, for what nothing else here covers."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from bots import jobs
from bots.api.acting import act, documented
from bots.api.view import View
from bots.models import Job, JobKind
from spaces.api.fields import Choice, Text

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class CustomRequestSerializer(serializers.Serializer):
    method = Choice(choices=METHODS)
    path = Text(
        max_length=2000,
        help_text="Begins with / and goes on after the platform's base path, without a query.",
    )
    query = serializers.DictField(
        child=Text(max_length=4000, allow_blank=True), required=False, help_text="Name to text."
    )
    body = serializers.JSONField(required=False, allow_null=True)

    def validate_path(self, path: str) -> str:
        """One that cannot lead out of the platform's API, whatever a server makes of it."""
        segments = path.split("/")
        if segments[0] or "//" in path or not {".", ".."}.isdisjoint(segments):
            raise serializers.ValidationError(
                "It begins with one / and has no empty, . or .. part."
            )
        if any(c in "?#%\\" or not "!" <= c <= "~" for c in path):
            raise serializers.ValidationError(
                "It is of visible ASCII characters but ?, #, % and \\."
            )
        return path


class CustomRequest(View):
    """Needs the bot's permission `custom`, which no new bot has.

    The job's `result` has the `status` and the `body` of the answer without secrets: also what the
    platform has just made, and calls a token or a password, is removed. A status of 400 or more
    fails the job with code `platform_refused`. Where the answer got lost, GET and HEAD are made
    again, anything else becomes `uncertain`.
    """

    serializer_class = CustomRequestSerializer
    inputs = {"POST": CustomRequestSerializer}

    @documented(
        "bots_request", "Ask the platform in its own words", request=CustomRequestSerializer
    )
    def post(self, request: Request, slug: str) -> Response:
        bot = self.bot

        def work() -> Job:
            payload: dict[str, Any] = dict(self.given())
            asked = jobs.Request(kind=JobKind.CUSTOM_REQUEST, payload=payload)
            return jobs.submit(bot, asked, requested_by=self.actor.label)

        return act(request, self.actor, work)
