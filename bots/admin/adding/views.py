"""The first three steps: choose a platform, choose or add a space, enter the bot."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from bots import access, adding, audit
from bots.access import Act
from bots.admin import credentials, platforms, spent
from bots.admin.adding import steps, trial
from bots.admin.adding.bots import NewBotForm, new_bot_form
from bots.admin.adding.spaces import NewSpaceForm, new_space_form
from bots.admin.adding.trial import Outcome
from bots.admin.base import OperatorAdmin, actor_of, may
from bots.api import outside
from bots.models import Bot
from bots.refusals import Refused
from bots.targets import as_id
from spaces.models import Space
from spaces.platforms.contract import Platform
from spaces.platforms.messages import Finding

SPACES_SHOWN = 50
LONGEST_SEARCH = 100  # characters


class AddBot(OperatorAdmin):
    """What `BotAdmin` has for this."""

    @method_decorator([sensitive_post_parameters(), never_cache])
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The step that the address names; one that names nothing there is leads to the first."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if (space := self._space_named(request)) is not None:
            return self._bot_step(request, space)
        platform = platforms.find(request.GET.get("platform", ""))
        if platform is not None:
            return self._space_step(request, platform)
        return self._show(
            request,
            "platform.html",
            title="Add a bot",
            way=steps.way(1, bot=None),
            cards=platforms.cards(),
        )

    def _space_named(self, request: HttpRequest) -> Space | None:
        space_id = as_id(request.GET.get("space", ""))
        if space_id is None:
            return None
        space = access.spaces(actor_of(request)).filter(pk=space_id).first()
        return space if space and platforms.find(space.platform) else None

    def _show(self, request: HttpRequest, template: str, **context: Any) -> HttpResponse:
        shared = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, f"admin/bots/adding/{template}", shared | context)

    # The space ----------------------------------------------------------------------------------

    def _space_step(self, request: HttpRequest, platform: type[Platform]) -> HttpResponse:
        may_add = self.admin_site.get_model_admin(Space).has_add_permission(request)
        form, finding = None, None
        if request.method == "POST":
            if not may_add:
                raise PermissionDenied
            form = new_space_form(platform)(request.POST)
            finding = self._reached(form) if form.is_valid() else None
            is_fine = finding is None or finding.level == "ok" or "anyway" in request.POST
            if form.is_valid() and is_fine:
                return self._add_space(request, form, finding)
        elif may_add:
            form = new_space_form(platform)()
        search = request.GET.get("q", "").strip()[:LONGEST_SEARCH].replace("\0", "")
        actor = actor_of(request)
        known = access.spaces(actor).filter(platform=platform.name)
        named = known.filter(
            Q(name__icontains=search) | Q(slug__icontains=search) | Q(url__icontains=search)
        )
        counted = Count("bots", filter=Q(bots__in=access.bots(actor)))
        found = list(named.annotate(bot_count=counted)[: SPACES_SHOWN + 1])
        return self._show(
            request,
            "space.html",
            title=f"Add a bot: which space of {platform.label}?",
            way=steps.way(2, platform=platform.name, label=platform.label, bot=None),
            platform=platforms.card(platform),
            found=[(space, steps.bot_url(space)) for space in found[:SPACES_SHOWN]],
            more=len(found) > SPACES_SHOWN,
            search=search,
            is_first=not search and not found,
            form=form,
            finding=finding,
            here=steps.space_url(platform.name),
        )

    def _reached(self, form: NewSpaceForm) -> Finding | None:
        try:
            with outside.place():
                return adding.reach(form.instance)
        except Refused as refused:
            form.add_error(None, refused.detail)
            return None

    def _add_space(
        self, request: HttpRequest, form: NewSpaceForm, finding: Finding | None
    ) -> HttpResponse:
        with audit.together():
            space: Space = form.save()
            audit.created(space)
        told = f"The space {space} is added. {finding.text if finding else ''}".strip()
        tell = messages.success if finding is None or finding.level == "ok" else messages.warning
        tell(request, told)
        return redirect(steps.bot_url(space))

    # The bot ------------------------------------------------------------------------------------

    def _bot_step(self, request: HttpRequest, space: Space) -> HttpResponse:
        platform = platforms.find(space.platform)
        assert platform is not None
        if request.method != "POST":
            return self._bot_page(request, space, platform, new_bot_form(space, platform)(), None)
        form = new_bot_form(space, platform)(request.POST)
        outcome = self._done(request, form) if form.is_valid() else None
        if isinstance(outcome, Bot):
            return self._saved(request, outcome)
        if request.headers.get("HX-Request"):
            # What is in the browser's fields stays there: a secret is never sent back.
            context = {"form": form, "outcome": outcome}
            return TemplateResponse(request, "admin/bots/adding/outcome.html", context)
        return self._bot_page(request, space, platform, form, outcome)

    def _done(self, request: HttpRequest, form: NewBotForm) -> Outcome | Bot | None:
        """What was pressed: a test has an outcome, saving has the bot or why it was not saved."""
        try:
            if request.POST.get("do") == "test":
                with outside.place():
                    return trial.test(request, form)
            untested = trial.why_not(request, form)
            if untested and request.POST.get("do") != "anyway":
                return Outcome(findings=[], anyway=untested)
            adding.add(
                form.instance,
                form.values(),
                actor=actor_of(request),
                expiries=credentials.expiries(form),
                untested=untested,
                learned=spent.before(request, form.instance) if untested else trial.forget(request),
            )
        except Refused as refused:
            form.add_error(None, refused.detail)
            return None
        except IntegrityError:
            form.add_error("slug", "Somebody has just added a bot with this slug.")
            return None
        trial.forget(request)
        bot: Bot = form.instance
        return bot

    def _saved(self, request: HttpRequest, bot: Bot) -> HttpResponse:
        messages.success(request, f"{bot} is added.")
        next_step = "first_channels" if may(request, Act.SEND) else "change"
        url = self.url(next_step, bot.pk)
        if not request.headers.get("HX-Request"):
            return redirect(url)
        answer = HttpResponse(status=204)
        answer["HX-Redirect"] = url
        return answer

    def _bot_page(
        self,
        request: HttpRequest,
        space: Space,
        platform: type[Platform],
        form: NewBotForm,
        outcome: Outcome | None,
    ) -> HttpResponse:
        return self._show(
            request,
            "bot.html",
            title=f"Add a bot to {space}",
            way=steps.way(3, platform=platform.name, label=platform.label, space=space, bot=None),
            space=space,
            platform=platforms.card(platform),
            form=form,
            outcome=outcome,
            here=steps.bot_url(space),
            variable=settings.BOTADMIN_CREDENTIAL_VARIABLES[0],
        )
