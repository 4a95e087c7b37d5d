"""An install with at least one of everything, and the address of every page in it.

Stories that look at all pages stand on it: a new URL is among them by itself, and one whose
parameters nobody can fill in is an error that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.options import ModelAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from bots import bulk_actions, job_groups, processes
from bots.admin import front, job_many
from bots.admin.bot_pieces import PIECES
from bots.admin.operations import OPERATIONS
from bots.chat import acts, talk_views
from bots.models import (
    Bot,
    BulkKind,
    GroupKind,
    HandlerRun,
    Incident,
    IncidentCode,
    Job,
    Lane,
    Message,
    Severity,
)
from bots.tests.builders import (
    deliver,
    make_bot,
    make_channel,
    make_event,
    make_job,
    make_subscription,
    make_token,
    make_user,
    run_lanes,
)
from spaces.models import Channel

# Of URLs with a `name` in them: those that it can be.
NAMES: dict[str, Iterable[str]] = {
    "fleet": front.PIECES,
    "bots_bot_ask": OPERATIONS,
    "bots_bot_piece": PIECES,
    "bots_bot_lane": ("pause", "resume", "drain"),
    "bots_job_all": job_many.ACTS,
    "steer": talk_views.STEPS,
    "act": acts.ACTS,
}
NOT_PAGES = {
    "autocomplete",
    "login",
    "logout",
    "password_change",
    "password_change_done",
    "view_on_site",
    None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    name: str  # of the URL, with its namespace
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    bot: Bot
    channel: Channel
    keeper: User  # sees the bot; what else they may is for the story to say


def build() -> Estate:
    bot = make_bot("treasury", name="Treasury", handlers=["echo"])
    channel = make_channel(bot, "vault", people=["dagobert"])
    group = Group.objects.create(name="keepers")
    bot.groups.add(group)
    make_subscription("https://shop.example/hook", name="Shop", bots=[bot])
    keeper = make_user("bob")
    keeper.groups.add(group)
    make_token(bots=[bot], created_by=keeper)
    event = make_event(bot, channel)
    make_job(bot, channel, "It is.")
    run_lanes()
    make_job(bot, None, kind="channel.create", payload={"kind": "public", "name": "attic"})
    processes.worked()
    deliver()
    bulk_actions.ask(BulkKind.RECONNECT, [bot], user=keeper)
    wanted = job_groups.Wanted(
        kind=GroupKind.ADD, people=["@dagobert", "@nobody"], channels=[channel]
    )
    job_groups.work(job_groups.ask(bot, wanted, requested_by="bob").pk)
    lane = Lane.objects.filter(bot=bot)[:1].get()
    HandlerRun.objects.create(bot=bot, event=event, handler="echo", lane=lane)
    Incident.objects.create(
        code=IncidentCode.RATE_LIMITED,
        severity=Severity.WARNING,
        key=f"bot:{bot.pk}",
        subject=bot.name,
        bot=bot,
        noticed_at=timezone.now(),
        opened_at=timezone.now(),
    )
    return Estate(bot=Bot.objects.get(pk=bot.pk), channel=channel, keeper=keeper)


def addresses(estate: Estate) -> Iterator[Address]:
    """Of every page for people. Those of the REST API are in its document."""
    for prefix in ("admin", "chat"):
        yield from _below(get_resolver(), estate, prefix)


def _below(resolver: URLResolver, estate: Estate, prefix: str) -> Iterator[Address]:
    for pattern in resolver.url_patterns:
        route = str(pattern.pattern)
        if isinstance(pattern, URLResolver) and route.startswith(f"{prefix}/"):
            namespace = f"{pattern.namespace}:" if pattern.namespace else ""
            for leaf in _leaves(pattern):
                if leaf.name not in NOT_PAGES:
                    name = namespace + str(leaf.name)
                    for values in _fill(leaf, estate):
                        yield Address(name=name, path=reverse(name, kwargs=values))


def _leaves(resolver: URLResolver) -> Iterator[URLPattern]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _leaves(pattern)
        else:
            yield pattern


def _fill(pattern: URLPattern, estate: Estate) -> Iterator[dict[str, Any]]:
    """All ways in which a story can fill in the parameters of a URL."""
    model_admin = _admin_of(str(pattern.name))
    row = _row(model_admin.model, estate) if model_admin else None
    names = list(pattern.pattern.converters) or list(
        (getattr(pattern.pattern, "regex", None) and pattern.pattern.regex.groupindex) or ()
    )
    filled: dict[str, Any] = {}
    for name in names:
        match name:
            case "pk" | "object_id" | "id" if row is not None:
                filled[name] = row.pk
            case "app_label":
                filled[name] = "bots"
            case "slug":
                filled[name] = estate.bot.slug
            case "bot_pk":
                filled[name] = estate.bot.pk
            case "room_id":
                filled[name] = estate.channel.pk
            case "message_id" | "thread_id":
                filled[name] = Message.objects.filter(bot=estate.bot)[:1].get().pk
            case "job_id":
                filled[name] = Job.objects.filter(bot=estate.bot)[:1].get().pk
            case "lane_pk":
                filled[name] = Lane.objects.filter(bot=estate.bot)[:1].get().pk
            case "number":
                filled[name] = 0
            case "name":
                continue
            case _:
                raise AssertionError(f"nobody knows what to put for {name!r} in {pattern}")
    if "name" not in names:
        yield filled
        return
    for name in _choices(str(pattern.name), model_admin):
        yield {**filled, "name": name}


def _choices(url: str, model_admin: Any) -> Iterable[str]:
    if url.endswith("_do"):
        return list(model_admin.presses)
    if url not in NAMES:
        raise AssertionError(f"nobody knows which names {url} takes")
    return NAMES[url]


def _admin_of(url: str) -> ModelAdmin[Any] | None:
    app, _, rest = url.partition("_")
    model_name = rest.partition("_")[0]
    if app not in apps.app_configs or model_name not in apps.all_models[app]:
        return None
    return admin.site.get_model_admin(apps.get_model(app, model_name))


def _row(model: type[Model], estate: Estate) -> Model:
    if model is Bot:
        return estate.bot
    if model is Channel:
        return estate.channel
    if model is User:
        return estate.keeper
    rows = model._default_manager.all()
    if any(field.name == "bot" for field in model._meta.fields):
        rows = rows.filter(bot=estate.bot)
    row = rows.first()
    if row is None:
        raise AssertionError(f"the estate has no {model._meta.verbose_name}: build one")
    return row
