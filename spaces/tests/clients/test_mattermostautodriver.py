"""mattermostautodriver, both of its drivers."""

from __future__ import annotations

import pytest

from spaces.tests.clients.client_process import python
from spaces.tests.clients.stories import ForeignClientStories

pytestmark = pytest.mark.clients


class TestBlockingDriver(ForeignClientStories):
    command = python("run_mattermostautodriver", "sync")

    def test_it_waits_as_long_as_the_rate_limit_asks_for(self, alice, office):
        office.refuse_next_post_as_too_many(retry_after=1)

        post = alice.do("post", channel_id=office.lobby, message="Patience")

        assert office.bob.get(f"/posts/{post['id']}")["message"] == "Patience"


class TestAsyncDriver(ForeignClientStories):
    command = python("run_mattermostautodriver", "async")
