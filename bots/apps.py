from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class BotsConfig(AppConfig):
    name = "bots"
    verbose_name = "Bots"

    def ready(self) -> None:
        from bots import courier, handlers, runner, syncing  # noqa: F401 - they register themselves

        post_migrate.connect(_set_clock, sender=self)
        # Any installed app may register handlers with @on in its handlers.py.
        autodiscover_modules("handlers")


def _set_clock(using: str, **_: Any) -> None:
    """Every database has one, also one that was emptied."""
    from bots.models import SequenceClock  # needs the apps to be loaded

    SequenceClock.objects.using(using).get_or_create(pk=1)
