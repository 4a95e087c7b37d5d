"""Logging in and staying logged in: sessions, personal access tokens, MFA codes."""

from __future__ import annotations

import base64
import hmac
import struct
from typing import TYPE_CHECKING

from . import assumptions
from .errors import ApiError
from .state import AccessToken, Session, User

if TYPE_CHECKING:
    from .simulation import Simulation

TOKEN_LENGTH = 50  # longer ones are cut
MOST_SESSIONS = 500
HUNDRED_YEARS_MS = 100 * 365 * 24 * 3600 * 1000
HOUR_MS, DAY_MS = 3600 * 1000, 24 * 3600 * 1000


def by_token(simulation: Simulation, token: str) -> Session | None:
    """The live session of a token; the first use of an access token starts one."""
    token = token[:TOKEN_LENGTH]
    world = simulation.world
    session = world.sessions.get(token)
    if session is None:
        access = world.tokens.get(token)
        session = _of_access_token(simulation, access) if access else None
    if session is None:
        return None
    if session.is_access_token and not _tokens_allowed(simulation, session.user_id):
        return None
    if session.expires_at <= simulation.now() or _was_idle_too_long(simulation, session):
        revoke(simulation, session)
        return None
    session.last_activity_at = simulation.now()
    return session


def _of_access_token(simulation: Simulation, access: AccessToken) -> Session | None:
    user = simulation.world.users[access.user_id]
    if not access.is_active or user.delete_at:
        return None
    is_bot = user.id in simulation.world.bots
    props = {"type": "UserAccessToken", "user_access_token_id": access.id}
    if is_bot:
        props["is_bot"] = "true"
    return start(simulation, user, length_ms=HUNDRED_YEARS_MS, token=access.token, props=props)


def _tokens_allowed(simulation: Simulation, user_id: str) -> bool:
    if user_id in simulation.world.bots:
        return True
    return bool(simulation.setting("ServiceSettings", "EnableUserAccessTokens"))


def _was_idle_too_long(simulation: Simulation, session: Session) -> bool:
    service = simulation.settings["ServiceSettings"]
    minutes = service["SessionIdleTimeoutInMinutes"]
    if session.is_access_token or service["ExtendSessionLengthWithActivity"] or not minutes:
        return False
    return simulation.now() - session.last_activity_at > int(minutes) * 60_000


def start(
    simulation: Simulation,
    user: User,
    *,
    length_ms: int = 0,
    token: str = "",
    props: dict[str, str] | None = None,
    device_id: str = "",
) -> Session:
    now = simulation.now()
    session = Session(
        user_id=user.id,
        create_at=now,
        expires_at=now + (length_ms or _length_ms(simulation)),
        extended_at=now,
        last_activity_at=now,
        device_id=device_id,
        props=props or {},
    )
    session.token = token or session.token
    simulation.world.sessions[session.token] = session
    own = of_user(simulation, user.id)
    if len(own) > MOST_SESSIONS:
        revoke(simulation, min(own, key=lambda one: one.last_activity_at))
    return session


def _length_ms(simulation: Simulation) -> int:
    return int(simulation.setting("ServiceSettings", "SessionLengthWebInHours")) * HOUR_MS


def extend(simulation: Simulation, session: Session) -> bool:
    """Move the expiry forward, if that is due; True when it was moved."""
    if session.is_access_token:
        return False
    if not simulation.setting("ServiceSettings", "ExtendSessionLengthWithActivity"):
        return False
    length = _length_ms(simulation)
    now = simulation.now()
    if now - session.extended_at < max(min(length // 100, DAY_MS), 5 * 60_000):
        return False
    session.expires_at, session.extended_at = now + length, now
    return True


def of_user(simulation: Simulation, user_id: str) -> list[Session]:
    return [one for one in simulation.world.sessions.values() if one.user_id == user_id]


def revoke(simulation: Simulation, session: Session) -> None:
    """The token is refused from now on; a websocket opened with it stays, and stays mute."""
    simulation.world.sessions.pop(session.token, None)


def revoke_all(simulation: Simulation, user_id: str) -> None:
    for session in of_user(simulation, user_id):
        revoke(simulation, session)


# Logging in


def log_in(simulation: Simulation, login_id: str, password: str, code: str) -> User:
    """The user, if everything is right. The order of the checks tells what was wrong."""
    if not password:
        raise ApiError(400, "api.user.login.blank_pwd.app_error")
    user = _by_login(simulation, login_id)
    if user is None:
        raise _invalid_credentials(simulation)
    check_may_log_in(simulation, user)
    if not hmac.compare_digest(user.password.encode(), password.encode()):
        user.failed_attempts += 1
        raise _invalid_credentials(simulation)
    if user.mfa_active:
        check_code(simulation, user, code)
    user.failed_attempts = 0
    return user


def check_may_log_in(simulation: Simulation, user: User) -> None:
    if user.delete_at:
        raise ApiError(401, "api.user.login.inactive.app_error")
    if user.id in simulation.world.bots:
        raise ApiError(401, "api.user.login.bot_login_forbidden.app_error")
    if user.failed_attempts >= simulation.setting("ServiceSettings", "MaximumLoginAttempts"):
        raise ApiError(401, "api.user.check_user_login_attempts.too_many.app_error")


def _by_login(simulation: Simulation, login_id: str) -> User | None:
    email = simulation.settings["EmailSettings"]
    login_id = login_id.lower()
    for user in simulation.world.users.values():
        if email["EnableSignInWithUsername"] and user.username == login_id:
            return user
        if email["EnableSignInWithEmail"] and user.email.lower() == login_id:
            return user
    return None


def _invalid_credentials(simulation: Simulation) -> ApiError:
    email = simulation.settings["EmailSettings"]
    ways = [email["EnableSignInWithEmail"], email["EnableSignInWithUsername"]]
    suffix = {(True, False): "email", (False, True): "username"}.get(
        (bool(ways[0]), bool(ways[1])), "email_username"
    )
    return ApiError(401, f"api.user.login.invalid_credentials_{suffix}")


def check_code(simulation: Simulation, user: User, code: str) -> None:
    if len(code) != 6 or not code.isdigit():
        # No attempt was made: this one does not count towards the lock.
        raise ApiError(401, "mfa.validate_token.authenticate.app_error")
    window = _window_of(user.mfa_secret, code, simulation.clock.seconds())
    if window is None or window in user.mfa_used:
        user.failed_attempts += 1
        raise ApiError(401, "api.user.check_user_mfa.bad_code.app_error")
    user.mfa_used.add(window)


def mfa_code(secret: str, seconds: float) -> str:
    """The six digits an authenticator shows at this time (TOTP, SHA-1, 30 s)."""
    key = base64.b32decode(secret)
    digest = hmac.digest(key, struct.pack(">Q", int(seconds) // 30), "sha1")
    start_at = digest[-1] & 0x0F
    number = struct.unpack(">I", digest[start_at : start_at + 4])[0] & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


def _window_of(secret: str, code: str, seconds: float) -> int | None:
    off = assumptions.MFA_WINDOWS_OFF
    for window in range(int(seconds) // 30 - off, int(seconds) // 30 + off + 1):
        if mfa_code(secret, window * 30) == code:
            return window
    return None
