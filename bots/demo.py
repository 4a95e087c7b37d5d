"""The demo: a local space with two channels, some people, and a bot that answers them."""

from __future__ import annotations

import secrets

from django.db.models import QuerySet

from bots import clients, lifecycle, syncing, who
from bots.models import AuditEntry, Bot, Connection
from spaces.models import Space
from spaces.platforms import local
from spaces.platforms.messages import (
    Card,
    ChannelKind,
    NewChannel,
    Outgoing,
    PersonRef,
)

BY = who.By(label="the demo", key="demo", door=who.Door.ITSELF)
PEOPLE = (
    ("alice", "Alice Archer", "alice@example.com"),
    ("bob", "Bob Baker", "bob@example.com"),
    ("carla", "Carla Cooper", "carla@example.com"),
)
CHANNELS = (
    ("lobby", "Lobby", "Say something, and echo repeats it."),
    ("ops", "Operations", "Deployments and what went wrong with them."),
)
TALK = (
    ("alice", "lobby", "Good morning! Is this the place where the bots live?"),
    ("bob", "lobby", "It is. *echo* repeats what we say, once it is connected."),
    ("carla", "ops", "Release 2.4 goes out at noon."),
)
STATUS = Card(
    title="Release 2.4",
    body="Everything is **green**.",
    color="#2e7d32",
    fields=(("Version", "2.4.0"), ("Owner", "Carla")),
)


def bots() -> QuerySet[Bot]:
    """The bot of the demo, which nobody added, as long as the audit log remembers that."""
    added = AuditEntry.objects.filter(actor_key=BY.key, action="bot.created", bot__isnull=False)
    return Bot.objects.filter(pk__in=added.values("bot"))


def seed() -> Bot:
    """Make the demo; to be called once, on an empty database."""
    with who.acting(BY):
        return _seed()


def _seed() -> Bot:
    space = Space(slug="local", name="Local space", platform="local")
    space.full_clean()
    space.save()
    people = {name: local.person(space.slug, name, full, mail) for name, full, mail in PEOPLE}
    bot = Bot(slug="echo", name="Echo", space=space, handlers=["echo"])
    bot.full_clean()
    lifecycle.create(bot, requested_by="demo")
    lifecycle.set_credentials(bot, {"secret": secrets.token_urlsafe(24)}, user=None)
    with clients.borrow(bot):  # the account comes to be with its first login
        pass
    rooms = {}
    for name, title, topic in CHANNELS:
        new = NewChannel(
            key=f"demo-{name}",
            kind=ChannelKind.PUBLIC,
            name=name,
            title=title,
            topic=topic,
            people=tuple(PersonRef(username=n) for n in (*people, bot.slug)),
        )
        info, _ = people["alice"].create_channel(new)
        rooms[name] = info.id
    for number, (author, room, text) in enumerate(TALK):
        people[author].post_message(Outgoing(key=f"demo-{number}", channel=rooms[room], text=text))
    people["carla"].post_message(Outgoing(key="demo-card", channel=rooms["ops"], card=STATUS))
    with clients.borrow(bot) as platform:
        # The first request finds the channels, whoever is faster at the first start.
        syncing.read_all(bot, platform)
        # From here on it hears everything, also what is said before it is connected for the first
        # time.
        Connection.objects.filter(bot=bot).update(cursor=platform.start_cursor())
    return bot
