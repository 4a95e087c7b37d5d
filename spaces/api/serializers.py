"""What clients see of platforms, spaces, channels and people."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers
from rest_framework.fields import get_error_detail

from spaces.api.fields import Choice, Count, Flag, Moment, Options, PersonName, Text
from spaces.models import Channel, Participant, Person, Space
from spaces.models.space import KEPT, MOST_DAYS
from spaces.platforms.contract import COMMON_OPTIONS, Ability
from spaces.platforms.messages import ChannelKind, Role

LONGEST_NAME = 255


class LimitsSerializer(serializers.Serializer):
    """What one message may hold; 0 means no limit."""

    text = serializers.IntegerField()
    text_unit = serializers.ChoiceField(choices=["characters", "bytes"])
    files = serializers.IntegerField()
    file_bytes = serializers.IntegerField()
    people_per_request = serializers.IntegerField()


class DeclaredCredentialSerializer(serializers.Serializer):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # a field called as DRF's attribute
    secret = serializers.BooleanField()
    required = serializers.BooleanField()  # type: ignore[assignment]
    help = serializers.CharField()


class DeclaredOptionSerializer(serializers.Serializer):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    type = serializers.ChoiceField(
        choices=["text", "url", "integer", "number", "boolean", "choice"]
    )
    default = serializers.JSONField()
    unit = serializers.CharField()
    help = serializers.CharField()
    on = serializers.ListField(child=serializers.ChoiceField(choices=["space", "bot"]))
    choices = serializers.ListField(child=serializers.CharField())
    minimum = serializers.FloatField(allow_null=True)
    maximum = serializers.FloatField(allow_null=True)


class PlatformSerializer(serializers.Serializer):
    """A kind of chat system, what it can do, and what an operator enters for it."""

    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    abilities = serializers.SerializerMethodField()
    limits = LimitsSerializer()
    credentials = DeclaredCredentialSerializer(many=True)
    options = serializers.SerializerMethodField()

    def get_abilities(self, platform: Any) -> list[Ability]:
        return sorted(platform.abilities)

    def get_options(self, platform: Any) -> DeclaredOptionSerializer(many=True):  # type: ignore[valid-type]
        options = (*COMMON_OPTIONS, *platform.options)
        return DeclaredOptionSerializer(options, many=True).data


class PlatformListSerializer(serializers.Serializer):
    """All platforms; lists look alike everywhere, this one just never has a second page."""

    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)
    results = PlatformSerializer(many=True)


class SpaceSerializer(serializers.ModelSerializer):
    """One installation or tenant of a platform."""

    slug = Text(max_length=50)
    name = Text(max_length=100, trim_whitespace=True)
    platform = Text(max_length=50)
    url = Text(max_length=500, required=False, allow_blank=True)
    options = Options(required=False)
    keep_events_days = Count(
        max_value=MOST_DAYS, required=False, help_text="0 keeps events for ever."
    )
    keep_attempts_days = Count(
        max_value=MOST_DAYS,
        required=False,
        help_text="Of tries at jobs and handler runs; 0 keeps them for ever.",
    )
    keep_jobs_days = Count(
        max_value=MOST_DAYS, required=False, help_text="0 keeps jobs that have ended for ever."
    )
    keep_messages_days = Count(
        max_value=MOST_DAYS, required=False, help_text="0 keeps messages for ever."
    )

    class Meta:
        model = Space
        fields = ["slug", "name", "platform", "url", "options", *KEPT]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let the model judge the space as it will be. Its slug and platform stay."""
        for name in ("slug", "platform"):
            if self.instance is not None and attrs.get(name) not in (
                None,
                getattr(self.instance, name),
            ):
                raise serializers.ValidationError({name: "It cannot be changed."})
        space = self.instance or Space()
        assert isinstance(space, Space)
        for name, value in attrs.items():
            setattr(space, name, value)
        judge(space)
        return attrs


def judge(row: Any) -> None:
    """`full_clean`, its complaints as those of a serializer."""
    try:
        row.full_clean()
    except DjangoValidationError as error:
        raise serializers.ValidationError(get_error_detail(error)) from error


class ChannelSerializer(serializers.ModelSerializer):
    id = serializers.CharField(source="pk", read_only=True)
    kind = serializers.ChoiceField(choices=[(k.value, k.name) for k in ChannelKind])

    class Meta:
        model = Channel
        fields = ["id", "remote_id", "kind", "name", "title", "topic", "purpose", "archived"]
        read_only_fields = fields


class PersonSerializer(serializers.ModelSerializer):
    id = serializers.CharField(source="pk", read_only=True)

    class Meta:
        model = Person
        fields = ["id", "remote_id", "username", "name", "email", "is_bot"]
        read_only_fields = fields


class ParticipantSerializer(serializers.ModelSerializer):
    """A person's membership of a channel."""

    person = PersonSerializer()
    role = serializers.ChoiceField(choices=[(r.value, r.name) for r in Role])
    joined_at = Moment(allow_null=True)

    class Meta:
        model = Participant
        fields = ["person", "role", "joined_at"]
        read_only_fields = fields


# What clients ask for channels -------------------------------------------------------------------


class NewChannelSerializer(serializers.Serializer):
    """A name or a title is needed, except for groups and direct channels, which have people."""

    title = Text(max_length=LONGEST_NAME, required=False, allow_blank=True)
    name = Text(max_length=LONGEST_NAME, required=False, allow_blank=True)
    kind = Choice(
        choices=[(k.value, k.name) for k in ChannelKind], default=ChannelKind.PUBLIC.value
    )
    topic = Text(max_length=4000, required=False, allow_blank=True)
    purpose = Text(max_length=4000, required=False, allow_blank=True)
    people = serializers.ListField(
        child=PersonName(), required=False, max_length=1000, help_text="Username, e-mail or id."
    )


class ChannelChangeSerializer(serializers.Serializer):
    """What is not named stays as it is."""

    title = Text(max_length=LONGEST_NAME, required=False)
    topic = Text(max_length=4000, required=False, allow_blank=True)
    purpose = Text(max_length=4000, required=False, allow_blank=True)
    name = Text(
        max_length=LONGEST_NAME,
        required=False,
        help_text="Its short name, which is part of addresses on some platforms.",
    )
    kind = Choice(
        choices=[(k.value, k.name) for k in (ChannelKind.PUBLIC, ChannelKind.PRIVATE)],
        required=False,
        help_text="Makes a public channel private, or a private one public.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError(
                "Name what to change: title, topic, purpose, name or kind."
            )
        return attrs


class PeopleSerializer(serializers.Serializer):
    people = serializers.ListField(
        child=PersonName(), min_length=1, max_length=1000, help_text="Username, e-mail or id."
    )


class NewParticipantsSerializer(PeopleSerializer):
    moderator = Flag(default=False)
