"""Platforms: what this install can talk to."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from spaces.api.serializers import PlatformListSerializer, PlatformSerializer
from spaces.platforms import registry


class Platforms(GenericAPIView):
    """The kinds of chat systems that this install knows, and what each of them can do."""

    serializer_class = PlatformListSerializer
    pagination_class = None

    @extend_schema(operation_id="platforms_list", responses=PlatformListSerializer)
    def get(self, request: Request) -> Response:
        found = [registered for _, registered in sorted(registry.platforms().items())]
        rows = PlatformSerializer(found, many=True).data
        return Response({"next": None, "previous": None, "results": rows})
