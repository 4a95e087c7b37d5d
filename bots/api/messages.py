"""Messages of a bot: reading what it saw and said, sending, changing, reacting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import FileResponse, QueryDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from bots import clients, files, idempotency, jobs, targets
from bots.api import outside, problems, sending
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
        self.sender  # noqa: B018 - before anything else: is it theirs?
        return act(request, self.actor, lambda: self._send(request))

    def _send(self, request: Request) -> Job:
        data = request.data
        item = sending.from_form(data) if isinstance(data, QueryDict) else data
        (draft,) = sending.drafts([item])
        if isinstance(draft, ValidationError):
            raise draft
        (answer,) = sending.send(self.sender, [draft], requested_by=self.actor.label)
        if isinstance(answer, Refused):
            raise answer
        return answer


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
        self.sender  # noqa: B018 - before anything else: is it theirs?
        once = once_of(request, self.actor)
        made: dict[int, Job] = {}
        answers, replayed = idempotency.perform(once, lambda: self._send(made))
        if replayed:
            ids = [answer for answer in answers if isinstance(answer, int)]
            made = Job.objects.select_related("bot").in_bulk(ids)
        headers = {"Idempotency-Replayed": "true"} if replayed else {}
        return Response({"results": _told(answers, made)}, status=202, headers=headers)

    def _send(self, made: dict[int, Job]) -> list[int | dict[str, Any]]:
        """A job's id or a problem for each message; the jobs are put into `made`."""
        drafts = list(sending.drafts(self.given()["messages"]))
        valid = [draft for draft in drafts if isinstance(draft, sending.Draft)]
        answers = sending.send(self.sender, valid, requested_by=self.actor.label)
        made |= {answer.pk: answer for answer in answers if isinstance(answer, Job)}
        sent = iter(answers)
        outcomes = (next(sent) if isinstance(draft, sending.Draft) else draft for draft in drafts)
        return [
            outcome.pk if isinstance(outcome, Job) else problems.of(outcome).body()
            for outcome in outcomes
        ]


def _told(answers: list[int | dict[str, Any]], found: Mapping[int, Job]) -> list[dict[str, Any]]:
    gone = problems.of(Missing("This job is gone.")).body()
    serializer = JobSerializer()  # one for all: making it takes longer than using it
    return [
        answer
        if isinstance(answer, dict)
        else (serializer.to_representation(found[answer]) if answer in found else gone)
        for answer in answers
    ]


class OneMessage(View):
    """A message: by our id or the platform's."""

    serializer_class = MessageSerializer
    inputs = {"PATCH": EditSerializer}

    @extend_schema(operation_id="messages_retrieve", summary="One message")
    def get(self, request: Request, slug: str, message: str) -> Response:
        return Response(MessageSerializer(targets.message(self.bot, message)).data)

    @documented("messages_edit", "Change the text of a message", request=EditSerializer)
    def patch(self, request: Request, slug: str, message: str) -> Response:
        return self.act_on(JobKind.EDIT, message, lambda: {"text": self.given()["text"]})

    @documented("messages_delete", "Delete a message")
    def delete(self, request: Request, slug: str, message: str) -> Response:
        return self.act_on(JobKind.DELETE, message, dict)

    def act_on(self, kind: JobKind, name: str, payload: Callable[[], dict[str, Any]]) -> Response:
        bot = self.bot

        def work() -> Job:
            wanted = payload()
            message = targets.message(bot, name)
            asked = jobs.Request(
                kind=kind,
                channel=message.channel,
                payload={"message": message.remote_id} | wanted,
            )
            return jobs.submit(bot, asked, requested_by=self.actor.label)

        return act(self.request, self.actor, work)


class Pin(OneMessage):
    """Whether a message is pinned in its channel."""

    http_method_names = ["post", "delete"]
    inputs = {}

    @documented("messages_pin", "Pin a message")
    def post(self, request: Request, slug: str, message: str) -> Response:
        return self.act_on(JobKind.PIN, message, dict)

    @documented("messages_unpin", "Unpin a message")
    def delete(self, request: Request, slug: str, message: str) -> Response:
        return self.act_on(JobKind.UNPIN, message, dict)


class AnyType(DefaultContentNegotiation):
    """Lets clients ask for whatever type a file may have; only problems are rendered, as JSON."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type


class MessageFile(View):
    """A file that a message carries, fetched from its platform."""

    http_method_names = ["get", "head"]
    content_negotiation_class = AnyType
    asks_platform = True

    @extend_schema(
        operation_id="messages_file",
        summary="The content of a file of a message",
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, slug: str, message: str, file: str) -> FileResponse:
        carried = targets.message(self.bot, message).files
        info = next((f for f in carried if f["id"] and f["id"] == file), None)
        if info is None:
            raise Missing(f"The message carries no file {file!r}.")
        with outside.place(), clients.borrow(self.bot) as platform:
            content = files.incoming(platform, file)
        # Never as what it claims to be: a page of somebody else's making would be one of ours.
        return FileResponse(
            content,
            as_attachment=True,
            filename=files.safe_name(info["name"]),
            content_type="application/octet-stream",
        )


class Reactions(OneMessage):
    """The bot's reactions to a message."""

    http_method_names = ["post", "delete"]
    inputs = {"POST": ReactionSerializer, "DELETE": ReactionSerializer}

    @documented("reactions_add", "React to a message", request=ReactionSerializer)
    def post(self, request: Request, slug: str, message: str) -> Response:
        return self.act_on(JobKind.REACT, message, self._name)

    @documented(
        "reactions_remove",
        "Take a reaction back",
        parameters=[
            OpenApiParameter(
                "name", str, required=True, description="May stand in a JSON body instead."
            )
        ],
    )
    def delete(self, request: Request, slug: str, message: str) -> Response:
        return self.act_on(JobKind.UNREACT, message, self._name)

    def _name(self) -> dict[str, Any]:
        return {"name": self.given()["name"]}
