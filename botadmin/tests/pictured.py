"""The company on the pictures of the README: its bots, its rooms, and what was said there.

`botadmin.tests.screenshots` asks for the bots and for what they say through the REST API. People
come, talk and answer by `manage.py shell`, where the local platform lets them.
"""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import Any

from django.utils import timezone

from bots.models import Bot, Connection, Event
from bots.models.tally import INSTALL, Counted, Minutes, Tally
from spaces.models import LocalMessage
from spaces.platforms import local
from spaces.platforms.local import Local
from spaces.platforms.messages import ChannelKind, Kind, NewChannel, Outgoing, PersonRef

OFFICE, SHOPS, PARTNERS = "head-office", "shops", "partners"
SPACES: tuple[dict[str, Any], ...] = (
    {"slug": OFFICE, "name": "Head office", "platform": "local"},
    {"slug": SHOPS, "name": "Shops", "platform": "local"},
)
# Slug, name, space, labels.
BOTS: tuple[tuple[str, str, str, list[str]], ...] = (
    ("deploys", "Deploys", OFFICE, ["engineering"]),
    ("alerts", "Alerts", OFFICE, ["engineering", "on-call"]),
    ("standup", "Stand-up", OFFICE, ["engineering"]),
    ("tickets", "Tickets", OFFICE, ["support"]),
    ("helpdesk", "Help desk", OFFICE, ["support"]),
    ("welcome", "Welcome", OFFICE, ["people"]),
    ("rooms", "Meeting rooms", OFFICE, ["people"]),
    ("lunch", "Lunch", OFFICE, ["people"]),
    ("invoices", "Invoices", OFFICE, ["finance"]),
    ("expenses", "Expenses", OFFICE, ["finance"]),
    ("stock", "Stock levels", SHOPS, ["shops"]),
    ("deliveries", "Deliveries", SHOPS, ["shops"]),
    ("returns", "Returns", SHOPS, ["shops"]),
    ("opening-hours", "Opening hours", SHOPS, ["shops"]),
)
REFUSED, STOPPED = "expenses", "returns"  # what is wrong here
ON_CALL = "on-call"
PEOPLE = {
    "on-call": "On-call engineer",
    "support": "Support desk",
    "releases": "Release manager",
    "store": "Store manager",
}
# Room, title, topic, its bots.
ROOMS = (
    (ON_CALL, "On-call", "What wakes somebody up", ("alerts", "deploys", "tickets")),
    ("releases", "Releases", "What goes out, and when", ("deploys", "standup")),
    ("support", "Support", "Questions of colleagues", ("helpdesk", "tickets")),
    ("newcomers", "Newcomers", "The first week", ("welcome", "rooms", "lunch")),
    ("finance", "Finance", "Invoices and travel", ("invoices", "expenses")),
)
# Who, where, what; said before the bots say anything.
FIRST = (
    ("releases", ON_CALL, "Release 2.4 goes out at noon. The checkout gets its new cache."),
    ("support", ON_CALL, "Good, three tickets wait for exactly that."),
    ("releases", "releases", "Freeze for 2.4 is tonight at 18:00."),
    ("support", "support", "Who has the key to the printer room?"),
    ("releases", "newcomers", "Two colleagues start on Monday."),
)
DEPLOYED: dict[str, Any] = {
    "text": "Release **2.4** is on its way to production.",
    "card": {
        "title": "Release 2.4",
        "body": "All checks are green.",
        "color": "#2e7d32",
        "fields": [["Version", "2.4.0"], ["Duration", "3 min 12 s"]],
    },
}
ALARM = "Checkout answers in 840 ms since the release, instead of 300 ms."
CALMED = "Checkout answers in 120 ms again."
# What the bots say: who, where, what.
SAID: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("deploys", ON_CALL, DEPLOYED),
    ("alerts", ON_CALL, {"text": ALARM}),
    ("deploys", "releases", {"text": "Release 2.4 is built."}),
    ("helpdesk", "support", {"text": "The key is at the front desk."}),
    ("welcome", "newcomers", {"text": "Their laptops are ordered."}),
    ("invoices", "finance", {"text": "42 invoices of this week are booked."}),
)
ANSWERS = (
    "On it. The new cache is cold, that is all.",
    "Warmed it up by hand: look again in a minute.",
)


def arrive() -> None:
    """Once the bots have logged in: until then their accounts are not there."""
    people = {name: local.person(OFFICE, name, full) for name, full in PEOPLE.items()}
    ids = {}
    for name, title, topic, bots in ROOMS:
        new = NewChannel(
            key=f"pictured-{name}",
            kind=ChannelKind.PUBLIC,
            name=name,
            title=title,
            topic=topic,
            people=tuple(PersonRef(username=one) for one in (*people, *bots)),
        )
        ids[name] = people["releases"].create_channel(new)[0].id
    for number, (who, room, text) in enumerate(FIRST):
        say(people[who], ids[room], f"pictured-{number}", text)


def answer() -> None:
    """What people say to what the bots said."""
    engineer = local.person(OFFICE, "on-call")
    alarm, deployed = _message(ALARM), _message(str(DEPLOYED["text"]))
    for number, text in enumerate(ANSWERS):
        thread = str(alarm.pk)
        say(engineer, str(alarm.room_id), f"pictured-answer-{number}", text, thread=thread)
    for name in ("releases", "support"):
        person = local.person(OFFICE, name)
        person.react(str(deployed.room_id), str(deployed.pk), "heart")


def say(person: Local, room: str, key: str, text: str, *, thread: str = "") -> None:
    person.post_message(Outgoing(key=key, channel=room, text=text, thread=thread))


def _message(text: str) -> LocalMessage:
    return LocalMessage.objects.get(text=text)


def yesterday() -> None:
    """A day that lies behind: nobody waits for it to pass before a picture is taken."""
    now = timezone.now()
    width = Minutes.FEW.value
    chance = random.Random(width)  # the same pictures each time
    begins = now.replace(minute=now.minute // width * width, second=0, microsecond=0)
    for n in range(1, 24 * 60 // width):
        at = begins - timedelta(minutes=n * width)
        busy = max(0.0, math.sin((at.hour + at.minute / 60 - 6) / 12 * math.pi))
        wave = chance.uniform(0.75, 1.25)
        for what, calm, most in ((Counted.HEARD, 6, 48), (Counted.SENT, 3, 30)):
            count = round(width * (calm + most * busy) * wave)
            Tally.objects.create(bot_id=INSTALL, minutes=width, at=at, what=what, count=count)
    began = now - timedelta(hours=19)
    bots = Bot.objects.exclude(slug__in=(REFUSED, STOPPED))
    for bot in bots:
        changes = list(Event.objects.filter(bot=bot, kind=Kind.CONNECTION_CHANGED).order_by("pk"))
        for number, event in enumerate(reversed(changes)):
            event.occurred_at = began - timedelta(seconds=4 * number)
            event.save(update_fields=["occurred_at"])
    Connection.objects.filter(bot__in=bots).update(since=began)
