"""The admin: declarations over the core. An action is one call and one counted message.

Spaces, channels and people have their pages here, too: who may see them follows from the bots
that live there, and `spaces` knows of no bots.
"""

from bots.admin import (
    accounts,
    audit,
    bot,
    bulk_action,
    channel,
    delivery,
    event,
    handler_run,
    incident,
    job,
    job_group,
    lane,
    message,
    person,
    process,
    space,
    subscription,
    token,
)

__all__ = [
    "accounts",
    "audit",
    "bot",
    "bulk_action",
    "channel",
    "delivery",
    "event",
    "handler_run",
    "incident",
    "job",
    "job_group",
    "lane",
    "message",
    "person",
    "process",
    "space",
    "subscription",
    "token",
]
