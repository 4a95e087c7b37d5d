"""Platforms and stories that tests are made of; nothing here is imported in production."""

import pytest

# pytest does not take these files for tests, and their failures should be explained all the same.
pytest.register_assert_rewrite(
    "spaces.testing.conformance",
    "spaces.testing._stories_of_channels",
    "spaces.testing._stories_of_messages",
    "spaces.testing._stories_of_receiving",
)
