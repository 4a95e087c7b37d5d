"""The small company `manage.py simulate mattermost` begins with."""

from __future__ import annotations

from .making import PASSWORD
from .running import SimulatedMattermost

PEOPLE = ("alice", "bob", "charlie")
BOT = "helper-bot"


def fill(server: SimulatedMattermost) -> str:
    """Make people, a bot, a team and channels; what to print so that somebody can use them."""
    server.make.admin()
    for name in PEOPLE:
        server.make.user(name, first_name=name.title())
    _, token = server.make.bot(BOT, owner="admin", display_name="Helper")
    team = server.make.team("acme", "admin", *PEOPLE, BOT)
    for name in ("builds", "support"):
        channel = server.make.channel(team, name, *PEOPLE, BOT, creator="admin")
        server.make.post("alice", channel, f"Welcome to {channel.display_name}.")
    secret = server.make.channel(team, "founders", "alice", creator="admin", type="P")
    lines = [
        f"Mattermost is simulated at {server.url}",
        "",
        "People (user name and password):",
        *[f"  {name:<12} {PASSWORD}" for name in ("admin", *PEOPLE)],
        "",
        "Access tokens:",
        f"  {BOT:<12} {token}",
        f"  {'admin':<12} {server.make.token('admin')}",
        f"  {'alice':<12} {server.make.token('alice')}",
        "",
        f"Team {team.name}: town-square, off-topic, builds, support, {secret.name} (private)",
        f"Faults on command: {server.url}/_control/",
    ]
    return "\n".join(lines)
