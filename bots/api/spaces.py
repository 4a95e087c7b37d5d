"""Spaces for those who may see them; platforms for everybody."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from bots import access, audit, lifecycle
from bots.access import Act
from bots.api.view import View
from bots.refusals import Conflict, Missing
from spaces.api import platforms
from spaces.api.serializers import SpaceSerializer
from spaces.models import Space


class Platforms(View, platforms.Platforms):
    pagination_class = None


class SpaceView(View):
    # The settings of a space are settings of all its bots.
    needs = dict.fromkeys(("POST", "PATCH", "DELETE"), Act.CHANGE_BOT)
    serializer_class = SpaceSerializer
    inputs = {"POST": SpaceSerializer, "PATCH": SpaceSerializer}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method not in ("GET", "HEAD") and not self.actor.sees_all:
            raise PermissionDenied("Spaces are changed by those who see all bots.")


class Spaces(SpaceView):
    """The spaces of your bots."""

    ordering = ("slug",)

    @extend_schema(
        operation_id="spaces_list", summary="Spaces", responses=SpaceSerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(access.spaces(self.actor))
        return self.get_paginated_response(SpaceSerializer(page, many=True).data)

    @extend_schema(
        operation_id="spaces_create", summary="Add a space", responses={201: SpaceSerializer}
    )
    def post(self, request: Request) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            with transaction.atomic():
                audit.created(serializer.save())
        except IntegrityError as error:
            slug = serializer.validated_data["slug"]
            raise Conflict(f"There is a space {slug!r} now.", field="slug") from error
        return Response(serializer.data, status=201)


class OneSpace(SpaceView):
    """A space."""

    @extend_schema(operation_id="spaces_retrieve", summary="One space")
    def get(self, request: Request, slug: str) -> Response:
        return Response(SpaceSerializer(self.space).data)

    @extend_schema(
        operation_id="spaces_update",
        summary="Change a space",
        description="Its bots connect anew. Slug and platform stay what they are.",
    )
    def patch(self, request: Request, slug: str) -> Response:
        space = self.space
        serializer = SpaceSerializer(space, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        lifecycle.space_changed(space, fields=list(serializer.validated_data))
        return Response(SpaceSerializer(space).data)

    @extend_schema(operation_id="spaces_delete", summary="Remove a space that has no bots any more")
    def delete(self, request: Request, slug: str) -> Response:
        lifecycle.delete_space(self.space)
        return Response(status=204)

    @property
    def space(self) -> Space:
        slug = self.kwargs["slug"]
        if (space := access.spaces(self.actor).filter(slug=slug).first()) is None:
            raise Missing(f"There is no space {slug!r}, or not for you.")
        return space
