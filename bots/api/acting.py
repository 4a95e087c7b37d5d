"""Requests that become jobs: asked once, answered with 202, or 200 for those who wait."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from bots import idempotency
from bots.access import Actor
from bots.api import preferences
from bots.api.serializers import JobSerializer
from bots.models import Job
from bots.models.lane import UNFINISHED
from bots.refusals import Missing

LONGEST_KEY = 255

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="A repeat with the same key within 24 hours gets the first answer again.",
)
PREFER = OpenApiParameter(
    "Prefer",
    str,
    OpenApiParameter.HEADER,
    description="`wait=5` waits up to 5 seconds (60 at most) for the job to end.",
)
ANSWER_HEADERS = [
    OpenApiParameter(
        "Location", str, OpenApiParameter.HEADER, response=[200, 202], description="The job."
    ),
    OpenApiParameter(
        "Idempotency-Replayed",
        str,
        OpenApiParameter.HEADER,
        response=[200, 202],
        description="`true` when this is the first answer again.",
    ),
]


def documented(
    operation_id: str,
    summary: str,
    *,
    request: Any = None,
    parameters: list[OpenApiParameter] | None = None,
) -> Callable[[Any], Any]:
    """For the OpenAPI document: an operation that `act` answers."""
    return extend_schema(
        operation_id=operation_id,
        summary=summary,
        request=request,
        parameters=[IDEMPOTENCY_KEY, PREFER, *ANSWER_HEADERS, *(parameters or [])],
        responses={202: JobSerializer, 200: JobSerializer},
    )


def act(request: Request, actor: Actor, work: Callable[[], Job]) -> Response:
    """Answer with the job that `work` stores, or stored when this request was made first."""
    job, replayed = _once(request, actor, work)
    headers = {"Location": request.build_absolute_uri(reverse("job", args=[job.pk]))}
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    status = 202
    if seconds := preferences.seconds_to_wait(request.headers.get("Prefer", "")):
        if preferences.wait_for(job.pk, seconds):
            headers["Preference-Applied"] = f"wait={seconds}"
        job = _job(job.pk)
        status = 202 if job.state in UNFINISHED else 200
    return Response(JobSerializer(job).data, status=status, headers=headers)


def steer(request: Request, actor: Actor, work: Callable[[], Job]) -> Response:
    """Answer with the job that `work` moved; as `act`, without waiting."""
    job, replayed = _once(request, actor, work)
    headers = {"Idempotency-Replayed": "true"} if replayed else {}
    return Response(JobSerializer(job).data, headers=headers)


def once_of(request: Request, actor: Actor) -> idempotency.Once | None:
    """What the request's `Idempotency-Key` stands for. Raises `ValidationError`."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= LONGEST_KEY or not all("!" <= c <= "~" for c in key):
        raise ValidationError(
            {"Idempotency-Key": f"1 to {LONGEST_KEY} visible ASCII characters without spaces."}
        )
    asked = (request.method, request.path, request.META.get("QUERY_STRING", ""), _body(request))
    return idempotency.Once(scope=actor.key, key=key, fingerprint=idempotency.fingerprint(*asked))


def _once(request: Request, actor: Actor, work: Callable[[], Job]) -> tuple[Job, bool]:
    once = once_of(request, actor)
    if once is None:
        return work(), False
    made: list[Job] = []

    def make() -> int:
        made.append(work())
        return made[0].pk

    job_id, replayed = idempotency.perform(once, make)
    return (_job(job_id) if replayed else made[0]), replayed


def _job(job_id: int) -> Job:
    job = Job.objects.select_related("bot").filter(pk=job_id).first()
    if job is None:
        raise Missing(f"Job {job_id} is gone.")
    return job


def _body(request: Request) -> Any:
    data = request.data
    if not isinstance(data, QueryDict):
        return data
    return {name: [_digest(value) for value in values] for name, values in data.lists()}


def _digest(value: str | UploadedFile) -> Any:
    if isinstance(value, str):
        return value
    digest = hashlib.sha256()
    for chunk in value.chunks():
        digest.update(chunk)
    value.seek(0)
    return [value.name, digest.hexdigest()]
