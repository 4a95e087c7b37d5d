"""What tests are made of: spaces, bots, channels and tokens with defaults, on the local platform.

The cast: Alice runs the bot, Bob watches, Charlie has no business here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

from celery import Task, current_app
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.utils import timezone
from rest_framework.test import APIClient

from bots import (
    clients,
    jobs,
    lanes,
    lifecycle,
    postoffice,
    sequence,
    subscriptions,
    syncing,
)
from bots.models import (
    ApiToken,
    Bot,
    Delivery,
    Event,
    HandlerRun,
    Job,
    JobKind,
    Lane,
    Scope,
    Subscription,
)
from spaces import sync
from spaces.models import Channel, Space
from spaces.platforms import local
from spaces.platforms.messages import ChannelKind, Kind, NewChannel, PersonRef

SECRET = "a password of the local platform"
EVERYTHING = tuple(Scope)
ROUNDS = 100  # of draining; work that still makes work for itself then is a fault


def make_space(slug: str = "acme", **changes: Any) -> Space:
    """The space with this slug, made when it is missing."""
    if (space := Space.objects.filter(slug=slug).first()) is None:
        space = Space(**{"slug": slug, "name": slug.title(), "platform": "local"} | changes)
        space.full_clean()
        space.save()
    return space


def make_bot(slug: str = "echo", *, space: Space | None = None, **changes: Any) -> Bot:
    """A bot with an account of its own that is logged in, has no job yet and is in no channel."""
    # Rolled back transactions give ids out again: no client of an earlier test may be found.
    clients.close_idle(older_than=0)
    bot = Bot(**{"slug": slug, "name": slug.title(), "space": space or make_space()} | changes)
    bot.full_clean()
    lifecycle.create(bot, requested_by="test")
    lifecycle.set_credentials(bot, {"secret": SECRET}, user=None)
    with clients.borrow(bot):
        pass
    Lane.objects.filter(bot=bot).delete()  # and with it the job that looks around
    bot.events.all().delete()
    return Bot.objects.select_related("space", "connection").get(pk=bot.pk)


def make_person(username: str, *, space: Space | None = None) -> local.Local:
    """Somebody at a keyboard of the local platform, who talks through the returned object."""
    return local.person((space or make_space()).slug, username, username.title())


def make_channel(
    bot: Bot,
    name: str = "lobby",
    *,
    kind: ChannelKind = ChannelKind.PUBLIC,
    people: Iterable[str] = (),
    **changes: Any,
) -> Channel:
    """A channel that the bot created and moderates, with these people in it."""
    people = list(people)
    for username in people:
        make_person(username, space=bot.space)
    new = NewChannel(
        key="", kind=kind, name=name, people=tuple(PersonRef(username=n) for n in people), **changes
    )
    with clients.borrow(bot) as platform:
        info, _ = platform.create_channel(new)
        channel_id = syncing.sync_channels(bot, platform)[info.id]
        sync.participants(channel_id, bot.space_id, platform.list_participants(info.id))
    return Channel.objects.get(pk=channel_id)


def join(bot: Bot, channel: Channel) -> None:
    """Let another bot of the space into a public channel."""
    with clients.borrow(bot) as platform:
        platform.join_channel(channel.remote_id)
        syncing.sync_channels(bot, platform)


def make_job(bot: Bot, channel: Channel | None, text: str = "hello", **changes: Any) -> Job:
    """A job that posts a text, unless `changes` to its request say otherwise."""
    request = {"kind": JobKind.POST, "channel": channel, "payload": {"text": text}} | changes
    return jobs.submit(bot, jobs.Request(**request), requested_by="test")


def make_token(
    *, scopes: Iterable[str] = EVERYTHING, bots: Iterable[Bot] | None = None, **changes: Any
) -> str:
    """The text of a new token; for all bots unless some are named."""
    token = ApiToken(**{"name": "ci", "scopes": list(scopes), "all_bots": bots is None} | changes)
    text = token.set_text()
    token.save()
    token.bots.set(bots or ())
    return text


def make_client(
    *, scopes: Iterable[str] = EVERYTHING, bots: Iterable[Bot] | None = None
) -> APIClient:
    """A REST client that holds such a token and shows server errors as a client sees them."""
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_token(scopes=scopes, bots=bots)}")
    return client


def make_user(username: str, **changes: Any) -> User:
    return User.objects.create_user(username, password="password", is_staff=True, **changes)


def make_event(bot: Bot | None, channel: Channel | None = None, **changes: Any) -> Event:
    """An event as the inbox stores it, not numbered yet."""
    values = {
        "bot": bot,
        "channel": channel,
        "kind": Kind.MESSAGE_POSTED,
        "dedupe_key": uuid4().hex,
        "occurred_at": timezone.now(),
        "data": {"message": {"text": "hello"}},
    }
    event = Event(**values | changes)
    sequence.store([event])
    return event


def make_subscription(
    url: str = "https://receiver.example/hook",
    *,
    kinds: Iterable[str] = (),
    bots: Iterable[Bot] | None = None,
    channels: Iterable[Channel] | None = None,
    **changes: Any,
) -> tuple[Subscription, str]:
    """A subscription that begins now, and its secret; for everything unless some is named."""
    subscription = Subscription(
        url=url, kinds=list(kinds), all_bots=bots is None, all_channels=channels is None, **changes
    )
    secret = subscriptions.new_secret(subscription)
    subscriptions.begin(subscription)
    subscription.save()
    subscription.bots.set(bots or ())
    subscription.channels.set(channels or ())
    return subscription, secret


def deliver() -> None:
    """Number all events, hand them on, and do all that is due."""
    postoffice.sort()
    run_lanes()


def run_lanes() -> None:
    """Do all that is due, as workers would, until nothing is left."""
    for _ in range(ROUNDS):
        due = list(lanes.due_lanes().order_by("pk").values_list("pk", flat=True))
        if not due:
            return
        for lane_id in due:
            lanes.drain(lane_id)
    raise AssertionError("the lanes do not become empty")


def let_time_pass() -> None:
    """Make due what waits for a later time, as if that had come."""
    past = timezone.now() - timedelta(seconds=1)
    for model in (Job, HandlerRun, Delivery):
        model.objects.filter(not_before__gt=past).update(not_before=past)
    Bot.objects.filter(limited_until__gt=past).update(limited_until=past)
    for name in ("rest_until", "asked_until"):
        Subscription.objects.filter(**{f"{name}__gt": past}).update(**{name: past})
    Lane.objects.filter(due_at__gt=past).update(due_at=past)


@contextmanager
def database_cut_off_at(statement: str) -> Iterator[None]:
    """The next statement that has these words fails, as one on a connection that was cut off."""
    failures = [OperationalError("terminating connection due to administrator command")]

    def cut(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if statement in sql and failures:
            raise failures.pop()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(cut):
        yield
    assert not failures, f"nobody said {statement}"


def take_queued(task: Task) -> list[list[Any]]:
    """The arguments of such tasks that wait in the broker, which forgets all its tasks."""
    found = []
    with current_app.connection_for_read() as broker:
        queue = broker.SimpleQueue(current_app.conf.task_default_queue)
        with suppress(queue.Empty):
            while message := queue.get(block=False):
                message.ack()
                if message.headers["task"] == task.name:
                    found.append(message.payload[0])
        queue.close()
    return found
