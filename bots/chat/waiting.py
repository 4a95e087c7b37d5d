"""Why what was asked for in a chat is not done yet, where more than its turn is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils import formats, timezone

from bots import stuck
from bots.models import Job
from bots.stuck import Reason, Why

# Done in a moment, or, where it is uncertain, told by the state already.
PLAIN = frozenset({Why.RUNNING, Why.IN_TURN, Why.UNCERTAIN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    reason: str  # goes on after a colon
    next_step: str
    help_url: str  # where that is done, empty where it is no page


def waits(jobs: Iterable[Job]) -> dict[int, Wait]:
    """By the ids of those that wait. Takes three queries at most, however many they are."""
    asked = {job.pk: job for job in jobs}
    return {
        pk: _wait(asked[pk], reason)
        for pk, reason in stuck.explain(asked.values()).items()
        if not _is_plain(reason)
    }


def told(job_id: int, done: str) -> str:
    """What to say to whoever asked for this just now; `done` is what the job does."""
    wait = waits(Job.objects.filter(pk=job_id)).get(job_id)
    if wait is None:
        return f"Job {job_id} {done}."
    return f"Job {job_id} waits: {wait.reason} {wait.next_step}".rstrip()


def _is_plain(reason: Reason) -> bool:
    if reason.why == Why.BEHIND:
        return reason.ahead in (None, *PLAIN)
    return reason.why in PLAIN


def _wait(job: Job, reason: Reason) -> Wait:
    text = reason.text[:1].lower() + reason.text[1:]
    next_step, help_url = reason.next_step, ""
    match reason.why:
        case Why.PAUSED:
            help_url = reverse("admin:bots_lane_change", args=[job.lane_id])
        case Why.BOT_OFF | Why.REFUSED:
            help_url = reverse("admin:bots_bot_change", args=[job.bot_id])
        case Why.BEHIND:
            # What is to do there is read here; the link leads to that job.
            text = f"{text} {next_step}".rstrip()
            next_step = f"Look at job {reason.behind}."
            help_url = reverse("admin:bots_job_change", args=[reason.behind])
    if reason.until:
        text = f"{text} Not before {_moment(reason.until)}."
    return Wait(reason=text, next_step=next_step, help_url=help_url)


def _moment(until: datetime) -> str:
    then = timezone.localtime(until)
    is_today = then.date() == timezone.localdate()
    return formats.date_format(then, "H:i:s" if is_today else "j F Y, H:i")
