"""Channels of a bot and the people in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from bots import jobs, pinned, targets
from bots.api import outside
from bots.api.acting import act, documented
from bots.api.query import Name
from bots.api.serializers import MessageSerializer
from bots.api.view import View
from bots.models import Bot, Job, JobKind, Message
from bots.refusals import Missing
from spaces.api.serializers import (
    ChannelChangeSerializer,
    ChannelSerializer,
    NewChannelSerializer,
    NewParticipantsSerializer,
    ParticipantSerializer,
    PeopleSerializer,
)
from spaces.models import Channel

Payload = Callable[[Channel], dict[str, Any]]


class ReadSerializer(serializers.Serializer):
    message = Name(required=False, help_text="Ours or the platform's id; the newest by default.")


class JoinSerializer(serializers.Serializer):
    name = Name(help_text="Name or the platform's id.")


class RestoreSerializer(serializers.Serializer):
    channel = Name(help_text="Our id, the platform's id, or a name.")


class PinnedSerializer(serializers.Serializer):
    """All of them: this list never has a second page."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = MessageSerializer(many=True)


class ChannelView(View):
    serializer_class: type[serializers.BaseSerializer] = ChannelSerializer

    def act_on_bot(self, kind: JobKind, payload: Callable[[], dict[str, Any]]) -> Response:
        bot = self.bot

        def work() -> Job:
            asked = jobs.Request(kind=kind, payload=payload())
            return jobs.submit(bot, asked, requested_by=self.actor.label)

        return act(self.request, self.actor, work)

    def act_on(self, kind: JobKind, name: str, payload: Payload) -> Response:
        bot = self.bot

        def work() -> Job:
            channel = targets.channel(bot, name)
            asked = jobs.Request(kind=kind, channel=channel, payload=payload(channel))
            return jobs.submit(bot, asked, requested_by=self.actor.label)

        return act(self.request, self.actor, work)


class Channels(ChannelView):
    """The channels that the bot is in."""

    inputs = {"POST": NewChannelSerializer}

    @extend_schema(
        operation_id="channels_list", summary="Channels", responses=ChannelSerializer(many=True)
    )
    def get(self, request: Request, slug: str) -> Response:
        page = self.paginate_queryset(targets.channels_of(self.bot))
        return self.get_paginated_response(ChannelSerializer(page, many=True).data)

    @documented("channels_create", "Create a channel", request=NewChannelSerializer)
    def post(self, request: Request, slug: str) -> Response:
        return self.act_on_bot(JobKind.CREATE_CHANNEL, self._new)

    def _new(self) -> dict[str, Any]:
        given = dict(self.given())
        return given | {"people": _refs(self.bot, given.get("people", []))}


class Join(ChannelView):
    """Into a channel that the bot is not in yet."""

    inputs = {"POST": JoinSerializer}

    @documented("channels_join", "Join a channel", request=JoinSerializer)
    def post(self, request: Request, slug: str) -> Response:
        return self.act_on_bot(
            JobKind.JOIN_CHANNEL, lambda: {"name": self.given()["name"].lstrip("#~")}
        )


class Restore(ChannelView):
    """An archived channel, which the bot may not be listed in any more."""

    inputs = {"POST": RestoreSerializer}

    @documented("channels_restore", "Restore an archived channel", request=RestoreSerializer)
    def post(self, request: Request, slug: str) -> Response:
        bot = self.bot

        def work() -> Job:
            asked = jobs.to_restore(bot, self.given()["channel"])
            return jobs.submit(bot, asked, requested_by=self.actor.label)

        return act(request, self.actor, work)


class Pinned(ChannelView):
    """The messages that are pinned in a channel, newest first, as the platform says now."""

    serializer_class = PinnedSerializer
    asks_platform = True

    @extend_schema(
        operation_id="channels_pinned", summary="Pinned messages", responses=PinnedSerializer
    )
    def get(self, request: Request, slug: str, channel: str) -> Response:
        found = targets.channel(self.bot, channel)
        with outside.place():
            messages = pinned.read(self.bot, found)
        results = MessageSerializer(messages, many=True).data
        return Response({"next": None, "previous": None, "results": results})


class OneChannel(ChannelView):
    """A channel: by our id, the platform's id, or a name unique for the bot."""

    inputs = {"PATCH": ChannelChangeSerializer}

    @extend_schema(operation_id="channels_retrieve", summary="One channel")
    def get(self, request: Request, slug: str, channel: str) -> Response:
        return Response(ChannelSerializer(targets.channel(self.bot, channel)).data)

    @documented("channels_update", "Change or rename a channel", request=ChannelChangeSerializer)
    def patch(self, request: Request, slug: str, channel: str) -> Response:
        return self.act_on(JobKind.UPDATE_CHANNEL, channel, lambda _: dict(self.given()))

    @documented("channels_archive", "Archive a channel")
    def delete(self, request: Request, slug: str, channel: str) -> Response:
        return self.act_on(JobKind.ARCHIVE_CHANNEL, channel, lambda _: {})


class Participants(ChannelView):
    """The people in a channel. The job's `result.people` has an outcome for each."""

    serializer_class = ParticipantSerializer
    inputs = {"POST": NewParticipantsSerializer, "DELETE": PeopleSerializer}

    @extend_schema(
        operation_id="participants_list",
        summary="People in a channel",
        responses=ParticipantSerializer(many=True),
    )
    def get(self, request: Request, slug: str, channel: str) -> Response:
        found = targets.channel(self.bot, channel).participants.select_related("person")
        page = self.paginate_queryset(found)
        return self.get_paginated_response(ParticipantSerializer(page, many=True).data)

    @documented("participants_add", "Add people", request=NewParticipantsSerializer)
    def post(self, request: Request, slug: str, channel: str) -> Response:
        return self.act_on(JobKind.ADD_PARTICIPANTS, channel, self._people)

    @documented(
        "participants_remove",
        "Remove people",
        parameters=[
            OpenApiParameter(
                "people",
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
                required=True,
                description="May stand in a JSON body instead.",
            )
        ],
    )
    def delete(self, request: Request, slug: str, channel: str) -> Response:
        return self.act_on(JobKind.REMOVE_PARTICIPANTS, channel, self._people)

    def from_query(self) -> dict[str, Any]:
        return {"people": self.request.query_params.getlist("people")}

    def _people(self, channel: Channel) -> dict[str, Any]:
        given = dict(self.given())
        return given | {"people": _refs(self.bot, given["people"])}


class Read(ChannelView):
    """Sends the read receipt, if the bot's setting allows."""

    inputs = {"POST": ReadSerializer}

    @documented("channels_read", "Mark as read", request=ReadSerializer)
    def post(self, request: Request, slug: str, channel: str) -> Response:
        return self.act_on(JobKind.MARK_READ, channel, self._message)

    def _message(self, channel: Channel) -> dict[str, Any]:
        name = self.given().get("message")
        if name is None:
            found: Message | None = self.bot.messages.filter(channel=channel).first()
        else:
            found = targets.message(self.bot, name)
        if found is None or found.channel_id != channel.pk:
            raise Missing("There is no such message in this channel.", field="message")
        return {"message": found.remote_id}


class Typing(ChannelView):
    """Shows people that the bot is about to say something."""

    @documented("channels_typing", "Show typing")
    def post(self, request: Request, slug: str, channel: str) -> Response:
        return self.act_on(JobKind.TYPING, channel, lambda _: {})


class Leave(ChannelView):
    """Out of a channel."""

    @documented("channels_leave", "Leave a channel")
    def post(self, request: Request, slug: str, channel: str) -> Response:
        return self.act_on(JobKind.LEAVE_CHANNEL, channel, lambda _: {})


def _refs(bot: Bot, people: list[str]) -> list[dict[str, str]]:
    refs = targets.people(bot, people)
    return [asdict(refs[name]) for name in people]
