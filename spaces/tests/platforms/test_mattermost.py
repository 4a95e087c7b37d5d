"""Mattermost, against a simulated server: the contract, and what is special about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from spaces.platforms.contract import Account, Memory, effective_options
from spaces.platforms.mattermost import Mattermost
from spaces.platforms.messages import PersonRef
from spaces.testing.conformance import PlatformConformance, Scene
from spaces.testing.mattermost import SimulatedMattermost


@pytest.fixture
def server() -> Iterator[SimulatedMattermost]:
    with SimulatedMattermost() as server:
        yield server


def make_bot(
    server: SimulatedMattermost, token: str = "", *, memory: Memory | None = None, **options: Any
) -> Mattermost:
    credentials = options.pop("credentials", {"token": token})
    return Mattermost(
        Account(
            space="chat",
            url=server.url,
            bot="helper-bot",
            options=effective_options(Mattermost, options, {}),
            credentials=credentials,
            memory=memory or Memory(),
        )
    )


class TestConformance(PlatformConformance):
    @pytest.fixture
    def scene(self, server) -> Iterator[Scene]:
        server.make.user("alice")
        server.make.user("charlie")
        _, token = server.make.bot("helper-bot", roles="system_admin system_user")
        server.make.team("acme", "alice", "charlie", "helper-bot")
        channel = server.make.channel("acme", "lounge", "helper-bot", "alice")
        bot = make_bot(server, token)
        other = make_bot(server, server.make.token("alice"))
        yield Scene(
            bot=bot,
            other=other,
            channel=channel.id,
            stranger=PersonRef(username="charlie"),
            drops_repeats=True,
            tells_presence=False,
            tells_reads=False,
            logs_reactions=False,
            known_path="/users/me",
        )
        bot.close()
        other.close()
