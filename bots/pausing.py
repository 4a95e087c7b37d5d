"""What an operator does with a lane: let it stand still, let it go on, try now what waits.

A paused lane takes in what is asked of it, and nobody works on it. What a worker has begun ends; if
that worker dies, what it had begun is settled after `resume`.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from bots import audit, lane_names, lanes
from bots.access import Actor
from bots.models import Lane
from bots.refusals import Conflict


def pause(lane: Lane, *, by: Actor) -> None:
    """Nothing new is begun in it until `resume`. Raises `Conflict` for one that is paused."""
    with transaction.atomic():
        running = Lane.objects.filter(pk=lane.pk, paused_at=None)
        if not running.update(paused_at=Now(), paused_by=by.label[:200]):
            raise Conflict(f"{lane_names.whole(lane, by)} is paused already.")
        audit.record("lane.paused", lane, called=lane_names.whole(lane, by))


def resume(lane: Lane, *, by: Actor) -> None:
    """Work on it again, where it stopped. Raises `Conflict` for one that is not paused."""
    with transaction.atomic():
        paused = Lane.objects.filter(pk=lane.pk).exclude(paused_at=None)
        if not paused.update(paused_at=None, paused_by=""):
            raise Conflict(f"{lane_names.whole(lane, by)} is not paused.")
        audit.record("lane.resumed", lane, called=lane_names.whole(lane, by))
        due = lanes.due_lanes().filter(pk=lane.pk)
        transaction.on_commit(lambda: lanes.wake(due.values_list("pk", flat=True)), robust=True)


def drain(lane: Lane, *, by: Actor) -> None:
    """Try now what waits for its next try. What was put off by whoever asked for it keeps its time,
    and so does what the platform itself makes wait. Raises `Conflict` for a lane that is paused."""
    with transaction.atomic():
        # Before its work, as whoever works on it does.
        now = Lane.objects.select_for_update().get(pk=lane.pk)
        if now.paused_at:
            raise Conflict(f"{lane_names.whole(lane, by)} is paused: resume it first.")
        waiting = lanes.unfinished_in(lane).filter(not_before__gt=Now())
        if waiting.model.may_be_scheduled:
            waiting = waiting.exclude(lanes.SCHEDULED)
        waiting.update(not_before=None)
        lanes.put_again(lane.pk)
        audit.record("lane.drained", lane, called=lane_names.whole(lane, by))
