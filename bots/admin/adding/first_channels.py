"""The last step: where the new bot is to be, and its first words there.

The list of channels is asked of the platform while somebody looks at the page, because it may take
its time; what is chosen becomes jobs, and the next page follows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_GET
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from bots import idempotency, jobs, stuck, targets
from bots.access import Act, Actor
from bots.admin import live, looks, platforms
from bots.admin.adding import steps
from bots.admin.adding.looking_around import look_around
from bots.admin.base import OperatorAdmin, actor_of, may
from bots.connections import states
from bots.models import Bot, Job, JobKind, WorkState
from bots.refusals import Refused
from bots.targets import as_id
from spaces.models import Channel
from spaces.platforms import registry
from spaces.platforms.contract import Ability
from spaces.platforms.messages import ChannelKind
from spaces.storable import storable

LONGEST_ID = 255  # characters
MOST_JOBS = 50  # followed at once
GREETED = 20  # channels that are offered for the first words
FOLLOW_SECONDS = 1.5
UNFINISHED = (WorkState.QUEUED, WorkState.RUNNING)
AGAIN = (WorkState.FAILED, WorkState.CANCELLED, WorkState.EXPIRED)
DOING = {
    JobKind.JOIN_CHANNEL: "Join",
    JobKind.CREATE_CHANNEL: "Create",
    JobKind.POST: "Say hello in",
    JobKind.SYNC: "Read which channels it is in",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """A room for its first words, and the job that says them, if one was asked for."""

    room: Channel
    job: Job | None

    @property
    def can_be_asked(self) -> bool:
        return self.job is None or self.job.state in AGAIN

    @property
    def is_under_way(self) -> bool:
        return self.job is not None and self.job.state in UNFINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What becomes of one job."""

    job: Job
    text: str
    badge: SafeString
    reason: str
    next_step: str


class ChannelsForm(forms.Form):
    # One form is asked once, however often it is sent.
    once = forms.CharField(max_length=32, widget=forms.HiddenInput)
    named = forms.CharField(
        label="Join others, by their names",
        required=False,
        max_length=2_000,
        help_text="With commas between them.",
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
    )
    title = forms.CharField(
        label="Create one, called",
        required=False,
        max_length=64,
        help_text="The bot is in it from the start.",
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
    )
    channel_kind = forms.ChoiceField(
        label="Who may see it",
        required=False,
        choices=[("public", "everybody there (public)"), ("private", "its members (private)")],
        widget=UnfoldAdminSelectWidget(),
    )

    def __init__(self, bot: Bot, data: QueryDict | None = None):
        super().__init__(data, initial={"once": uuid4().hex})
        self.bot = bot
        self.ticked = ticked(data) if data is not None else {}
        abilities = registry.get(bot.space.platform).abilities
        if Ability.JOIN_LEAVE not in abilities:
            del self.fields["named"]
        if Ability.CREATE_CHANNEL not in abilities:
            del self.fields["title"], self.fields["channel_kind"]

    def clean(self) -> dict[str, Any]:
        entered = super().clean() or self.cleaned_data
        self.requests = list(self._wanted(entered)) if not self.errors else []
        if len(self.requests) >= MOST_JOBS:
            self.add_error(None, f"That are too many at once: at most {MOST_JOBS - 1}.")
        try:
            for request in self.requests:
                jobs.check(self.bot, request)
        except Refused as refused:
            self.add_error(None, refused.detail)
        return entered

    def _wanted(self, entered: dict[str, Any]) -> Iterator[jobs.Request]:
        joins = [{"channel": one, "name": title} for one, title in self.ticked.items()]
        names = [name.strip().lstrip("#~") for name in entered.get("named", "").split(",")]
        joins += [{"name": name} for name in names if name]
        for payload in joins:
            yield jobs.Request(kind=JobKind.JOIN_CHANNEL, payload=payload)
        if title := entered.get("title"):
            kind = entered["channel_kind"] or ChannelKind.PUBLIC.value
            payload = {"kind": kind, "title": title}
            yield jobs.Request(kind=JobKind.CREATE_CHANNEL, payload=payload)

    def submit(self, actor: Actor) -> list[int]:
        """Store the jobs, once, and one that reads what came of them. Raises `Refused`."""
        wanted = list(self.requests)
        if Ability.LIST_CHANNELS in registry.get(self.bot.space.platform).abilities:
            wanted.append(jobs.Request(kind=JobKind.SYNC))
        key = f"{self.cleaned_data['once']} {self.bot.pk}"
        return _once(self.bot, key, wanted, actor)


def ticked(data: QueryDict) -> dict[str, str]:
    """The ids of the channels that are ticked, with their titles as the page showed them."""
    ids = (storable(one) for one in data.getlist("join") if 0 < len(one) <= LONGEST_ID)
    # The titles are only for the page that follows.
    return {one: storable(str(data.get(f"title-{one}", "")))[:200] or one for one in ids}


def _once(bot: Bot, key: str, wanted: list[jobs.Request], actor: Actor) -> list[int]:
    asked = idempotency.fingerprint(bot.pk, [asdict(one) for one in wanted])
    answer, _ = idempotency.perform(
        idempotency.of_form(actor.key, key, asked),
        lambda: [job.pk for job in jobs.submit_many(bot, wanted, requested_by=actor.label)],
    )
    return list(answer)


class FirstChannels(OperatorAdmin):
    """What `BotAdmin` has for this."""

    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("first-channels", self.first_channels, "first_channels"),
            ("first-channels/found", self.channels_found, "channels_found"),
            ("hello", self.hello, "hello"),
            ("hello/now", require_GET(self.hello_now), "hello_now"),
        )
        return [
            path(f"<int:pk>/{route}/", self.admin_site.admin_view(view), name=self._url_name(name))
            for route, view, name in pages
        ] + super().get_urls()

    # Which channels -----------------------------------------------------------------------------

    def first_channels(self, request: HttpRequest, pk: int) -> HttpResponse:
        bot = self._new_bot(request, pk)
        form = ChannelsForm(bot, request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                ids = form.submit(actor_of(request)) if form.requests else []
            except Refused as refused:
                form.add_error(None, refused.detail)
            else:
                return redirect(self._hello_url(bot, ids))
        return self._page(
            request,
            bot,
            "channels.html",
            title=f"Where is {bot} to be?",
            form=form,
            ticked=form.ticked,
            found_url=self.url("channels_found", bot.pk),
            skip=self._hello_url(bot, []),
        )

    def channels_found(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The channels that the platform tells of now, for the page. Its form is sent along, and
        changes nothing: what is ticked in it may be too much for an address."""
        bot = self._new_bot(request, pk)
        abilities = registry.get(bot.space.platform).abilities
        context = {
            "bot": bot,
            "found": look_around(bot),
            "ticked": ticked(request.POST),
            "again": request.path,
            "credentials_url": self.url("credentials", bot.pk)
            if may(request, Act.CHANGE_BOT)
            else "",
            "can_list": Ability.LIST_JOINABLE in abilities,
            "can_join": Ability.JOIN_LEAVE in abilities,
            "can_create": Ability.CREATE_CHANNEL in abilities,
        }
        return TemplateResponse(request, "admin/bots/adding/found.html", context)

    # What becomes of them, and the first words --------------------------------------------------

    def hello(self, request: HttpRequest, pk: int) -> HttpResponse:
        bot = self._new_bot(request, pk)
        refused = ""
        if request.method == "POST":
            channel = self._channel(bot, request.POST.get("channel", ""))
            wanted = jobs.Request(
                kind=JobKind.POST, channel=channel, payload={"text": greeting(bot)}
            )
            after = as_id(request.POST.get("after", "")) or 0
            try:
                ids = _once(bot, f"hello {channel.pk} {after}", [wanted], actor_of(request))
            except Refused as error:
                refused = error.detail
            else:
                return redirect(self._hello_url(bot, [*ids, *_ids(request)]))
        return self._page(
            request,
            bot,
            "hello.html",
            title=f"{bot} comes to life",
            now=self._now(request, bot),
            refused=refused,
            chat=reverse("chat:rooms", args=[bot.slug]),
            page=self.url("change", bot.pk),
            again=self.url("first_channels", bot.pk),
        )

    def hello_now(self, request: HttpRequest, pk: int) -> HttpResponse:
        return live.follow(request, self._now(request, self._new_bot(request, pk)))

    def _now(self, request: HttpRequest, bot: Bot) -> live.Piece:
        ids = _ids(request)
        asked = list(Job.objects.filter(bot=bot, pk__in=ids).select_related("channel"))
        asked.sort(key=lambda job: job.pk)
        shown = states.shown(bot)
        open_jobs = [job for job in asked if job.state in UNFINISHED]
        rooms = targets.channels_of(bot).filter(archived=False).exclude(kind=ChannelKind.DIRECT)
        context = {
            "bot": bot,
            "lines": _lines(asked),
            "ended": len(asked) - len(open_jobs),
            "total": len(asked),
            "percent": 100 * (len(asked) - len(open_jobs)) // len(asked) if asked else 0,
            "state": looks.state(shown.state),
            "shown": shown,
            "greeting": greeting(bot),
            "rooms": _greetings(rooms.order_by("-pk")[:GREETED], asked),
            "hello_url": self._hello_url(bot, ids),
        }
        return live.piece(
            request,
            "hello-now",
            reverse("admin:bots_bot_hello_now", args=[bot.pk], query={"job": ids}),
            "admin/bots/adding/now.html",
            context,
            every=FOLLOW_SECONDS if open_jobs else live.SECONDS,
        )

    # --------------------------------------------------------------------------------------------

    def _new_bot(self, request: HttpRequest, pk: int) -> Bot:
        """Whoever may not see it finds nothing; whoever may only look is refused."""
        bot: Bot = get_object_or_404(self.get_queryset(request), pk=pk)
        if not may(request, Act.SEND) or platforms.find(bot.space.platform) is None:
            raise PermissionDenied
        return bot

    def _channel(self, bot: Bot, text: str) -> Channel:
        return get_object_or_404(targets.channels_of(bot), pk=as_id(text) or 0)

    def _hello_url(self, bot: Bot, ids: list[int]) -> str:
        followed = list(dict.fromkeys(ids))[:MOST_JOBS]
        return reverse("admin:bots_bot_hello", args=[bot.pk], query={"job": followed})

    def _page(self, request: HttpRequest, bot: Bot, template: str, **context: Any) -> HttpResponse:
        shared = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": bot,
            "bot": bot,
            "way": steps.way(
                4, label=platforms.label(bot.space.platform), space=bot.space, bot=bot
            ),
        }
        return TemplateResponse(request, f"admin/bots/adding/{template}", shared | context)


def greeting(bot: Bot) -> str:
    return f"Hello, I am {bot.name}."


def _greetings(rooms: Iterable[Channel], asked: list[Job]) -> list[Greeting]:
    """Where it can say hello; `asked` is sorted, the last one counts."""
    said = {job.channel_id: job for job in asked if job.kind == JobKind.POST}
    return [Greeting(room=room, job=said.get(room.pk)) for room in rooms]


def _lines(asked: list[Job]) -> list[Line]:
    reasons = stuck.explain(asked)
    return [
        Line(
            job=job,
            text=_text(job),
            badge=looks.state(job.state),
            reason=reasons[job.pk].text if job.pk in reasons else job.error_detail,
            next_step=reasons[job.pk].next_step if job.pk in reasons else job.next_step,
        )
        for job in asked
    ]


def _text(job: Job) -> str:
    doing = DOING.get(JobKind(job.kind), job.kind)
    about = job.channel or job.payload.get("title") or job.payload.get("name") or ""
    return f"{doing} {about}".strip()


def _ids(request: HttpRequest) -> list[int]:
    """The jobs that the address names."""
    ids = [as_id(text) for text in request.GET.getlist("job")[:MOST_JOBS]]
    return list(dict.fromkeys(pk for pk in ids if pk is not None))
