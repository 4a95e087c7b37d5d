"""Deliveries: what went where, and every try at it."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from bots import access, subscriptions, targets
from bots.access import Act
from bots.api.query import Name
from bots.api.subscriptions import SubscriptionErrorSerializer
from bots.api.view import View
from bots.models import Delivery, DeliveryAttempt, WorkState
from bots.refusals import Missing
from spaces.api.fields import Choice, Moment

STATES = [
    str(state)
    for state in (
        WorkState.QUEUED,
        WorkState.RUNNING,
        WorkState.SUCCEEDED,
        WorkState.FAILED,
        WorkState.CANCELLED,
    )
]


class DeliverySerializer(serializers.ModelSerializer):
    """One event on its way to one subscriber. `next_try_at` is null when it is due or over, and
    while its subscription is off."""

    id = serializers.CharField(source="pk")
    subscription = serializers.CharField(source="subscription_id")
    event = serializers.CharField(source="event_id")
    kind = serializers.CharField(source="event.kind")
    state = serializers.ChoiceField(choices=STATES)
    created_at = Moment()
    next_try_at = Moment(allow_null=True)
    finished_at = Moment(allow_null=True)
    error = serializers.SerializerMethodField()

    class Meta:
        model = Delivery
        fields = [
            "id",
            "subscription",
            "event",
            "seq",
            "kind",
            "state",
            "attempts",
            "created_at",
            "next_try_at",
            "finished_at",
            "error",
        ]
        read_only_fields = fields

    @extend_schema_field(SubscriptionErrorSerializer(allow_null=True))
    def get_error(self, delivery: Delivery) -> dict[str, str] | None:
        if not delivery.error_code:
            return None
        return {"code": delivery.error_code, "detail": delivery.error_detail}


class DeliveryAttemptSerializer(serializers.ModelSerializer):
    """One try at a delivery."""

    at = Moment()
    seconds = serializers.FloatField()
    status = serializers.IntegerField(allow_null=True)
    answer = serializers.CharField(help_text="The first kilobyte, or why there was none.")

    class Meta:
        model = DeliveryAttempt
        fields = ["number", "at", "seconds", "outcome", "status", "answer"]
        read_only_fields = fields


class DeliveriesQuery(serializers.Serializer):
    subscription = Name(required=False, help_text="Its id.")
    event = Name(required=False, help_text="Its id.")
    state = Choice(choices=STATES, required=False)


class Deliveries(View):
    """What is on its way to your subscribers and what arrived, newest first."""

    serializer_class = DeliverySerializer
    ordering = ("-pk",)

    @extend_schema(
        operation_id="deliveries_list",
        summary="Deliveries, newest first",
        parameters=[DeliveriesQuery],
        responses=DeliverySerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self._found(self.asked(DeliveriesQuery)))
        return self.get_paginated_response(DeliverySerializer(page, many=True).data)

    def _found(self, wanted: dict[str, Any]) -> QuerySet[Delivery]:
        found = access.deliveries(self.actor).select_related("event", "subscription")
        for name in ("subscription", "event"):
            if name in wanted:
                if (own_id := targets.as_id(wanted[name])) is None:
                    raise ValidationError({name: "This must be an id."})
                found = found.filter(**{name: own_id})
        return found.filter(state=wanted["state"]) if "state" in wanted else found


class DeliveryView(View):
    serializer_class: type[serializers.BaseSerializer] = DeliverySerializer
    needs = {"POST": Act.CHANGE_BOT}

    @property
    def delivery(self) -> Delivery:
        """Raises `Missing` also when it is somebody else's."""
        own_id = targets.as_id(self.kwargs["delivery"])
        visible = access.deliveries(self.actor).select_related("event", "subscription")
        found = visible.filter(pk=own_id).first() if own_id else None
        if found is None:
            raise Missing(f"There is no delivery {self.kwargs['delivery']!r}, or not for you.")
        return found


class OneDelivery(DeliveryView):
    """A delivery."""

    @extend_schema(operation_id="deliveries_retrieve", summary="One delivery")
    def get(self, request: Request, delivery: str) -> Response:
        return Response(DeliverySerializer(self.delivery).data)


class Attempts(DeliveryView):
    """Every try at a delivery, oldest first."""

    serializer_class = DeliveryAttemptSerializer

    @extend_schema(
        operation_id="deliveries_attempts_list",
        summary="Tries at a delivery",
        responses=DeliveryAttemptSerializer(many=True),
    )
    def get(self, request: Request, delivery: str) -> Response:
        page = self.paginate_queryset(DeliveryAttempt.objects.filter(delivery=self.delivery))
        return self.get_paginated_response(DeliveryAttemptSerializer(page, many=True).data)


class Retry(DeliveryView):
    """Tries a delivery now: one that waits at once, one that has ended once more."""

    @extend_schema(
        operation_id="deliveries_retry",
        summary="Deliver now",
        description="409 while it is being delivered.",
        request=None,
        responses=DeliverySerializer,
    )
    def post(self, request: Request, delivery: str) -> Response:
        retried = self.delivery
        subscriptions.retry(retried)
        return Response(DeliverySerializer(retried).data)
