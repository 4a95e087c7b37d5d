"""What clients see of bots, messages and jobs, and what they say about bots."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from bots import labels as bot_labels
from bots.connections import states
from bots.models import (
    Attempt,
    Bot,
    Direction,
    Job,
    JobKind,
    Message,
    Permission,
    Priority,
    Receive,
    State,
    WorkState,
)
from bots.models.bot import RECEIVE_NEEDS
from bots.moments import rfc3339
from bots.refusals import Refused
from spaces.api.fields import Choice, Flag, Moment, Options, Text
from spaces.api.serializers import PersonSerializer, judge
from spaces.models import Space
from spaces.platforms import registry

LONGEST_SECRET = 10_000

# Bots -------------------------------------------------------------------------------------------


class CredentialStateSerializer(serializers.Serializer):
    """All that is told of a credential."""

    set = serializers.BooleanField()
    changed_at = Moment(allow_null=True)


class ConnectionSerializer(serializers.Serializer):
    """How the bot receives now: a state with its reason and what to do about it."""

    state = serializers.ChoiceField(choices=[str(s) for s in State])
    since = Moment()
    reason = serializers.CharField()
    next_step = serializers.CharField()
    last_event_at = Moment(allow_null=True)
    last_ok_at = Moment(allow_null=True)
    attempts = serializers.IntegerField()


class BotSerializer(serializers.ModelSerializer):
    """An account in a space, and what it is allowed and wanted to do."""

    space = serializers.CharField(source="space.slug")
    receive = serializers.ChoiceField(choices=[str(r) for r in Receive])
    permissions = serializers.ListField(
        child=serializers.ChoiceField(choices=[str(p) for p in Permission])
    )
    handlers = serializers.ListField(child=serializers.CharField())
    labels = serializers.SerializerMethodField()
    options = Options()
    credentials = serializers.SerializerMethodField()
    identity = serializers.DictField()
    connection = serializers.SerializerMethodField()

    class Meta:
        model = Bot
        fields = [
            "slug",
            "name",
            "space",
            "receive",
            "enabled",
            "permissions",
            "read_receipts",
            "handlers",
            "labels",
            "options",
            "credentials",
            "identity",
            "connection",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_labels(self, bot: Bot) -> list[str]:
        return [label.name for label in bot.labels.all()]

    @extend_schema_field(serializers.DictField(child=CredentialStateSerializer()))
    def get_credentials(self, bot: Bot) -> dict[str, Any]:
        changed_at = {c.name: c.changed_at for c in bot.credentials.all()}
        platform = registry.platforms().get(bot.space.platform)
        names = [c.name for c in platform.credentials] if platform else list(changed_at)
        return {
            name: CredentialStateSerializer(
                {"set": name in changed_at, "changed_at": changed_at.get(name)}
            ).data
            for name in names
        }

    @extend_schema_field(ConnectionSerializer)
    def get_connection(self, bot: Bot) -> dict[str, Any]:
        shown = states.shown(bot)
        return ConnectionSerializer(
            {
                "state": shown.state.value,
                "since": shown.since,
                "reason": shown.reason,
                "next_step": shown.next_step,
                "last_event_at": bot.connection.last_event_at,
                "last_ok_at": bot.connection.last_ok_at,
                "attempts": bot.connection.attempts,
            }
        ).data


def for_reading(bots: QuerySet[Bot]) -> QuerySet[Bot]:
    """With all that `BotSerializer` reads."""
    return bots.select_related("space", "connection").prefetch_related("credentials", "labels")


class BotChangeSerializer(serializers.Serializer):
    """What may be changed of a bot. Its slug and its space stay what they are."""

    name = Text(max_length=100, trim_whitespace=True, required=False)
    receive = Choice(
        choices=[str(r) for r in Receive],
        required=False,
        help_text="What the bot's platform offers: see its abilities stream, catch_up and webhook.",
    )
    enabled = Flag(required=False)
    permissions = serializers.ListField(
        child=Choice(choices=[str(p) for p in Permission]), max_length=50, required=False
    )
    read_receipts = Flag(required=False)
    handlers = serializers.ListField(child=Text(max_length=100), max_length=100, required=False)
    labels = serializers.ListField(
        child=Text(max_length=bot_labels.LONGEST, trim_whitespace=True),
        max_length=bot_labels.MOST,
        required=False,
        help_text="Words of your own to find the bot by; in small letters, without commas.",
    )
    options = Options(required=False)
    credentials = serializers.DictField(
        child=Text(allow_blank=True, max_length=LONGEST_SECRET),
        required=False,
        write_only=True,
        help_text="Name to value, or to `$BOT_NAME` of the environment, `file:name` of the secrets "
        "folder, or `netrc:host` (the password) and `netrc:host:login` (the login name) of the "
        "netrc file there. An empty value removes one.",
    )

    def validate_labels(self, words: list[str]) -> list[str]:
        try:
            return bot_labels.clean(words)
        except Refused as refused:
            raise serializers.ValidationError(refused.detail) from refused

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        values: dict[str, Any] = super().to_internal_value(data)
        for name in ("slug", "space"):
            if self.instance is not None and name in data and data[name] != self._known(name):
                raise serializers.ValidationError({name: "It cannot be changed."})
        return values

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let the model judge the bot as it will be, and put it into `bot`."""
        bot = self.instance or Bot()
        for name, value in attrs.items():
            if name not in ("credentials", "labels"):
                setattr(bot, name, value)
        judge(bot)
        return attrs | {"bot": bot}

    def _known(self, name: str) -> str:
        assert isinstance(self.instance, Bot)
        return self.instance.slug if name == "slug" else self.instance.space.slug


class NewBotSerializer(BotChangeSerializer):
    slug = Text(max_length=50, help_text="Letters, digits, `-` and `_`. It stays as it is.")
    name = Text(max_length=100, trim_whitespace=True)
    space = Text(max_length=50, help_text="Slug.")

    def validate_space(self, slug: str) -> Space:
        """One of those that `context` names as visible."""
        if (space := self.context["spaces"].filter(slug=slug).first()) is None:
            raise serializers.ValidationError("There is no such space, or not for you.")
        return space

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        # Where nobody said how, a bot receives in the best way that its platform offers.
        platform = registry.platforms().get(attrs["space"].platform)
        if platform and "receive" not in attrs:
            offered = (r for r, ability in RECEIVE_NEEDS.items() if ability in platform.abilities)
            attrs["receive"] = str(next(offered, Receive.OFF))
        return super().validate(attrs)


class FindingSerializer(serializers.Serializer):
    level = serializers.ChoiceField(choices=["ok", "warning", "error"])
    code = serializers.CharField()
    text = serializers.CharField()
    remedy = serializers.CharField()


class CheckedSerializer(serializers.Serializer):
    """What the platform said when it was asked just now."""

    ok = serializers.BooleanField()
    identity = serializers.DictField(allow_null=True)
    findings = FindingSerializer(many=True)


class PresenceSerializer(serializers.Serializer):
    presence = Choice(choices=["online", "away", "dnd", "offline"])
    text = Text(max_length=200, required=False, allow_blank=True)


# Messages ---------------------------------------------------------------------------------------


class FileSerializer(serializers.Serializer):
    id = serializers.CharField(help_text="For messages/{id}/files/{file}/; empty until known.")
    name = serializers.CharField()
    content_type = serializers.CharField()
    size = serializers.IntegerField(help_text="Bytes.")


class GivenSerializer(serializers.Serializer):
    person = serializers.CharField(help_text="The platform's id.")
    name = serializers.CharField(help_text="Without colons.")


class MessageSerializer(serializers.ModelSerializer):
    """A message as the bot saw or said it."""

    id = serializers.CharField(source="pk")
    channel = serializers.CharField(source="channel_id", help_text="Our id of the channel.")
    sender = PersonSerializer(allow_null=True)
    direction = serializers.ChoiceField(choices=[str(d) for d in Direction])
    card = serializers.DictField(allow_null=True)
    files = FileSerializer(many=True)
    reactions = GivenSerializer(
        many=True, allow_null=True, help_text="Those it has now; null while unknown."
    )
    thread = serializers.CharField(help_text="Remote id of the message it answers, or empty.")
    sent_at = Moment()
    edited_at = Moment(allow_null=True)
    deleted_at = Moment(allow_null=True)
    job = serializers.CharField(
        source="job_id", allow_null=True, help_text="The job that sent it, if one of ours did."
    )

    class Meta:
        model = Message
        fields = [
            "id",
            "remote_id",
            "channel",
            "sender",
            "direction",
            "text",
            "card",
            "files",
            "reactions",
            "thread",
            "sent_at",
            "edited_at",
            "deleted_at",
            "job",
        ]
        read_only_fields = fields


class EditSerializer(serializers.Serializer):
    text = Text(max_length=100_000)


class ReactionSerializer(serializers.Serializer):
    name = Text(max_length=100, trim_whitespace=True, help_text="Colons around it are dropped.")

    def validate_name(self, name: str) -> str:
        if not (bare := name.strip(":")):
            raise serializers.ValidationError("This is no name of a reaction.")
        return bare


# Jobs -------------------------------------------------------------------------------------------


class JobErrorSerializer(serializers.Serializer):
    code = serializers.CharField()
    detail = serializers.CharField()
    next_step = serializers.CharField()


class JobSerializer(serializers.ModelSerializer):
    """One thing asked of a platform, and what became of it."""

    id = serializers.CharField(source="pk")
    bot = serializers.CharField(source="bot.slug")
    kind = serializers.ChoiceField(choices=[str(k) for k in JobKind])
    channel = serializers.CharField(source="channel_id", allow_null=True)
    state = serializers.ChoiceField(choices=[str(s) for s in WorkState])
    priority = serializers.SerializerMethodField()
    created_at = Moment()
    started_at = Moment(allow_null=True)
    finished_at = Moment(allow_null=True)
    not_before = Moment(allow_null=True)
    expires_at = Moment(allow_null=True)
    result = serializers.DictField()
    error = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields = [
            "id",
            "bot",
            "kind",
            "channel",
            "state",
            "priority",
            "created_at",
            "started_at",
            "finished_at",
            "not_before",
            "expires_at",
            "attempts",
            "result",
            "error",
        ]
        read_only_fields = fields

    def to_representation(self, job: Job) -> dict[str, Any]:
        """What the fields say, told without them: they took as long as storing the job."""
        return {
            "id": str(job.pk),
            "bot": job.bot.slug,
            "kind": str(job.kind),
            "channel": None if job.channel_id is None else str(job.channel_id),
            "state": str(job.state),
            "priority": self.get_priority(job),
            "created_at": rfc3339(job.created_at),
            "started_at": rfc3339(job.started_at),
            "finished_at": rfc3339(job.finished_at),
            "not_before": rfc3339(job.not_before),
            "expires_at": rfc3339(job.expires_at),
            "attempts": job.attempts,
            "result": job.result,
            "error": self.get_error(job),
        }

    @extend_schema_field(serializers.ChoiceField(choices=[p.label for p in Priority]))
    def get_priority(self, job: Job) -> str:
        return str(Priority(job.priority).label)

    @extend_schema_field(JobErrorSerializer(allow_null=True))
    def get_error(self, job: Job) -> dict[str, str] | None:
        if not job.error_code:
            return None
        return {"code": job.error_code, "detail": job.error_detail, "next_step": job.next_step}


class AttemptSerializer(serializers.ModelSerializer):
    """One try at a job; requests and responses are without secrets."""

    at = Moment()
    seconds = serializers.FloatField()
    request = serializers.JSONField(allow_null=True)
    response = serializers.JSONField(allow_null=True)

    class Meta:
        model = Attempt
        fields = ["number", "at", "seconds", "outcome", "request", "response"]
        read_only_fields = fields


class ResolveSerializer(serializers.Serializer):
    """What a person saw when they looked: was it sent? `not_sent` tries the job again."""

    def get_fields(self) -> dict[str, Any]:
        return {"as": Choice(choices=["sent", "not_sent"])}  # no attribute can have this name
