from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class BotsConfig(AppConfig):
    name = "bots"
    verbose_name = "Bots"

    def ready(self) -> None:
        from bots import handlers, runner, syncing  # noqa: F401 - they register themselves

        # Any installed app may register handlers with @on in its handlers.py.
        autodiscover_modules("handlers")
