"""Talk to a bot of the local platform, from a terminal or a script.

python manage.py chat echo
printf 'hello\\n' | python manage.py chat echo
"""

from __future__ import annotations

import sys
import threading
import time
from argparse import ArgumentParser
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from bots.connections import states
from bots.models import Bot, State
from spaces.platforms import local
from spaces.platforms.errors import PlatformError
from spaces.platforms.messages import Cursor, Incoming, Kind, Outgoing, PersonRef

LOOK_SECONDS = 0.05  # how often we look for replies
QUIET_SECONDS = 0.5  # after a reply and this much silence, nothing more is expected


class Command(BaseCommand):
    help = (
        "Talk to a bot of the local platform: reads lines, prints what others say, until Ctrl-D."
        " Who talks for the first time comes into the space by it."
    )
    requires_system_checks = ()  # its output is the conversation, for scripts too

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("bot", help="slug of the bot")
        parser.add_argument("--as", dest="person", default="you", help="who talks [%(default)s]")
        parser.add_argument("--channel", default="", help="talk there instead of directly")
        parser.add_argument(
            "--wait",
            type=float,
            default=10.0,
            metavar="SECONDS",
            help="after the last line of a script, wait this long for a reply [%(default)s]",
        )
        parser.add_argument(
            "--no-wait",
            dest="wait",
            action="store_const",
            const=0.0,
            help="say the lines of a script and do not wait for replies",
        )

    def handle(
        self, *, bot: str, person: str, channel: str, wait: float, **options: object
    ) -> None:
        found = Bot.objects.select_related("space", "connection", "person").filter(slug=bot).first()
        if found is None:
            known = ", ".join(Bot.objects.values_list("slug", flat=True)) or "none"
            raise CommandError(f"There is no bot {bot!r}; there are: {known}.")
        if found.space.platform != local.Local.name:
            raise CommandError(f"{bot} lives on {found.space.platform}; chat is for local bots.")
        if found.person is None:
            raise CommandError(f"{bot} was never connected; start it first.")
        self._warn_if_deaf(found)
        try:
            talk = Talk(found, local.person(found.space.slug, person), channel)
            if sys.stdin.isatty():
                self._converse(talk)
            else:
                self._play(talk, wait)
        except PlatformError as error:
            raise CommandError(error.detail) from error

    def _warn_if_deaf(self, bot: Bot) -> None:
        shown = states.shown(bot)
        if shown.state not in (State.LIVE, State.CATCHING_UP):
            self.stderr.write(f"{bot.slug} is {shown.state}: {shown.reason} {shown.next_step}")
        elif not bot.handlers:
            self.stderr.write(f"{bot.slug} has no handler that would answer.")

    def _converse(self, talk: Talk) -> None:
        over = threading.Event()
        printer = threading.Thread(target=self._print_until, args=(talk, over), daemon=True)
        printer.start()
        try:
            while True:
                talk.say(input("> "))
        except (EOFError, KeyboardInterrupt):
            self.stdout.write("")
        finally:
            over.set()
            printer.join()

    def _print_until(self, talk: Talk, over: threading.Event) -> None:
        try:
            while not over.wait(LOOK_SECONDS):
                for line in talk.heard():
                    self.stdout.write(f"\r{line}\n> ", ending="")
                    self.stdout.flush()
        finally:
            connection.close()

    def _play(self, talk: Talk, wait: float) -> None:
        """Say the lines of a script one by one, each after the reply to the one before."""
        for line in filter(None, map(str.strip, sys.stdin)):
            talk.say(line)
            if wait:
                self._print_replies(talk, wait)

    def _print_replies(self, talk: Talk, wait: float) -> None:
        until = time.monotonic() + wait
        replied = False
        while time.monotonic() < until:
            for line in talk.heard():
                self.stdout.write(line)
                if not replied:
                    replied = True
                until = min(until, time.monotonic() + QUIET_SECONDS)
            time.sleep(LOOK_SECONDS)
        if not replied:
            raise CommandError(f"No reply within {wait:g} s.")


class Talk:
    """One person's side of a conversation."""

    def __init__(self, bot: Bot, person: local.Local, channel: str):
        assert bot.person is not None
        self._platform = person
        self._bot = PersonRef(id=bot.person.remote_id)
        self._channel = ""  # a direct one comes to be with the first words
        if channel:
            info = person.find_channel(name=channel.lstrip("#~"))
            self._channel = person.join_channel(info.id).id
        self._cursor: Cursor = person.start_cursor()

    def say(self, text: str) -> None:
        if text.strip():
            to = {"channel": self._channel} if self._channel else {"person": self._bot}
            message = Outgoing(key=uuid4().hex, text=text, **to)
            self._channel = self._platform.post_message(message).channel_id

    def heard(self) -> list[str]:
        """What others said here since the last time, a line each."""
        lines = []
        for batch in self._platform.catch_up(self._cursor):
            self._cursor = {**self._cursor, **batch.cursor}
            lines += [_line(i) for i in batch.incoming if self._concerns_us(i)]
        return lines

    def _concerns_us(self, incoming: Incoming) -> bool:
        return (
            incoming.kind == Kind.MESSAGE_POSTED
            and incoming.channel_id == self._channel
            and not incoming.own
        )


def _line(incoming: Incoming) -> str:
    who = incoming.person.username if incoming.person else "?"
    parts = [incoming.text] if incoming.text else []
    if incoming.card:
        parts.append(f"[card: {incoming.card.title or incoming.card.summary}]")
    parts += [f"[file: {file.name}]" for file in incoming.files]
    return f"{who}: {' '.join(parts)}"
