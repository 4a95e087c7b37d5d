"""A conversation with a bot: what people do is done on the local platform, reaches the bot as
events do, and all that follows from it is done before the next line of the test.

Nothing stands in for anything: events are stored, turns are queued, handlers run in their lanes,
and what they send are jobs that post it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.test import TestCase

from bots import clients, handlers, lanes, lifecycle
from bots.connections import poller
from bots.handling.deadlines import unwatched
from bots.models import Bot, Connection, HandlerRun, Job, Lane, Receive, State, WorkState
from bots.testing.people import Person
from bots.testing.said import Said
from spaces.models import LocalMessage, Space
from spaces.platforms import local
from spaces.platforms.contract import Account, effective_options
from spaces.platforms.messages import ChannelKind, NewChannel, PersonRef

OURS = ("botadmin", "bots", "spaces")  # packages whose handlers are not what an author tests
SECRET = "a password of the local platform"
ROUNDS = 100  # work that still makes work for itself then is a fault


class HandlerFailed(AssertionError):
    """A handler raised, or took too long; the text is its traceback."""


class JobFailed(AssertionError):
    """What a handler asked for was not done."""


class Chat:
    """A bot called `bot`, and where people talk to it: in channels, of which `lobby` is the usual
    one, and directly. People and channels come to be when they are named first."""

    def __init__(self) -> None:
        self._told: set[tuple[str, int, int]] = set()  # failures that a test was told of
        self._people: dict[str, Person] = {}
        self._rooms: dict[str, str] = {}  # the platform's ids by name
        space = Space(slug="chat", name="Chat", platform="local")
        space.full_clean()
        space.save()
        bot = Bot(slug="bot", name="Bot", space=space, receive=Receive.POLL)
        bot.handlers = [name for name, one in handlers.registered().items() if not _is_ours(one)]
        bot.full_clean()
        lifecycle.create(bot, requested_by="test")
        lifecycle.set_credentials(bot, {"secret": SECRET}, user=None)
        self._bot_id = bot.pk
        self.settle()

    @property
    def bot(self) -> Bot:
        whole = Bot.objects.select_related("space", "connection", "person")
        return whole.get(pk=self._bot_id)

    def switch_on(self, *wanted: str | Callable[..., object]) -> None:
        """Let the bot run these handlers, named or given as functions, and no others."""
        names = {one.function: name for name, one in handlers.registered().items()}
        self.configure(handlers=[one if isinstance(one, str) else names[one] for one in wanted])

    def configure(self, **changes: Any) -> None:
        """Change fields of the bot, such as its `options` or `permissions`."""
        bot = self.bot
        for field, value in changes.items():
            setattr(bot, field, value)
        bot.full_clean()
        bot.renew(**{field: getattr(bot, field) for field in changes})

    # Who and where ------------------------------------------------------------------------------

    def person(self, username: str, *, name: str = "", email: str = "") -> Person:
        """Somebody of the space."""
        space = self.bot.space.slug
        return self._join(local.person(space, username, name or username.title(), email), username)

    def robot(self, username: str) -> Person:
        """Another bot of the space, not one of botadmin."""
        account = Account(
            space=self.bot.space.slug,
            url="",
            bot=username,
            options=effective_options(local.Local, {}, {"username": username}),
            credentials={"secret": SECRET},
        )
        return self._join(local.Local(account), username)

    def _join(self, platform: local.Local, username: str) -> Person:
        if username not in self._people:
            self._people[username] = Person(self, platform, platform.connect().person)
        return self._people[username]

    def channel(self, name: str) -> str:
        """The platform's id of a public channel that the bot is in."""
        name = name.lstrip("#")
        if name not in self._rooms:
            new = NewChannel(key="", kind=ChannelKind.PUBLIC, name=name, title=name.title())
            with clients.borrow(self.bot) as platform:
                info, _ = platform.create_channel(new)
            self._rooms[name] = info.id
            self.settle()
        return self._rooms[name]

    def appoint(self, username: str, channel: str) -> None:
        """Make somebody a moderator of a channel."""
        with clients.borrow(self.bot) as platform:
            platform.add_participants(
                self.channel(channel), [PersonRef(username=username)], moderator=True
            )
        self.settle()

    # What the bot said --------------------------------------------------------------------------

    @property
    def said(self) -> list[Said]:
        """What the bot said so far, in order, as it stands now."""
        mine = LocalMessage.objects.filter(
            room__space=self.bot.space_id, author__username=self.bot.slug, deleted_at=None
        )
        return [Said(row.pk) for row in mine.order_by("pk")]

    @property
    def last(self) -> Said:
        """What the bot said last."""
        said = self.said
        assert said, "The bot has said nothing."
        return said[-1]

    # Time ---------------------------------------------------------------------------------------

    def passes(self, **span: float) -> None:
        """Let so much time pass, as in `passes(minutes=10)`, for what waits for a later moment. The
        clock that handlers look at stays as it is."""
        delta = timedelta(**span)
        for model in (Job, HandlerRun):
            waiting = model._default_manager.filter(bot=self._bot_id, not_before__isnull=False)
            waiting.update(not_before=F("not_before") - delta)
        due = Lane.objects.filter(bot=self._bot_id, due_at__isnull=False)
        due.update(due_at=F("due_at") - delta)
        self.settle()

    def settle(self) -> None:
        """Do all that is due. Raises `HandlerFailed` and `JobFailed`."""
        for _ in range(ROUNDS):
            poller.poll(self._bot_id)
            connection = Connection.objects.get(bot=self._bot_id)
            assert connection.state == State.LIVE, f"The bot is deaf: {connection.reason}"
            due = lanes.due_lanes().filter(bot=self._bot_id).order_by("pk")
            lane_ids = list(due.values_list("pk", flat=True))
            if not lane_ids:
                break
            for lane_id in lane_ids:
                with unwatched(), TestCase.captureOnCommitCallbacks(execute=True):
                    lanes.drain(lane_id)
            self._tell_failures()
        else:
            raise AssertionError("The bot does not come to rest: does it answer itself?")

    def _tell_failures(self) -> None:
        for run in HandlerRun.objects.filter(bot=self._bot_id).exclude(error_code=""):
            if self._is_news("run", run):
                raise HandlerFailed(f"{run}\n{run.traceback or run.error_detail}")
        failed = Job.objects.filter(bot=self._bot_id).exclude(error_code="")
        for job in failed.exclude(state=WorkState.EXPIRED):
            if self._is_news("job", job):
                raise JobFailed(
                    f"{job} of {job.requested_by}: {job.error_code}: {job.error_detail}"
                )

    def _is_news(self, kind: str, work: HandlerRun | Job) -> bool:
        failure = (kind, work.pk, work.attempts)
        if failure in self._told:
            return False
        self._told.add(failure)
        return True


def _is_ours(handler: handlers.Handler) -> bool:
    return handler.function.__module__.partition(".")[0] in OURS
