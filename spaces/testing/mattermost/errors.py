"""The server's refusals: a status and an id that clients match on."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """Ends a request with the error JSON of the reference."""

    def __init__(self, status: int, id: str, message: str = ""):
        super().__init__(f"{status} {id}")
        self.status = status
        self.id = id
        # The real texts depend on the reader's language: nobody may match on them.
        self.message = message or f"Refused: {id}"

    def as_json(self) -> dict[str, Any]:
        """Without `request_id`, which only HTTP answers have."""
        return {
            "id": self.id,
            "message": self.message,
            "detailed_error": "",
            "status_code": self.status,
        }


def bad_url(name: str) -> ApiError:
    return ApiError(400, "api.context.invalid_url_param.app_error", f"Bad {name} in the URL.")


def bad_body(name: str) -> ApiError:
    return ApiError(400, "api.context.invalid_body_param.app_error", f"Bad {name} in the body.")


def no_array() -> ApiError:
    return ApiError(400, "api.payload.parse.error", "The body is not a JSON array.")


def not_logged_in() -> ApiError:
    return ApiError(401, "api.context.session_expired.app_error", "There is no such session.")


def no_permission() -> ApiError:
    return ApiError(403, "api.context.permissions.app_error", "Your roles do not allow this.")


def no_route() -> ApiError:
    return ApiError(404, "api.context.404.app_error", "There is nothing at this address.")


def no_user() -> ApiError:
    return ApiError(404, "app.user.missing_account.const", "There is no such user.")


def no_team() -> ApiError:
    return ApiError(404, "app.team.get.find.app_error", "There is no such team.")


def no_team_member() -> ApiError:
    return ApiError(404, "app.team.get_member.missing.app_error", "Not a member of the team.")


def no_channel() -> ApiError:
    return ApiError(404, "app.channel.get.existing.app_error", "There is no such channel.")


def no_channel_member() -> ApiError:
    return ApiError(404, "app.channel.get_member.missing.app_error", "Not a member.")


def no_post() -> ApiError:
    return ApiError(404, "app.post.get.app_error", "There is no such post.")


def no_bot() -> ApiError:
    return ApiError(404, "store.sql_bot.get.missing.app_error", "There is no such bot.")


def too_large() -> ApiError:
    return ApiError(413, "api.context.request_body_too_large.app_error", "The body is too large.")
