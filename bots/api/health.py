"""Health, for machines: no token, and nothing told beyond it."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bots import health


class PartSerializer(serializers.Serializer):
    ok = serializers.BooleanField()


class OverdueSerializer(PartSerializer):
    seconds = serializers.FloatField(allow_null=True)


class WorkersSerializer(PartSerializer):
    alive = serializers.IntegerField(allow_null=True)


class LiveSerializer(serializers.Serializer):
    live = serializers.BooleanField()


class ReadySerializer(serializers.Serializer):
    ready = serializers.BooleanField()
    database = PartSerializer()
    broker = PartSerializer()
    oldest_due_job = OverdueSerializer()
    workers = WorkersSerializer()


class HealthView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    http_method_names = ["get", "head"]


class Live(HealthView):
    """This web process answers."""

    @extend_schema(
        operation_id="health_live", summary="Is the process alive?", responses=LiveSerializer
    )
    def get(self, request: Request) -> Response:
        return Response({"live": True})


class Ready(HealthView):
    """The install can do its work. 503 while one of its parts is missing."""

    @extend_schema(
        operation_id="health_ready",
        summary="Can the install work?",
        responses={200: ReadySerializer, 503: ReadySerializer},
    )
    def get(self, request: Request) -> Response:
        found = health.report()
        body = {
            "ready": found.ready,
            "database": {"ok": found.database},
            "broker": {"ok": found.broker},
            "oldest_due_job": {"ok": found.on_time, "seconds": found.overdue_seconds},
            "workers": {"ok": bool(found.workers), "alive": found.workers},
        }
        return Response(body, status=200 if found.ready else 503)
