"""The REST API, by subject. Every module enters its functions in a table of its own."""

from ..calls import Routes
from . import (
    accounts,
    bots,
    channels,
    commands,
    files,
    hooks,
    members,
    posts,
    reading,
    system,
    teams,
    threads,
    users,
)

ROUTES = Routes(prefix="")
for _module in (
    accounts,
    bots,
    channels,
    commands,
    files,
    hooks,
    members,
    posts,
    reading,
    system,
    teams,
    threads,
    users,
):
    ROUTES.include(_module.routes)
ROUTES.include(commands.public_routes)
ROUTES.include(hooks.public_routes)
