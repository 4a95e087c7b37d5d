"""People for tests of the admin: Alice runs the bot, Bob watches, Charlie has no business here."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from bots.access import Actor
from bots.models import Bot
from bots.tests.builders import make_user

RUNS = ("view_bot", "add_bot", "change_bot", "delete_bot", "operate_bot")
WATCHES = ("view_bot",)


def person(name: str, permissions: tuple[str, ...], *bots: Bot) -> User:
    """Somebody with these permissions, in a group of their own that sees these bots."""
    user = make_user(name)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    group = Group.objects.create(name=f"group of {name}")
    user.groups.add(group)
    for bot in bots:
        bot.groups.add(group)
    return user


def somebody(name: str) -> Actor:
    """Somebody whose name is all that matters."""
    return Actor(label=name, key=f"test:{name}", scopes=frozenset())


def alice(*bots: Bot) -> Client:
    return browser(person("alice", RUNS, *bots))


def bob(*bots: Bot) -> Client:
    return browser(person("bob", WATCHES, *bots))


def charlie() -> Client:
    """Charlie runs bots, too, but none of these."""
    return browser(person("charlie", RUNS))


def root() -> Client:
    return browser(User.objects.create_superuser("root", password="password"))


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client
