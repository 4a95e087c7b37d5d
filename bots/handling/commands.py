"""Commands: handlers for what people ask a bot in words, with arguments, permissions and help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.timesince import timesince

from bots import clients
from bots.handling import patterns, permitted, registry
from bots.handling.addressing import Addressed, addressed
from bots.handling.call import Call
from bots.handling.harmless import harmless
from bots.handling.patterns import Pattern, Unreadable
from bots.handling.permitted import Who
from bots.handling.registry import SECONDS, Function, Handler
from bots.keys import remote_id
from bots.models import Bot, Event, Message
from bots.refusals import NotPermitted, NotSupported
from spaces.models import Channel, Participant
from spaces.platforms.messages import Kind

LATE = timedelta(minutes=15)
SKEW = timedelta(minutes=1)  # that clocks may differ by, the platform's and ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Handler):
    """A handler that is asked by a word. `who` and `where` may ask, empty: everybody, anywhere.
    What reaches it more than `late` after it was said is not done; None: whenever that is."""

    pattern: Pattern
    who: tuple[Who, ...] = ()
    where: tuple[str, ...] = ()
    late: timedelta | None = LATE

    def run(self, call: Call) -> None:
        asked = said(call)
        if asked is None:
            return  # the bot's prefix was changed meanwhile
        if _is_deleted(call) or _is_older_than_stay(call):
            return
        if self.is_late(call):
            _explain(call, f"{_away(call)} Say it again if you still want it.")
            return
        if reason := self.refusal(call):
            _tell_privately(call, reason)
            return
        try:
            arguments = self.pattern.read(asked.text)
        except Unreadable as error:
            _explain(call, f"{error}\n\n{_usages(call, asked)}")
            return
        done = self.function(call, **(patterns.defaults(self.function, self.pattern) | arguments))
        registry.refuse_awaitable(self.function, done)

    def is_late(self, call: Call) -> bool:
        """Whether it was said too long ago. What failed and is tried again was begun in time, or
        somebody who looked at it wants it."""
        if self.late is None or call.has_failed:
            return False
        return timezone.now() - call.event.occurred_at > self.late

    def refusal(self, call: Call) -> str:
        """Why this person may not ask for it here, empty if they may."""
        if self.where and not permitted.is_place(call.channel, self.where):
            places = " or ".join(map(permitted.shown, self.where))
            return f"Sorry, `{self.pattern.parts[0]}` can be asked for {places} only."
        if self.who and not any(permitted.is_person(who, call) for who in self.who):
            return f"Sorry, `{self.pattern.parts[0]}` is not for you to ask for."
        return ""

    def reads(self, text: str) -> bool:
        try:
            self.pattern.read(text)
        except Unreadable:
            return False
        return True


def command(
    pattern: str,
    *,
    name: str = "",
    bot: str | Iterable[str] = (),
    channel: str | Iterable[str] = (),
    who: Who | Iterable[Who] | None = None,
    where: str | Iterable[str] | None = None,
    late: timedelta | None = LATE,
    timeout: float = SECONDS,
) -> Callable[[Function], Function]:
    """Register a function for a command such as `deploy {service} {env?}`, see `bots.handling.
    patterns`. It is called with the call and, by their names, with what was typed for the fields.

    `name`, `bot`, `channel` and `timeout` are as in `on`. Who is not one of `who` (`@username`, an
    e-mail address, an id, or a function that is asked with the call), or asks elsewhere than in
    `where` (`#name` or the id of a channel, "direct", or "channel" for all that are not), is told
    so; None: everybody, anywhere. So is who said it longer than `late` ago; None: nobody is.

    Raises `ValueError` for a pattern that makes no sense, a function that does not fit it or is
    async, and a `who` or `where` that is empty.
    """
    parsed = Pattern.parse(pattern)

    def decorate(function: Function) -> Function:
        patterns.check_signature(function, parsed)
        registry.register(
            Command(
                name=name or function.__name__,
                kinds=frozenset({Kind.MESSAGE_POSTED, Kind.COMMAND_INVOKED}),
                function=function,
                bots=registry.names(bot),
                channels=registry.channel_names(channel),
                timeout=timeout,
                pattern=parsed,
                who=permitted.people(who),
                where=permitted.places(where),
                late=late,
            )
        )
        return function

    return decorate


# Whom a message is for --------------------------------------------------------------------------


def prefix_of(bot: Bot) -> str:
    return str(clients.options(bot)["command_prefix"]).strip()


def asked(
    commands: Sequence[Command], bot: Bot, prefix: str, event: Event, channel: Channel | None
) -> Command | None:
    """The command that an event asks for: the first that reads it. Where none does, the first of
    the same word, which will say how it is used."""
    if not commands:
        return None
    told = addressed(bot, prefix, event.kind, event.data, channel)
    if told is None:
        return None
    meant = [c for c in with_help(commands) if c.pattern.word == told.word]
    return next((c for c in meant if c.reads(told.text)), meant[0] if meant else None)


def said(call: Call) -> Addressed | None:
    event = call.event
    return addressed(call.bot, prefix_of(call.bot), event.kind, event.data, call.channel)


def with_help(commands: Sequence[Command]) -> list[Command]:
    """A bot with commands knows help, unless one of them answers to that word."""
    has_own = any(c.pattern.word == HELP.pattern.word for c in commands)
    return [*commands] if has_own else [*commands, HELP]


def _commands_of(call: Call) -> list[Command]:
    """Those that are for the place of the call."""
    handlers = registry.enabled(call.bot)
    return with_help(
        [h for h in handlers if isinstance(h, Command) and h.is_for(call.bot, call.channel)]
    )


# Whether it still counts -------------------------------------------------------------------------


def _is_deleted(call: Call) -> bool:
    """Whether who said it took it back since."""
    told = (call.event.data.get("message") or {}).get("remote_id", "")
    gone = Message.objects.filter(bot=call.bot, remote_id=remote_id(told), deleted_at__isnull=False)
    return bool(told) and gone.exists()


def _is_older_than_stay(call: Call) -> bool:
    """Whether the bot came to the channel after it was said, where we were told when: what is
    fetched of a channel that it is new in may go back further."""
    stays = Participant.objects.filter(channel=call.channel, person=call.bot.person_id)
    return stays.filter(joined_at__gt=call.event.occurred_at + SKEW).exists()


def _away(call: Call) -> str:
    ago = timesince(call.event.occurred_at, depth=1).replace("\xa0", " ")
    return f"I was away when you wrote that, {ago} ago."


# Help -------------------------------------------------------------------------------------------


def _help(call: Call, command: str | None) -> None:
    """Tell what you can ask for here, or how one command is used."""
    asked = said(call)
    lead = asked.lead if asked else ""
    allowed = [c for c in _commands_of(call) if not c.refusal(call)]
    if command is None:
        lines = [f"- {_usage(c, lead)} {_first_line(c)}".rstrip() for c in allowed]
        _explain(call, "\n".join(["What you can ask for here:", "", *lines]))
        return
    word = next((w.text.casefold() for w in patterns.words(command)), "")
    meant = [c for c in allowed if c.pattern.word == word.removeprefix(lead or "/")]
    if not meant:
        _explain(
            call, f"There is no `{harmless(word)}` for you here; `{lead}help` tells what there is."
        )
        return
    told = [f"{_usage(c, lead)}\n\n{inspect.getdoc(c.function) or ''}".rstrip() for c in meant]
    _explain(call, "\n\n".join(told))


HELP = Command(
    name="help",
    kinds=frozenset({Kind.MESSAGE_POSTED, Kind.COMMAND_INVOKED}),
    function=_help,
    pattern=Pattern.parse("help {command...?}"),
)
registry.build_in(HELP)


def _usages(call: Call, asked: Addressed) -> str:
    meant = [c for c in _commands_of(call) if c.pattern.word == asked.word]
    return "\n".join(f"Usage: {_usage(c, asked.lead)}" for c in meant if not c.refusal(call))


def _usage(command: Command, lead: str) -> str:
    return f"`{lead}{command.pattern}`"


def _first_line(command: Command) -> str:
    return (inspect.getdoc(command.function) or "").partition("\n")[0]


def _explain(call: Call, text: str) -> None:
    """Where others can learn from it, yet beside the conversation: in the thread. To who used a
    slash command alone, as platforms answer those."""
    if call.event.kind == Kind.COMMAND_INVOKED or call.channel is None:
        _tell_privately(call, text)
    elif call.is_direct:
        call.reply(text)
    else:
        _say(call.reply_in_thread, call.reply, text)


def _tell_privately(call: Call, text: str) -> None:
    if call.is_direct:
        call.answer(text)
    elif not call.person:
        call.reply(text)
    else:
        _say(call.answer_privately, call.answer, text)


def _say(first: Callable[[str], Any], otherwise: Callable[[str], Any], text: str) -> None:
    try:
        first(text)
    except (NotPermitted, NotSupported):
        otherwise(text)
