"""`Prefer: wait=N` (RFC 7240): wait for a job to end before answering."""

from __future__ import annotations

import time

from django.db import connection

from bots.api import outside
from bots.models import Job
from bots.models.lane import UNFINISHED
from bots.refusals import Busy

LONGEST_SECONDS = 60
FIRST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.5
GROWTH = 1.5


def seconds_to_wait(header: str) -> int:
    """The seconds that a `Prefer` header asks for, 60 at most; 0 when it asks for none.

    What cannot be read is left out, as the RFC wants it; the first of several counts.
    """
    for preference in header.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "wait" and value.isascii() and value.isdigit():
            return min(int(value[:9]), LONGEST_SECONDS)
    return 0


def wait_for(job_id: int, seconds: float) -> bool:
    """Wait until the job has ended or needs a person, up to `seconds`.

    False at once when half of this process's threads wait already: the others are for those who
    do not.
    """
    try:
        with outside.place():
            _poll(job_id, time.monotonic() + seconds)
    except Busy:
        return False
    return True


def _poll(job_id: int, until: float) -> None:
    pause = FIRST_PAUSE_SECONDS
    while _state(job_id) in UNFINISHED:
        left = until - time.monotonic()
        if left <= 0:
            return
        if not connection.in_atomic_block:
            # Back to the pool, where there is one: sleeping needs no connection.
            connection.close_if_unusable_or_obsolete()
        time.sleep(min(pause, left))
        pause = min(pause * GROWTH, LONGEST_PAUSE_SECONDS)


def _state(job_id: int) -> str | None:
    return Job.objects.filter(pk=job_id).values_list("state", flat=True).first()
