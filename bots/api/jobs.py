"""Jobs: following and steering them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from bots import access, jobs, targets
from bots.api.acting import ANSWER_HEADERS, IDEMPOTENCY_KEY, steer
from bots.api.query import Name
from bots.api.serializers import AttemptSerializer, JobSerializer, ResolveSerializer
from bots.api.view import View
from bots.models import Attempt, Bot, Job, JobKind, WorkState
from bots.refusals import Missing
from spaces.api.fields import Choice


class JobsQuery(serializers.Serializer):
    bot = Name(required=False, help_text="Slug.")
    state = Choice(choices=[str(s) for s in WorkState], required=False)
    kind = Choice(choices=[str(k) for k in JobKind], required=False)
    channel = Name(required=False, help_text="Our id; with `bot` also the platform's, or a name.")


class Jobs(View):
    """What was asked of your bots, newest first."""

    serializer_class = JobSerializer
    ordering = ("-pk",)

    @extend_schema(
        operation_id="jobs_list",
        summary="Jobs, newest first",
        parameters=[JobsQuery],
        responses=JobSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self._found(self.asked(JobsQuery)))
        return self.get_paginated_response(JobSerializer(page, many=True).data)

    def _found(self, wanted: dict[str, Any]) -> QuerySet[Job]:
        found = visible(self.actor)
        bot = self._bot(wanted["bot"]) if "bot" in wanted else None
        if bot is not None:
            found = found.filter(bot=bot)
        if "channel" in wanted:
            found = found.filter(channel=_channel(bot, wanted["channel"]))
        for field in ("state", "kind"):
            if field in wanted:
                found = found.filter(**{field: wanted[field]})
        return found

    def _bot(self, slug: str) -> Bot:
        if (bot := access.bots(self.actor).filter(slug=slug).first()) is None:
            raise ValidationError({"bot": "There is no such bot, or not for you."})
        return bot


def _channel(bot: Bot | None, name: str) -> int:
    if bot is not None:
        try:
            return targets.channel(bot, name).pk
        except Missing as error:
            raise ValidationError({"channel": error.detail}) from error
    if (own_id := targets.as_id(name)) is None:
        raise ValidationError({"channel": "Without a bot this must be the id of a channel."})
    return own_id


class JobView(View):
    serializer_class: type[serializers.BaseSerializer] = JobSerializer

    @property
    def job(self) -> Job:
        """Raises `Missing` also when it is a job of somebody else's bot."""
        own_id = targets.as_id(self.kwargs["job"])
        found = visible(self.actor).filter(pk=own_id).first() if own_id is not None else None
        if found is None:
            raise Missing(f"There is no job {self.kwargs['job']!r}, or not for you.")
        return found

    def steered(self, move: Callable[[Job], None]) -> Response:
        job = self.job

        def work() -> Job:
            move(job)
            return job

        return steer(self.request, self.actor, work)


def steering(operation_id: str, summary: str, description: str, request: Any = None) -> Any:
    return extend_schema(
        operation_id=operation_id,
        summary=summary,
        description=description,
        request=request,
        parameters=[IDEMPOTENCY_KEY, ANSWER_HEADERS[1]],
        responses={200: JobSerializer},
    )


class OneJob(JobView):
    """A job, what became of it, and what to do when it failed."""

    @extend_schema(operation_id="jobs_retrieve", summary="One job")
    def get(self, request: Request, job: str) -> Response:
        return Response(JobSerializer(self.job).data)


class Cancel(JobView):
    @steering("jobs_cancel", "Cancel a job", "409 unless it is still queued.")
    def post(self, request: Request, job: str) -> Response:
        return self.steered(jobs.cancel)


class Retry(JobView):
    @steering(
        "jobs_retry", "Queue a job again", "409 while it is open; an uncertain one is resolved."
    )
    def post(self, request: Request, job: str) -> Response:
        return self.steered(jobs.retry)


class Resolve(JobView):
    inputs = {"POST": ResolveSerializer}

    @steering(
        "jobs_resolve",
        "Say what became of an uncertain job",
        "409 in any other state. `not_sent` tries it again.",
        ResolveSerializer,
    )
    def post(self, request: Request, job: str) -> Response:
        sent = self.given()["as"] == "sent"
        return self.steered(jobs.resolve_sent if sent else jobs.resolve_not_sent)


class Attempts(JobView):
    """Every try at a job, oldest first."""

    serializer_class = AttemptSerializer

    @extend_schema(
        operation_id="jobs_attempts_list",
        summary="Tries at a job",
        responses=AttemptSerializer(many=True),
    )
    def get(self, request: Request, job: str) -> Response:
        page = self.paginate_queryset(Attempt.objects.filter(job=self.job))
        return self.get_paginated_response(AttemptSerializer(page, many=True).data)


def visible(actor: access.Actor) -> QuerySet[Job]:
    found = Job.objects.select_related("bot")
    if actor.sees_all:
        return found
    return found.filter(bot__in=access.bots(actor))
