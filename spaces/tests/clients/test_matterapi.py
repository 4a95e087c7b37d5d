"""matterapi, both of its clients. Its models check the types of every field they know."""

from __future__ import annotations

import pytest

from spaces.tests.clients.client_process import python
from spaces.tests.clients.stories import ForeignClientStories

pytestmark = pytest.mark.clients


class TestBlockingClient(ForeignClientStories):
    command = python("run_matterapi", "sync")


class TestAsyncClient(ForeignClientStories):
    command = python("run_matterapi", "async")
