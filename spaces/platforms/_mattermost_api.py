"""Mattermost's REST API: who we are for it, and what its refusals mean.

A bot has a token, or logs in with a password. A login's session is kept in the account's memory,
where all processes find it, because a code of the second factor serves one login only; when the
session ends, the next call logs in again. A login that was refused is never repeated by itself:
Mattermost locks accounts after ten.

Facts about the server, here and in the other `_mattermost` files: its source, version 11.6.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn

from spaces.platforms import http, nested
from spaces.platforms.contract import Account
from spaces.platforms.errors import (
    CredentialsRefused,
    Forbidden,
    Misconfigured,
    NotFound,
    OutcomeUnknown,
    PlatformError,
    RateLimited,
    Rejected,
    StillRunning,
    Unavailable,
)

Fields = dict[str, Any]  # a JSON object as the server sent it

PAGE = 200  # rows; the server gives no more, whatever is asked for
IDS_PER_REQUEST = 200  # keeps a body of ids far below the server's limit of 300 kB
_ID = re.compile(r"[a-z0-9]{26}")
TOTP_SECONDS = 30  # RFC 6238, as all authenticator apps count

MFA_NEXT_STEP = (
    "Set the credential MFA to the secret that Mattermost showed when the second factor was set "
    "up, or to a fresh code; then press Test."
)
# Why a login is refused, and what to do. The server counts the first and the fourth.
LOGIN_REFUSALS = {
    "api.user.login.invalid_credentials": "Correct login and password; ten wrong ones in a row "
    "lock the account.",
    "api.user.login.blank_pwd": "Set the bot's password.",
    "mfa.validate_token.authenticate": MFA_NEXT_STEP,
    "api.user.check_user_mfa.bad_code": MFA_NEXT_STEP,
    "api.user.check_user_login_attempts.too_many": "The account is locked. An administrator resets "
    "its password or its failed attempts; then press Test.",
    "api.user.login.inactive": "An administrator activates the account; then press Test.",
    "api.user.login.not_verified": "Confirm the account's e-mail address; then press Test.",
    "api.user.login.bot_login_forbidden": "Bot accounts have no password: set a token instead.",
}

NO_SESSION = "-"
MFA_REQUIRED = "mfa_required"
SESSION_ENDED = "session_ended"
THREAD_NOT_FOUND = "thread_not_found"
SWITCHED_OFF = "switched_off"
CHANNEL_ARCHIVED = "channel_archived"
NOT_A_MEMBER = "not_a_member"
NO_CHANNELS = "no_channels"
CHANNELS_MISSING = "app.channel.get_channels.not_found"
# Refusals that are told apart, by the beginning of the server's error id.
REFUSALS: dict[str, tuple[type[PlatformError], str, str]] = {
    "api.post.deduplicate_create_post.pending": (StillRunning, "still_running", ""),
    "api.post.deduplicate_create_post": (OutcomeUnknown, "outcome_unknown", ""),
    "api.context.invalid_url_param": (NotFound, "remote_not_found", ""),
    "api.post.create_post.can_not_post_to_deleted": (
        Rejected,
        CHANNEL_ARCHIVED,
        "Restore the channel, or send elsewhere.",
    ),
    "api.channel.delete_channel.deleted": (Rejected, CHANNEL_ARCHIVED, ""),
    "api.channel.update_channel.deleted": (
        Rejected,
        CHANNEL_ARCHIVED,
        "Restore the channel, then change it.",
    ),
    "app.channel.get_member.missing": (NotFound, NOT_A_MEMBER, ""),
    CHANNELS_MISSING: (NotFound, NO_CHANNELS, ""),
    "api.post.create_post.root_id": (
        Rejected,
        THREAD_NOT_FOUND,
        "Answer a message that exists, in its own channel.",
    ),
    "api.post.create_post.channel_root_id": (
        Rejected,
        THREAD_NOT_FOUND,
        "Answer a message in its own channel.",
    ),
    "model.post.is_valid.message_length": (Rejected, "too_long", "Shorten the message."),
    "api.context.request_body_too_large": (Rejected, "too_long", "Shorten the message."),
    "api.file.upload_file.too_large": (
        Rejected,
        "file_too_large",
        "Send a smaller file, or ask an administrator for a higher limit.",
    ),
    "api.file.attachments.disabled": (
        Rejected,
        SWITCHED_OFF,
        "An administrator allows file sharing in the System Console.",
    ),
    "store.sql_channel.save_channel.exists": (
        Rejected,
        "channel_exists",
        "Choose another name; archived channels keep theirs.",
    ),
    "app.emoji.get_by_name.no_result": (Rejected, "unknown_reaction", "Use an emoji's name."),
    "app.team.get_member.missing": (
        Rejected,
        "not_in_team",
        "Add the person to the team first, then to the channel.",
    ),
    "api.context.mfa_required": (
        Forbidden,
        MFA_REQUIRED,
        "This server demands a second factor: set one up for the bot's account, or use a bot "
        "account with a token.",
    ),
    "api.context.server_busy": (Unavailable, "platform_unavailable", ""),
}


class Api:
    """Requests below the API's base path, as the bot. Used by one thread at a time."""

    def __init__(self, base: str, account: Account):
        self._account = account
        self._token = account.credentials.get("token", "").strip()
        self._can_log_in = not self._token and bool(account.credentials.get("password"))
        self.http = http.Http(base, account, authorize=self.authorization, refusal=refused)

    def close(self) -> None:
        self.http.close()

    # Who we are -----------------------------------------------------------------------------------

    def enter(self) -> Fields:
        """Our own user. Logs in when there is no session that lasts.

        Raises `CredentialsRefused`, `Misconfigured`, `Unavailable`.
        """
        try:
            return self._as_user(self._enter())
        except Forbidden as error:
            if error.code != MFA_REQUIRED:
                raise
            raise CredentialsRefused(error.detail, next_step=error.next_step) from error
        except NotFound as error:
            raise Misconfigured(
                "There is no Mattermost at this URL.",
                option="url",
                next_step="Correct the URL of the space, or its base path.",
            ) from error

    def _enter(self) -> Any:
        if not self._token:
            self._require_login()
            self._token, _ = self._remembered()
            if not self._token:
                self._log_in()
        try:
            return self.as_json(self.http.request("GET", "/users/me"))
        except CredentialsRefused:
            if not self._can_log_in:
                raise
        self._log_in()
        return self.get("/users/me")

    def _as_user(self, told: Any) -> Fields:
        if not isinstance(told, dict) or not told.get("id"):
            raise Misconfigured("There is no Mattermost at this URL.", option="url")
        return told

    def authorization(self) -> str:
        """The value of the `Authorization` header."""
        return f"Bearer {self._token}" if self._token else ""

    def _require_login(self) -> None:
        if not self._can_log_in or not self._account.credentials.get("login"):
            raise Misconfigured(
                "The bot has neither a token nor a login with its password.",
                option="token",
                next_step="Set the token of the bot account, or login and password.",
            )

    def _log_in(self) -> None:
        over, self._token = self._token, ""
        before = used = self._remembered()[1]
        if self._take_over(over):
            return
        credentials = self._account.credentials
        body = {"login_id": credentials["login"], "password": credentials["password"]}
        mfa = credentials.get("mfa", "").strip()
        if mfa:
            body["token"] = self._code(mfa)
            if _mark(body["token"]) in used.split():
                self._refuse_used_code(mfa)
            # Before it is: an answer that gets lost has used it up all the same.
            self._remember("", used := _mark(body["token"]))
        try:
            answer = self.http.request("POST", "/users/login", body=body)
        except OutcomeUnknown as error:
            # A session too many harms nobody: it may be tried again.
            raise Unavailable(error.detail) from error
        except (Unavailable, RateLimited):
            self._remember("", before)  # the server never saw the code
            raise
        except CredentialsRefused:
            if self._take_over(over):
                return  # the code served another process a moment ago
            raise
        self._token = answer.headers.get("Token", "")
        if not self._token:
            raise Misconfigured("The server's login gave no session.", option="url")
        self._remember(self._token, used)

    def _take_over(self, over: str) -> bool:
        """Use the session of another process that has logged in meanwhile, if one has."""
        session, _ = self._remembered()
        if session in ("", over):
            return False
        self._token = session
        return True

    def _code(self, mfa: str) -> str:
        if _is_code(mfa):
            return mfa
        self.http.ask("GET", "/system/ping")  # tells the time by which the server judges codes
        return one_time_code(mfa, self._server_time())

    def _server_time(self) -> float:
        return time.time() + self.http.clock_skew_seconds

    def _refuse_used_code(self, mfa: str) -> NoReturn:
        """No code serves twice, and the server counts the attempt."""
        if _is_code(mfa):
            raise CredentialsRefused("The one-time code has been used.", next_step=MFA_NEXT_STEP)
        seconds = math.ceil(TOTP_SECONDS - self._server_time() % TOTP_SECONDS)
        raise Unavailable(
            f"This half minute's code was used; the next one comes in {seconds} seconds.",
            code="code_used",
        )

    def _remembered(self) -> tuple[str, str]:
        """The session, and the marks of codes that were used of late; empty for none."""
        session, _, used = self._account.memory.read().partition(" ")
        return session.removeprefix(NO_SESSION), used

    def _remember(self, session: str, used: str) -> None:
        self._account.memory.write(f"{session or NO_SESSION} {used}".rstrip())

    # Requests -------------------------------------------------------------------------------------

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self.as_json(self.request("GET", path, query=query))

    def listing(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """As `get`, of what may be long. Raises `NotFound` with code `NO_CHANNELS` for the channels
        of somebody who is in none."""
        seconds = self.http.long_seconds
        answer = self.request("GET", path, query=query, timeout_seconds=seconds)
        return self.as_json(answer)

    def post(self, path: str, body: Any = None, **how: Any) -> Any:
        answer = self.request("POST", path, body=body, **how)
        try:
            return self.as_json(answer)
        except Unavailable as error:
            if how.get("idempotent"):
                raise
            raise OutcomeUnknown(error.detail) from error

    def look_up(self, path: str, body: Any) -> Any:
        """A POST that only asks."""
        return self.post(path, body, idempotent=True)

    def put(self, path: str, body: Any = None) -> Any:
        return self.as_json(self.request("PUT", path, body=body))

    def delete(self, path: str, **how: Any) -> None:
        self.request("DELETE", path, **how)

    def request(self, method: str, path: str, **how: Any) -> http.Answer:
        """As `Http.request`. Raises `Unavailable` when a session has ended that can be had anew:
        whoever connects next logs in, one for all."""
        with self._session_may_end():
            return self.http.request(method, path, **how)

    def ask(self, method: str, path: str, **how: Any) -> http.Answer:
        """As `request`, but an answer that refuses is an answer. Failures of the way are raised,
        and so is what concerns more than this request: 401, 429, 5xx."""
        with self._session_may_end():
            answer, call = self.http.ask(method, path, **how)
            if answer.status in (401, 429) or answer.status >= 500:
                raise refused(answer, call)
        return answer

    def download(self, path: str) -> BinaryIO:
        with self._session_may_end():
            return self.http.stream(path)

    @contextmanager
    def _session_may_end(self) -> Iterator[None]:
        try:
            yield
        except CredentialsRefused as error:
            if not self._can_log_in:
                raise
            raise Unavailable(
                "The session has ended; the bot logs in again.", code=SESSION_ENDED
            ) from error

    def pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Fields]:
        """All rows of a paged listing. There is no total: a short page is the last one."""
        page = 0
        while True:
            rows = self.listing(path, {**query, "page": page, "per_page": PAGE}) or []
            yield from rows
            if len(rows) < PAGE:
                return
            page += 1

    def in_pieces(self, path: str, ids: Sequence[str]) -> Iterator[Fields]:
        """The rows that a lookup by ids or names gives; it leaves unknown ones out."""
        for start in range(0, len(ids), IDS_PER_REQUEST):
            yield from self.look_up(path, list(ids[start : start + IDS_PER_REQUEST])) or []

    def as_json(self, answer: http.Answer) -> Any:
        try:
            return nested.loads(answer.content)
        except ValueError as error:
            if "json" in answer.headers.get("Content-Type", ""):
                raise _broken_off(answer) from error
            raise Misconfigured(
                "The server does not answer in JSON; is this Mattermost's own address?",
                option="url",
            ) from error


# Refusals -----------------------------------------------------------------------------------------


def refused(answer: http.Answer, call: http.Call) -> PlatformError | Misconfigured:
    """What an answer that is no success means. Told apart by ids: the texts are translated."""
    told = error_of(answer)
    error_id, message = str(told.get("id", "")), str(told.get("message", ""))
    detail = message or f"The server answered {answer.status} to {call.method} {call.path}."
    is_refusal = answer.status == 401 or (answer.status in (400, 403) and error_id)
    if is_refusal and call.path == "/users/login":
        return _login_refused(error_id, detail)
    if answer.status == 401:
        return CredentialsRefused(
            "The server does not accept the token, or its session has ended.",
            next_step="Set a token that is valid, or let an administrator enable the account and "
            "its tokens; then press Test.",
        )
    for beginning, (kind, code, next_step) in REFUSALS.items():
        if error_id.startswith(beginning):
            return kind(detail, code=code, next_step=next_step or None)
    if answer.status == 501:
        return Rejected(
            detail, code=SWITCHED_OFF, next_step="An administrator switches this feature on."
        )
    if answer.status == 413:  # by a proxy, which knows no ids
        return Rejected(detail, code="file_too_large" if call.path == "/files" else "too_long")
    return http.refusal(answer, call, detail)


def error_of(answer: http.Answer) -> Fields:
    """The server's error object, empty for answers of somebody in between. Where the error was met
    before the first row of a list, the list's bracket is in front of it."""
    try:
        told = nested.loads(answer.content.removeprefix(b"["))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _broken_off(answer: http.Answer) -> PlatformError:
    """Lists are written row by row: an error on the way comes too late to change the status."""
    if str(error_of(answer).get("id", "")).startswith(CHANNELS_MISSING):
        return NotFound("There are no channels.", code=NO_CHANNELS)
    return Unavailable("The server's answer broke off in the middle.")


def _login_refused(error_id: str, detail: str) -> CredentialsRefused:
    for beginning, next_step in LOGIN_REFUSALS.items():
        if error_id.startswith(beginning):
            return CredentialsRefused(f"The login was refused: {detail}", next_step=next_step)
    return CredentialsRefused(f"The login was refused: {detail}")


def is_id(text: str) -> bool:
    return bool(_ID.fullmatch(text))


def checked_id(text: str) -> str:
    """An id as part of a path. Raises `NotFound` for what cannot be one."""
    if not is_id(text):
        raise NotFound(f"{text!r} is no id of this server.")
    return text


# The second factor --------------------------------------------------------------------------------


def _mark(code: str) -> str:
    """By which a code is known again."""
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def spent(memories: Iterable[str]) -> str:
    """A memory of the codes that these say were used, without their sessions."""
    marks = {mark: None for memory in memories for mark in memory.split()[1:]}
    return " ".join([NO_SESSION, *marks]) if marks else ""


def _is_code(text: str) -> bool:
    return len(text) == 6 and text.isdecimal()


def one_time_code(secret: str, at: float) -> str:
    """The six digits of RFC 6238 for a base32 secret at a Unix time. Raises `Misconfigured`."""
    letters = secret.replace(" ", "").replace("-", "").upper()
    try:
        key = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        _refuse_secret()
    digest = hmac.digest(key, int(at // TOTP_SECONDS).to_bytes(8), "sha1")
    start = digest[-1] & 0x0F
    number = int.from_bytes(digest[start : start + 4]) & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def _refuse_secret() -> NoReturn:
    raise Misconfigured(
        "The credential MFA is neither a code of six digits nor a secret.",
        option="mfa",
        next_step=MFA_NEXT_STEP,
    ) from None
