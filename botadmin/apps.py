from django.apps import AppConfig


class BotadminConfig(AppConfig):
    name = "botadmin"

    def ready(self) -> None:
        from botadmin import checks  # noqa: F401 - importing it registers the system checks
