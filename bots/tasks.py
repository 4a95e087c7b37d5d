"""The tasks workers run: each one line. All of them may come twice, late, or not at all."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from bots import (
    bulk_actions,
    clients,
    files,
    held,
    idempotency,
    incidents,
    job_groups,
    jobs,
    lanes,
    processes,
    retention,
    syncing,
    tallies,
    wakeups,
)
from bots.connections import poller
from spaces.platforms import local

# A bot of the local platform that was away for longer finds a gap.
LOCAL_LOG_KEPT = timedelta(days=30)


@shared_task
def drain_lane(lane_id: int) -> None:
    lanes.drain(lane_id)


@shared_task
def sweep() -> None:
    processes.worked()
    jobs.expire_overdue()
    lanes.sweep()
    bulk_actions.sweep()
    job_groups.sweep()


@shared_task
def work_on_bulk_action(action_id: int) -> None:
    bulk_actions.work(action_id)


@shared_task
def work_on_job_group(group_id: int) -> None:
    job_groups.work(group_id)


@shared_task
def sort_events() -> None:
    # Not by this thread: while events keep coming, sorting does not end. Who has no post office any
    # more is about to end; the others look once a second.
    wakeups.sort_if_here()


@shared_task
def poll_due() -> None:
    poller.queue_due()


@shared_task
def poll_bot(bot_id: int) -> None:
    poller.poll(bot_id)


@shared_task
def look_for_incidents() -> None:
    incidents.look()


@shared_task
def tell_of_incidents() -> None:
    incidents.tell()


@shared_task
def count_events() -> None:
    tallies.count()


@shared_task
def describe_channels(bot_id: int, channel_ids: list[int]) -> None:
    syncing.describe(bot_id, channel_ids)


@shared_task
def list_channels(bot_id: int) -> None:
    syncing.list_anew(bot_id)


@shared_task
def tidy() -> None:
    idempotency.tidy()
    held.tidy()
    clients.close_idle()
    processes.tidy()
    files.prune()
    incidents.tidy()
    tallies.tidy()
    bulk_actions.tidy()
    job_groups.tidy()
    local.prune_events(timezone.now() - LOCAL_LOG_KEPT)


@shared_task
def prune() -> None:
    retention.prune()
