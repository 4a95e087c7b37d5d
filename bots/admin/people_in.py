"""Who is to be in which channels: the pages that ask, before a dry run.

First the bot, then a form: the people as somebody pastes them, and the channels, searched for while
one types, because a bot may be in thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_GET
from unfold.widgets import (
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanWidget,
)

from bots import access, idempotency, job_groups, jobs, targets
from bots.admin.base import GrowingAdmin, actor_of
from bots.job_groups import MOST_CHANNELS, MOST_PEOPLE, Reading, Wanted
from bots.models import Bot, GroupKind, JobGroup, JobKind
from bots.refusals import Refused
from bots.targets import as_id
from spaces.models import Channel
from spaces.platforms import registry
from spaces.platforms.contract import Ability
from spaces.platforms.errors import Misconfigured
from spaces.platforms.messages import ChannelKind

BOTS_SHOWN = 50
CHANNELS_SHOWN = 50
PASSED_OVER_SHOWN = 5
LONGEST_SHOWN = 40  # characters of each of these
LONGEST_LIST = 1_000_000  # characters
LONGEST_SEARCH = 200  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A bot to choose, and what it may and can do."""

    bot: Bot
    can: str
    why_not: Sequence[str]


class ChannelsField(forms.ModelMultipleChoiceField):
    def clean(self, value: Any) -> Any:
        """A number that no row can have is as little a channel as a word is."""
        if any(as_id(str(one)) is None for one in value or ()):
            raise forms.ValidationError("That is no channel.")
        return super().clean(value)


class PeopleForm(forms.Form):
    # One form is one dry run, however often it is sent.
    once = forms.CharField(max_length=32, widget=forms.HiddenInput)
    kind = forms.ChoiceField(
        label="What to do",
        choices=GroupKind.choices,
        widget=UnfoldAdminRadioSelectWidget,
    )
    people = forms.CharField(
        max_length=LONGEST_LIST,
        widget=UnfoldAdminTextareaWidget({"rows": 10, "spellcheck": "false"}),
        help_text=(
            "One per line, or with commas between them: @name, name@example.com, an id, or Name "
            "&lt;name@example.com&gt; as a mail program has it. A column of a spreadsheet will do. "
            f"Up to {MOST_PEOPLE:,} people."
        ),
    )
    moderator = forms.BooleanField(
        required=False,
        label="As moderators",
        help_text="Who is added moderates the channels, too. Not for removing.",
        widget=UnfoldBooleanWidget(),
    )
    channels = ChannelsField(
        Channel.objects.none(),
        error_messages={
            "required": "Choose a channel.",
            "invalid_choice": "The bot is not in one of these channels any more.",
        },
    )
    reading: Reading

    def __init__(self, bot: Bot, data: Any = None, initial: dict[str, Any] | None = None):
        super().__init__(data, initial={"once": uuid4().hex, **(initial or {})})
        self.bot = bot
        self.fields["channels"].queryset = channels_of(bot)  # type: ignore[attr-defined]
        if Ability.MODERATORS not in registry.get(bot.space.platform).abilities:
            del self.fields["moderator"]

    def chosen(self) -> list[Channel]:
        """The channels to show as chosen, also on a form that is shown again."""
        values: Any = self["channels"].value() or ()
        ids = [pk for value in values if (pk := as_id(str(value))) is not None]
        return list(channels_of(self.bot).filter(pk__in=ids[:MOST_CHANNELS]))

    def clean_people(self) -> str:
        text: str = self.cleaned_data["people"]
        self.reading = job_groups.read(text)
        if not self.reading.people:
            raise forms.ValidationError("Nobody is named here.")
        return text

    def clean(self) -> dict[str, Any]:
        entered = super().clean() or self.cleaned_data
        if self.errors:
            return entered
        kind = GroupKind(entered["kind"])
        self.wanted = Wanted(
            kind=kind,
            people=self.reading.people,
            channels=list(entered["channels"]),
            moderator=bool(entered.get("moderator")) and kind == GroupKind.ADD,
        )
        try:
            job_groups.check(self.bot, self.wanted)
        except Refused as refused:
            self.add_error(refused.field if refused.field in self.fields else None, refused.detail)
        return entered

    def submit(self, actor: access.Actor) -> int:
        """Begin the dry run, once; returns the id of its group. Raises `Refused`."""
        wanted = self.wanted
        pks = [channel.pk for channel in wanted.channels]
        asked = idempotency.fingerprint(
            self.bot.pk, wanted.kind, wanted.people, pks, wanted.moderator
        )
        once = idempotency.of_form(actor.key, self.cleaned_data["once"], asked)
        group_id, _ = idempotency.perform(
            once, lambda: job_groups.ask(self.bot, wanted, requested_by=actor.label).pk
        )
        return int(group_id)


def channels_of(bot: Bot) -> QuerySet[Channel]:
    """Where people can be added and removed: not in what two have between them."""
    return targets.channels_of(bot).filter(archived=False).exclude(kind=ChannelKind.DIRECT)


def choice(bot: Bot) -> Choice:
    can, why_not = [], []
    for kind in GroupKind:
        try:
            jobs.check(bot, jobs.Request(kind=JobKind(kind.value)))
        except Refused as refused:
            why_not.append(refused.detail)
        else:
            can.append(kind.label.lower())
    if can and Ability.MODERATORS in registry.get(bot.space.platform).abilities:
        can.append("make moderators")
    if not bot.enabled:
        why_not.append("It is switched off. Start it first.")
    return Choice(bot=bot, can=", ".join(can), why_not=list(dict.fromkeys(why_not)))


class PeopleIn(GrowingAdmin):
    """The pages, for whoever may operate bots."""

    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("people/", self.choose, "choose"),
            ("people/<int:bot_pk>/", self.people, "people"),
            ("people/<int:bot_pk>/channels/", require_GET(self.channels), "channels"),
        )
        return [
            path(route, self.admin_site.admin_view(view), name=self._url_name(name))
            for route, view, name in pages
        ] + super().get_urls()

    def choose(self, request: HttpRequest) -> HttpResponse:
        """Which bot is to do it."""
        self._only_operators(request)
        text = request.GET.get("q", "").strip()[:LONGEST_SEARCH].replace("\0", "")
        named = Q(name__icontains=text) | Q(slug__icontains=text) | Q(space__name__icontains=text)
        rows = access.bots(actor_of(request)).select_related("space").order_by("name", "pk")
        bots = list(rows.filter(named)[: BOTS_SHOWN + 1])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Which bot?",
            "choices": [choice(bot) for bot in bots[:BOTS_SHOWN]],
            "more": len(bots) > BOTS_SHOWN,
            "q": text,
            "kept": {name: request.GET[name] for name in ("kind",) if name in request.GET},
        }
        return TemplateResponse(request, "admin/bots/jobgroup/choose.html", context)

    def people(self, request: HttpRequest, bot_pk: int) -> HttpResponse:
        """Whom, and where. What comes next is the page of the dry run."""
        bot = self._bot(request, bot_pk)
        if request.method == "POST":
            form = PeopleForm(bot, request.POST)
            if form.is_valid():
                try:
                    group_id = form.submit(actor_of(request))
                except Refused as refused:
                    form.add_error(None, refused.detail)
                else:
                    messages.success(request, _read(form.reading))
                    return redirect("admin:bots_jobgroup_change", group_id)
        else:
            form = PeopleForm(bot, initial=self._initial(request, bot))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Add or remove people: {bot}",
            "form": form,
            "choice": choice(bot),
            "channels_url": self.url("channels", bot.pk),
            "back": self.url("choose"),
        }
        return TemplateResponse(request, "admin/bots/jobgroup/people.html", context)

    def channels(self, request: HttpRequest, bot_pk: int) -> HttpResponse:
        """The channels to choose from, for the search on the form."""
        bot = self._bot(request, bot_pk)
        text = request.GET.get("q", "").strip()[:LONGEST_SEARCH].replace("\0", "").lstrip("#~")
        rows = channels_of(bot)
        if text:
            named = Q(name__icontains=text) | Q(title__icontains=text) | Q(remote_id=text)
            rows = rows.filter(named)
        found = list(rows[: CHANNELS_SHOWN + 1])
        context = {
            "found": found[:CHANNELS_SHOWN],
            "more": len(found) > CHANNELS_SHOWN,
            "q": text,
            "bot": bot,
        }
        return TemplateResponse(request, "admin/bots/jobgroup/channels.html", context)

    def _bot(self, request: HttpRequest, pk: int) -> Bot:
        """Whoever may not see it finds nothing; whoever may only look is refused."""
        rows = access.bots(actor_of(request)).select_related("space")
        bot = get_object_or_404(rows, pk=pk)
        self._only_operators(request)
        try:
            registry.get(bot.space.platform)
        except Misconfigured as error:
            raise PermissionDenied(error.detail) from error
        return bot

    def _only_operators(self, request: HttpRequest) -> None:
        if not self.has_operate_permission(request):
            raise PermissionDenied

    def _initial(self, request: HttpRequest, bot: Bot) -> dict[str, Any]:
        """What the address says: a channel to begin with, or a dry run to correct."""
        kinds = [kind for kind in GroupKind if request.GET.get("kind") == kind]
        initial: dict[str, Any] = {"kind": kinds[0] if kinds else GroupKind.ADD}
        if (channel_id := as_id(request.GET.get("channel", ""))) is not None:
            initial["channels"] = [channel_id]
        group_id = as_id(request.GET.get("like", ""))
        rows = self.get_queryset(request).filter(bot=bot)
        group: JobGroup | None = rows.filter(pk=group_id).first() if group_id else None
        if group is not None:
            asked = group.people.values_list("asked", flat=True)
            initial |= {
                "kind": group.kind,
                "moderator": group.moderator,
                "people": "\n".join(asked),
                "channels": list(group.channels.values_list("channel", flat=True)),
            }
        return initial


def _read(reading: Reading) -> str:
    count = len(reading.people)
    told = f"{count:,} {'person was' if count == 1 else 'people were'} read."
    if reading.doubles:
        times = "time" if reading.doubles == 1 else "times"
        told += f" Somebody was named twice {reading.doubles:,} {times}; that counts once."
    if reading.passed_over:
        some = "; ".join(one[:LONGEST_SHOWN] for one in reading.passed_over[:PASSED_OVER_SHOWN])
        more = "; …" if len(reading.passed_over) > PASSED_OVER_SHOWN else ""
        told += (
            f" Passed over, as headings or as names beside an address: {len(reading.passed_over):,}"
            f" ({some}{more})."
        )
    return told
