from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class BotsConfig(AppConfig):
    name = "bots"
    verbose_name = "Bots"

    def ready(self) -> None:
        # They register themselves.
        from bots import courier, handlers, lookups, runner, syncing  # noqa: F401
        from bots.audit import accounts  # noqa: F401

        post_migrate.connect(_set_clocks, sender=self)
        # Any installed app may register handlers with @on in its handlers.py.
        autodiscover_modules("handlers")


def _set_clocks(using: str, **_: Any) -> None:
    """Every database has them, also one that was emptied."""
    # They need the apps to be loaded.
    from bots.models import IncidentClock, SequenceClock, SequenceEntry

    last = SequenceEntry.objects.using(using).order_by("-seq").values_list("seq", flat=True).first()
    SequenceClock.objects.using(using).get_or_create(pk=1, defaults={"last_seq": last or 0})
    IncidentClock.objects.using(using).get_or_create(pk=1)
