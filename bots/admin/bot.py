"""Bots: their settings, their connection, and what an operator does with them."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from bots import labels, lifecycle, targets
from bots.access import Act
from bots.admin import looks, platforms
from bots.admin.adding.first_channels import FirstChannels
from bots.admin.adding.views import AddBot
from bots.admin.base import Press, actor_of, may, plain
from bots.admin.bot_credentials import ReplaceCredentials
from bots.admin.bot_form import form_for
from bots.admin.bot_list import BotList
from bots.admin.bot_pieces import BotPieces
from bots.admin.bot_test import StepByStep
from bots.admin.operations import OPERATIONS
from bots.admin.options import fieldsets, option_fields, shown
from bots.api import outside
from bots.models import Bot, Permission
from bots.refusals import Busy
from spaces.platforms.contract import Ability, declared_options
from spaces.platforms.errors import Misconfigured, PlatformError
from spaces.platforms.messages import CANNOT

# Buttons ----------------------------------------------------------------------------------------


def _test(request: HttpRequest, bot: Bot) -> str:
    tell = {
        "ok": messages.success,
        CANNOT: messages.info,
        "warning": messages.warning,
        "error": messages.error,
    }
    with outside.place():
        findings = lifecycle.check(bot).findings
    for finding in findings:
        tell[finding.mark](request, f"{finding.text} {finding.remedy}".strip())
    return ""


def _start(request: HttpRequest, bot: Bot) -> str:
    lifecycle.start(bot)
    return f"{bot} is started."


def _stop(request: HttpRequest, bot: Bot) -> str:
    lifecycle.stop(bot)
    return f"{bot} is stopped: it receives nothing, and its jobs wait."


def _reconnect(request: HttpRequest, bot: Bot) -> str:
    lifecycle.reconnect(bot)
    return f"{bot} connects anew."


def _sync(request: HttpRequest, bot: Bot) -> str:
    job = lifecycle.sync(bot, requested_by=actor_of(request).label)
    return f"Job {job.pk} reads channels, participants and recent messages."


def _can_list(bot: Bot) -> bool:
    platform = platforms.find(bot.space.platform)
    return platform is not None and Ability.LIST_CHANNELS in platform.abilities


@admin.register(Bot)
class BotAdmin(BotPieces, ReplaceCredentials, StepByStep, AddBot, FirstChannels, BotList):
    change_form_template = "admin/bots/bot/change_form.html"
    change_form_outer_before_template = "admin/bots/bot/before.html"
    presses: ClassVar[dict[str, Press]] = {
        "test": Press(label="Test", icon="stethoscope", run=_test, variant="primary"),
        "start": Press(
            label="Start", icon="play_arrow", run=_start, offered=lambda bot: not bot.enabled
        ),
        "stop": Press(label="Stop", icon="stop", run=_stop, offered=lambda bot: bot.enabled),
        "reconnect": Press(
            label="Reconnect", icon="refresh", run=_reconnect, offered=lambda bot: bot.enabled
        ),
        "sync": Press(label="Sync", icon="sync", run=_sync, offered=_can_list),
    }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Bot]:
        return super().get_queryset(request).select_related("space", "connection")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return may(request, Act.ADD_BOT)

    def has_change_permission(self, request: HttpRequest, obj: Bot | None = None) -> bool:
        # Nobody can say what is valid for a platform that is not here.
        installed = obj is None or platforms.find(obj.space.platform) is not None
        return installed and may(request, Act.CHANGE_BOT)

    def has_delete_permission(self, request: HttpRequest, obj: Bot | None = None) -> bool:
        return may(request, Act.DELETE_BOT)

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, Act.OPERATE_BOT)

    # Form ---------------------------------------------------------------------------------------

    @method_decorator(sensitive_post_parameters())
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        if request.method == "POST" and object_id is not None:
            self._change_read_receipts(request, object_id)
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _change_read_receipts(self, request: HttpRequest, object_id: str) -> None:
        """Ask the platform before the form is saved: saving is a transaction, and no call to a
        platform belongs in one. A refusal becomes an error of the form."""
        bot = self.get_object(request, object_id)
        if bot is None or not self.has_change_permission(request, bot):
            return
        form = self.get_form(request, bot, change=True)(request.POST, instance=bot)
        if not form.is_valid() or "read_receipts" not in form.changed_data:
            return
        unchanged = self.get_object(request, object_id)
        if unchanged is None:
            return
        try:
            with outside.place():
                lifecycle.set_read_receipts(unchanged, form.cleaned_data["read_receipts"])
        except (PlatformError, Misconfigured, Busy) as error:
            cast(Any, request).receipts_refused = error.detail

    def get_form(
        self, request: HttpRequest, obj: Bot | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is not None and not self._only_viewed(request, obj):
            platform = platforms.find(obj.space.platform)
            assert platform is not None
            refused = getattr(request, "receipts_refused", "")
            kwargs["form"] = form_for(
                obj.space, platform, secrets={}, stored=obj.options, receipts_refused=refused
            )
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Bot | None = None) -> Any:
        if obj is None or self._only_viewed(request, obj):
            return self._fieldsets_to_read()
        platform = platforms.find(obj.space.platform)
        assert platform is not None
        declared = declared_options(platform, "bot")
        behaviour = ["receive", "enabled", "read_receipts"]
        return [
            (None, {"fields": ["space_shown", "name", "slug", "label_words"]}),
            ("Behaviour", {"fields": [*behaviour, "permissions", "handlers", "groups"]}),
            *fieldsets(
                declared,
                option_fields(declared, obj.space.options, obj.options),
                {
                    "description": "A field left empty follows the space or the default, "
                    "which it shows."
                },
            ),
        ]

    def _fieldsets_to_read(self) -> Any:
        return [
            (None, {"fields": ["space_shown", "name", "slug", "labels_shown"]}),
            (
                "Behaviour",
                {
                    "fields": [
                        "receive",
                        "enabled",
                        "read_receipts",
                        "permissions_shown",
                        "handlers_shown",
                        "groups",
                    ]
                },
            ),
            ("Options", {"fields": ["options_shown"]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Bot | None = None) -> Any:
        return (
            "space_shown",
            "labels_shown",
            "permissions_shown",
            "handlers_shown",
            "options_shown",
            "slug",
        )

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs["widget"] = UnfoldAdminCheckboxSelectMultipleWidget()
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return plain(super().formfield_for_dbfield(db_field, request, **kwargs))

    def _only_viewed(self, request: HttpRequest, obj: Bot | None) -> bool:
        return obj is not None and not self.has_change_permission(request, obj)

    # Saving -------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Bot, form: Any, change: bool) -> None:
        # A bot that is saved as it was goes on as it did.
        if fields := form.changed_fields():
            lifecycle.changed(obj, fields=fields, requested_by=actor_of(request).label)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        if "label_words" in form.changed_data:
            labels.put_on(form.instance, form.cleaned_data["label_words"])

    def delete_model(self, request: HttpRequest, obj: Bot) -> None:
        lifecycle.delete(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Bot]) -> None:
        for bot in queryset:
            lifecycle.delete(bot)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        # Not every single event by name: a bot may have millions.
        bots = [f"{bot} with its connection, messages, jobs and events" for bot in objs]
        bots.append("Nothing happens on the platform: accounts, channels and messages there stay.")
        return bots, {self.opts.verbose_name_plural: len(objs)}, set(), []

    # Operations ---------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<int:pk>/ask/<slug:name>/",
                self.admin_site.admin_view(self.ask),
                name=self._url_name("ask"),
            ),
            *super().get_urls(),
        ]

    def ask(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        """The page of one operation; what is entered becomes a job, whose page comes next."""
        bot = get_object_or_404(self.get_queryset(request), pk=pk)
        if name not in OPERATIONS or platforms.find(bot.space.platform) is None:
            raise Http404
        if not may(request, Act.SEND):
            raise PermissionDenied
        operation = OPERATIONS[name]
        if request.method == "POST":
            form = operation(bot, request.POST)
            if form.is_valid():
                job_id = form.submit(actor_of(request))
                messages.success(request, f"Job {job_id} is accepted.")
                return redirect("admin:bots_job_change", job_id)
        else:
            form = operation(bot, initial={"channel": _channel_asked(request, bot)})
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": bot,
            "title": f"{operation.label}: {bot}",
            "form": form,
            "action": operation.label,
            "back": self.url("change", bot.pk),
        }
        return TemplateResponse(request, "admin/bots/operation.html", context)

    # What the form shows -----------------------------------------------------------------------

    @display(description="Space")
    def space_shown(self, bot: Bot) -> str:
        return f"{bot.space} ({platforms.label(bot.space.platform)})"

    @display(description="Permissions")
    def permissions_shown(self, bot: Bot) -> str:
        labels = dict(Permission.choices)
        return ", ".join(str(labels.get(p, p)) for p in bot.permissions) or "none"

    @display(description="Handlers")
    def handlers_shown(self, bot: Bot) -> str:
        return ", ".join(bot.handlers) or "none"

    @display(description="Options")
    def options_shown(self, bot: Bot) -> str:
        platform = platforms.find(bot.space.platform)
        if platform is None:
            return looks.pretty(bot.options)
        return looks.pairs(shown(declared_options(platform, "bot"), bot.options))


def _channel_asked(request: HttpRequest, bot: Bot) -> str:
    """Pages name a channel by its id, people read its name."""
    text = request.GET.get("channel", "")
    if (channel_id := targets.as_id(text)) is None:
        return text
    channel = targets.channels_of(bot).filter(pk=channel_id).first()
    return targets.what_names(bot, channel) if channel else text
