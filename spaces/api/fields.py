"""Fields that take JSON at its word: a number is no text, a text is no boolean."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from rest_framework import serializers

# Python's calendar ends in 9999: nearer to it, a moment does not exist in every time zone.
FIRST_YEAR, LAST_YEAR = 1000, 9000


class Text(serializers.CharField):
    """A string, kept as it is: spaces at its ends may mean something in a chat."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{"trim_whitespace": False} | kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Flag(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Count(serializers.IntegerField):
    def __init__(self, **kwargs: Any):
        super().__init__(**{"min_value": 0} | kwargs)

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


class Choice(serializers.ChoiceField):
    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class Moment(serializers.DateTimeField):
    """RFC 3339, in UTC on the way out, whatever the time zone of the admin."""

    default_error_messages = {
        "invalid": "Write the time as RFC 3339 says, with its offset: 2026-01-31T17:00:00Z.",
    }

    def __init__(self, **kwargs: Any):
        super().__init__(**{"default_timezone": UTC} | kwargs)

    def to_internal_value(self, value: Any) -> Any:
        if not isinstance(value, str):
            self.fail("invalid", format="RFC 3339")
        moment = super().to_internal_value(value)
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            self.fail("invalid")
        return moment


class Options(serializers.DictField):
    """Options as the platform declares them; `GET platforms/` tells which there are."""

    child: serializers.Field = serializers.JSONField(allow_null=True)


class PersonName(Text):
    """Somebody's username, e-mail address or id."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{"max_length": 255, "trim_whitespace": True} | kwargs)
