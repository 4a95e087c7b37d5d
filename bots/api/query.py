"""Fields of query parameters, where everything is text."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from spaces.api.fields import Text

LONGEST_NAME = 300  # characters


class QueryFlag(serializers.BooleanField):
    default_error_messages = {"invalid": "It is true or false."}

    def to_internal_value(self, data: Any) -> bool:
        if data not in ("true", "false"):
            self.fail("invalid")
        return bool(data == "true")


class Name(Text):
    """A name or an id of something."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{"max_length": LONGEST_NAME, "trim_whitespace": True} | kwargs)
