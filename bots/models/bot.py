"""A bot: an account in a space, and what it is allowed and wanted to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F

from bots.models.label import Label
from spaces.models import Person, Space
from spaces.platforms import registry
from spaces.platforms.contract import Ability, clean_options
from spaces.platforms.errors import Misconfigured

if TYPE_CHECKING:
    from bots.models.connection import Connection


class Receive(models.TextChoices):
    """How a bot hears what happens. Which of them a platform offers follows from its abilities."""

    WEBSOCKET = "websocket", "Live connection"
    POLL = "poll", "Poll"
    WEBHOOK = "webhook", "Webhooks"
    OFF = "off", "Off"


# Where nobody said how, a bot receives in the first of these ways that its platform offers.
RECEIVE_NEEDS = {
    Receive.WEBSOCKET: Ability.STREAM,
    Receive.POLL: Ability.CATCH_UP,
    Receive.WEBHOOK: Ability.WEBHOOK,
}


class Permission(models.TextChoices):
    """What a bot may do, here, whatever the platform would let it do."""

    POST = "post", "Post into channels"
    DIRECT = "direct", "Write to people directly"
    EDIT = "edit", "Edit and delete its messages"
    REACT = "react", "Add reactions and pin messages"
    CHANNELS = "channels", "Create, change, archive and restore channels"
    PARTICIPANTS = "participants", "Add and remove participants"
    RECEIPTS = "receipts", "Send read receipts"
    PRESENCE = "presence", "Show presence and typing"
    CUSTOM = "custom", "Make requests in the platform's own words"


def usual_permissions() -> list[str]:
    """What a new bot may do: all that we know the meaning of."""
    return [str(p) for p in Permission if p != Permission.CUSTOM]


def every_permission() -> list[str]:
    """Named by the first migration, for which it has to stay."""
    return [str(p) for p in Permission]


class Bot(models.Model):
    slug = models.SlugField(
        unique=True, help_text="Short name used by the API and in logs. Cannot be changed later."
    )
    name = models.CharField(max_length=100)
    space = models.ForeignKey(Space, on_delete=models.PROTECT, related_name="bots")
    enabled = models.BooleanField(
        default=True, help_text="While it is off, the bot receives nothing and its jobs wait."
    )
    receive = models.CharField(max_length=10, choices=Receive.choices, default=Receive.WEBSOCKET)
    permissions = models.JSONField(default=usual_permissions, blank=True)
    read_receipts = models.BooleanField(
        default=True, help_text="Whether people see that the bot has read their messages."
    )
    options = models.JSONField(default=dict, blank=True)
    handlers = models.JSONField(
        default=list, blank=True, help_text="Names of the handlers that answer its events."
    )
    groups = models.ManyToManyField(
        Group, blank=True, related_name="bots", help_text="Whose members may see and use this bot."
    )
    labels = models.ManyToManyField(Label, related_name="bots", editable=False)

    # What the platform says; written by the sending and receiving sides, never by forms.
    person = models.ForeignKey(Person, on_delete=models.SET_NULL, null=True, editable=False)
    identity = models.JSONField(default=dict, editable=False)

    # Counts changes of what a connection is made of: whoever holds an older one connects anew.
    generation = models.PositiveIntegerField(default=1, editable=False)
    # The platform said "not before": every lane of the bot waits.
    limited_until = models.DateTimeField(null=True, editable=False)
    # The next free place in line when the operator set messages per second.
    next_send_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    if TYPE_CHECKING:
        connection: Connection

    class Meta:
        ordering = ["name"]
        permissions = [("operate_bot", "Can test, start, stop and send as a bot")]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse what the platform or an installed handler would refuse later; what is stored may
        stay, whatever they say now."""
        from bots.handlers import registered  # handlers import models

        errors: dict[str, Any] = {}
        stored = Bot.objects.filter(pk=self.pk).first() or Bot(permissions=[], receive="")
        try:
            platform = registry.get(self.space.platform)
            self.options = clean_options(platform, "bot", self.options, stored=stored.options)
        except Misconfigured as error:
            raise ValidationError({"options": error.detail}) from error
        needed = RECEIVE_NEEDS.get(Receive(self.receive)) if self.receive in Receive else None
        is_offered = needed is None or needed in platform.abilities
        if not is_offered and self.receive != stored.receive:
            errors["receive"] = f"{platform.label} cannot receive this way."
        if unknown := sorted(
            set(map(str, self.permissions)) - {*Permission.values, *stored.permissions}
        ):
            errors["permissions"] = f"Unknown: {', '.join(unknown)}."
        if unknown := sorted(set(map(str, self.handlers)) - {*registered(), *stored.handlers}):
            errors["handlers"] = f"No such handler: {', '.join(unknown)}."
        self.handlers = list(dict.fromkeys(map(str, self.handlers)))
        if errors:
            raise ValidationError(errors)

    def renew(self, **changes: Any) -> None:
        """Write `changes`; whoever holds the connection or a client drops it and starts anew."""
        Bot.objects.filter(pk=self.pk).update(generation=F("generation") + 1, **changes)
        self.refresh_from_db(fields=["generation", *changes])
