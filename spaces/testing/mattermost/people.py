"""People and bots: making them, changing them, switching them off."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from . import sessions, views
from .errors import ApiError, bad_body
from .state import AccessToken, Bot, User

if TYPE_CHECKING:
    from .simulation import Simulation

RESERVED = frozenset(["all", "channel", "matterbot", "system"])


def create(
    simulation: Simulation,
    *,
    username: str,
    email: str,
    password: str,
    roles: str = "system_user",
    **names: str,
) -> User:
    username = username.lower()
    if not re.fullmatch(r"[a-z0-9._-]{1,64}", username) or username in RESERVED:
        raise ApiError(400, "model.user.is_valid.username.app_error")
    if simulation.world.user_named(username):
        raise ApiError(400, "app.user.save.username_exists.app_error")
    if any(one.email.lower() == email.lower() for one in simulation.world.users.values()):
        raise ApiError(400, "app.user.save.email_exists.app_error")
    now = simulation.now()
    user = User(
        username=username,
        email=email,
        password=password,
        roles=roles,
        create_at=now,
        update_at=now,
        **names,
    )
    simulation.world.users[user.id] = user
    simulation.publish("new_user", {"user_id": user.id})
    return user


def check_password(simulation: Simulation, password: str) -> None:
    if len(password) < simulation.setting("PasswordSettings", "MinimumLength"):
        raise ApiError(400, "model.user.is_valid.pwd.app_error")


def create_bot(
    simulation: Simulation,
    *,
    username: str,
    owner_id: str,
    display_name: str = "",
    description: str = "",
) -> Bot:
    user = create(
        simulation,
        username=username,
        email=f"{username.lower()}@localhost",
        password="",
        first_name=display_name,
    )
    bot = Bot(
        user_id=user.id,
        owner_id=owner_id,
        display_name=display_name,
        description=description,
        create_at=user.create_at,
        update_at=user.create_at,
    )
    simulation.world.bots[user.id] = bot
    return bot


def create_token(simulation: Simulation, user_id: str, description: str) -> AccessToken:
    token = AccessToken(user_id=user_id, description=description)
    simulation.world.tokens[token.token] = token
    return token


def set_token_active(simulation: Simulation, token: AccessToken, *, active: bool) -> None:
    token.is_active = active
    session = simulation.world.sessions.get(token.token)
    if session and not active:
        sessions.revoke(simulation, session)


def delete_token(simulation: Simulation, token: AccessToken) -> None:
    set_token_active(simulation, token, active=False)
    simulation.world.tokens.pop(token.token, None)


def set_active(simulation: Simulation, user: User, *, active: bool) -> None:
    """Switch an account on or off; off ends its sessions, and its bots go with it."""
    now = simulation.now()
    user.delete_at = 0 if active else now
    user.update_at = now
    bot = simulation.world.bots.get(user.id)
    if bot:
        bot.delete_at, bot.update_at = user.delete_at, now
    if not active:
        sessions.revoke_all(simulation, user.id)
        if simulation.setting("ServiceSettings", "DisableBotsWhenOwnerIsDeactivated"):
            for owned in simulation.world.bots.values():
                if owned.owner_id == user.id and not owned.delete_at:
                    set_active(simulation, simulation.world.users[owned.user_id], active=False)
    simulation.publish("user_activation_status_change", {})
    tell_updated(simulation, user)


PATCHABLE = frozenset(
    [
        "username",
        "email",
        "nickname",
        "first_name",
        "last_name",
        "position",
        "locale",
        "timezone",
        "props",
        "notify_props",
    ]
)


def patch(simulation: Simulation, user: User, changes: dict[str, Any]) -> None:
    name = changes.get("username")
    if isinstance(name, str) and name.lower() != user.username:
        if simulation.world.user_named(name):
            raise ApiError(400, "app.user.update.username_taken.app_error")
        if not re.fullmatch(r"[a-z0-9._-]{1,64}", name.lower()):
            raise ApiError(400, "model.user.is_valid.username.app_error")
        changes = changes | {"username": name.lower()}
    for key in PATCHABLE & changes.keys():
        if not isinstance(changes[key], type(getattr(user, key))):
            raise bad_body(key)
        setattr(user, key, changes[key])
    user.update_at = simulation.now()
    tell_updated(simulation, user)


def set_roles(simulation: Simulation, user: User, roles: str) -> None:
    user.roles = roles
    user.update_at = simulation.now()
    simulation.publish("user_role_updated", {"user_id": user.id, "roles": roles}, user_id=user.id)


def tell_updated(simulation: Simulation, user: User) -> None:
    """Three versions: for admins, for everyone else, and for the user."""
    admin = next((one for one in simulation.world.users.values() if simulation.is_admin(one)), None)
    if admin:
        for_admins = views.user(simulation, user, admin)
        simulation.publish("user_updated", {"user": for_admins}, omit=(user.id,), sensitive=True)
    for_others = views.user(simulation, user, None)
    simulation.publish("user_updated", {"user": for_others}, omit=(user.id,), sanitized=True)
    simulation.publish(
        "user_updated", {"user": views.user(simulation, user, user)}, user_id=user.id
    )
