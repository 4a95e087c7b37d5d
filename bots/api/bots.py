"""Bots: configuring, testing, switching on and off."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from django.db import IntegrityError
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from bots import access, audit, jobs, labels, lifecycle
from bots.access import Act
from bots.api import outside
from bots.api.acting import act, documented
from bots.api.query import Name
from bots.api.serializers import (
    BotChangeSerializer,
    BotSerializer,
    CheckedSerializer,
    NewBotSerializer,
    PresenceSerializer,
    for_reading,
)
from bots.api.view import Nothing, View
from bots.models import Bot, Job, JobKind
from bots.refusals import Conflict

# Read receipts are not among them: they are changed on the platform first.
EDITABLE = {"name", "receive", "enabled", "permissions", "handlers", "options"}


class BotsQuery(serializers.Serializer):
    label = Name(required=False, help_text="Only bots that have it.")  # type: ignore[assignment]


class BotView(View):
    serializer_class: type[serializers.BaseSerializer] = BotSerializer

    def told(self, bot: Bot, status: int = 200) -> Response:
        """The bot as it is now, read anew."""
        fresh = for_reading(Bot.objects.filter(pk=bot.pk)).get()
        return Response(BotSerializer(fresh).data, status=status)


class Bots(BotView):
    """The bots you may see."""

    ordering = ("slug",)
    needs = {"POST": Act.ADD_BOT}
    inputs = {"POST": NewBotSerializer}

    @extend_schema(
        operation_id="bots_list",
        summary="Bots",
        parameters=[BotsQuery],
        responses=BotSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        found = access.bots(self.actor)
        if label := self.asked(BotsQuery).get("label"):
            found = found.filter(labels__name=label.lower())
        page = self.paginate_queryset(for_reading(found))
        return self.get_paginated_response(BotSerializer(page, many=True).data)

    @extend_schema(
        operation_id="bots_create",
        summary="Add a bot",
        request=NewBotSerializer,
        responses={201: BotSerializer},
    )
    def post(self, request: Request) -> Response:
        context = {"spaces": access.spaces(self.actor)}
        serializer = NewBotSerializer(data=request.data, context=context)
        serializer.is_valid(raise_exception=True)
        given = serializer.validated_data
        bot: Bot = given["bot"]
        try:
            with audit.together():
                lifecycle.create(bot, requested_by=self.actor.label)
                access.give(self.actor, bot)
                if names := given.get("labels"):
                    labels.put_on(bot, names)
                if credentials := given.get("credentials"):
                    lifecycle.set_credentials(bot, credentials, user=self.actor.user)
        except IntegrityError as error:
            raise Conflict(f"There is a bot {bot.slug!r} now.", field="slug") from error
        return self.told(bot, 201)


class OneBot(BotView):
    """A bot: its settings, who the platform says it is, and how its connection is."""

    needs = {"PATCH": Act.CHANGE_BOT, "DELETE": Act.DELETE_BOT}
    inputs = {"PATCH": BotChangeSerializer}

    @extend_schema(operation_id="bots_retrieve", summary="One bot")
    def get(self, request: Request, slug: str) -> Response:
        return self.told(self.bot)

    @extend_schema(
        operation_id="bots_update",
        summary="Change a bot",
        description="A change of `read_receipts` is made on the platform, too, which may refuse.",
        request=BotChangeSerializer,
        responses=BotSerializer,
    )
    def patch(self, request: Request, slug: str) -> Response:
        bot = self.bot
        had_receipts = bot.read_receipts
        serializer = BotChangeSerializer(bot, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        credentials = serializer.validated_data.get("credentials", {})
        lifecycle.check_credentials(bot, credentials)
        if bot.read_receipts != had_receipts:
            # First, and outside of any transaction: when the platform refuses, nothing changes.
            with outside.place():
                lifecycle.set_read_receipts(bot, bot.read_receipts)
        fields = set(serializer.validated_data) & EDITABLE
        with audit.together():
            if fields or credentials:
                lifecycle.changed(
                    bot,
                    fields=fields,
                    requested_by=self.actor.label,
                    credentials=credentials,
                    user=self.actor.user,
                )
            if "labels" in serializer.validated_data:
                labels.put_on(bot, serializer.validated_data["labels"])
        return self.told(bot)

    @extend_schema(operation_id="bots_delete", summary="Remove a bot and all it saw and said")
    def delete(self, request: Request, slug: str) -> Response:
        lifecycle.delete(self.bot)
        return Response(status=204)


class Check(BotView):
    """Asks the platform now who the bot is and what is missing."""

    needs = {"POST": Act.OPERATE_BOT}

    @extend_schema(
        operation_id="bots_check",
        summary="Test a bot",
        description="200 also when the findings are bad.",
        request=None,
        responses={200: CheckedSerializer},
    )
    def post(self, request: Request, slug: str) -> Response:
        with outside.place():
            checked = lifecycle.check(self.bot)
        return Response(
            {
                "ok": checked.ok,
                "identity": asdict(checked.identity) if checked.identity else None,
                "findings": [asdict(finding) for finding in checked.findings],
            }
        )


class Start(BotView):
    """Receive, and send what waits."""

    needs = {"POST": Act.OPERATE_BOT}

    @extend_schema(
        operation_id="bots_start", summary="Start", request=None, responses={202: BotSerializer}
    )
    def post(self, request: Request, slug: str) -> Response:
        lifecycle.start(self.bot)
        return self.told(self.bot, 202)


class Stop(BotView):
    """Receive nothing; what is asked waits until the bot is started again."""

    needs = {"POST": Act.OPERATE_BOT}

    @extend_schema(
        operation_id="bots_stop", summary="Stop", request=None, responses={202: BotSerializer}
    )
    def post(self, request: Request, slug: str) -> Response:
        lifecycle.stop(self.bot)
        return self.told(self.bot, 202)


class Reconnect(BotView):
    """Drop the connection and connect now, also where it was refused or waits."""

    needs = {"POST": Act.OPERATE_BOT}

    @extend_schema(
        operation_id="bots_reconnect",
        summary="Reconnect",
        request=None,
        responses={202: BotSerializer},
    )
    def post(self, request: Request, slug: str) -> Response:
        lifecycle.reconnect(self.bot)
        return self.told(self.bot, 202)


class Sync(View):
    """Read channels, participants and recent messages from the platform."""

    needs = {"POST": Act.OPERATE_BOT}
    serializer_class = Nothing

    @documented("bots_sync", "Read channels and people anew")
    def post(self, request: Request, slug: str) -> Response:
        return act(
            request,
            self.actor,
            partial(lifecycle.sync, self.bot, requested_by=self.actor.label),
        )


class Presence(View):
    """What people see of the bot's being there."""

    inputs = {"POST": PresenceSerializer}
    serializer_class = PresenceSerializer

    @documented("bots_presence", "Show a presence", request=PresenceSerializer)
    def post(self, request: Request, slug: str) -> Response:
        bot = self.bot

        def work() -> Job:
            asked = jobs.Request(kind=JobKind.PRESENCE, payload=dict(self.given()))
            return jobs.submit(bot, asked, requested_by=self.actor.label)

        return act(request, self.actor, work)
