"""What can go wrong at a platform, told as what the caller may do next.

A platform translates every foreign error where it appears (`raise Unavailable(...) from error`).
`code` is stable and shown to clients; `detail` is for people and holds no secret; `next_step` is
what an operator can do about it. `Misconfigured` stands outside the family on purpose: no retry
loop that catches `PlatformError` can swallow it.
"""

from __future__ import annotations

from typing import Literal


class PlatformError(Exception):
    """Base of everything a platform raises; never raised itself."""

    code = "platform_error"
    next_step = ""

    def __init__(self, detail: str = "", *, code: str | None = None, next_step: str | None = None):
        super().__init__(detail or self.__doc__ or self.code)
        self.detail = str(self)
        if code is not None:
            self.code = code
        if next_step is not None:
            self.next_step = next_step


class Rejected(PlatformError):
    """The platform understood the request and refused it for good."""

    code = "rejected"
    next_step = "Change the request; repeating it will be refused again."


class Unsupported(PlatformError):
    """The platform cannot do this at all; raised before anything is sent."""

    code = "unsupported"
    next_step = "See the platform's abilities at /api/v1/platforms/."


class NotFound(PlatformError):
    """The channel, person or message does not exist, or this bot may not see it."""

    code = "remote_not_found"
    next_step = "Check the name, and that the bot is a member; then run Sync on the bot."


class Forbidden(PlatformError):
    """The platform does not let this bot do that."""

    code = "remote_forbidden"
    next_step = "Give the bot this permission on the platform, or add it to the channel."


class CredentialsRefused(PlatformError):
    """The platform does not accept who the bot says it is. Never retried: accounts get locked."""

    code = "credentials_refused"
    next_step = "Set new credentials on the bot, then press Test."


class RateLimited(PlatformError):
    """Too many requests; nothing was accepted. Only what was limited has to wait.

    `retry_after` is in seconds. `scope` says what the limit covers: the one channel, or all the
    bot sends.
    """

    code = "rate_limited"
    next_step = "Nothing to do: it is sent when the platform allows it again."

    def __init__(
        self, detail: str = "", *, retry_after: float, scope: Literal["bot", "channel"] = "bot"
    ):
        super().__init__(detail)
        self.retry_after = max(0.0, retry_after)
        self.scope = scope


class Unavailable(PlatformError):
    """The platform could not be reached, or failed before it accepted anything: safe to repeat."""

    code = "platform_unavailable"
    next_step = "Nothing to do: it is tried again. If it lasts, check the space's URL and network."


class Stale(Unavailable):
    """Connected, but the platform does not answer a heartbeat: nothing is heard any more."""

    code = "stale"
    next_step = "Nothing to do: it is connected anew. If it lasts, check proxies in between."


class OutcomeUnknown(PlatformError):
    """The request went out and no answer came back: it may or may not have happened."""

    code = "outcome_unknown"
    next_step = "Look in the channel, then resolve the job as sent or not sent."


class StillRunning(OutcomeUnknown):
    """The platform is still at an earlier try of the same: it may happen any moment."""

    code = "still_running"


class Misconfigured(Exception):
    """Settings of a space or bot that cannot work; `option` names the one to change, if known."""

    code = "misconfigured"

    def __init__(self, detail: str, *, option: str = "", next_step: str = ""):
        super().__init__(detail)
        self.detail = detail
        self.option = option
        self.next_step = next_step or "Correct the settings of the space or bot, then press Test."
