"""What operators are told of a bot's account on Mattermost, and how its connections are made."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest

from spaces.platforms.errors import Misconfigured, Unavailable
from spaces.platforms.messages import Finding
from spaces.testing.mattermost import roles
from spaces.testing.websocket_server import Peer, WebSocketServer
from spaces.tests.platforms.mattermost_company import Company, listening, message


def findings(company: Company, **options: Any) -> dict[str, Finding]:
    bot = company.bot(**options)
    return {finding.code: finding for finding in bot.check(bot.connect())}


def of_level(told: dict[str, Finding], level: str) -> set[str]:
    return {code for code, finding in told.items() if finding.level == level}


@pytest.fixture
def websockets() -> Iterator[WebSocketServer]:
    with WebSocketServer() as server:
        yield server


def test_a_healthy_bot_has_nothing_to_be_warned_of(company):
    told = findings(company)

    assert of_level(told, "ok") == set(told)
    assert {"server", "bot_account", "teams", "permissions", "websocket"} <= set(told)
    assert "11.6.0" in told["server"].text
    assert "acme" in told["teams"].text


def test_what_only_administrators_may_is_told_without_a_warning(company):
    company.bot_user.roles = "system_admin system_user"

    bot = company.bot()
    extra = [f for f in bot.check(bot.connect()) if f.code == "permission_extra"]

    assert len(extra) == 4
    assert all("may not" not in finding.text for finding in extra)


def test_what_it_may_not_and_few_need_is_no_good_news_and_nothing_to_mend(company):
    bot = company.bot()
    cannot = [f for f in bot.check(bot.connect()) if f.mark == "cannot"]

    assert cannot
    assert {finding.level for finding in cannot} == {"ok"}
    assert all("may not" in finding.text for finding in cannot)


def test_a_bot_in_no_team_is_told_who_adds_it(company):
    company.make.leave_team("acme", "helper-bot")

    told = findings(company)

    assert told["no_team"].level == "error"
    assert "team administrator" in told["no_team"].remedy
    assert "permission_missing" not in told


def test_a_team_that_the_bot_is_not_in_is_named(company):
    company.make.team("other", "alice")

    told = findings(company, teams="acme, other")

    assert told["not_in_team"].level == "error"
    assert "other" in told["not_in_team"].text


def test_a_persons_account_is_advised_to_become_a_bot(company):
    bot = company.bot({"token": company.make.token("alice")})

    told = {finding.code: finding for finding in bot.check(bot.connect())}

    assert told["no_bot_account"].level == "warning"
    assert "Bot Accounts" in told["no_bot_account"].remedy


def test_each_missing_permission_is_named_with_who_gives_it(company, monkeypatch):
    for name, allowed in list(roles.PERMISSIONS.items()):
        less = frozenset(allowed) - {"upload_file", "add_reaction"}
        monkeypatch.setitem(roles.PERMISSIONS, name, less)

    bot = company.bot()
    missing = [f for f in bot.check(bot.connect()) if f.code == "permission_missing"]

    assert sorted(f.text for f in missing) == [
        "The bot may not add reactions (add_reaction).",
        "The bot may not send files (upload_file).",
    ]
    assert all(f.level == "warning" and "System Console" in f.remedy for f in missing)


def test_permissions_that_the_server_keeps_to_itself_are_unknown(company):
    bot = company.bot()
    company.controls.fail(status=403, path="/api/v4/roles/names")

    identity = bot.connect()

    assert identity.permissions is None
    assert "permissions_unknown" in {finding.code for finding in bot.check(identity)}


@pytest.mark.parametrize(("hours", "direction"), [(1, "ahead"), (-1, "behind")])
def test_a_clock_that_is_wrong_is_told(company, hours, direction):
    company.controls.advance(hours * 3600)

    told = findings(company)

    assert direction in told["clock_skew"].text


@pytest.mark.parametrize("status", [HTTPStatus.FORBIDDEN, HTTPStatus.BAD_GATEWAY])
def test_a_websocket_that_somebody_blocks_is_told_with_the_way_around(company, websockets, status):
    websockets.refusals["/"] = (status, {})

    told = findings(company, websocket_url=websockets.url("/"))

    assert told["websocket_blocked"].level == "warning"
    assert "poll" in told["websocket_blocked"].remedy


# How the websocket is opened ----------------------------------------------------------------------


def open_elsewhere(
    company: Company, websockets: WebSocketServer, path: str, **options: Any
) -> Peer:
    """The peer of a bot that opens its websocket at a server that drops it without a hello."""
    bot = company.connected(websocket_url=websockets.url(path.partition("?")[0]), **options)
    dropping = threading.Thread(target=lambda: websockets.peer(path).drop())
    dropping.start()
    with pytest.raises(Unavailable):
        bot.open_stream({})
    dropping.join()
    return websockets.peer(path)


def test_the_websocket_is_opened_with_the_token_in_the_header_and_without_an_origin(
    company, websockets
):
    peer = open_elsewhere(company, websockets, "/elsewhere")

    assert peer.headers["Authorization"] == f"Bearer {company.token}"
    assert "Origin" not in peer.headers
    assert "Cookie" not in peer.headers


def test_extra_arguments_go_out_with_the_websockets_handshake(company, websockets):
    extra = (
        '{"headers": {"X-Tenant": "seven"}, "query": {"posted_ack": "true"},'
        ' "subprotocols": ["chat"]}'
    )

    peer = open_elsewhere(
        company, websockets, "/elsewhere?posted_ack=true", websocket_arguments=extra
    )

    assert peer.headers["X-Tenant"] == "seven"
    assert peer.headers["Sec-WebSocket-Protocol"] == "chat"
    assert peer.headers["Authorization"] == f"Bearer {company.token}"


@pytest.mark.parametrize(
    "extra",
    [
        "nonsense",
        "[]",
        '"text"',
        '{"header": {}}',
        '{"headers": []}',
        '{"headers": {"X-Number": 5}}',
        '{"headers": {"X-Bad": "two\\nlines"}}',
        '{"query": {"q": null}}',
        '{"subprotocols": "chat"}',
        '{"subprotocols": [7]}',
    ],
)
def test_extra_arguments_that_are_none_are_misconfigured(company, extra):
    bot = company.connected(websocket_arguments=extra)

    with pytest.raises(Misconfigured):
        bot.open_stream({})


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "ws://", "nonsense"])
def test_a_websocket_url_that_is_none_is_misconfigured(company, url):
    bot = company.connected(websocket_url=url)

    with pytest.raises(Misconfigured):
        bot.open_stream({})


def test_a_websocket_url_of_its_own_is_used(company):
    url = company.server.url.replace("http", "ws") + "/api/v4/websocket"

    with listening(company.connected(websocket_url=url)) as ear:
        company.make.post("alice", company.lounge, "heard")
        assert ear.hear_text("heard")


def test_no_cookie_of_the_servers_is_ever_sent_back(company):
    """With one, the server would ask for proof against forgery and refuse each post."""
    alice = company.connected({"login": "alice", "password": "correct-horse"})
    company.controls.advance(8 * 3600)

    for number in range(3):  # the first extends the session, which sets the cookie
        alice.post_message(message(company.lounge, str(number)))

    assert company.texts() == ["0", "1", "2"]


def test_a_websocket_that_is_refused_for_now_is_a_finding(company):
    company.controls.limit_rate(path="/api/v4/websocket")

    assert findings(company)["websocket_blocked"].level == "warning"


def test_a_proxy_that_knows_no_websockets_is_told_as_one(company):
    company.controls.fail(status=400, path="/api/v4/websocket", times=9)

    with pytest.raises(Unavailable) as blocked:
        company.connected().open_stream({})

    assert blocked.value.code == "websocket_blocked"
    assert "poll" in blocked.value.next_step
