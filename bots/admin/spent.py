"""What trials of credentials used up, kept from one try to the next of whoever enters them.

A code of a second factor serves one login, so the try after it has to know. It is no secret: what
is kept serves nobody any more, and no session is part of it.
"""

from __future__ import annotations

from django.http import HttpRequest

from bots import rotation
from bots.models import Bot
from bots.rotation import Trial


def before(request: HttpRequest, bot: Bot) -> str:
    """For `rotation.attempt`, and for a bot that begins with what was tried."""
    return str(request.session.get(_key(bot), ""))


def note(request: HttpRequest, bot: Bot, trial: Trial) -> None:
    if used := rotation.spent(bot, trial.learned):
        request.session[_key(bot)] = used


def _key(bot: Bot) -> str:
    return f"spent-in-space-{bot.space_id}"
