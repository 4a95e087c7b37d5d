"""Logging in and out, sessions, access tokens, passwords and MFA."""

from __future__ import annotations

import base64
import math
import secrets
from typing import Any

from .. import people, sessions, views
from ..calls import OK, Answer, Call, Routes
from ..errors import ApiError, bad_body, no_permission
from ..state import AccessToken, Session, User

routes = Routes()


@routes.add("POST", "/users/login", needs_login=False)
def log_in(call: Call) -> Answer:
    body = call.json()
    login_id = str(body.get("login_id") or body.get("id") or "")
    limiter = call.simulation.limiter
    if limiter.is_on():
        charge = limiter.charge_login(login_id)
        if not charge.allowed:
            return Answer(b"limit exceeded\n", 429, dict(charge.headers))
    by_id = call.simulation.world.users.get(str(body.get("id") or ""))
    user = sessions.log_in(
        call.simulation,
        by_id.username if by_id else login_id,
        str(body.get("password") or ""),
        str(body.get("token") or ""),
    )
    session = sessions.start(call.simulation, user, device_id=str(body.get("device_id") or ""))
    if call.request.headers.get("X-Requested-With") == "XMLHttpRequest":
        call.set_cookies += cookies_of(call, session)
    return Answer(views.user(call.simulation, user, user), headers={"Token": session.token})


def cookies_of(call: Call, session: Session) -> list[str]:
    seconds = math.ceil((session.expires_at - call.simulation.now()) / 1000)
    end = f"Path=/; Max-Age={seconds}"
    return [
        f"MMAUTHTOKEN={session.token}; {end}; HttpOnly",
        f"MMUSERID={session.user_id}; {end}",
        f"MMCSRF={session.csrf}; {end}",
    ]


def extend_session(call: Call) -> None:
    """Activity moves the expiry; the answer then sets the cookies anew, asked for or not."""
    if call.session and sessions.extend(call.simulation, call.session):
        call.set_cookies += cookies_of(call, call.session)


@routes.add("POST", "/users/logout", needs_login=False)
def log_out(call: Call) -> Any:
    if call.session:
        sessions.revoke(call.simulation, call.session)
    return OK


@routes.add("GET", "/users/{user_id}/sessions")
def list_sessions(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    return [
        views.session(call.simulation, one) for one in sessions.of_user(call.simulation, user.id)
    ]


@routes.add("POST", "/users/{user_id}/sessions/revoke")
def revoke_session(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    session_id = call.text_of("session_id")
    for session in sessions.of_user(call.simulation, user.id):
        if session.id == session_id:
            sessions.revoke(call.simulation, session)
            return OK
    raise bad_body("session_id")


@routes.add("POST", "/users/{user_id}/sessions/revoke/all")
def revoke_sessions(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    sessions.revoke_all(call.simulation, user.id)
    return OK


# Access tokens


def _require_token_rights(call: Call, permission: str, user: User) -> None:
    call.require(permission)
    bot = call.simulation.world.bots.get(user.id)
    if bot and bot.owner_id == call.user.id:
        return
    call.require_self_or_admin(user)


def _token_of_body(call: Call) -> AccessToken:
    return _token_with_id(call, call.text_of("token_id"), "revoke_user_access_token")


def _token_with_id(call: Call, token_id: str, permission: str) -> AccessToken:
    for token in call.simulation.world.tokens.values():
        if token.id == token_id:
            _require_token_rights(call, permission, call.find_user(token.user_id))
            return token
    raise ApiError(404, "app.user_access_token.get_by_user.app_error")


@routes.add("POST", "/users/{user_id}/tokens")
def create_token(call: Call) -> Any:
    user = call.named_user()
    description = call.text_of("description")
    if len(description.encode()) > 255:
        raise ApiError(400, "model.user_access_token.is_valid.description.app_error")
    _require_token_rights(call, "create_user_access_token", user)
    is_bot = user.id in call.simulation.world.bots
    if not is_bot and not call.simulation.setting("ServiceSettings", "EnableUserAccessTokens"):
        raise ApiError(501, "app.user_access_token.disabled")
    token = people.create_token(call.simulation, user.id, description)
    return views.access_token(token) | {"token": token.token}


@routes.add("GET", "/users/{user_id}/tokens")
def list_tokens(call: Call) -> Any:
    user = call.named_user()
    _require_token_rights(call, "read_user_access_token", user)
    tokens = [one for one in call.simulation.world.tokens.values() if one.user_id == user.id]
    return [views.access_token(one) for one in call.page_of(tokens)]


@routes.add("GET", "/users/tokens/{token_id}")
def get_token(call: Call) -> Any:
    token = _token_with_id(call, call.params["token_id"], "read_user_access_token")
    return views.access_token(token)


@routes.add("POST", "/users/tokens/revoke")
def revoke_token(call: Call) -> Any:
    people.delete_token(call.simulation, _token_of_body(call))
    return OK


@routes.add("POST", "/users/tokens/disable")
def disable_token(call: Call) -> Any:
    people.set_token_active(call.simulation, _token_of_body(call), active=False)
    return OK


@routes.add("POST", "/users/tokens/enable")
def enable_token(call: Call) -> Any:
    people.set_token_active(call.simulation, _token_of_body(call), active=True)
    return OK


# Passwords and MFA


@routes.add("PUT", "/users/{user_id}/password")
def set_password(call: Call) -> Any:
    user, body = call.named_user(), call.json()
    call.require_self_or_admin(user)
    new = str(body.get("new_password") or "")
    if user.id == call.user.id and body.get("current_password") != user.password:
        raise ApiError(400, "api.user.update_password.incorrect.app_error")
    people.check_password(call.simulation, new)
    user.password, user.failed_attempts = new, 0
    return OK


@routes.add("POST", "/users/{user_id}/reset_failed_attempts")
def unlock(call: Call) -> Any:
    if not call.is_admin:
        raise no_permission()
    call.named_user().failed_attempts = 0
    return OK


@routes.add("POST", "/users/{user_id}/mfa/generate")
def generate_mfa(call: Call) -> Any:
    user = call.named_user()
    call.require_self_or_admin(user)
    user.mfa_secret = base64.b32encode(secrets.token_bytes(20)).decode()
    return {"secret": user.mfa_secret, "qr_code": ""}


@routes.add("PUT", "/users/{user_id}/mfa")
def switch_mfa(call: Call) -> Any:
    user, body = call.named_user(), call.json()
    call.require_self_or_admin(user)
    if body.get("activate") is True:
        sessions.check_code(call.simulation, user, str(body.get("code") or ""))
        user.mfa_active = True
    elif body.get("activate") is False:
        user.mfa_active, user.mfa_secret = False, ""
    else:
        raise bad_body("activate")
    return OK
