"""Events: reading what happened in its one order, waiting for what comes next, and the stream."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from typing import Any

from django.contrib.auth import get_user
from django.http import HttpRequest, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from bots import access, sequence, silence, stream, targets
from bots.access import Act, Actor
from bots.api.authentication import BearerToken
from bots.api.messages import AnyType
from bots.api.query import Name
from bots.api.view import View
from bots.models import Bot
from bots.refusals import Missing
from bots.sequence import Page, Wanted
from spaces.api.fields import Choice, Moment
from spaces.models import Channel
from spaces.platforms.messages import Kind

LONGEST_WAIT = 30  # seconds
LOOK_SECONDS = 0.5  # spent on looking for something that is wanted, before saying how far that came
NOW = "now"
POSITION = rf"^({NOW}|[0-9]{{1,18}})$"


class EventsQuery(serializers.Serializer):
    """What somebody wants to hear of; each may be given several times."""

    bot = serializers.ListField(
        child=Name(), max_length=100, required=False, help_text="Slug. May be repeated."
    )
    channel = serializers.ListField(
        child=Name(),
        max_length=100,
        required=False,
        help_text="Our id; with `bot` also the platform's, or a name. May be repeated.",
    )
    kind = serializers.ListField(
        child=Choice(choices=[str(k) for k in Kind]),
        max_length=100,
        required=False,
        help_text="May be repeated.",
    )
    after = serializers.RegexField(
        POSITION,
        required=False,
        error_messages={"invalid": "It is a sequence number, or `now`."},
        help_text="A sequence number, or `now`: what comes after it. The list begins with the "
        "oldest unless this is given, the stream now.",
    )


class EventsListQuery(EventsQuery):
    wait = serializers.IntegerField(
        min_value=0,
        max_value=LONGEST_WAIT,
        required=False,
        help_text="Seconds. When there is nothing, answer as soon as there is, or after so long.",
    )
    page_size = serializers.IntegerField(
        min_value=1, max_value=500, required=False, help_text="50 unless given."
    )


class EventSerializer(serializers.Serializer):
    """Something that happened. `bots.sequence` tells it to everybody alike."""

    seq = serializers.IntegerField(help_text="Its place in the order in which events are read.")
    id = serializers.CharField()
    kind = serializers.ChoiceField(choices=[str(k) for k in Kind])
    bot = serializers.CharField(
        allow_null=True, help_text="Slug; null for what concerns the install as a whole."
    )
    channel = serializers.CharField(allow_null=True, help_text="Our id of the channel.")
    occurred_at = Moment()
    stored_at = Moment()
    catch_up = serializers.BooleanField(help_text="Whether it was fetched after the fact.")
    data = serializers.DictField()  # type: ignore[assignment]  # a field called as DRF's attribute


class EventPageSerializer(serializers.Serializer):
    """A page may be short, or empty, and yet not be the last: `next` says so."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True, help_text="Always null.")
    position = serializers.IntegerField(help_text="What to give as `after` the next time.")
    results = EventSerializer(many=True)


class EventsView(View):
    serializer_class = EventPageSerializer
    http_method_names = ["get"]

    def asked(self, query: type[serializers.Serializer]) -> dict[str, Any]:
        """As in other views, with all values of what may be repeated."""
        given = self.request.query_params
        data: dict[str, Any] = given.dict()
        for name, field in query().fields.items():
            if isinstance(field, serializers.ListField) and name in given:
                data[name] = given.getlist(name)
        serializer = query(data=data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data


class Events(EventsView):
    """What happened to your bots, oldest first, in the order that all readers get.

    Nothing is ever added before a `position` that was told.
    """

    http_method_names = ["get", "head"]

    @extend_schema(
        operation_id="events_list",
        summary="Events, oldest first",
        parameters=[EventsListQuery],
        responses=EventPageSerializer,
    )
    def get(self, request: Request) -> Response:
        asked = self.asked(EventsListQuery)
        wanted = _wanted(self.actor, asked)
        after = position(asked.get("after", "0"), "after")
        limit = asked.get("page_size", 50)
        page = _look(wanted, after, limit)
        if not page.entries and asked.get("wait") and page.seq == sequence.head():
            page = self._wait(wanted, page.seq, limit, asked)
        return Response(self._told(page))

    def _wait(self, wanted: Wanted, after: int, limit: int, asked: dict[str, Any]) -> Page:
        """What comes within the time that was asked for."""
        until = time.monotonic() + asked["wait"]
        with closing(stream.feed.follow(wanted, after)) as follower:
            while not follower.ended and (left := until - time.monotonic()) > 0:
                before = follower.position
                if follower.next(left):
                    after = before
                    break
                after = follower.position
        # Who waits is not known to have the rights of then.
        if (now := wanted_now(self.request, asked)) is None:
            raise NotAuthenticated("This token or this person may not read this any more.")
        return _look(now, after, limit)

    def _told(self, page: Page) -> dict[str, Any]:
        link = None
        if page.seq < sequence.head():
            url = self.request.build_absolute_uri()
            link = replace_query_param(url, "after", page.seq)
        return {
            "next": link,
            "previous": None,
            "position": page.seq,
            "results": [sequence.as_json(entry) for entry in page.entries],
        }


class EventStream(EventsView):
    """The same events as server-sent events, as they happen: `id` is the sequence number, `event`
    the kind, `data` the event.

    A reader that comes back with `Last-Event-ID`, which goes before `after`, misses nothing. When
    there is nothing to tell, that is told every 15 seconds.
    """

    content_negotiation_class = AnyType

    @extend_schema(
        operation_id="events_stream",
        summary="Events, as they happen",
        parameters=[
            EventsQuery,
            OpenApiParameter(
                "Last-Event-ID",
                {"type": "string", "pattern": "^[0-9]{1,18}$"},
                OpenApiParameter.HEADER,
                description="The `id` that was read last.",
            ),
        ],
        responses={(200, "text/event-stream"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        asked = self.asked(EventsQuery)
        wanted = _wanted(self.actor, asked)
        after = self._start(asked)
        silence.limit()
        follower = stream.feed.follow(wanted, after)
        return StreamingHttpResponse(
            stream.Stream(follower, lambda: wanted_now(request, asked)),
            content_type="text/event-stream",
            # Proxies would collect it, or keep it.
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    def _start(self, asked: dict[str, Any]) -> int:
        if last := self.request.headers.get("Last-Event-ID"):
            return position(last, "Last-Event-ID")
        return position(asked.get("after", NOW), "after")


def position(text: str, field: str) -> int:
    """The place in the sequence that `text` means. Raises `ValidationError`."""
    last = sequence.head()
    if text == NOW:
        return last
    if (number := targets.as_id(text)) is None:
        raise ValidationError({field: "It is a sequence number."})
    if number > last:
        # Somebody who waited there would miss all that happens until then.
        raise ValidationError({field: f"The sequence has only come to {last}."})
    return number


def wanted_now(request: Request, asked: dict[str, Any]) -> Wanted | None:
    """As `_wanted`, by the rights of now; None when there are none any more."""
    actor = _actor_now(request)
    if actor is None or not access.may(actor, Act.READ):
        return None
    try:
        return _wanted(actor, asked)
    except ValidationError:
        return None  # a bot or channel that is gone, or not theirs any more


def _actor_now(request: Request) -> Actor | None:
    if isinstance(request.auth, Actor):
        try:
            again = BearerToken().authenticate(request)
        except AuthenticationFailed:
            return None
        return again and again[1]
    # The session as it is stored now: perhaps they have logged out.
    asking = HttpRequest()
    asking.session = type(request.session)(request.session.session_key)
    return access.from_user(get_user(asking))


def _look(wanted: Wanted, after: int, limit: int) -> Page:
    """The next page that is not empty, or how far we came without finding any."""
    until = time.monotonic() + LOOK_SECONDS
    page = Page(entries=(), seq=after)
    for page in sequence.read(wanted, after=after, limit=limit):
        if page.entries or time.monotonic() > until:
            break
    return page


def _wanted(actor: Actor, asked: dict[str, Any]) -> Wanted:
    """Raises `ValidationError`."""
    named = _bots(actor, asked["bot"]) if "bot" in asked else None
    if named is not None:
        bots: Collection[int] | None = {bot.pk for bot in named}
    else:
        seen = access.bots(actor).values_list("pk", flat=True)
        bots = None if actor.sees_all else frozenset(seen)
    return Wanted(
        bots=bots,
        channels=_channels(named, asked["channel"]) if "channel" in asked else None,
        kinds=frozenset(asked["kind"]) if "kind" in asked else None,
    )


def _bots(actor: Actor, slugs: Sequence[str]) -> list[Bot]:
    found = {bot.slug: bot for bot in access.bots(actor).filter(slug__in=slugs)}
    for slug in slugs:
        if slug not in found:
            raise ValidationError({"bot": f"There is no bot {slug!r}, or not for you."})
    return list(found.values())


def _channels(bots: Iterable[Bot] | None, names: Sequence[str]) -> set[int]:
    if bots is None:
        return {_own_id(name) for name in names}
    by_bot = [targets.channels(bot, names) for bot in bots]
    return {pk for name in names for pk in _called([found[name] for found in by_bot])}


def _called(found: Sequence[Channel | Missing]) -> list[int]:
    """The channels that several bots know by one name; some may know none."""
    ids = [one.pk for one in found if not isinstance(one, Missing)]
    for one in found:
        if isinstance(one, Missing) and (one.code != "not_found" or not ids):
            raise ValidationError({"channel": one.detail})
    return ids


def _own_id(name: str) -> int:
    if (own_id := targets.as_id(name)) is None:
        raise ValidationError({"channel": "Without a bot this must be the id of a channel."})
    return own_id
