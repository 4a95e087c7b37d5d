"""How a subscription is doing, in words: what a person reads before they press anything."""

from __future__ import annotations

from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString

from bots import guard, outbound, subscriptions
from bots.admin import looks
from bots.models import Subscription, SubscriptionState
from bots.receivers import FAILING_FOR, REDIRECTED

COLOURS = {
    SubscriptionState.ACTIVE: "success",
    SubscriptionState.FAILING: "warning",
    SubscriptionState.GONE: "danger",
    SubscriptionState.SWITCHED_OFF: "danger",
}
# Error code → what to do about it, where that is more than to wait.
NEXT_STEPS = {
    **{
        error.code: error.next_step
        for error in (
            guard.UrlInvalid,
            guard.PrivateAddress,
            guard.HttpsRequired,
            outbound.Unresolvable,
            outbound.TlsFailed,
            outbound.AnswerInvalid,
        )
    },
    REDIRECTED: "Enter the URL to which it redirects, if that is the right one.",
    "status_401": "Check that the receiver knows the secret; Rotate secret gives a new one.",
}


def badge(subscription: Subscription) -> SafeString:
    state = subscription.state
    return looks.badge(state.replace("_", " "), COLOURS.get(state, ""))


def behind(subscription: Any) -> str:
    """How many events wait until they are looked at; it comes with `head`, see `get_queryset`."""
    events = max(0, subscription.head - subscription.position)
    return f"{events:,} behind" if events else "up to date"


def told(subscription: Subscription) -> tuple[str, str]:
    """What is the matter, and what to do about it; the latter may be empty."""
    since, why = looks.moment(subscription.failing_since), subscription.error_detail
    match subscription.state:
        case SubscriptionState.FAILING:
            step = NEXT_STEPS.get(subscription.error_code, "It is tried again by itself.")
            days = f"After {FAILING_FOR.days} days without success it is switched off."
            return f"Failing since {since}. {why}", f"{step} {days}"
        case SubscriptionState.OFF:
            return "Somebody switched it off. What it wants waits.", "Press Resume to go on."
        case SubscriptionState.GONE:
            return (
                "The receiver answered 410 Gone: it wants nothing any more.",
                "If it does, press Resume: all goes on where it stopped.",
            )
        case SubscriptionState.SWITCHED_OFF:
            return (
                f"Nothing was taken since {since}, so it was switched off. {why}",
                "When the receiver is repaired, press Resume: all goes on where it stopped, and"
                " what failed is repeated.",
            )
    if subscription.last_success_at is None:
        return "Nothing was delivered yet.", "Press Test to see whether the receiver answers."
    return "The receiver takes what comes.", ""


def facts(subscription: Any) -> dict[str, Any]:
    shown = {
        "Last success": looks.moment(subscription.last_success_at),
        "Position": f"event {subscription.position:,} of {subscription.head:,}",
        "Events": behind(subscription),
        "Deliveries on the way": f"{subscription.waiting:,}",
    }
    if subscription.error_code:
        shown["Error"] = format_html("<code>{}</code>", subscription.error_code)
    if subscription.enabled and subscription.rests_until:
        shown["Next try"] = looks.moment(subscription.rests_until)
    if subscription.position < subscription.replay_until:
        shown["Replay"] = f"until event {subscription.replay_until:,}"
    if subscriptions.old_secret_signs(subscription):
        shown["Old secret signs until"] = looks.moment(subscription.old_secret_until)
    return shown
