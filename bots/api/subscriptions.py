"""Subscriptions: who gets which events by webhook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from bots import access, audit, courier, guard, subscriptions, targets
from bots.access import Act, Actor
from bots.api import outside
from bots.api.view import View
from bots.guard import CallFailed, UrlRefused
from bots.models import Subscription, SubscriptionState
from bots.refusals import Invalid, Missing
from spaces.api.fields import Choice, Count, Flag, Moment, Text
from spaces.platforms.messages import Kind

LONGEST_URL = 2_000
MOST_NAMED = 1_000  # bots or channels of one subscription
KINDS = [str(kind) for kind in Kind]


class SubscriptionErrorSerializer(serializers.Serializer):
    code = serializers.CharField()
    detail = serializers.CharField()


class SubscriptionSerializer(serializers.ModelSerializer):
    """Who wants which events, and how it is going. `position` is the sequence number up to which
    events are on their way or delivered."""

    id = serializers.CharField(source="pk")
    url = serializers.SerializerMethodField(
        help_text="Only its host for those who may not change it: a path may be a secret."
    )
    kinds = serializers.ListField(child=serializers.ChoiceField(choices=KINDS))
    bots = serializers.SerializerMethodField(help_text="Slugs; empty when `all_bots`.")
    channels = serializers.SerializerMethodField(help_text="Our ids; empty when `all_channels`.")
    state = serializers.ChoiceField(choices=[str(s) for s in SubscriptionState])
    failing_since = Moment(allow_null=True)
    last_success_at = Moment(allow_null=True)
    error = serializers.SerializerMethodField()
    created_at = Moment()

    class Meta:
        model = Subscription
        fields = [
            "id",
            "name",
            "url",
            "kinds",
            "all_bots",
            "bots",
            "all_channels",
            "channels",
            "ordered",
            "enabled",
            "state",
            "failing_since",
            "last_success_at",
            "error",
            "position",
            "created_at",
            "created_by",
        ]
        read_only_fields = fields

    def get_url(self, subscription: Subscription) -> str:
        actor: Actor = self.context["actor"]
        if access.may(actor, Act.CHANGE_BOT):
            return subscription.url
        return f"{guard.parse(subscription.url)}/…"

    def get_bots(self, subscription: Subscription) -> list[str]:
        return sorted(bot.slug for bot in subscription.bots.all())

    def get_channels(self, subscription: Subscription) -> list[str]:
        return [str(pk) for pk in sorted(channel.pk for channel in subscription.channels.all())]

    @extend_schema_field(SubscriptionErrorSerializer(allow_null=True))
    def get_error(self, subscription: Subscription) -> dict[str, str] | None:
        if not subscription.error_code:
            return None
        return {"code": subscription.error_code, "detail": subscription.error_detail}


class SecretSerializer(SubscriptionSerializer):
    """A subscription with its secret, which is shown this once."""

    secret = serializers.CharField()

    class Meta(SubscriptionSerializer.Meta):
        fields = [*SubscriptionSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class ChangeSerializer(serializers.Serializer):
    """What a client says about a subscription. Empty lists stand for all."""

    name = Text(required=False, allow_blank=True, max_length=100)
    url = Text(required=False, max_length=LONGEST_URL)
    kinds = serializers.ListField(
        child=Choice(choices=KINDS), required=False, max_length=len(KINDS)
    )
    bots = serializers.ListField(
        child=Text(max_length=300), required=False, max_length=MOST_NAMED, help_text="Slugs."
    )
    channels = serializers.ListField(
        child=Text(max_length=300), required=False, max_length=MOST_NAMED, help_text="Our ids."
    )
    enabled = Flag(
        required=False,
        help_text="Switched on again, it goes on where it stopped and repeats what had failed.",
    )


class NewSerializer(ChangeSerializer):
    """A new subscription."""

    url = Text(max_length=LONGEST_URL)
    ordered = Flag(
        required=False,
        help_text="One event of a channel at a time, each after the one before it was taken.",
    )


class PingedSerializer(serializers.Serializer):
    """What the receiver answered, or why it could not be asked."""

    ok = serializers.BooleanField()
    status = serializers.IntegerField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True)
    answer = serializers.CharField(help_text="The first kilobyte.")
    error = SubscriptionErrorSerializer(allow_null=True)


class ReplaySerializer(serializers.Serializer):
    """From where to deliver again: a sequence number, or a time."""

    after = Count(required=False)
    since = Moment(required=False)


class ReplayedSerializer(serializers.Serializer):
    after = serializers.IntegerField(help_text="All that it wants after this number is delivered.")


class SubscriptionView(View):
    needs = dict.fromkeys(("POST", "PATCH", "DELETE"), Act.CHANGE_BOT)
    serializer_class: type[serializers.BaseSerializer] = SubscriptionSerializer

    @property
    def subscription(self) -> Subscription:
        """Raises `Missing` also when it is somebody else's."""
        own_id = targets.as_id(self.kwargs["subscription"])
        found = access.subscriptions(self.actor).filter(pk=own_id).first() if own_id else None
        if found is None:
            wanted = self.kwargs["subscription"]
            raise Missing(f"There is no subscription {wanted!r}, or not for you.")
        return found

    def told(self, subscription: Subscription, **more: str) -> dict[str, Any]:
        """The subscription as it is now, read anew."""
        fresh = _for_reading(Subscription.objects.filter(pk=subscription.pk)).get()
        return {**SubscriptionSerializer(fresh, context={"actor": self.actor}).data, **more}


class Subscriptions(SubscriptionView):
    """Who gets the events of your bots."""

    inputs = {"POST": NewSerializer}

    @extend_schema(
        operation_id="subscriptions_list",
        summary="Subscriptions",
        responses=SubscriptionSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(_for_reading(access.subscriptions(self.actor)))
        context = {"actor": self.actor}
        shown = SubscriptionSerializer(page, many=True, context=context)
        return self.get_paginated_response(shown.data)

    @extend_schema(
        operation_id="subscriptions_create",
        summary="Subscribe",
        description="It begins with what happens from now on. The secret is shown this once.",
        request=NewSerializer,
        responses={201: SecretSerializer},
    )
    def post(self, request: Request) -> Response:
        given = self.given()
        given.setdefault("bots", [])
        subscription = Subscription(
            created_by=self.actor.label,
            user=self.actor.user,
            ordered=given.get("ordered", False),
            enabled=given.get("enabled", True),
        )
        secret = subscriptions.new_secret(subscription)
        with transaction.atomic():
            subscriptions.begin(subscription)
            _change(subscription, given, self.actor)
            audit.created(subscription)
        return Response(self.told(subscription, secret=secret), status=201)


class OneSubscription(SubscriptionView):
    """A subscription."""

    inputs = {"PATCH": ChangeSerializer}

    @extend_schema(operation_id="subscriptions_retrieve", summary="One subscription")
    def get(self, request: Request, subscription: str) -> Response:
        return Response(self.told(self.subscription))

    @extend_schema(
        operation_id="subscriptions_update",
        summary="Change a subscription",
        description="Whether it is ordered stays as it is: make another one.",
        request=ChangeSerializer,
        responses=SubscriptionSerializer,
    )
    def patch(self, request: Request, subscription: str) -> Response:
        changed, given = self.subscription, self.given()
        with audit.changing(changed):
            _change(changed, given, self.actor)
        if "enabled" in given and given["enabled"] != changed.enabled:
            (subscriptions.resume if given["enabled"] else subscriptions.pause)(changed)
        return Response(self.told(changed))

    @extend_schema(operation_id="subscriptions_delete", summary="Remove a subscription")
    def delete(self, request: Request, subscription: str) -> Response:
        subscriptions.remove(self.subscription)
        return Response(status=204)


class Test(SubscriptionView):
    """Sends `{"type": "ping"}` now and tells what came back."""

    @extend_schema(
        operation_id="subscriptions_test",
        summary="Try the receiver",
        request=None,
        responses=PingedSerializer,
    )
    def post(self, request: Request, subscription: str) -> Response:
        told: dict[str, Any] = {"status": None, "seconds": None, "answer": "", "error": None}
        tried = self.subscription
        with outside.place():
            try:
                answer = courier.ping(tried)
            except CallFailed as error:
                told["error"] = {"code": error.code, "detail": error.detail}
            else:
                told |= {"status": answer.status, "seconds": answer.seconds}
                told["answer"] = answer.text
        return Response(told | {"ok": told["error"] is None and answer.is_success})


class RotateSecret(SubscriptionView):
    """Gives a new secret; the old one signs, too, for 24 hours."""

    @extend_schema(
        operation_id="subscriptions_rotate_secret",
        summary="Change the secret",
        request=None,
        responses=SecretSerializer,
    )
    def post(self, request: Request, subscription: str) -> Response:
        rotated = self.subscription
        return Response(self.told(rotated, secret=subscriptions.rotate_secret(rotated)))


class Replay(SubscriptionView):
    """Delivers again what was delivered, and what was not, from a point on."""

    inputs = {"POST": ReplaySerializer}

    @extend_schema(
        operation_id="subscriptions_replay",
        summary="Deliver again",
        description="Either `after` or `since`. A number further on passes over what is between.",
        request=ReplaySerializer,
        responses=ReplayedSerializer,
    )
    def post(self, request: Request, subscription: str) -> Response:
        return Response({"after": subscriptions.replay(self.subscription, **self.given())})


def _for_reading(found: QuerySet[Subscription]) -> QuerySet[Subscription]:
    return found.prefetch_related("bots", "channels")


def _change(subscription: Subscription, given: dict[str, Any], actor: Actor) -> None:
    """Save what a client may say, and nothing else: workers write to the same row. Raises
    `Invalid`."""
    if "url" in given:
        try:
            guard.check_url(given["url"])
        except UrlRefused as error:
            raise Invalid(error.detail, code=error.code, field="url") from error
    for name in ("name", "url", "kinds"):
        if name in given:
            setattr(subscription, name, given[name])
    if "bots" in given:
        subscription.all_bots = not given["bots"]
        if subscription.all_bots and not actor.sees_all:
            raise Invalid("Name the bots, since you do not see all of them.", field="bots")
    if "channels" in given:
        subscription.all_channels = not given["channels"]
    fields = ("name", "url", "kinds", "all_bots", "all_channels")
    subscription.save(update_fields=fields if subscription.pk else None)
    if "bots" in given:
        subscription.bots.set(_bots(given["bots"], actor))
    if "channels" in given:
        subscription.channels.set(_channels(given["channels"], actor))


def _bots(slugs: Sequence[str], actor: Actor) -> list[int]:
    found = dict(access.bots(actor).filter(slug__in=slugs).values_list("slug", "pk"))
    for slug in slugs:
        if slug not in found:
            raise Invalid(f"There is no bot {slug!r}, or not for you.", field="bots")
    return list(found.values())


def _channels(names: Sequence[str], actor: Actor) -> list[int]:
    wanted = {name: targets.as_id(name) for name in names}
    ids = [pk for pk in wanted.values() if pk is not None]
    found = set(access.channels(actor).filter(pk__in=ids).values_list("pk", flat=True))
    for name, pk in wanted.items():
        if pk not in found:
            raise Invalid(f"There is no channel {name!r}, or not for you.", field="channels")
    return sorted(found)
