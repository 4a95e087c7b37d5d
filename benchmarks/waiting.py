"""Waiting for what workers do."""

from __future__ import annotations

import time

from bots.models import Job, WorkState
from bots.models.lane import UNFINISHED

LOOK_SECONDS = 0.005
PATIENCE_SECONDS = 60


def wait_for_jobs() -> None:
    """Until every job has ended; raises `RuntimeError` unless all of them went well."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while Job.objects.filter(state__in=UNFINISHED).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the jobs do not come to an end")
        time.sleep(LOOK_SECONDS)
    if failed := Job.objects.exclude(state=WorkState.SUCCEEDED).first():
        raise RuntimeError(f"a job {failed.state}: {failed.error_detail}")
