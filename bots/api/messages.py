"""Messages of a bot: reading what it saw and said, sending, changing, reacting."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from bots import idempotency, jobs, targets
from bots.api import problems, sending
from bots.api.acting import ANSWER_HEADERS, IDEMPOTENCY_KEY, act, documented, once_of
from bots.api.parsers import StrictJSONParser
from bots.api.problems import ProblemSerializer
from bots.api.query import Name, QueryFlag
from bots.api.serializers import (
    EditSerializer,
    JobSerializer,
    MessageSerializer,
    ReactionSerializer,
)
from bots.api.view import View
from bots.models import Job, JobKind, Message
from bots.refusals import Missing, Refused
from spaces.api.fields import Moment, Text


class MessagesQuery(serializers.Serializer):
    channel = Name(required=False, help_text="Our id, the platform's id, or a unique name.")
    search = Text(max_length=200, required=False, help_text="Part of the text, in any case.")
    since = Moment(required=False, help_text="Sent at this time or later.")
    until = Moment(required=False, help_text="Sent before this time.")
    with_files = QueryFlag(required=False)


class Messages(View):
    """What the bot saw and said, and the way to let it say more."""

    serializer_class = MessageSerializer
    parser_classes = [StrictJSONParser, MultiPartParser]
    inputs = {"POST": sending.DraftSerializer}
    ordering = ("-sent_at", "-pk")

    @extend_schema(
        operation_id="messages_list",
        summary="Messages, newest first",
        parameters=[MessagesQuery],
        responses=MessageSerializer(many=True),
    )
    def get(self, request: Request, slug: str) -> Response:
        page = self.paginate_queryset(self._found(self.asked(MessagesQuery)))
        return self.get_paginated_response(MessageSerializer(page, many=True).data)

    def _found(self, wanted: dict[str, Any]) -> QuerySet[Message]:
        found = self.bot.messages.select_related("sender")
        if "channel" in wanted:
            found = found.filter(channel=self._channel(wanted["channel"]))
        if "search" in wanted:
            found = found.filter(text__icontains=wanted["search"])
        if "since" in wanted:
            found = found.filter(sent_at__gte=wanted["since"])
        if "until" in wanted:
            found = found.filter(sent_at__lt=wanted["until"])
        match wanted.get("with_files"):
            case True:
                found = found.exclude(files=[])
            case False:
                found = found.filter(files=[])
        return found

    def _channel(self, text: str) -> Any:
        try:
            return targets.channel(self.bot, text)
        except Missing as error:
            raise ValidationError({"channel": error.detail}) from error

    @documented(
        "messages_send",
        "Send a message",
        request={
            "application/json": sending.DraftSerializer,
            "multipart/form-data": sending.FormDraftSerializer,
        },
    )
    def post(self, request: Request, slug: str) -> Response:
        bot = self.bot
        return act(request, self.actor, lambda: self._send(request))

    def _send(self, request: Request) -> Job:
        data = request.data
        serializer = self.get_serializer(
            data=sending.from_form(data) if isinstance(data, QueryDict) else data
        )
        serializer.is_valid(raise_exception=True)
        draft: sending.Draft = serializer.validated_data
        (wanted,) = sending.requests_for(self.bot, [draft])
        if isinstance(wanted, Refused):
            raise wanted
        (job,) = sending.submit(self.bot, [draft], [wanted], requested_by=self.actor.label)
        return job


class BulkResultsSerializer(serializers.Serializer):
    """A job or a problem for each message, in the order they were given."""

    results = PolymorphicProxySerializer(
        component_name="BulkResult",
        serializers=[JobSerializer, ProblemSerializer],
        resource_type_field_name=None,
        many=True,
    )


class Bulk(View):
    """Many messages of a bot in one request."""

    inputs = {"POST": sending.BulkSerializer}
    serializer_class = BulkResultsSerializer

    @extend_schema(
        operation_id="messages_send_bulk",
        summary="Send up to 1,000 messages",
        description="Each is judged alone: a bad one gets a problem and stops none of the others.",
        request=sending.BulkSerializer,
        parameters=[IDEMPOTENCY_KEY, ANSWER_HEADERS[1]],
        responses={202: BulkResultsSerializer},
    )
    def post(self, request: Request, slug: str) -> Response:
        self.bot  # noqa: B018 - is it theirs? Before the key is looked at
        once = once_of(request, self.actor)
        answers, replayed = idempotency.perform(once, self._send)
        headers = {"Idempotency-Replayed": "true"} if replayed else {}
        return Response({"results": self._told(answers)}, status=202, headers=headers)

    def _send(self) -> list[int | dict[str, Any]]:
        """A job's id or a problem for each message."""
        answers: list[Any] = [self._draft(item) for item in self.given()["messages"]]
        drafted = [n for n, answer in enumerate(answers) if isinstance(answer, sending.Draft)]
        drafts = [answers[n] for n in drafted]
        for n, wanted in zip(drafted, sending.requests_for(self.bot, drafts), strict=True):
            if isinstance(wanted, Refused):
                answers[n] = problems.of(wanted).body()
        accepted = [n for n in drafted if isinstance(answers[n], sending.Draft)]
        return answers
