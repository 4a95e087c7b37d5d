"""The audit log: who changed what, before and after."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from bots import access
from bots.api.query import Name
from bots.api.view import View
from bots.models import AuditEntry
from bots.models.audit import DOORS
from spaces.api.fields import Choice, Moment

DOOR_NAMES = [name for name, _ in DOORS]


class ChangeSerializer(serializers.Serializer):
    """One field; empty where it said nothing, and of secrets only that they were changed."""

    field = serializers.CharField()
    before = serializers.CharField()
    after = serializers.CharField()

    class Meta:
        ref_name = "AuditChange"


class AuditEntrySerializer(serializers.ModelSerializer):
    """Something that somebody changed. What it is about may be gone."""

    id = serializers.CharField(source="pk")
    at = Moment()
    actor = serializers.CharField(source="actor_label")
    actor_key = serializers.CharField(help_text="Such as `user:7` or `token:3`.")
    door = serializers.ChoiceField(choices=DOOR_NAMES)
    action = serializers.CharField(help_text="A stable code, such as `bot.started`.")
    bot = serializers.CharField(source="bot.slug", default=None, allow_null=True)
    changes = ChangeSerializer(many=True)

    class Meta:
        model = AuditEntry
        fields = [
            "id",
            "at",
            "actor",
            "actor_key",
            "door",
            "action",
            "kind",
            "object_id",
            "label",
            "bot",
            "changes",
            "note",
        ]
        read_only_fields = fields


class AuditQuery(serializers.Serializer):
    actor = Name(required=False, help_text="Name or key.")
    door = Choice(choices=DOOR_NAMES, required=False)
    action = Name(required=False)
    kind = Name(required=False, help_text="Of the object: `bot`, `space`, `token` …")
    object = Name(required=False, help_text="Its id; with `kind`.")
    bot = Name(required=False, help_text="Slug.")
    since = Moment(required=False)
    until = Moment(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "object" in attrs and "kind" not in attrs:
            raise ValidationError({"object": "Ids are told apart by `kind`, which is missing."})
        return attrs


FILTERS = {
    "door": "door",
    "action": "action",
    "kind": "kind",
    "object": "object_id",
    "since": "at__gte",
    "until": "at__lt",
}


class Audit(View):
    """What was changed, newest first: all of your bots, and what you did yourself."""

    serializer_class = AuditEntrySerializer
    ordering = ("-pk",)

    @extend_schema(
        operation_id="audit_list",
        summary="Who changed what, newest first",
        parameters=[AuditQuery],
        responses=AuditEntrySerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self._found(self.asked(AuditQuery)))
        return self.get_paginated_response(AuditEntrySerializer(page, many=True).data)

    def _found(self, wanted: dict[str, Any]) -> QuerySet[AuditEntry]:
        found = access.audit_entries(self.actor).select_related("bot")
        if (name := wanted.get("actor")) is not None:
            found = found.filter(actor_label=name) | found.filter(actor_key=name)
        if (slug := wanted.get("bot")) is not None:
            bot = access.bots(self.actor).filter(slug=slug).first()
            if bot is None:
                raise ValidationError({"bot": "There is no such bot, or not for you."})
            found = found.filter(bot=bot)
        return found.filter(
            **{lookup: wanted[name] for name, lookup in FILTERS.items() if name in wanted}
        )
