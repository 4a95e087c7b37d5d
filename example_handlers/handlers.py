"""What people can ask for. `help` comes with botadmin and tells of these."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from bots.handlers import Call, Card, command, harmless
from example_handlers import rota

LONGEST = timedelta(days=366)
LONGEST_TEXT = 1_000  # characters


@command("remind me in {amount:int} {unit:minute|minutes|hour|hours|day|days} to {what...}")
def remind(call: Call, amount: int, unit: str, what: str) -> None:
    """Remind you of something, right here.

    The reminder is stored until its time comes: it survives restarts. An operator can cancel it
    among the jobs of the bot.
    """
    # Compared before it is made a span of time: people do ask for 10**18 days.
    units = f"{unit.removesuffix('s')}s"
    most = LONGEST / timedelta(**{units: 1})
    if not 0 < amount <= most:
        call.reply(f"I can remind you in 1 to {most:.0f} {units}.")
        return
    span = timedelta(**{units: amount})
    at = timezone.localtime(timezone.now() + span)
    call.reply(f"@{call.person['username']} {harmless(what, LONGEST_TEXT)}", at=span)
    call.reply(f"I will remind you on {at:%A, %d %B, at %H:%M %Z}.")


@command("who is on call {team?}")
def on_call(call: Call, team: str | None) -> None:
    """Tell who is on call, of one team or of all."""
    try:
        known = rota.read()
    except rota.Unusable as error:
        call.reply(f"I cannot read the rota: {error}")
        return
    wanted = {name: turns for name, turns in known.items() if team in (None, name)}
    if not wanted:
        no_team = f"There is no team {harmless(team)}" if team else "There is no team"
        call.reply(f"{no_team}; there are: {', '.join(known) or 'none'}.")
        return
    today = timezone.localdate()
    call.reply(
        card=Card(
            title="On call",
            summary="Who is on call today",
            fields=tuple((name, turns.at(today)) for name, turns in wanted.items()),
        )
    )
