"""New credentials for one bot, in two steps: they are tried, and then somebody says to use them.

Between the steps they wait in `bots.held`, for whoever entered them and for this bot, ten minutes
at most. No page shows them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from bots import held as held_secrets
from bots import lifecycle, rotation
from bots.access import Act
from bots.admin import credentials, looks, platforms, spent
from bots.admin.base import OperatorAdmin, actor_of, may
from bots.api import outside
from bots.models import Bot
from bots.refusals import Busy, Refused
from bots.rotation import Trial
from spaces.platforms.messages import CANNOT

KEPT_SECONDS = 600
MARKS = {
    "ok": ("fine", "success"),
    CANNOT: ("cannot", ""),
    "warning": ("warning", "warning"),
    "error": ("wrong", "danger"),
}


class CredentialsForm(forms.Form):
    """What is left empty stays as it is; what the platform must have cannot be removed."""

    def __init__(self, bot: Bot, data: Mapping[str, Any] | None = None):
        super().__init__(data)
        self.bot = bot
        platform = platforms.find(bot.space.platform)
        declared = platform.credentials if platform else ()
        fields = credentials.credential_fields(declared, credentials.known(bot), adding=False)
        needed = {credentials.REMOVE + one.name for one in declared if one.required}
        self.fields.update({name: one for name, one in fields.items() if name not in needed})

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        values = credentials.chosen(cleaned)
        if not values and not credentials.expiries(self) and not self.errors:
            raise forms.ValidationError("Nothing was entered.")
        try:
            lifecycle.check_credentials(self.bot, values)
        except Refused as refused:
            self.add_error(None, refused.detail)
        return cleaned


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What waits for somebody to say that it is to be used."""

    bot: int
    user: int | None
    values: dict[str, str]
    expiries: dict[str, str | None]
    account: str  # the other account that they belong to; empty: the same as before
    learned: str  # by the trial, see `rotation.Trial`

    def dates(self) -> dict[str, date | None]:
        return {
            name: date.fromisoformat(day) if day else None for name, day in self.expiries.items()
        }


class ReplaceCredentials(OperatorAdmin):
    """What `BotAdmin` has for this."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.replace_credentials)
        name = self._url_name("credentials")
        return [path("<int:pk>/credentials/", view, name=name), *super().get_urls()]

    @method_decorator([sensitive_post_parameters(), never_cache])
    def replace_credentials(self, request: HttpRequest, pk: int) -> HttpResponse:
        bot = get_object_or_404(self.get_queryset(request), pk=pk)
        if not may(request, Act.CHANGE_BOT):
            raise PermissionDenied
        if platforms.find(bot.space.platform) is None:
            raise Http404
        if request.method == "POST" and "use" in request.POST:
            return self._when_asked(request, bot)
        _held(request, bot)  # whatever was entered before is not wanted any more
        if request.method == "POST":
            return self._try(request, bot)
        return self._ask(request, bot, CredentialsForm(bot))

    def _try(self, request: HttpRequest, bot: Bot) -> HttpResponse:
        form = CredentialsForm(bot, request.POST)
        if not form.is_valid():
            return self._ask(request, bot, form)
        values, dates = credentials.chosen(form.cleaned_data), credentials.expiries(form)
        if not values:
            lifecycle.set_expiries(bot, dates)
            messages.success(request, "The date is changed; the credentials stay as they are.")
            return redirect(self.url("change", bot.pk))
        try:
            with outside.place():
                trial = rotation.attempt(bot, values, learned=spent.before(request, bot))
        except Refused as refused:
            form.add_error(None, refused.detail)
            return self._ask(request, bot, form)
        spent.note(request, bot, trial)
        if not trial.ok and trial.refused != rotation.OTHER_ACCOUNT:
            return self._ask(request, bot, CredentialsForm(bot), trial)
        assert trial.identity is not None
        held = Held(
            bot=bot.pk,
            user=request.user.pk,
            values=values,
            expiries={name: day.isoformat() if day else None for name, day in dates.items()},
            account="" if trial.ok else trial.identity.person.id,
            learned=trial.learned,
        )
        request.session[_key(bot)] = held_secrets.hold(
            json.dumps(asdict(held)), seconds=KEPT_SECONDS
        )
        return self._ask(request, bot, None, trial)

    def _when_asked(self, request: HttpRequest, bot: Bot) -> HttpResponse:
        try:
            with outside.place_soon():
                return self._use(request, bot)
        except Busy as busy:  # what waits goes on waiting
            messages.warning(request, busy.detail)
            return self._ask(request, bot, None)

    def _use(self, request: HttpRequest, bot: Bot) -> HttpResponse:
        held = _held(request, bot)
        if held is None:
            messages.error(
                request,
                "What you entered is not kept any more: it is for ten minutes, and for one use. "
                "The page says since when the bot has its credentials.",
            )
            return redirect(self.url("change", bot.pk))
        actor = actor_of(request)
        trial = rotation.replace_credentials(
            bot,
            held.values,
            user=actor.user,
            requested_by=actor.label,
            accepted_account=held.account,
            learned=held.learned,
            expiries=held.dates(),
        )
        spent.note(request, bot, trial)
        if not trial.ok:
            return self._ask(request, bot, CredentialsForm(bot), trial)
        messages.success(request, f"{bot} uses the new credentials. {trial.findings[0].text}")
        return redirect(self.url("change", bot.pk))

    def _ask(
        self,
        request: HttpRequest,
        bot: Bot,
        form: CredentialsForm | None,
        trial: Trial | None = None,
    ) -> HttpResponse:
        """The page of a step: the form, or what was found and whether to use it."""
        findings = trial.findings if trial else []
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": bot,
            "title": f"Replace credentials: {bot}",
            "form": form,
            "findings": [(looks.badge(*MARKS[one.mark]), one) for one in findings],
            "is_other": trial is not None and trial.refused == rotation.OTHER_ACCOUNT,
            "person": trial.identity.person if trial and trial.identity else None,
            "minutes": KEPT_SECONDS // 60,
            "here": self.url("credentials", bot.pk),
            "back": self.url("change", bot.pk),
        }
        return TemplateResponse(request, "admin/bots/bot/credentials.html", context)


def _key(bot: Bot) -> str:
    return f"credentials-of-bot-{bot.pk}"


def _held(request: HttpRequest, bot: Bot) -> Held | None:
    """What waits, for one use."""
    kept = held_secrets.take(request.session.pop(_key(bot), ""))
    if kept is None:
        return None
    try:
        held = Held(**json.loads(kept))
    except TypeError:  # it was kept by another version of botadmin
        return None
    return held if (held.bot, held.user) == (bot.pk, request.user.pk) else None
