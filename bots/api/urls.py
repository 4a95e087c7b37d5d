"""All paths of the API, below /api/v1/."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern
from django.urls import path as django_path
from django.views.decorators.common import no_append_slash
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.views import APIView

from bots.api import (
    audit,
    bots,
    channels,
    deliveries,
    events,
    health,
    jobs,
    messages,
    requests,
    spaces,
    subscriptions,
)


def path(route: str, view: type[APIView], name: str, **changes: Any) -> URLPattern:
    # A redirect to the path with its slash would lose the body of a POST: a 404 says more.
    return django_path(route, no_append_slash(view.as_view(**changes)), name=name)


# Made by others, they would answer OPTIONS, too, and fail at it.
READ_ONLY = {"http_method_names": ["get", "head"]}


BOT = "bots/<str:slug>/"
CHANNEL = BOT + "channels/<str:channel>/"
MESSAGE = BOT + "messages/<str:message>/"
JOB = "jobs/<str:job>/"
SUBSCRIPTION = "subscriptions/<str:subscription>/"
DELIVERY = "deliveries/<str:delivery>/"

urlpatterns = [
    path("platforms/", spaces.Platforms, "platforms"),
    path("spaces/", spaces.Spaces, "spaces"),
    path("spaces/<str:slug>/", spaces.OneSpace, "space"),
    path("bots/", bots.Bots, "bots"),
    path(BOT, bots.OneBot, "bot"),
    path(BOT + "check/", bots.Check, "bot-check"),
    path(BOT + "start/", bots.Start, "bot-start"),
    path(BOT + "stop/", bots.Stop, "bot-stop"),
    path(BOT + "reconnect/", bots.Reconnect, "bot-reconnect"),
    path(BOT + "sync/", bots.Sync, "bot-sync"),
    path(BOT + "presence/", bots.Presence, "bot-presence"),
    path(BOT + "request/", requests.CustomRequest, "bot-request"),
    path(BOT + "channels/", channels.Channels, "channels"),
    path(BOT + "channels/join/", channels.Join, "channel-join"),
    path(BOT + "channels/restore/", channels.Restore, "channel-restore"),
    path(CHANNEL, channels.OneChannel, "channel"),
    path(CHANNEL + "pinned/", channels.Pinned, "channel-pinned"),
    path(CHANNEL + "participants/", channels.Participants, "participants"),
    path(CHANNEL + "read/", channels.Read, "channel-read"),
    path(CHANNEL + "typing/", channels.Typing, "channel-typing"),
    path(CHANNEL + "leave/", channels.Leave, "channel-leave"),
    path(BOT + "messages/", messages.Messages, "messages"),
    path(BOT + "messages/bulk/", messages.Bulk, "messages-bulk"),
    path(MESSAGE, messages.OneMessage, "message"),
    path(MESSAGE + "reactions/", messages.Reactions, "reactions"),
    path(MESSAGE + "pin/", messages.Pin, "message-pin"),
    path(MESSAGE + "files/<str:file>/", messages.MessageFile, "message-file"),
    path("jobs/", jobs.Jobs, "jobs"),
    path(JOB, jobs.OneJob, "job"),
    path(JOB + "attempts/", jobs.Attempts, "job-attempts"),
    path(JOB + "cancel/", jobs.Cancel, "job-cancel"),
    path(JOB + "retry/", jobs.Retry, "job-retry"),
    path(JOB + "resolve/", jobs.Resolve, "job-resolve"),
    path("subscriptions/", subscriptions.Subscriptions, "subscriptions"),
    path(SUBSCRIPTION, subscriptions.OneSubscription, "subscription"),
    path(SUBSCRIPTION + "test/", subscriptions.Test, "subscription-test"),
    path(SUBSCRIPTION + "rotate-secret/", subscriptions.RotateSecret, "subscription-rotate-secret"),
    path(SUBSCRIPTION + "replay/", subscriptions.Replay, "subscription-replay"),
    path("deliveries/", deliveries.Deliveries, "deliveries"),
    path(DELIVERY, deliveries.OneDelivery, "delivery"),
    path(DELIVERY + "attempts/", deliveries.Attempts, "delivery-attempts"),
    path(DELIVERY + "retry/", deliveries.Retry, "delivery-retry"),
    path("events/", events.Events, "events"),
    path("events/stream/", events.EventStream, "events-stream"),
    path("audit/", audit.Audit, "audit"),
    path("health/live/", health.Live, "health-live"),
    path("health/ready/", health.Ready, "health-ready"),
    path("schema/", SpectacularAPIView, "schema", **READ_ONLY),
    path("docs/", SpectacularSwaggerView, "docs", **READ_ONLY),
]
