"""Sending: the step of job lanes.

A worker that claimed a lane takes its due jobs in order, does each on one connected platform
object, and writes the outcomes in batches. What a platform raises decides what happens next:

| raised | the job |
| --- | --- |
| `CredentialsRefused` | failed; the connection says so; later jobs fail without a login |
| `Misconfigured` | failed, with its reason |
| `RateLimited` | back in line, not before `retry_after`; with scope `bot` all its lanes wait |
| `Unavailable` | back in line, with growing delay |
| `OutcomeUnknown` | settled by asking the platform, else uncertain for a person |
| any other `PlatformError` | failed, with its reason |

A job found running was left by a worker that died; it is treated as `OutcomeUnknown`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, cast

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from bots import actions, backoff, clients, files, lanes, records
from bots.connections import states
from bots.lanes import Claim
from bots.models import Attempt, Bot, Job, JobKind, LaneKind, WorkState
from bots.scrub import scrub
from spaces.platforms import trace
from spaces.platforms.contract import OPERATIONS, Ability, Platform
from spaces.platforms.errors import (
    CredentialsRefused,
    Misconfigured,
    OutcomeUnknown,
    PlatformError,
    RateLimited,
    Unavailable,
)

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0  # after it, outcomes are written when the call at hand ends, or with the batch
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
CALLS = frozenset(operation for operations in OPERATIONS.values() for operation in operations)
PACE_SLACK = timedelta(milliseconds=50)  # a slot that near is simply waited for


@lanes.step(LaneKind.JOBS, Job)
def work(claim: Claim) -> None:
    """Do what is due in the claimed lane, for one turn."""
    bot = claim.bot
    if not bot.enabled:
        claim.park()
        return
    if bot.limited_until and bot.limited_until > timezone.now():
        claim.rest_until(bot.limited_until)
        return
    if states.is_refused(bot):
        # Accounts get locked by logins that are refused again and again: nobody tries once more.
        why = bot.connection
        _fail_all(claim, CredentialsRefused(why.reason, next_step=why.next_step))
        return
    with ExitStack() as stack:
        try:
            platform = stack.enter_context(clients.borrow(bot))
        except (PlatformError, Misconfigured) as error:
            _connecting_failed(claim, error)
            return
        except Exception as error:
            # A fault of the platform's code: its lanes wait as if nobody had answered.
            log.exception("%s: connecting broke", bot.slug)
            _connecting_failed(claim, Unavailable(f"An internal error ({type(error).__name__})."))
            return
        _drain(claim, platform)


def _drain(claim: Claim, platform: Platform) -> None:
    # Where nobody can be asked what became of a send, each is marked, made and written by itself:
    # then a crash leaves at most one that a person has to look at.
    limit = lanes.BATCH if Ability.FIND_SENT in platform.abilities else 1
    while not claim.turn_over:
        jobs = lanes.begin(claim, Job, limit=limit)
        if not jobs:
            return
        now = _until_one_alone(claim, platform, jobs)
        _Batch(claim, platform, now).run()
        if claim.resting or len(now) == len(jobs) < limit:
            return  # that was all; what came in meanwhile is seen when the lane is released


def _until_one_alone(claim: Claim, platform: Platform, jobs: list[Job]) -> list[Job]:
    """Those to do now. A job that nobody can settle goes alone, for the same reason as above."""
    alone = next((n for n, job in enumerate(jobs) if actions.goes_alone(platform, job)), None)
    if alone is None:
        return jobs
    now = max(1, alone)
    if later := jobs[now:]:
        lanes.put_back(claim, Job, later)
    return jobs[:now]


class _Batch:
    """Jobs marked as running, done one after the other until something makes the lane wait."""

    def __init__(self, claim: Claim, platform: Platform, jobs: list[Job]):
        self.claim = claim
        self.bot = claim.bot
        self.client = platform
        self.platform = cast(Platform, _Leased(platform, claim))
        self.waiting = jobs
        self.outcomes: list[records.Outcome] = []
        self.flush_at = time.monotonic() + FLUSH_SECONDS

    def run(self) -> None:
        try:
            while self.waiting and not self.claim.resting and not self.claim.turn_over:
                if self.waiting[0].kind == JobKind.POST and not self._paced():
                    break
                job = self.waiting.pop(0)
                job.bot = self.bot
                self._try(job)
                if time.monotonic() >= self.flush_at:
                    self._flush()
        finally:
            self._flush()
            if self.waiting:
                lanes.put_back(self.claim, Job, self.waiting)

    def _flush(self) -> None:
        outcomes, self.outcomes = self.outcomes, []
        _write(self.claim, outcomes)
        self.flush_at = time.monotonic() + FLUSH_SECONDS

    def _try(self, job: Job) -> None:
        if job.expires_at and job.expires_at <= timezone.now() and not job.interrupted:
            job.state, job.error_code = WorkState.EXPIRED, "expired"
            job.finished_at = timezone.now()
            self.outcomes.append(records.Outcome(job=job, attempt=None))
            return
        with _attempt(self.platform, job) as attempt:
            try:
                self._do(job)
            except lanes.LeaseLost:
                raise
            except Exception:
                clients.distrust(self.client)
                log.exception("job %s: the platform %s broke", job.pk, self.platform.name)
                self._broke(job)
        attempt.outcome = job.error_code or job.state
        self.outcomes.append(records.Outcome(job=job, attempt=attempt))

    def _do(self, job: Job) -> None:
        try:
            self._perform(job)
        except OutcomeUnknown as error:
            clients.distrust(self.client)
            self._settle(job, error)
        except (PlatformError, Misconfigured) as error:
            if isinstance(error, Unavailable):
                clients.distrust(self.client)
            self._failed(job, error)

    def _perform(self, job: Job) -> None:
        _ensure(self.claim, files.seconds_to_fetch(job))
        job.result = actions.perform(self.platform, job)
        _end(job, WorkState.SUCCEEDED)

    def _settle(self, job: Job, error: OutcomeUnknown) -> None:
        """Ask the platform what became of it; if it cannot tell, a person has to."""
        if not actions.can_settle(self.platform, job):
            _end(job, WorkState.UNCERTAIN, error)
            return
        if job.interrupted:
            self._wait(job, error, running=True)
            return
        job.interrupted = True
        try:
            self._perform(job)
        except (OutcomeUnknown, RateLimited, Unavailable) as again:
            self._wait(job, again, running=True)
        except (PlatformError, Misconfigured) as refused:
            self._failed(job, refused)

    def _failed(self, job: Job, error: PlatformError | Misconfigured) -> None:
        if isinstance(error, RateLimited | Unavailable):
            self._wait(job, error, running=job.interrupted)
            return
        # What may be on the platform must not be called failed: a retry would send it twice.
        doubtful = job.interrupted and records.once(job)
        _end(job, WorkState.UNCERTAIN if doubtful else WorkState.FAILED, error)
        if isinstance(error, CredentialsRefused):
            with suppress(OperationalError, InterfaceError):  # then the next one is refused as well
                states.refuse(self.bot, error)
            # What is left in the lane connects anew, or not at all.
            self.claim.rest_until(timezone.now())

    def _wait(self, job: Job, error: PlatformError, *, running: bool) -> None:
        """Back in line. A job whose outcome is unknown stays running: it is settled first."""
        not_before = timezone.now() + timedelta(seconds=_delay(job, error))
        job.state = WorkState.RUNNING if running else WorkState.QUEUED
        job.not_before = not_before
        job.error_code, job.error_detail = error.code, error.detail
        job.next_step = error.next_step
        if isinstance(error, RateLimited) and error.scope == "bot":
            with suppress(OperationalError, InterfaceError):  # then the other lanes find out, too
                Bot.objects.filter(pk=self.bot.pk).update(
                    limited_until=Greatest(Coalesce("limited_until", not_before), not_before)
                )
            self.claim.rest_until(not_before)
        elif self.claim.lane.ordered:
            self.claim.rest_until(not_before)

    def _broke(self, job: Job) -> None:
        """A fault of the platform's code, ours or a plugin's: nobody knows what it did."""
        detail = "The platform's code failed; see the log of the worker."
        if records.once(job):
            step = "Look whether the platform has it, then resolve the job as sent or not sent."
            _end(job, WorkState.UNCERTAIN, OutcomeUnknown(detail, next_step=step))
        else:
            step = "Retry the job when the fault is mended; doing it twice does no harm."
            _end(job, WorkState.FAILED, OutcomeUnknown(detail, next_step=step))
        job.error_code = "platform_broke"

    def _paced(self) -> bool:
        """Take a place in line where the operator set messages per second; False: not yet."""
        rate = self.platform.account.options.get("messages_per_second") or 0
        if not rate:
            return True
        place = _next_place(self.bot, 1 / rate)
        wait = place - timezone.now()
        if wait > PACE_SLACK:
            _give_back_place(self.bot, 1 / rate)
            self.claim.rest_until(place)
            return False
        time.sleep(max(0.0, wait.total_seconds()))
        return True


class _Leased:
    """A platform that looks at the lease of the lane right before each call: it must outlive the
    call, or somebody else could be sending the same meanwhile. Raises `LeaseLost`."""

    def __init__(self, platform: Platform, claim: Claim):
        self._platform = platform
        self._claim = claim

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._platform, name)
        if name not in CALLS:
            return attribute

        def call(*args: Any, **kwargs: Any) -> Any:
            _ensure(self._claim, self._platform.seconds_for(name, *args))
            return attribute(*args, **kwargs)

        return call


def _ensure(claim: Claim, seconds: float) -> None:
    """As `Claim.ensure`. Raises `Unavailable` while the database is away: the call is not made."""
    try:
        claim.ensure(seconds)
    except (OperationalError, InterfaceError) as error:
        raise Unavailable("The database was away, so that nobody was asked.") from error


@contextmanager
def _attempt(platform: Platform, job: Job) -> Iterator[Attempt]:
    attempt = Attempt(job=job, number=job.attempts, at=timezone.now())
    started = time.monotonic()
    with trace.collect(platform.account.credentials) as seen:
        yield attempt
    attempt.seconds = time.monotonic() - started
    attempt.request, attempt.response = seen.request, seen.response


def _end(job: Job, state: WorkState, error: PlatformError | Misconfigured | None = None) -> None:
    job.state = state
    job.not_before = None
    job.finished_at = None if state == WorkState.UNCERTAIN else timezone.now()
    job.error_code = error.code if error else ""
    job.error_detail = error.detail if error else ""
    job.next_step = error.next_step if error else ""


def _delay(job: Job, error: PlatformError) -> float:
    """Seconds until the next try."""
    if isinstance(error, RateLimited):
        return error.retry_after
    return backoff.steady_delay(
        max(1, job.attempts), first=FIRST_RETRY_SECONDS, longest=LONGEST_RETRY_SECONDS
    )


def _write(claim: Claim, outcomes: list[records.Outcome]) -> None:
    """Nobody can learn them a second time."""
    lanes.write_patiently(claim, lambda: records.write(claim, outcomes))


# When the bot cannot even connect ---------------------------------------------------------------


def _connecting_failed(claim: Claim, error: PlatformError | Misconfigured) -> None:
    if isinstance(error, CredentialsRefused):
        states.refuse(claim.bot, error)
    elif isinstance(error, RateLimited | Unavailable | OutcomeUnknown):
        head = _note_on_head(claim, error)
        if head is None:
            return
        claim.rest_until(timezone.now() + timedelta(seconds=_delay(head, error)))
        return
    _fail_all(claim, error)


def _note_on_head(claim: Claim, error: PlatformError) -> Job | None:
    """Count the try on the job that waits first, and let whoever looks at it read why it waits."""
    started = lanes.begin(claim, Job, limit=1)
    if not started:
        return None
    (head,) = started
    with transaction.atomic():
        lanes.put_back(claim, Job, started)
        Job.objects.filter(pk=head.pk).update(
            attempts=head.attempts,
            error_code=error.code,
            error_detail=scrub(error.detail),
            next_step=scrub(error.next_step),
        )
    return head


def _fail_all(claim: Claim, error: PlatformError | Misconfigured) -> None:
    """Fail what is due, except jobs whose outcome is open: nobody may call those failed."""
    while not claim.turn_over:
        jobs = lanes.begin(claim, Job)
        fresh = [job for job in jobs if not job.interrupted]
        for job in fresh:
            job.bot = claim.bot
            _end(job, WorkState.FAILED, error)
        _write(claim, [records.Outcome(job=job, attempt=None) for job in fresh])
        if len(fresh) < len(jobs):
            claim.park()  # until the settings change
            return
        if not jobs:
            return


# Messages per second ----------------------------------------------------------------------------


def _next_place(bot: Bot, seconds_each: float) -> datetime:
    """Reserve the next free place in the bot's line; every worker takes from the same row."""
    now = timezone.now()
    step = timedelta(seconds=seconds_each)
    with transaction.atomic():
        Bot.objects.filter(pk=bot.pk).update(
            next_send_at=Greatest(Coalesce("next_send_at", now), now) + step
        )
        last = Bot.objects.only("next_send_at").get(pk=bot.pk).next_send_at
    return (last or now) - step


def _give_back_place(bot: Bot, seconds_each: float) -> None:
    Bot.objects.filter(pk=bot.pk).update(
        next_send_at=F("next_send_at") - timedelta(seconds=seconds_each)
    )
