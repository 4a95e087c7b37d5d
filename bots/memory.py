"""The memory of a platform that is stored: one for a bot, whichever process asks.

It saves logins, no more: losing it costs one. So it is forgotten whenever the bot may have become
somebody else, and nothing that was learned with older settings is written down any more.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone

from bots import scrub
from bots.models import Bot, BotMemory
from bots.secrets import decrypt, encrypt
from spaces.platforms.contract import Memory
from spaces.platforms.errors import Misconfigured


class StoredMemory(Memory):
    """What `bot` remembers, as long as its settings are those that it was read with."""

    def __init__(self, bot: Bot):
        super().__init__()
        self._bot_id = bot.pk
        self._generation = bot.generation

    def read(self) -> str:
        stored = BotMemory.objects.filter(bot=self._bot_id).first()
        if stored is None:
            return ""
        try:
            value = decrypt(stored.value)
        except Misconfigured:
            return ""  # encrypted with a key that is gone: a login brings a new one
        _know(value)
        return value

    def write(self, value: str) -> None:
        _know(value)
        with transaction.atomic():
            # Whoever changes settings writes the bot's row first, and forgets after that.
            mine = Bot.objects.filter(pk=self._bot_id, generation=self._generation)
            if not mine.select_for_update().exists():
                return
            if not value:
                forget([self._bot_id])
                return
            BotMemory.objects.update_or_create(
                bot_id=self._bot_id,
                defaults={"value": encrypt(value), "changed_at": timezone.now()},
            )


def _know(value: str) -> None:
    """Each word may be a secret of its own."""
    for word in value.split():
        scrub.know(word)


def forget(bot_ids: Iterable[int]) -> None:
    """Nothing is remembered of these bots; for whoever has just renewed them."""
    BotMemory.objects.filter(bot__in=bot_ids).delete()
