"""What a handler gets: one event, and ways to answer it.

A handler may run again, when it failed or its worker died. What it asks for with its call is done
once all the same: the first reply of a turn is the first reply of that turn, however often it runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db.models.functions import Now
from django.utils import timezone

from bots import clients, files, idempotency, jobs, targets
from bots.actions import OF_JOB
from bots.handling import attachments
from bots.handling.attachments import Attachment
from bots.handling.deadlines import Turn
from bots.models import HandlerRun, Job, JobKind
from bots.refusals import Missing
from spaces.models import Channel
from spaces.platforms.messages import Card, ChannelKind, FileInfo

Moment = datetime | timedelta  # a time, or how long from now
Submit = Callable[[jobs.Request, Sequence[Attachment]], Job]


class Call:
    """One handler's turn at one event, and how it answers.

    All that asks for something raises `TimedOut` once the handler's time is over, `NotPermitted`
    and `NotSupported` where the bot may not or its platform cannot.
    """

    def __init__(self, run: HandlerRun, turn: Turn):
        self.event = run.event
        self.bot = run.bot
        self._run = run
        self._turn = turn
        self._asked: Counter[str] = Counter()  # by kind of job

    # What happened ------------------------------------------------------------------------------

    @property
    def event_id(self) -> str:
        """The same each time that this event is handled: what your own effects may be known by."""
        return str(self.event.pk)

    @property
    def has_failed(self) -> bool:
        """Whether this was tried before, and failed."""
        return bool(self._run.error_code)

    @property
    def text(self) -> str:
        """The text of the message or what follows the command, empty for events without one."""
        return str(self._message.get("text") or self.event.data.get("text", ""))

    @property
    def command(self) -> str:
        """The slash command with its slash, empty for other events."""
        return str(self.event.data.get("command", ""))

    @property
    def person(self) -> dict[str, Any]:
        """Who did it: id, username, name, email, is_bot; empty when nobody is named."""
        return dict(self.event.data.get("person") or {})

    @property
    def channel(self) -> Channel | None:
        return self.event.channel

    @property
    def is_direct(self) -> bool:
        """Whether it happened between one person and the bot."""
        return self.channel is not None and self.channel.kind == ChannelKind.DIRECT

    @property
    def files(self) -> list[FileInfo]:
        """The files of the message."""
        return [FileInfo(**file) for file in self._message.get("files") or ()]

    def read(self, file: FileInfo) -> bytes:
        """What is in a file of the message. Raises what the platform raises."""
        self._turn.check()
        with clients.borrow(self.bot) as platform, files.incoming(platform, file.id) as content:
            return content.read()

    # Answers ------------------------------------------------------------------------------------

    def answer(self, text: str = "", *, card: Card | None = None) -> Reply:
        """Answer at once, in the response to the platform's call, where it waits for one; else, and
        when it is too late for that, as `reply`."""
        return self._post(self._here(), text, card, submit=self._offer)

    def answer_privately(self, text: str = "", *, card: Card | None = None) -> Reply:
        """As `answer`, but so that only who asked can see it; else as `reply_privately`."""
        return self._post(self._to_person(), text, card, submit=self._offer)

    def reply(
        self,
        text: str = "",
        *,
        card: Card | None = None,
        files: Sequence[Attachment] = (),
        at: Moment | None = None,
    ) -> Reply:
        """Answer where the event happened, in the thread if it is in one; later, if `at` says so.

        Raises `ValueError` when it happened in no channel.
        """
        return self._post(self._here(), text, card, files, at)

    def reply_in_thread(
        self,
        text: str = "",
        *,
        card: Card | None = None,
        files: Sequence[Attachment] = (),
        at: Moment | None = None,
    ) -> Reply:
        """Answer in the thread of the message, which begins with it unless it is in one."""
        to = self._here()
        if not self._message:
            raise ValueError(f"{self.event.kind} tells of no message")
        to.payload["thread"] = self._thread or self._message["remote_id"]
        return self._post(to, text, card, files, at)

    def reply_privately(
        self,
        text: str = "",
        *,
        card: Card | None = None,
        files: Sequence[Attachment] = (),
        at: Moment | None = None,
    ) -> Reply:
        """Answer directly to who did it."""
        return self._post(self._to_person(), text, card, files, at)

    def send(
        self,
        text: str = "",
        *,
        channel: str = "",
        person: str = "",
        card: Card | None = None,
        files: Sequence[Attachment] = (),
        at: Moment | None = None,
    ) -> Reply:
        """Send to another channel, or to a person, named as in the REST API.

        Raises `ValueError` unless exactly one of them is given, `Missing` for an unknown channel.
        """
        if bool(channel) == bool(person):
            raise ValueError("send needs either a channel or a person")
        if channel:
            to = jobs.Request(kind=JobKind.POST, channel=targets.channel(self.bot, channel))
        else:
            to = jobs.Request(kind=JobKind.POST, person=targets.person(self.bot, person))
        return self._post(to, text, card, files, at)

    def react(self, name: str) -> None:
        """React to the message, with the platform's name of an emoji."""
        if self.channel is None or not self._message:
            raise ValueError(f"{self.event.kind} tells of no message")
        payload = {"message": self._message["remote_id"], "name": name}
        self._once(jobs.Request(kind=JobKind.REACT, channel=self.channel, payload=payload))

    def typing(self) -> None:
        """Show that an answer is being written. It counts only for now."""
        to = replace(self._here(), kind=JobKind.TYPING, payload={})
        self._once(replace(to, expires_at=timezone.now() + timedelta(seconds=10)))

    # How it is done -----------------------------------------------------------------------------

    @property
    def _message(self) -> dict[str, Any]:
        return dict(self.event.data.get("message") or {})

    @property
    def _thread(self) -> str:
        return str(self._message.get("thread") or self.event.data.get("thread", ""))

    def _here(self) -> jobs.Request:
        if self.channel is None:
            raise ValueError(f"{self.event.kind} happened in no channel")
        payload = {"thread": self._thread} if self._thread else {}
        return jobs.Request(kind=JobKind.POST, channel=self.channel, payload=payload)

    def _to_person(self) -> jobs.Request:
        if not self.person:
            raise ValueError(f"{self.event.kind} names nobody")
        person = targets.person(self.bot, str(self.person["id"]))
        return jobs.Request(kind=JobKind.POST, person=person)

    def _post(
        self,
        to: jobs.Request,
        text: str,
        card: Card | None,
        files: Sequence[Attachment] = (),
        at: Moment | None = None,
        submit: Submit | None = None,
    ) -> Reply:
        if text:
            to.payload["text"] = text
        if card:
            to.payload["card"] = asdict(card)
        request = replace(to, not_before=_moment(at))
        return Reply(self._once(request, files, submit), request, self._once)

    def _once(
        self,
        request: jobs.Request,
        files: Sequence[Attachment] = (),
        submit: Submit | None = None,
    ) -> Job:
        """The job that was asked for at this place, by this try or an earlier one."""
        self._turn.check()
        self._asked[request.kind] += 1
        number = str(self._asked[request.kind])
        # Counted, not compared: a handler may well say the same twice, or something else when it
        # is run again. What the first run sent stands.
        once = idempotency.Once(
            scope=idempotency.scope_of_run(self._run),
            key=number if request.kind == JobKind.POST else f"{request.kind} {number}",
            fingerprint="",
        )
        make = partial(submit or self._submit, request, files)
        job_id, _ = idempotency.perform(once, lambda: make().pk)
        job = Job.objects.filter(pk=job_id).first()
        if job is None:
            raise Missing(f"Job {job_id}, which an earlier try sent, is not kept any more.")
        return job

    def _submit(self, request: jobs.Request, files: Sequence[Attachment] = ()) -> Job:
        by = f"handler {self._run.handler}"
        request = replace(request, handler_run_id=self._run.pk)
        return attachments.submit(self.bot, request, files, requested_by=by)

    def _offer(self, request: jobs.Request, files: Sequence[Attachment] = ()) -> Job:
        """Submit a job that leaves a waiting request the time to take it, if there is one; each
        turn has one answer. Runs in the transaction that stores the job."""
        waiting = HandlerRun.objects.filter(pk=self._run.pk, answer=None, answer_until__gt=Now())
        until = waiting.select_for_update().values_list("answer_until", flat=True).first()
        if until is None:
            return self._submit(request, files)
        job = self._submit(replace(request, not_before=until), files)
        HandlerRun.objects.filter(pk=self._run.pk).update(answer=job)
        return job


class Reply:
    """What a handler said. It is on its way: to change it is done after it was sent."""

    def __init__(self, job: Job, request: jobs.Request, once: Callable[[jobs.Request], Job]):
        self.job = job
        self._request = request
        self._once = once

    def edit(self, text: str) -> None:
        """Change its text."""
        self._ask(JobKind.EDIT, text=text)

    def delete(self) -> None:
        """Take it back."""
        self._ask(JobKind.DELETE)

    def _ask(self, kind: JobKind, **payload: str) -> None:
        self._once(
            replace(
                self._request,
                kind=kind,
                payload={OF_JOB: self.job.pk, **payload},
                not_before=self.job.not_before,  # in the same lane, and no sooner
            )
        )


def _moment(at: Moment | None) -> datetime | None:
    """Raises `ValueError` for a time of no zone."""
    if isinstance(at, timedelta):
        return timezone.now() + at
    if at is not None and timezone.is_naive(at):
        raise ValueError("a time to send at needs a time zone")
    return at
