"""Platforms and stories that tests are made of; nothing here is imported in production."""

import pytest

# pytest does not take this file for a test, and its failures should be explained all the same.
pytest.register_assert_rewrite("spaces.testing.conformance")
