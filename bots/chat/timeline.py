"""The messages of a room or a thread, a window of them at a time, with what is still to be done.

A window is read through the index of the newest messages and counts no further than `MOST_ANSWERS`,
so it costs the same in a room of ten messages and of a million. That of a thread is sorted: threads
are what people read from the top.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from django.db.models import (
    DateTimeField,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
)
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.utils import timezone

from bots.chat.waiting import Wait, waits
from bots.models import Bot, Event, Job, JobKind, Message, WorkState
from bots.models.job import ABOUT_MESSAGES
from bots.targets import as_id
from spaces.models import Channel, Person
from spaces.platforms.messages import Kind

PAGE = 50
FOLLOWED = 200  # newest messages in which a change shows by itself
MOST_ANSWERS = 100  # of one message that are counted
OPEN_JOBS = 50  # newest jobs of a window that are not done
FAILED_SHOWN = timedelta(hours=1)  # after that, changes that failed are among the jobs only
RECEIPTS = 500  # newest receipts of a bot among which those of a room are looked for
FAILURES = (WorkState.FAILED, WorkState.EXPIRED)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place in a conversation: that of one message."""

    at: datetime
    pk: int

    @classmethod
    def of(cls, message: Message) -> Cursor:
        return cls(at=message.sent_at, pk=message.pk)

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """None for what no cursor of ours looks like."""
        micros, _, number = text.partition("-")
        if (passed := as_id(micros)) is None or (pk := as_id(number)) is None:
            return None
        try:
            return cls(at=EPOCH + timedelta(microseconds=passed), pk=pk)
        except OverflowError:
            return None

    def __str__(self) -> str:
        return f"{(self.at - EPOCH) // timedelta(microseconds=1)}-{self.pk}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a conversation is: all of a room, or the thread below one of its messages."""

    bot: Bot
    room: Channel
    thread: str = ""  # the platform's id of the message at its top

    def messages(self) -> QuerySet[Message]:
        rows = Message.objects.filter(bot=self.bot).select_related("sender")
        if not self.thread:
            return rows.filter(channel=self.room).order_by("-sent_at", "-pk")
        answers = rows.filter(thread=self.thread).exclude(thread="")  # as the index has it
        return answers.order_by("-sent_at", "-pk")

    def top(self) -> Message | None:
        """The message that the thread is about, if we know it."""
        rows = Message.objects.filter(bot=self.bot, channel=self.room, remote_id=self.thread)
        return rows.select_related("sender").first() if self.thread else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    count: int  # one more than `MOST_ANSWERS` for those that have more
    last_at: datetime | None  # None for these


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A piece of a conversation, oldest message first, and all that is shown with it."""

    scope: Scope
    messages: Sequence[Message]
    posts: Sequence[Job]  # that have not become messages
    changes: dict[str, list[Job]]  # that are not done, by the message they are about
    waits: dict[int, Wait]  # by job: why it is not done yet
    earlier: Cursor | None  # where the piece before this one ends
    answers: dict[str, Answers]  # by the message they answer
    tops: dict[str, Message]  # what the answers in here are about
    read: dict[str, list[str]]  # by message: the people's ids who read up to it
    people: dict[str, Person]  # who reacted or read, by the platform's id

    def everybody(self) -> Iterable[Person | None]:
        """Whoever is named in it; None for senders whom nobody knows."""
        yield from (message.sender for message in (*self.messages, *self.tops.values()))
        yield from self.people.values()

    @property
    def mark(self) -> str:
        """Changes with anything that shows."""
        shown = [
            [_mark_of(message) for message in self.messages],
            [(j.pk, j.state, j.attempts, j.error_code) for j in self._jobs()],
            sorted((pk, one.reason, one.next_step) for pk, one in self.waits.items()),
            sorted((top, one.count) for top, one in self.answers.items()),
            sorted((top, one.pk, one.edited_at, one.deleted_at) for top, one in self.tops.items()),
            sorted(self.read.items()),
            sorted(self.scope.bot.permissions),
            str(self.earlier),
        ]
        return blake2b(repr(shown).encode(), digest_size=8).hexdigest()

    def _jobs(self) -> Iterable[Job]:
        yield from self.posts
        for jobs in self.changes.values():
            yield from jobs


def newest(scope: Scope) -> Window:
    return _window(scope, list(scope.messages()[: PAGE + 1]), PAGE)


def earlier(scope: Scope, before: Cursor) -> Window:
    older = list(_older(scope, before)[: PAGE + 1])
    return _window(scope, older, PAGE, until=before.at)


def since(scope: Scope, first: Cursor) -> Window:
    """From this message on, or the newest `FOLLOWED` when there are more."""
    newer = scope.messages().filter(
        Q(sent_at__gt=first.at) | Q(sent_at=first.at, pk__gte=first.pk), sent_at__gte=first.at
    )
    found = list(newer[: FOLLOWED + 1])
    if len(found) > FOLLOWED:
        return _window(scope, found, FOLLOWED)
    return _window(scope, [*found, *_older(scope, first)[:1]], len(found))


def _older(scope: Scope, before: Cursor) -> QuerySet[Message]:
    return scope.messages().filter(
        Q(sent_at__lt=before.at) | Q(sent_at=before.at, pk__lt=before.pk),
        sent_at__lte=before.at,  # with which the index can begin
    )


def _window(
    scope: Scope, found: list[Message], size: int, *, until: datetime | None = None
) -> Window:
    """`found`, newest first, with one more where there are earlier ones; `until` where the piece
    ends that is shown already."""
    messages = found[:size][::-1]
    more = len(found) > size
    first = Cursor.of(messages[0]) if messages and more else None
    jobs = _open_jobs(scope, messages[0].sent_at if more and messages else None, until)
    read = _read(scope) if until is None else {}
    if not more and (top := scope.top()) is not None:
        messages.insert(0, top)
    return Window(
        scope=scope,
        messages=messages,
        posts=[job for job in jobs if job.kind == JobKind.POST],
        changes=_by_message(jobs),
        waits=waits(jobs),
        earlier=first,
        answers=_answers(scope, messages),
        tops=_tops(scope, messages),
        read=read,
        people=_people(scope, messages, read),
    )


def _open_jobs(scope: Scope, since: datetime | None, until: datetime | None) -> list[Job]:
    """Jobs about messages that are not done, oldest first."""
    rows = Job.objects.filter(bot=scope.bot, channel=scope.room, kind__in=ABOUT_MESSAGES)
    rows = rows.exclude(state=WorkState.SUCCEEDED)
    if until is not None:
        rows = rows.filter(created_at__lt=until)
    jobs = list(rows.order_by("-pk")[:OPEN_JOBS])[::-1]
    if since is not None:  # not asked of the database: it would look at all to find none
        jobs = [job for job in jobs if job.created_at >= since]
    jobs = _without_old_failures(scope, jobs)
    if not scope.thread:
        return jobs
    return [j for j in jobs if j.kind != JobKind.POST or j.payload.get("thread") == scope.thread]


def _without_old_failures(scope: Scope, jobs: list[Job]) -> list[Job]:
    """Changes that failed are told for a while, and until one like it was done to the message."""
    failed = [j for j in jobs if j.kind != JobKind.POST and j.state in FAILURES]
    since = timezone.now() - FAILED_SHOWN
    recent = [j for j in failed if j.finished_at is None or j.finished_at >= since]
    done = _newest_done(scope, recent) if recent else {}
    shown = {j.pk for j in recent if j.pk > done.get((j.kind, j.payload.get("message")), 0)}
    hidden = {j.pk for j in failed} - shown
    return [j for j in jobs if j.pk not in hidden]


def _newest_done(scope: Scope, failed: Sequence[Job]) -> dict[tuple[str, str | None], int]:
    """By kind and message: the newest job like these that was done since the first of them."""
    # SQLite would take ids that are digits for numbers, were they not said to be text.
    about = Cast(KT("payload__message"), TextField())
    rows = Job.objects.annotate(message=about).filter(
        bot=scope.bot,
        state=WorkState.SUCCEEDED,
        kind__in={job.kind for job in failed},
        message__in=[job.payload.get("message", "") for job in failed],
        pk__gt=failed[0].pk,
    )
    found = rows.order_by("pk").values_list("kind", "message", "pk")
    return {(kind, message): pk for kind, message, pk in found}


def _by_message(jobs: Iterable[Job]) -> dict[str, list[Job]]:
    about: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        if job.kind != JobKind.POST and job.state != WorkState.CANCELLED:
            about[job.payload.get("message", "")].append(job)
    return dict(about)


def _answers(scope: Scope, messages: Sequence[Message]) -> dict[str, Answers]:
    answers = Message.objects.filter(bot=scope.bot, thread=OuterRef("remote_id"), deleted_at=None)
    some = answers.exclude(thread="").order_by()[: MOST_ANSWERS + 1]
    tops = Message.objects.filter(pk__in=[one.pk for one in messages if not one.thread])
    counted = tops.annotate(
        count=_CountOf(some.values("pk")), last_at=_LastOf(some.values("sent_at"))
    )
    return {
        remote_id: Answers(count=count, last_at=last_at if count <= MOST_ANSWERS else None)
        for remote_id, count, last_at in counted.values_list("remote_id", "count", "last_at")
        if count
    }


class _CountOf(Subquery):
    """How many rows a query has, up to its limit."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) AS counted)"
    output_field = IntegerField()


class _LastOf(Subquery):
    """The newest moment among the rows of a query, up to its limit."""

    template = "(SELECT MAX(sent_at) FROM (%(subquery)s) AS counted)"
    output_field = DateTimeField()


def _tops(scope: Scope, messages: Sequence[Message]) -> dict[str, Message]:
    wanted = {message.thread for message in messages if message.thread}
    rows = Message.objects.filter(bot=scope.bot, remote_id__in=wanted).select_related("sender")
    return {row.remote_id: row for row in rows}


def _read(scope: Scope) -> dict[str, list[str]]:
    """Who read up to which message, as far as we were told lately."""
    told = Event.objects.filter(bot=scope.bot, kind=Kind.MESSAGE_READ).order_by("-pk")
    here = Event.objects.filter(pk__in=Subquery(told.values("pk")[:RECEIPTS]), channel=scope.room)
    read: dict[str, str] = {}
    for data in here.order_by("-pk").values_list("data", flat=True):
        person, message = data.get("person", {}).get("id"), data.get("message", {})
        if person and not data.get("own"):
            read.setdefault(person, message.get("remote_id", ""))
    readers: dict[str, list[str]] = defaultdict(list)
    for person, message_id in sorted(read.items()):
        readers[message_id].append(person)
    return dict(readers)


def _people(
    scope: Scope, messages: Sequence[Message], read: dict[str, list[str]]
) -> dict[str, Person]:
    wanted = {given["person"] for message in messages for given in message.reactions or ()}
    wanted |= {person for people in read.values() for person in people}
    rows = Person.objects.filter(space=scope.bot.space_id, remote_id__in=wanted)
    return {row.remote_id: row for row in rows}


def _mark_of(message: Message) -> tuple[object, ...]:
    return (
        message.pk,
        message.edited_at,
        message.deleted_at,
        message.reactions,
        message.thread,
        message.card is None,
        [(file["id"], file["name"]) for file in message.files],
        message.job_id,
    )
