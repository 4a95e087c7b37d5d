"""What all our views have in common."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

from django.http import Http404
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request

from bots import access
from bots.access import Act
from bots.api.authentication import actor_of
from bots.api.parsers import StrictJSONParser
from bots.models import Bot
from bots.refusals import Missing


class Nothing(serializers.Serializer):
    """A request without a body."""


class View(GenericAPIView):
    """A view of `bots.api`."""

    # What a method needs where that is neither reading nor sending.
    needs: Mapping[str, Act] = {}
    http_method_names = ["get", "head", "post", "patch", "delete"]
    parser_classes = [StrictJSONParser]
    # Whether reading asks the platform, which may refuse or want to be asked less often.
    asks_platform = False
    ordering: tuple[str, ...] = ("pk",)
    # The browsable pages look for filters of it. Each view has its own way to what it shows.
    queryset = Bot.objects.none()
    # What is sent with each method; the browsable pages and the OpenAPI document read it.
    inputs: dict[str, type[serializers.Serializer]] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        cast(Any, request._request).actor = actor_of(request)  # for `bots.doors`
        # PostgreSQL takes no NUL characters, and nothing here has one in its name.
        if any("\x00" in value for value in kwargs.values()):
            raise Http404
        for name, values in request.query_params.lists():
            if any("\x00" in value for value in values):
                raise ValidationError({name: "It holds a NUL character."})

    @property
    def actor(self) -> access.Actor:
        actor = actor_of(self.request)
        assert actor is not None, "MayAct lets nobody in who is unknown"
        return actor

    @cached_property
    def bot(self) -> Bot:
        """The bot in the path. Raises `Missing` also when it is somebody else's."""
        slug = self.kwargs["slug"]
        bots = access.bots(self.actor).select_related("space", "connection")
        if (bot := bots.filter(slug=slug).first()) is None:
            raise Missing(f"There is no bot {slug!r}, or not for you.")
        return bot

    @cached_property
    def sender(self) -> Bot:
        """As `bot`, for sending: it may be what it was a moment ago, and must not be changed."""
        slug = self.kwargs["slug"]
        if (bot := access.sender(self.actor, slug)) is None:
            raise Missing(f"There is no bot {slug!r}, or not for you.")
        return bot

    def get_serializer_class(self) -> type[serializers.BaseSerializer]:
        if self.request.method in ("POST", "PATCH", "DELETE"):
            return self.inputs.get(self.request.method, Nothing)
        return super().get_serializer_class()

    def given(self) -> dict[str, Any]:
        """The request's body, validated. Raises `ValidationError`.

        A DELETE may say the same in its query: not every client can send a body with it.
        """
        data = self.request.data
        if self.request.method == "DELETE" and not data:
            data = self.from_query()
        serializer = self.get_serializer(data=data)
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data

    def from_query(self) -> dict[str, Any]:
        return self.request.query_params.dict()

    def asked(self, query: type[serializers.Serializer]) -> dict[str, Any]:
        """The query parameters, validated. Raises `ValidationError`."""
        serializer = query(data=self.request.query_params.dict())
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data
