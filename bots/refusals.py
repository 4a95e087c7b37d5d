"""Why we refuse a request ourselves, before any platform is asked.

`code` is stable and goes to clients; each kind has one HTTP status, so that every door (REST,
admin, handlers) tells the same story.
"""

from __future__ import annotations


class Refused(Exception):
    """Base; `field` names the input that is wrong, when one is."""

    code = "invalid"
    status = 400
    retry_after = 0  # seconds after which it may go better; 0: not by waiting

    def __init__(self, detail: str, *, code: str | None = None, field: str = ""):
        super().__init__(detail)
        self.detail = detail
        self.field = field
        if code is not None:
            self.code = code


class Invalid(Refused):
    """The request makes no sense as it stands."""


class NotPermitted(Refused):
    """The bot's own permissions do not allow it."""

    code = "not_permitted"
    status = 403


class Missing(Refused):
    """There is no such thing, or not for this bot."""

    code = "not_found"
    status = 404


class Conflict(Refused):
    """Not in the state it is in."""

    code = "conflict"
    status = 409


class NotSupported(Refused):
    """The platform cannot do it."""

    code = "unsupported"
    status = 422


class Busy(Refused):
    """Not now: too much of the same is under way."""

    code = "busy"
    status = 503
    retry_after = 5


class KeyReused(Refused):
    """The Idempotency-Key belongs to another request."""

    code = "idempotency_key_reused"
    status = 422
