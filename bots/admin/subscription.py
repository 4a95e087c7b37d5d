"""Subscriptions: who gets which events, how that is going, and what a person can do about it."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Exists, IntegerField, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.contrib.filters.admin import DropdownFilter
from unfold.decorators import action, display

from bots import access, courier, guard, subscriptions
from bots.access import Act
from bots.admin import looks, subscription_health
from bots.admin.base import Button, NamedBot, OperatorAdmin, Press, actor_of, may, plain
from bots.admin.subscription_form import ReplayForm, form_for, replay_told, wanted
from bots.api import outside
from bots.guard import CallFailed
from bots.models import Bot, Delivery, Ended, SequenceClock, Subscription, SubscriptionState
from bots.models.lane import UNFINISHED
from bots.refusals import Refused
from bots.scrub import clean
from spaces.platforms.errors import Misconfigured

STATES = {
    SubscriptionState.ACTIVE: Q(enabled=True, failing_since=None),
    SubscriptionState.FAILING: Q(enabled=True, failing_since__isnull=False),
    SubscriptionState.OFF: Q(enabled=False, ended=Ended.NO),
    SubscriptionState.GONE: Q(enabled=False, ended=Ended.GONE),
    SubscriptionState.SWITCHED_OFF: Q(enabled=False, ended=Ended.FAILING),
}


# Buttons ----------------------------------------------------------------------------------------


def _test(request: HttpRequest, subscription: Subscription) -> str:
    try:
        with outside.place():
            answer = courier.ping(subscription)
    except (CallFailed, Misconfigured) as error:
        messages.error(request, f"{error.detail} {error.next_step}".strip())
        return ""
    tell = messages.success if answer.is_success else messages.error
    told = f"The receiver answered {answer.status} in {answer.seconds:.3f} s."
    text = clean(answer.text)
    tell(request, format_html("{}{}", told, looks.block(text)) if text else told)
    return ""


def _pause(request: HttpRequest, subscription: Subscription) -> str:
    subscriptions.pause(subscription)
    return f"{subscription} is switched off. What it wants waits until you press Resume."


def _resume(request: HttpRequest, subscription: Subscription) -> str:
    subscriptions.resume(subscription)
    return f"{subscription} goes on where it stopped, and repeats what failed."


# Lists ------------------------------------------------------------------------------------------


class State(DropdownFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, state.value.replace("_", " ")) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.filter(STATES[self.value()]) if self.value() in STATES else queryset.none()


class ForBot(NamedBot):
    """Those that get the events of a bot, also with those of all others."""

    def of(self, rows: QuerySet[Any], bots: QuerySet[Bot]) -> QuerySet[Any]:
        named = Subscription.bots.through.objects.filter(bot__in=bots).values("subscription")
        return rows.filter(Exists(bots)).filter(Q(all_bots=True) | Q(pk__in=named))


def _count(rows: QuerySet[Any]) -> Coalesce:
    """How many of these belong to each subscription of the query around."""
    mine = rows.order_by().filter(subscription=OuterRef("pk"))
    counted = mine.values("subscription").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


@admin.register(Subscription)
class SubscriptionAdmin(OperatorAdmin):
    list_display = (
        "shown",
        "wants",
        "state_shown",
        "behind",
        "waiting_shown",
        "success_shown",
        "failing_shown",
    )
    list_filter = (State, ForBot)
    search_fields = ("name", "url")
    sortable_by = ()
    show_full_result_count = False
    actions = ("resume_chosen", "pause_chosen")
    autocomplete_fields = ("bots", "channels")
    empty_hint = (
        "A subscription posts events to a URL of yours as they happen, signed. Add one; its secret"
        " is shown once."
    )
    change_form_outer_before_template = "admin/bots/subscription/before.html"
    presses: ClassVar[dict[str, Press]] = {
        "resume": Press(
            label="Resume",
            icon="play_arrow",
            run=_resume,
            offered=lambda subscription: not subscription.enabled,
            variant="primary",
        ),
        "test": Press(label="Test", icon="stethoscope", run=_test),
        "pause": Press(
            label="Pause",
            icon="pause",
            run=_pause,
            offered=lambda subscription: subscription.enabled,
        ),
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        last = SequenceClock.objects.values("last_seq")[:1]
        return (
            super()
            .get_queryset(request)
            .prefetch_related("bots")
            .annotate(
                head=Coalesce(Subquery(last), 0),
                waiting=_count(Delivery.objects.filter(state__in=UNFINISHED)),
                channel_count=_count(Subscription.channels.through.objects.all()),
            )
        )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may(request, Act.CHANGE_BOT)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may(request, Act.CHANGE_BOT)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return may(request, Act.CHANGE_BOT)

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, Act.CHANGE_BOT)

    # Form ---------------------------------------------------------------------------------------

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None or self.has_change_permission(request, obj):
            kwargs["form"] = form_for(actor_of(request))
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            return [(None, {"fields": ["name", "url", "wants", "ordered_shown", "created_shown"]})]
        what = ["kinds", "all_bots", "bots", "all_channels", "channels"]
        how = ["ordered_shown", "created_shown"] if obj else ["ordered"]
        return [
            (None, {"fields": ["name", "url"]}),
            ("What it gets", {"fields": what}),
            ("How", {"fields": how}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("wants", "ordered_shown", "created_shown")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        visible = {"bots": access.bots, "channels": access.channels}[db_field.name]
        kwargs["queryset"] = visible(actor_of(request))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return plain(super().formfield_for_dbfield(db_field, request, **kwargs))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            actor = actor_of(request)
            obj.created_by, obj.user = actor.label, actor.user
            obj.text = subscriptions.new_secret(obj)  # for `response_add`; never stored
            subscriptions.begin(obj)
            super().save_model(request, obj, form, change)
        elif fields := {"name", "url", "kinds", "all_bots", "all_channels"} & {*form.changed_data}:
            # Not the whole row: the courier writes down how it is doing meanwhile.
            obj.save(update_fields=fields)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._secret_shown(request, obj, obj.text, "Your new subscription")

    def _secret_shown(
        self, request: HttpRequest, subscription: Subscription, text: str, title: str
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "subscription": subscription,
            "text": text,
            "old_until": looks.moment(subscription.old_secret_until)
            if subscriptions.old_secret_signs(subscription)
            else "",
            "back": self.url("change", subscription.pk),
        }
        return TemplateResponse(request, "admin/bots/subscription/secret.html", context)

    def delete_model(self, request: HttpRequest, obj: Subscription) -> None:
        subscriptions.remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        for subscription in queryset:
            subscriptions.remove(subscription)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Not every single delivery by name: there may be millions.
        told = [f"{subscription} with its deliveries" for subscription in objs]
        return told, {self.opts.verbose_name_plural: len(told)}, set(), []

    # Pages that ask first -----------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        return [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=self._url_name(name))
            for name, view in (("rotate", self.rotate), ("replay", self.replay))
        ] + super().get_urls()

    def buttons(self, request: HttpRequest, row: Any) -> list[Button]:
        buttons = super().buttons(request, row)
        if not buttons:
            return []
        asking = (("Replay", "replay", "replay"), ("Rotate secret", "key", "rotate"))
        return buttons + [
            Button(label=label, icon=icon, url=self.url(name, row.pk), posts=False)
            for label, icon, name in asking
        ]

    def rotate(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask, then give a new secret and show it, the only time."""
        subscription = self._to_operate(request, pk)
        until = subscription.old_secret_until
        once = "" if until is None else until.isoformat()
        if request.method == "POST":
            # A page that is sent again must not rotate again: the first secret would end at once.
            if request.POST.get("once") == once:
                text = subscriptions.rotate_secret(subscription)
                return self._secret_shown(request, subscription, text, "The new secret")
            messages.error(request, "The secret was changed meanwhile. Nothing was done now.")
            return redirect(self.url("change", pk))
        told = [
            "It gets a new secret, which is shown once.",
            "The present one signs, too, for 24 hours: give the receiver the new one until then.",
        ]
        if subscriptions.old_secret_signs(subscription):
            told.append(
                f"The one before that signs until {looks.moment(until)}; it ends if you go on."
            )
        return self._ask(request, subscription, "Rotate secret", told, hidden={"once": once})

    def replay(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask from where, tell what that means, then do it."""
        subscription = self._to_operate(request, pk)
        form = ReplayForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            told = ["Events are delivered again, and in their turn, from a point that you choose."]
            return self._ask(request, subscription, "Replay", told, action="Next", form=form)
        after = form.cleaned_data["after"]
        if "sure" not in request.POST:
            told = replay_told(subscription, after, form.head)
            hidden = {"after": after, "sure": "yes"}
            return self._ask(request, subscription, "Replay", told, hidden=hidden)
        try:
            subscriptions.replay(subscription, after=after)
        except Refused as refused:
            messages.error(request, refused.detail)
        else:
            messages.success(request, f"{subscription} gets what it wants after event {after:,}.")
        return redirect(self.url("change", pk))

    def _to_operate(self, request: HttpRequest, pk: int) -> Any:
        subscription = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_operate_permission(request, subscription):
            raise PermissionDenied
        return subscription

    def _ask(
        self,
        request: HttpRequest,
        subscription: Subscription,
        label: str,
        told: list[str],
        *,
        action: str = "",
        form: forms.Form | None = None,
        hidden: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": subscription,
            "title": f"{label}: {subscription}",
            "told": told,
            "form": form,
            "hidden": hidden or {},
            "action": action or label,
            "back": self.url("change", subscription.pk),
        }
        return TemplateResponse(request, "admin/bots/subscription/ask.html", context)

    @action(description="Resume", permissions=["operate"])
    def resume_chosen(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        self.do_each(request, queryset, subscriptions.resume, "Subscriptions that go on")

    @action(description="Pause", permissions=["operate"])
    def pause_chosen(self, request: HttpRequest, queryset: QuerySet[Subscription]) -> None:
        self.do_each(request, queryset, subscriptions.pause, "Subscriptions switched off")

    # What is shown ------------------------------------------------------------------------------

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        reason, next_step = subscription_health.told(row)
        deliveries = f"{reverse('admin:bots_delivery_changelist')}?subscription__id__exact={row.pk}"
        return {
            "state": subscription_health.badge(row),
            "reason": reason,
            "next_step": next_step,
            "facts": subscription_health.facts(row),
            "lists": {
                "All deliveries": deliveries,
                "Those that wait": f"{deliveries}&state__exact=queued",
                "Those that failed": f"{deliveries}&state__exact=failed",
            },
        }

    @display(description="Subscription", header=True)
    def shown(self, subscription: Subscription) -> list[str]:
        try:
            host = guard.parse(subscription.url).host  # the rest may be secret
        except CallFailed:
            host = looks.NOTHING
        return [str(subscription), host]

    @display(description="Wants")
    def wants(self, subscription: Subscription) -> str:
        return wanted(subscription)

    @display(description="State")
    def state_shown(self, subscription: Subscription) -> str:
        return subscription_health.badge(subscription)

    @display(description="Behind")
    def behind(self, subscription: Subscription) -> str:
        return subscription_health.behind(subscription)

    @display(description="On the way")
    def waiting_shown(self, subscription: Any) -> str:
        return f"{subscription.waiting:,}"

    @display(description="Last success")
    def success_shown(self, subscription: Subscription) -> str:
        return looks.moment(subscription.last_success_at)

    @display(description="Failing since")
    def failing_shown(self, subscription: Subscription) -> str:
        since = looks.moment(subscription.failing_since)
        if not subscription.error_code:
            return since
        return format_html("{}<br><code>{}</code>", since, subscription.error_code)

    @display(description="Ordered")
    def ordered_shown(self, subscription: Subscription) -> str:
        return looks.yes(subscription.ordered)

    @display(description="Created")
    def created_shown(self, subscription: Subscription) -> str:
        by = f" by {subscription.created_by}" if subscription.created_by else ""
        return f"{looks.moment(subscription.created_at)}{by}"
