"""Running handlers: the step of their lanes.

| the handler | the run |
| --- | --- |
| returns | succeeded |
| raises | back in line with growing delay, five times in all, then failed with its traceback |
| takes longer than its timeout | the same, as `timed_out`, with where it hung |

Only its own later turns in that channel wait for one that is tried again.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from bots import backoff, idempotency, lanes
from bots.handling import registry
from bots.handling.call import Call
from bots.handling.deadlines import TimedOut, Turn, deadlines
from bots.handling.registry import Handler
from bots.lanes import Claim
from bots.models import HandlerRun, LaneKind, WorkState
from bots.refusals import Missing
from bots.scrub import scrub

log = logging.getLogger(__name__)

TRIES = 5
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0


@lanes.step(LaneKind.HANDLERS, HandlerRun)
def work(claim: Claim) -> None:
    """Run what is due in the claimed lane, for one turn."""
    while not claim.turn_over and not claim.resting:
        # One at a time: each is written before the next begins, so none runs twice but the one
        # that a dying worker left in the middle.
        started = lanes.begin(claim, HandlerRun, limit=1)
        if not started:
            return
        run = HandlerRun.objects.select_related("event__channel").get(pk=started[0].pk)
        run.bot = claim.bot
        _try(claim, run)


def _try(claim: Claim, run: HandlerRun) -> None:
    handler = registry.find(run.handler)
    if handler is None:
        _write(claim, run, WorkState.FAILED, error_code="handler_gone")
        return
    if run.attempts > TRIES:
        _write(
            claim,
            run,
            WorkState.FAILED,
            error_code="interrupted",
            error_detail=f"Its worker ended in the middle of it {TRIES} times.",
        )
        return
    claim.ensure(handler.timeout)
    _run(claim, run, handler)


def _run(claim: Claim, run: HandlerRun, handler: Handler) -> None:
    turn = Turn(handler.timeout)
    error: BaseException | None = None
    with deadlines().watch(turn, partial(_give_up, claim, run, turn)):
        try:
            handler.run(Call(run, turn))
            turn.check()  # who ends too late is late, whether it was noticed meanwhile or not
        except KeyboardInterrupt:
            raise
        except BaseException as raised:  # `sys.exit()` in a handler ends the handler, not us
            log.warning(
                "handler %s failed at event %s: %s", run.handler, run.event_id, type(raised)
            )
            error = raised
    if not turn.decide():
        # It came back after it was given up: the lane is not ours any more, and nothing is written.
        raise lanes.LeaseLost
    if error is None:
        _write(claim, run, WorkState.SUCCEEDED)
    else:
        trace = "".join(traceback.format_exception(error))
        _failed(claim, run, _code(error), f"{type(error).__name__}: {error}", trace)


def _code(error: BaseException) -> str:
    match error:
        case TimedOut():
            return "timed_out"
        case Missing():
            return "not_found"
    return "handler_failed"


def _give_up(claim: Claim, run: HandlerRun, turn: Turn) -> None:
    """Let go of a run whose thread hangs, and of its lane; for another thread than that."""
    log.warning("handler %s is late at event %s and given up", run.handler, run.event_id)
    detail = f"It did not end within {turn.seconds:g} s."
    try:
        _failed(claim, run, "timed_out", detail, _where(turn.thread_id))
        claim.release()
    except lanes.LeaseLost:
        log.warning("lane %s was taken over; its new holder goes on", claim.lane.pk)


def _where(thread_id: int) -> str:
    """Where a thread is in the handler that it runs."""
    frame = sys._current_frames().get(thread_id)
    stack = traceback.extract_stack(frame) if frame else traceback.StackSummary()
    ours = max((n for n, one in enumerate(stack) if one.filename == __file__), default=-1)
    return "".join(traceback.format_list(stack[ours + 1 :]))


def _failed(claim: Claim, run: HandlerRun, code: str, detail: str, trace: str) -> None:
    told = {"error_code": code, "error_detail": scrub(detail), "traceback": scrub(trace)}
    if run.attempts >= TRIES:
        _write(claim, run, WorkState.FAILED, **told)
        return
    seconds = backoff.steady_delay(
        run.attempts, first=FIRST_RETRY_SECONDS, longest=LONGEST_RETRY_SECONDS
    )
    not_before = timezone.now() + timedelta(seconds=seconds)
    _write(claim, run, WorkState.QUEUED, not_before=not_before, **told)
    if claim.lane.ordered:
        claim.rest_until(not_before)


def _write(claim: Claim, run: HandlerRun, state: WorkState, **changes: Any) -> None:
    finished_at = None if state == WorkState.QUEUED else timezone.now()
    if state == WorkState.SUCCEEDED:
        changes = {"error_code": "", "error_detail": "", "traceback": ""}
    with transaction.atomic():
        claim.confirm()
        HandlerRun.objects.filter(pk=run.pk).update(state=state, finished_at=finished_at, **changes)
        if state == WorkState.SUCCEEDED:
            idempotency.forget_runs([run.pk])  # only a run that failed can be run again
