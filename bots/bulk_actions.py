"""One thing done with many bots, one bot after the other, by whichever worker is free.

The rows are the truth. Whoever takes a bot's turn claims it for a moment. What our own database
does (switching on and off, a new job) ends in the transaction that also writes what happened: a
worker that is killed leaves either both or nothing. What asks a platform is asked again by the next
worker; trying credentials twice changes nothing.

Whether somebody may do it is asked when the bot's turn comes; a refusal is a result like any other.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Count, Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from bots import access, lanes, lifecycle, rotation, secrets, wakeups, who
from bots.access import Act, Actor
from bots.bulkhead import bulkhead
from bots.models import Bot, BulkAction, BulkItem, BulkKind, ItemState, Job, WorkState
from bots.models.bulk_action import OPEN_ITEMS
from bots.models.lane import UNFINISHED
from bots.refusals import Conflict, Invalid, Missing, NotPermitted, Refused
from spaces.platforms.errors import Misconfigured

log = logging.getLogger(__name__)

ACTS = dict.fromkeys(BulkKind, Act.OPERATE_BOT) | {BulkKind.ROTATE: Act.CHANGE_BOT}
LAST_WORD_COUNTS = (BulkKind.START, BulkKind.STOP)
SUPERSEDED = "superseded"  # the code of what was not done because of that
# Workers that are at one action at the same time: platforms take their time, our database does not.
AT_ONCE = dict.fromkeys(BulkKind, 1) | {BulkKind.ROTATE: 4}

CLAIMED = timedelta(minutes=3)  # longer than any platform may take to let somebody in
TURN_SECONDS = 2.0  # then other work goes first
SWEEP_SECONDS = 1.0  # how often beat sweeps
SWEPT = 500  # items that are settled per sweep; the rest are there at the next
KEPT = timedelta(days=90)

FREE = Q(claimed_until__isnull=True) | Q(claimed_until__lt=Now())


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of it for one bot."""

    state: ItemState
    detail: str
    next_step: str = ""
    error_code: str = ""
    job: Job | None = None


# Asking -----------------------------------------------------------------------------------------


def ask(kind: BulkKind, bots: Iterable[Bot], *, user: User) -> BulkAction:
    """Have this done with all of these. Raises `Invalid` when there are none."""
    return _begin(kind, [BulkItem(bot=bot, name=bot.name) for bot in bots], user=user)


def rotate(values: Mapping[Bot, Mapping[str, str]], *, user: User) -> BulkAction:
    """Have new credentials tried, and used where the platform takes them. Raises `Invalid` when
    there are none, or when one cannot be right."""
    for bot, entered in values.items():
        lifecycle.check_credentials(bot, entered)
    items = [
        BulkItem(bot=bot, name=bot.name, values=secrets.encrypt(json.dumps(dict(entered))))
        for bot, entered in values.items()
    ]
    return _begin(BulkKind.ROTATE, items, user=user)


def retry(action: BulkAction, *, user: User) -> BulkAction:
    """Do it once more with those of this user's bots for which it failed.

    Raises `Conflict` for credentials, which were forgotten once they were tried, and `Invalid` when
    there are none.
    """
    if action.kind == BulkKind.ROTATE:
        raise Conflict("What was entered was forgotten once it was tried: enter it anew.")
    items = [BulkItem(bot=bot, name=bot.name) for bot in failed_bots(action, user)]
    return _begin(BulkKind(action.kind), items, user=user, retry_of=action)


def failed_bots(action: BulkAction, user: User) -> list[Bot]:
    """Those of this user's bots for which it failed, unless it was tried again since, or somebody
    asked for something else."""
    actor = access.from_user(user)
    if actor is None:
        return []
    again = BulkItem.objects.filter(action__retry_of=action, bot=OuterRef("bot"))
    failed = action.items.filter(~Exists(again), state=ItemState.FAILED)
    failed = failed.exclude(bot=None).exclude(error_code=SUPERSEDED)
    return list(access.bots(actor).filter(pk__in=failed.values("bot")).select_related("space"))


def _begin(
    kind: BulkKind, items: list[BulkItem], *, user: User, retry_of: BulkAction | None = None
) -> BulkAction:
    if not items:
        raise Invalid("There is no bot to do it with.")
    action = BulkAction(kind=kind, user=user, requested_by=user.get_username(), retry_of=retry_of)
    with transaction.atomic():
        if kind in LAST_WORD_COUNTS:
            _supersede([item.bot for item in items])
        action.save()
        for item in items:
            item.action = action
        BulkItem.objects.bulk_create(items, batch_size=500)
        pk, workers = action.pk, min(AT_ONCE[kind], len(items))
        transaction.on_commit(lambda: _wake(pk, workers), robust=True)
    return action


def _supersede(bots: Iterable[Bot | None]) -> None:
    """What was asked of these bots before and was not done yet is not done any more: the newer
    action may be quicker, and the older one would have the last word."""
    older = BulkItem.objects.filter(
        bot__in=[bot.pk for bot in bots if bot is not None],
        state=ItemState.WAITING,
        action__kind__in=LAST_WORD_COUNTS,
    )
    # In order: two people may do this at once.
    locked = older.select_for_update(of=("self",)).order_by("pk")
    BulkItem.objects.filter(pk__in=list(locked.values_list("pk", flat=True))).update(
        state=ItemState.FAILED,
        error_code=SUPERSEDED,
        detail="Somebody asked for something else since.",
        claimed_until=None,
        finished_at=Now(),
    )


# Working ----------------------------------------------------------------------------------------


def work(action_id: int) -> None:
    """Work on an action for one turn. Does nothing where enough others do: wake-ups may come
    twice."""
    action = BulkAction.objects.select_related("user").filter(pk=action_id).first()
    if action is None or action.finished_at is not None:
        return
    ends = time.monotonic() + TURN_SECONDS
    while (item := _claim(action)) is not None:
        if not _take_turn(action, item):
            return  # no room for its platform in this process; the sweep comes back to it
        if time.monotonic() >= ends:
            _wake(action_id, 1)
            return
    _finish([action_id])


def sweep() -> None:
    """See what became of jobs, and wake workers where something waits and too few are at it:
    after a lost wake-up, or a worker that died."""
    unfinished = dict(BulkAction.objects.filter(finished_at=None).values_list("pk", "kind"))
    if not unfinished:
        return
    _follow_jobs(unfinished)
    _finish(unfinished)
    waiting = (
        BulkItem.objects.filter(action__in=unfinished, state=ItemState.WAITING)
        .values_list("action")
        .annotate(free=Count("pk", filter=FREE), busy=Count("pk", filter=~FREE))
    )
    for action_id, free, busy in waiting:
        _wake(action_id, min(free, AT_ONCE[BulkKind(unfinished[action_id])] - busy))


def tidy() -> None:
    """Forget what was done long ago."""
    BulkAction.objects.filter(finished_at__lt=timezone.now() - KEPT).delete()


def _wake(action_id: int, workers: int) -> None:
    for _ in range(workers):
        wakeups.ask("work_on_bulk_action", action_id, expires=2 * SWEEP_SECONDS)


def _claim(action: BulkAction) -> BulkItem | None:
    """The next one that nobody is at, unless enough are at others already."""
    waiting = BulkItem.objects.filter(action=action, state=ItemState.WAITING)
    with transaction.atomic():
        if waiting.exclude(FREE).count() >= AT_ONCE[BulkKind(action.kind)]:
            return None
        free = waiting.filter(FREE).select_for_update(skip_locked=True).order_by("pk")
        if (item := free.first()) is not None:
            waiting.filter(pk=item.pk).update(claimed_until=Now() + CLAIMED)
    return item


def _take_turn(action: BulkAction, item: BulkItem) -> bool:
    """Do it for one bot, so that none holds up the others. False when it has to wait for room."""
    try:
        return _do(action, item)
    except (OperationalError, InterfaceError):
        # The database was away, or busy for too long: whoever comes next need not wait for us.
        if not connection.is_usable():
            connection.close()
        with suppress(OperationalError, InterfaceError):
            _let_go(item)
        raise
    except Exception:
        log.exception("%s broke for %s", action, item.name)
        detail = "botadmin's code failed; see the log of the worker."
        _settle(item, _failed("broke", detail, "Look how the bot is before you retry."))
        return True


def _let_go(item: BulkItem) -> None:
    BulkItem.objects.filter(pk=item.pk, state=ItemState.WAITING).update(claimed_until=None)


def _do(action: BulkAction, item: BulkItem) -> bool:
    """As `_take_turn`; raises whatever goes wrong."""
    try:
        actor = _actor(action)
        bot = _bot(actor, item)
    except Refused as refused:
        _settle(item, _refused(refused))
        return True
    with who.acting(who.of(actor, who.Door.ADMIN)):
        if action.kind == BulkKind.ROTATE:
            return _try_credentials(action, item, bot)
        with transaction.atomic():
            # Whoever took over from us has settled it once this lock is ours.
            mine = BulkItem.objects.select_for_update().filter(pk=item.pk, state=ItemState.WAITING)
            if mine.first() is not None:
                _settle(item, _at_once(action, bot))
    return True


def _actor(action: BulkAction) -> Actor:
    """Who asked for it. Raises `NotPermitted` unless they may do it now."""
    actor = access.from_user(action.user) if action.user else None
    if actor is None or not access.may(actor, ACTS[BulkKind(action.kind)]):
        raise NotPermitted(f"{action.requested_by} may not do this any more.")
    return actor


def _bot(actor: Actor, item: BulkItem) -> Bot:
    """Raises `Missing`."""
    if item.bot_id is None:
        raise Missing("The bot was deleted.")
    mine = access.bots(actor).select_related("space", "connection")
    if (bot := mine.filter(pk=item.bot_id).first()) is None:
        raise Missing(f"{actor.label} does not see this bot any more.")
    return bot


def _settle(item: BulkItem, outcome: Outcome) -> None:
    is_over = outcome.state not in OPEN_ITEMS
    BulkItem.objects.filter(pk=item.pk, state=ItemState.WAITING).update(
        state=outcome.state,
        detail=outcome.detail,
        next_step=outcome.next_step,
        error_code=outcome.error_code,
        job=outcome.job,
        values="",
        claimed_until=None,
        finished_at=Now() if is_over else None,
    )


def _finish(action_ids: Iterable[int]) -> None:
    is_open = Exists(BulkItem.objects.filter(action=OuterRef("pk"), state__in=OPEN_ITEMS))
    done = BulkAction.objects.filter(~is_open, pk__in=list(action_ids), finished_at=None)
    done.update(finished_at=Now())


# What is done -----------------------------------------------------------------------------------


def _at_once(action: BulkAction, bot: Bot) -> Outcome:
    """Do what only our own database does. In a transaction."""
    try:
        with transaction.atomic():
            return STEPS[BulkKind(action.kind)](action, bot)
    except Refused as refused:
        return _refused(refused)


def _start(action: BulkAction, bot: Bot) -> Outcome:
    if bot.enabled:
        return _done("It was on already.")
    lifecycle.start(bot)
    return _done("It is started.")


def _stop(action: BulkAction, bot: Bot) -> Outcome:
    if not bot.enabled:
        return _done("It was off already.")
    lifecycle.stop(bot)
    return _done("It is stopped: it receives nothing, and its jobs wait.")


def _reconnect(action: BulkAction, bot: Bot) -> Outcome:
    if not bot.enabled:
        return _switched_off()
    lifecycle.reconnect(bot)
    return _done("It connects anew.")


def _sync(action: BulkAction, bot: Bot) -> Outcome:
    if not bot.enabled:
        return _switched_off()
    job = lifecycle.sync(bot, requested_by=action.requested_by)
    return Outcome(
        state=ItemState.RUNNING,
        detail=f"Job {job.pk} reads its channels, participants and recent messages.",
        job=job,
    )


STEPS: dict[BulkKind, Callable[[BulkAction, Bot], Outcome]] = {
    BulkKind.START: _start,
    BulkKind.STOP: _stop,
    BulkKind.RECONNECT: _reconnect,
    BulkKind.SYNC: _sync,
}


def _try_credentials(action: BulkAction, item: BulkItem, bot: Bot) -> bool:
    if not bulkhead().enter_poll(bot):
        _let_go(item)
        return False
    try:
        _settle(item, _rotated(action, item, bot))
    finally:
        if (parked := bulkhead().leave_poll(bot)) is not None:
            lanes.wake([parked])
    return True


def _rotated(action: BulkAction, item: BulkItem, bot: Bot) -> Outcome:
    try:
        values = json.loads(secrets.decrypt(item.values))
        trial = rotation.replace_credentials(
            bot, values, user=action.user, requested_by=action.requested_by
        )
    except Refused as refused:
        return _refused(refused)
    except Misconfigured as error:
        return _failed(error.code, error.detail, error.next_step)
    if trial.ok:
        return _done(f"The new one is in use. {trial.findings[0].text}")
    wrong = next(finding for finding in trial.findings if finding.level == "error")
    return _failed(trial.refused, f"{wrong.text} The old one stays in use.", wrong.remedy)


def _done(detail: str) -> Outcome:
    return Outcome(state=ItemState.DONE, detail=detail)


def _failed(code: str, detail: str, next_step: str = "") -> Outcome:
    return Outcome(state=ItemState.FAILED, error_code=code, detail=detail, next_step=next_step)


def _refused(refused: Refused) -> Outcome:
    return _failed(refused.code, refused.detail)


def _switched_off() -> Outcome:
    return _failed("switched_off", "The bot is switched off.", "Start it, then retry.")


# What jobs say ----------------------------------------------------------------------------------


def _follow_jobs(action_ids: Iterable[int]) -> None:
    """Take over how jobs ended."""
    unfinished = Job.objects.filter(pk=OuterRef("job_id"), state__in=UNFINISHED)
    ended = BulkItem.objects.filter(
        ~Exists(unfinished), action__in=list(action_ids), state=ItemState.RUNNING
    )
    items = list(ended.select_related("job").order_by("pk")[:SWEPT])
    for item in items:
        outcome = _told_by(item.job)
        item.state, item.detail = outcome.state, outcome.detail
        item.next_step, item.error_code = outcome.next_step, outcome.error_code
        item.finished_at = timezone.now()
    names = ("state", "detail", "next_step", "error_code", "finished_at")
    BulkItem.objects.bulk_update(items, names, batch_size=100)


def _told_by(job: Job | None) -> Outcome:
    if job is None:
        return _failed("job_removed", "Its job was removed before anybody saw how it ended.")
    if job.state == WorkState.SUCCEEDED:
        return _done("Channels, participants and recent messages were read.")
    detail = job.error_detail or f"Job {job.pk} is {job.state}."
    return _failed(job.error_code or job.state, detail, job.next_step)
