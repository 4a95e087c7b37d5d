"""The way from an empty install to a bot that talks: what is done, and one button for what is next.

It is shown as long as there are only a few bots and none of them has said anything. The bot of the
demo does not count: nobody learns the way from what was there already."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

from bots import demo
from bots.access import Act
from bots.admin import platforms
from bots.admin.fleet.attention import Way, press, test_of
from bots.admin.fleet.scope import Scope
from bots.admin.operations import OPERATIONS
from bots.connections import states
from bots.models import Bot, Job, JobKind, Receive, State, WorkState
from bots.refusals import NotSupported
from spaces.models import Participant, Space

FEW = 3  # who has more bots knows the way
ELSE = "Somebody who may do this has to take this step."


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    title: str
    text: str
    done: bool
    ways: list[Way]  # one, where somebody may take it


def tour(scope: Scope) -> list[Step]:
    """Empty for whoever does not need it any more. Only the first step that is left has a way."""
    own = scope.bots().exclude(pk__in=demo.bots())
    bots = list(own.select_related("space", "connection").order_by("pk")[: FEW + 1])
    if len(bots) > FEW or _has_spoken(bots):
        return []
    steps: list[Step] = []
    for step in (_space(scope), _bot(scope, bots), *_with(scope, _foremost(bots))):
        is_next = all(earlier.done for earlier in steps)
        steps.append(step if is_next and not step.done else _without_way(step))
    return steps


def _has_spoken(bots: list[Bot]) -> bool:
    posted = Job.objects.filter(bot__in=bots, kind=JobKind.POST, state=WorkState.SUCCEEDED)
    return bool(bots) and posted.exists()


def _foremost(bots: list[Bot]) -> Bot | None:
    """The bot that the tour goes on with: one that is ready, if any is."""
    ready = (bot for bot in bots if _is_ready(bot))
    return next(ready, bots[0] if bots else None)


def _is_ready(bot: Bot) -> bool:
    sends_only = bot.enabled and bot.receive == Receive.OFF and bool(bot.identity)
    return sends_only or states.shown(bot).state == State.LIVE


def _without_way(step: Step) -> Step:
    return Step(title=step.title, text=step.text, done=step.done, ways=[])


# The steps --------------------------------------------------------------------------------------


def _space(scope: Scope) -> Step:
    may = scope.actor.sees_all
    return Step(
        title="Add a space",
        text="A space is one installation of a chat platform: its kind, and where it is. "
        + ("To try things out, take the platform Local: it needs no server." if may else ELSE),
        # Whoever does not see all spaces is not told of those without bots of theirs.
        done=Space.objects.exists(),
        ways=[_link("Add a space", "add", reverse("admin:spaces_space_add"))] if may else [],
    )


def _bot(scope: Scope, bots: list[Bot]) -> Step:
    may = scope.may(Act.ADD_BOT)
    return Step(
        title="Add a bot",
        text="A bot is an account in a space, with its credentials. The bot of the demo does not "
        "count: this one is yours." + ("" if may else f" {ELSE}"),
        done=bool(bots),
        ways=[_link("Add a bot", "add", reverse("admin:bots_bot_add"))] if may else [],
    )


def _with(scope: Scope, bot: Bot | None) -> list[Step]:
    """What is left when there is a bot."""
    return [
        Step(
            title="Test and start it",
            text=_how_it_is(bot) if bot else "Test says whether the platform lets it in.",
            done=bot is not None and _is_ready(bot),
            ways=_start(scope, bot) if bot else [],
        ),
        Step(
            title="Give it a channel",
            text="Create one here, or add the bot to a channel on the platform and press Sync.",
            done=bot is not None and _is_in_a_channel(bot),
            ways=_ask(scope, bot, "create-channel") if bot else [],
        ),
        Step(
            title="Say hello",
            text="Send the first message as the bot, into its channel.",
            done=False,
            ways=_ask(scope, bot, "send") if bot else [],
        ),
    ]


def _how_it_is(bot: Bot) -> str:
    shown = states.shown(bot)
    state = shown.state.replace("_", " ")
    return f"{bot} is {state}. {shown.reason} {shown.next_step}".strip()


def _start(scope: Scope, bot: Bot) -> list[Way]:
    if not scope.may(Act.OPERATE_BOT):
        return []
    return [test_of(bot) if bot.enabled else press(bot, "start")]


def _is_in_a_channel(bot: Bot) -> bool:
    return Participant.objects.filter(person=bot.person_id, person__isnull=False).exists()


def _ask(scope: Scope, bot: Bot, name: str) -> list[Way]:
    if not scope.may(Act.SEND):
        return []
    operation = OPERATIONS[name]
    page = reverse("admin:bots_bot_change", args=[bot.pk])
    try:
        possible = platforms.find(bot.space.platform) and not operation.why_not(bot)
    except NotSupported:
        possible = False
    if not possible:
        return [_link("Open its page", "smart_toy", page)]
    url = reverse("admin:bots_bot_ask", args=[bot.pk, name])
    return [_link(operation.label, operation.icon, url)]


def _link(label: str, icon: str, url: str) -> Way:
    return Way(label=label, icon=icon, url=url, attrs={"id": "tour-next"})
