"""What an operator asks a bot to do: a short form each, which becomes one job."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar
from uuid import uuid4

from django import forms
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from bots import idempotency, jobs, targets
from bots.access import Actor
from bots.models import Bot, JobKind
from bots.refusals import Invalid, NotPermitted, Refused
from spaces.platforms import registry
from spaces.platforms.contract import Ability
from spaces.platforms.messages import ChannelKind, PersonRef

SUGGESTIONS = 200  # channels offered while typing


class Operation(forms.Form):
    """A form that becomes a job of `kind`."""

    kind: ClassVar[JobKind]
    label: ClassVar[str]
    icon: ClassVar[str]

    # One form is one job, however often it is sent: a double click must not post twice.
    once = forms.CharField(max_length=32, widget=forms.HiddenInput)

    def __init__(self, bot: Bot, data: Any = None, initial: dict[str, Any] | None = None):
        super().__init__(data, initial={"once": uuid4().hex, **(initial or {})})
        self.bot = bot

    def wanted(self, entered: dict[str, Any]) -> jobs.Request:
        """What to submit. Raises `Refused`."""
        raise NotImplementedError

    def clean(self) -> dict[str, Any]:
        entered = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                self.request = self.wanted(entered)
                jobs.check(self.bot, self.request)
            except Refused as refused:
                self.add_error(
                    refused.field if refused.field in self.fields else None, refused.detail
                )
        return entered

    def submit(self, actor: Actor) -> int:
        """Store the job, once; returns its id. Raises `Refused`."""
        asked = idempotency.fingerprint(self.bot.pk, asdict(self.request))
        once = idempotency.of_form(actor.key, self.cleaned_data["once"], asked)
        job_id, _ = idempotency.perform(
            once, lambda: jobs.submit(self.bot, self.request, requested_by=actor.label).pk
        )
        return int(job_id)

    @classmethod
    def tried(cls) -> list[jobs.Request]:
        """Requests of which one must be possible for the form to be of use."""
        return [jobs.Request(kind=cls.kind)]

    @classmethod
    def why_not(cls, bot: Bot) -> str:
        """Why the bot may not do this, empty when it may. Raises `NotSupported`."""
        refusals = []
        for request in cls.tried():
            try:
                jobs.check(bot, request)
            except NotPermitted as refused:
                refusals.append(refused.detail)
            else:
                return ""
        return refusals[0]

    def drop_unsupported(self, **needs: Ability) -> None:
        """Take fields out of the form whose ability the bot's platform does not have."""
        abilities = registry.get(self.bot.space.platform).abilities
        for name, ability in needs.items():
            if ability not in abilities:
                del self.fields[name]

    def suggestions(self) -> list[str]:
        """Names of channels to offer while somebody types."""
        named = targets.channels_of(self.bot).filter(archived=False).exclude(name="", title="")
        return [channel.name or channel.title for channel in named[:SUGGESTIONS]]


def _channel_field(**changes: Any) -> forms.CharField:
    return forms.CharField(
        max_length=255,
        widget=UnfoldAdminTextInputWidget({"list": "channels", "autocomplete": "off"}),
        **{"help_text": "Name, title or id of a channel the bot is in.", **changes},
    )


def _people_field(**changes: Any) -> forms.CharField:
    return forms.CharField(
        widget=UnfoldAdminTextareaWidget({"rows": 6}),
        **{
            "help_text": "One per line: @name, name@example.com, or an id.",
            "max_length": 200_000,
            **changes,
        },
    )


def _people(bot: Bot, lines: str) -> list[dict[str, str]]:
    return [asdict(targets.person(bot, line)) for line in lines.splitlines() if line.strip()]


class Send(Operation):
    kind, label, icon = JobKind.POST, "Send a message", "send"

    channel = _channel_field(required=False)
    person = forms.CharField(
        required=False,
        max_length=255,
        help_text="Instead of a channel, for a direct message: @name, name@example.com, or an id.",
        widget=UnfoldAdminTextInputWidget(),
    )
    only_for = forms.CharField(
        required=False,
        max_length=255,
        label="Only for",
        help_text="With a channel: the one person there who sees it, and only for now.",
        widget=UnfoldAdminTextInputWidget(),
    )
    text = forms.CharField(
        widget=UnfoldAdminTextareaWidget({"rows": 8}), help_text="Markdown.", strip=False
    )

    def __init__(self, bot: Bot, *args: Any, **kwargs: Any):
        super().__init__(bot, *args, **kwargs)
        self.drop_unsupported(only_for=Ability.EPHEMERAL)

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        if not text.strip():
            raise forms.ValidationError("There is nothing to send.")
        return text.replace("\r\n", "\n")

    def clean(self) -> dict[str, Any]:
        if bool(self.cleaned_data.get("channel")) == bool(self.cleaned_data.get("person")):
            self.add_error(None, "Name a channel or a person, one of the two.")
        elif self.cleaned_data.get("only_for") and self.cleaned_data.get("person"):
            self.add_error("only_for", "Name the channel they are in, and no other person.")
        return super().clean()

    def wanted(self, entered: dict[str, Any]) -> jobs.Request:
        payload = {"text": entered["text"]}
        if entered.get("only_for"):
            payload["only_for"] = asdict(targets.person(self.bot, entered["only_for"]))
        if entered["person"]:
            person = targets.person(self.bot, entered["person"])
            return jobs.Request(kind=self.kind, person=person, payload=payload)
        channel = targets.channel(self.bot, entered["channel"])
        return jobs.Request(kind=self.kind, channel=channel, payload=payload)

    @classmethod
    def tried(cls) -> list[jobs.Request]:
        return [*super().tried(), jobs.Request(kind=cls.kind, person=PersonRef())]


class AddParticipants(Operation):
    kind, label, icon = JobKind.ADD_PARTICIPANTS, "Add participants", "person_add"

    channel = _channel_field()
    people = _people_field()
    moderator = forms.BooleanField(
        required=False,
        help_text="They moderate the channel, too.",
        widget=UnfoldBooleanWidget(),
    )

    def __init__(self, bot: Bot, *args: Any, **kwargs: Any):
        super().__init__(bot, *args, **kwargs)
        self.drop_unsupported(moderator=Ability.MODERATORS)

    def wanted(self, entered: dict[str, Any]) -> jobs.Request:
        payload: dict[str, Any] = {"people": _people(self.bot, entered["people"])}
        if entered.get("moderator"):
            payload["moderator"] = True
        channel = targets.channel(self.bot, entered["channel"])
        return jobs.Request(kind=self.kind, channel=channel, payload=payload)


class RemoveParticipants(Operation):
    kind, label, icon = JobKind.REMOVE_PARTICIPANTS, "Remove participants", "person_remove"

    channel = _channel_field()
    people = _people_field()

    def wanted(self, entered: dict[str, Any]) -> jobs.Request:
        return jobs.Request(
            kind=self.kind,
            channel=targets.channel(self.bot, entered["channel"]),
            payload={"people": _people(self.bot, entered["people"])},
        )


class CreateChannel(Operation):
    kind, label, icon = JobKind.CREATE_CHANNEL, "Create channel", "add_comment"

    channel_kind = forms.ChoiceField(
        label="Kind",
        choices=[(k.value, k.value) for k in ChannelKind if k != ChannelKind.DIRECT],
        widget=UnfoldAdminSelectWidget(),
    )
    name = forms.CharField(
        required=False,
        max_length=255,
        help_text="Short, as in addresses: small letters, digits, hyphens.",
        widget=UnfoldAdminTextInputWidget(),
    )
    title = forms.CharField(required=False, max_length=255, widget=UnfoldAdminTextInputWidget())
    topic = forms.CharField(
        required=False, max_length=10_000, widget=UnfoldAdminTextareaWidget({"rows": 3})
    )
    purpose = forms.CharField(
        required=False, max_length=10_000, widget=UnfoldAdminTextareaWidget({"rows": 3})
    )
    people = _people_field(required=False)

    def __init__(self, bot: Bot, *args: Any, **kwargs: Any):
        super().__init__(bot, *args, **kwargs)
        self.drop_unsupported(purpose=Ability.CHANNEL_PURPOSE)

    def wanted(self, entered: dict[str, Any]) -> jobs.Request:
        payload = {
            "kind": entered["channel_kind"],
            "name": entered["name"],
            "title": entered["title"],
            "topic": entered["topic"],
            "purpose": entered.get("purpose"),
            "people": _people(self.bot, entered["people"]),
        }
        return jobs.Request(kind=self.kind, payload={k: v for k, v in payload.items() if v})


class ChangeChannel(Operation):
    kind, label, icon = JobKind.UPDATE_CHANNEL, "Change channel", "edit"

    channel = _channel_field()
    title = forms.CharField(
        required=False,
        max_length=255,
        help_text="What is left empty here and below stays as it is.",
        widget=UnfoldAdminTextInputWidget(),
    )
    topic = forms.CharField(
        required=False, max_length=10_000, widget=UnfoldAdminTextareaWidget({"rows": 3})
    )
    purpose = forms.CharField(
        required=False, max_length=10_000, widget=UnfoldAdminTextareaWidget({"rows": 3})
    )
    name = forms.CharField(required=False, max_length=255, widget=UnfoldAdminTextInputWidget())
    channel_kind = forms.ChoiceField(
        label="Kind",
        required=False,
        choices=[("", "as it is"), ("public", "public"), ("private", "private")],
        widget=UnfoldAdminSelectWidget(),
    )

    def __init__(self, bot: Bot, *args: Any, **kwargs: Any):
        super().__init__(bot, *args, **kwargs)
        self.drop_unsupported(
            purpose=Ability.CHANNEL_PURPOSE,
            name=Ability.RENAME_CHANNEL,
            channel_kind=Ability.CONVERT_CHANNEL,
        )

    def wanted(self, entered: dict[str, Any]) -> jobs.Request:
        changes = {name: entered.get(name) for name in ("title", "topic", "purpose", "name")}
        changes["kind"] = entered.get("channel_kind")
        payload = {name: value for name, value in changes.items() if value}
        if not payload:
            raise Invalid("Enter what to change.")
        channel = targets.channel(self.bot, entered["channel"])
        return jobs.Request(kind=self.kind, channel=channel, payload=payload)


class RestoreChannel(Operation):
    kind, label, icon = JobKind.RESTORE_CHANNEL, "Restore channel", "unarchive"

    channel = _channel_field(help_text="Name, title or id of a channel that was archived.")

    def wanted(self, entered: dict[str, Any]) -> jobs.Request:
        return jobs.to_restore(self.bot, entered["channel"])

    def suggestions(self) -> list[str]:
        archived = targets.channels_to_restore(self.bot).filter(archived=True)
        named = archived.exclude(name="", title="")
        return [channel.name or channel.title for channel in named[:SUGGESTIONS]]


OPERATIONS: dict[str, type[Operation]] = {
    "send": Send,
    "create-channel": CreateChannel,
    "change-channel": ChangeChannel,
    "restore-channel": RestoreChannel,
    "add-participants": AddParticipants,
    "remove-participants": RemoveParticipants,
}
