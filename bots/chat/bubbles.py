"""What the page shows of a message, or of a job that is to become one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from hashlib import blake2b
from typing import Any

from django.template.loader import get_template
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator

from bots.admin.platforms import find
from bots.chat import cards, emoji, markdown
from bots.chat.attachments import ShownFile, shown_files
from bots.chat.cards import ShownCard
from bots.chat.rooms import lately, summary
from bots.chat.timeline import Cursor, Scope, Window
from bots.chat.waiting import Wait
from bots.models import Bot, Direction, Job, JobKind, Message, WorkState
from spaces.models import Person
from spaces.platforms.contract import Ability

CLOSE = timedelta(minutes=5)  # messages of one sender within this time stand together
LONGEST_QUOTE = 80  # characters
TONES = {
    WorkState.QUEUED: "busy",
    WorkState.RUNNING: "busy",
    WorkState.FAILED: "bad",
    WorkState.UNCERTAIN: "warn",
}
VERBS = {
    JobKind.POST: "Message",
    JobKind.EDIT: "Edit",
    JobKind.DELETE: "Deletion",
    JobKind.REACT: "Reaction",
    JobKind.UNREACT: "Taking the reaction back",
    JobKind.PIN: "Pinning",
    JobKind.UNPIN: "Unpinning",
}
SAID = {
    WorkState.QUEUED: "queued",
    WorkState.RUNNING: "being sent",
    WorkState.FAILED: "failed",
    WorkState.UNCERTAIN: "uncertain: nobody knows whether it was sent",
    WorkState.CANCELLED: "cancelled",
    WorkState.EXPIRED: "expired before it was sent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    name: str
    drawn: str
    count: int
    who: str
    mine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What becomes of something that was asked for."""

    text: str
    tone: str
    detail: str
    next_step: str
    job_url: str
    wait: Wait | None = None
    retry_url: str = ""
    cancel_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubble:
    id: str  # of the element
    at: datetime
    who: str
    initials: str
    own: bool
    by_bot: bool
    text: SafeString
    card: ShownCard | None = None
    files: Sequence[ShownFile] = ()
    work: Sequence[Work] = ()
    follows: bool = False  # the one before is by the same sender, a moment ago
    # Of messages only.
    cursor: str = ""
    edited_at: datetime | None = None
    deleted: bool = False
    reactions: Sequence[Reaction] = ()
    url: str = ""
    react_url: str = ""
    unreact_url: str = ""
    thread_url: str = ""
    answers: int = 0
    answered: str = ""  # when last; empty where they are too many to count
    quote: str = ""  # of what it answers
    read_by: str = ""


class Shower:
    """Shows the messages of one conversation to one person."""

    def __init__(self, scope: Scope, *, may_write: bool):
        self._scope = scope
        self._bot = scope.bot
        self._own_id = scope.bot.person.remote_id if scope.bot.person else ""
        self._writes = may_write
        platform = find(scope.bot.space.platform)
        self._abilities = platform.abilities if platform else frozenset()

    def items(self, window: Window) -> list[SafeString]:
        """The window as the page shows it: elements with an id and a mark each, in order."""
        items: list[SafeString] = []
        day: date | None = None
        before: Bubble | None = None
        for bubble in self.bubbles(window):
            on = timezone.localtime(bubble.at).date()
            if on != day:
                items.append(_item("chat/day.html", f"day-{on.isoformat()}", {"day": on}))
                day, before = on, None
            shown = _after(before, bubble)
            context = {"bubble": shown, "in_thread": bool(self._scope.thread)}
            items.append(_item("chat/bubble.html", shown.id, context | {"writes": self._writes}))
            before = bubble
        return items

    def bubbles(self, window: Window) -> list[Bubble]:
        """In the order in which they happened; what is still to be sent comes last."""
        messages = [self._message(message, window) for message in window.messages]
        waiting = (WorkState.QUEUED, WorkState.RUNNING)
        posts = [(job, self._post(job, window)) for job in window.posts]
        ended = [bubble for job, bubble in posts if job.state not in waiting]
        queued = [bubble for job, bubble in posts if job.state in waiting]
        if not ended:
            return messages + queued
        return sorted(messages + ended, key=lambda bubble: bubble.at) + queued

    def one(self, message: Message) -> Bubble:
        """A message by itself."""
        return _bubble_of(message, self._bot, self._text(message.text), files=self._files(message))

    def _message(self, message: Message, window: Window) -> Bubble:
        changes = window.changes.get(message.remote_id, ())
        work = [self._work(job, window) for job in changes]
        if message.deleted_at:
            return _bubble_of(message, self._bot, SafeString(), deleted=True, work=work)
        answers = window.answers.get(message.remote_id)
        can_thread = Ability.THREADS in self._abilities or answers or message.thread
        readers = [window.people[p] for p in window.read.get(message.remote_id, ())]
        return _bubble_of(
            message,
            self._bot,
            self._text(message.text),
            card=cards.shown(message.card),
            files=self._files(message),
            reactions=self._reactions(message, window.people),
            work=work,
            url=self._url("message", message.pk),
            **self._react_urls(message),
            thread_url=self._url("thread", message.pk) if can_thread else "",
            answers=answers.count if answers else 0,
            answered=lately(answers.last_at) if answers and answers.last_at else "",
            quote=_quote(message, window),
            read_by=", ".join(map(str, readers)),
        )

    def _react_urls(self, message: Message) -> dict[str, str]:
        if not self._writes or Ability.REACT not in self._abilities:
            return {}
        return {f"{name}_url": self._url("act", message.pk, name) for name in ("react", "unreact")}

    def _post(self, job: Job, window: Window) -> Bubble:
        payload = job.payload
        count = len(payload.get("files", ()))
        named = [ShownFile.nameless(count)] if count else []
        return Bubble(
            id=f"job-{job.pk}",
            at=job.created_at,
            who=str(self._bot),
            initials=_initials(str(self._bot)),
            own=True,
            by_bot=True,
            text=self._text(payload.get("text", "")),
            card=cards.shown(payload.get("card")),
            files=named,
            work=[self._work(job, window)],
        )

    def _work(self, job: Job, window: Window) -> Work:
        return _work(job, self._bot, window.waits.get(job.pk), writes=self._writes)

    def _text(self, text: str) -> SafeString:
        if not text.strip():
            return SafeString()
        markdowned = Ability.MARKDOWN in self._abilities
        return markdown.rendered(text) if markdowned else markdown.plain(text)

    def _files(self, message: Message) -> list[ShownFile]:
        can_fetch = Ability.DOWNLOAD in self._abilities
        return shown_files(self._bot, message, can_fetch=can_fetch)

    def _reactions(self, message: Message, people: dict[str, Person]) -> list[Reaction]:
        given: dict[str, list[str]] = defaultdict(list)
        for one in message.reactions or ():
            given[one["name"]].append(one["person"])
        return [
            Reaction(
                name=name,
                drawn=emoji.drawn(name),
                count=len(ids),
                who=", ".join(str(people.get(one, "somebody")) for one in ids),
                mine=self._own_id in ids,
            )
            for name, ids in given.items()
        ]

    def _url(self, name: str, *args: object) -> str:
        return reverse(f"chat:{name}", args=[self._bot.slug, self._scope.room.pk, *args])


def _bubble_of(message: Message, bot: Bot, text: SafeString, **more: Any) -> Bubble:
    own = message.direction == Direction.OUT
    who = str(bot) if own else str(message.sender or "Somebody")
    return Bubble(
        id=f"message-{message.pk}",
        cursor=str(Cursor.of(message)),
        at=message.sent_at,
        who=who,
        initials=_initials(who),
        own=own,
        by_bot=own or bool(message.sender and message.sender.is_bot),
        text=text,
        edited_at=message.edited_at,
        **more,
    )


def _work(job: Job, bot: Bot, wait: Wait | None, *, writes: bool) -> Work:
    state = WorkState(job.state)
    args = [bot.slug, job.channel_id, job.pk]
    again = writes and state in (WorkState.FAILED, WorkState.CANCELLED, WorkState.EXPIRED)
    detail = f"{job.error_detail} ({job.error_code})" if job.error_code else ""
    return Work(
        text=f"{VERBS[JobKind(job.kind)]} {SAID[state]}",
        tone=TONES.get(state, "idle"),
        detail=detail,
        next_step=job.next_step,
        job_url=reverse("admin:bots_job_change", args=[job.pk]),
        wait=wait,
        retry_url=reverse("chat:steer", args=[*args, "retry"]) if again else "",
        cancel_url=reverse("chat:steer", args=[*args, "cancel"])
        if writes and state == WorkState.QUEUED
        else "",
    )


def _quote(message: Message, window: Window) -> str:
    if not message.thread or window.scope.thread:
        return ""
    top = window.tops.get(message.thread)
    if top is None:
        return "an older message"
    who = str(window.scope.bot) if top.direction == Direction.OUT else str(top.sender or "Somebody")
    said = summary(window.scope.bot, top)
    return Truncator(f"{who}: {said}").chars(LONGEST_QUOTE)


def _after(before: Bubble | None, bubble: Bubble) -> Bubble:
    if before is None or before.who != bubble.who or before.own != bubble.own:
        return bubble
    return replace(bubble, follows=bubble.at - before.at < CLOSE)


def _initials(who: str) -> str:
    return "".join(word[0] for word in who.split()[:2]).upper()


def _item(template: str, id: str, context: dict[str, Any]) -> SafeString:
    """An element that the page can compare with the one it shows."""
    html = get_template(template).render(context)
    mark = blake2b(html.encode(), digest_size=6).hexdigest()
    return mark_safe(html.replace(f'id="{id}"', f'id="{id}" data-mark="{mark}"', 1))
