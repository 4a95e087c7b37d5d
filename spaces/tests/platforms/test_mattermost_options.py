"""What each option of a Mattermost space does, proved by its effect.

Some have their stories elsewhere: teams, base path, hiding of deleted messages, websocket URL and
arguments in the other files about Mattermost; TLS, proxies and timeouts in all their variants in
`test_http` and `test_websocket`; heartbeats that nobody answers in `test_mattermost_stream`; what
is the same for all platforms (handling in order, rate, delays) with the parts that obey it.
"""

from __future__ import annotations

import json
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from spaces.platforms import trace
from spaces.platforms.contract import Stream, clean_options, declared_options
from spaces.platforms.errors import Misconfigured, OutcomeUnknown, PlatformError, Unavailable
from spaces.platforms.mattermost import Mattermost
from spaces.platforms.messages import CustomRequest, PersonRef
from spaces.testing.certificates import self_signed_contexts
from spaces.testing.http_server import HttpServer, answer, then_close
from spaces.tests.platforms.mattermost_company import (
    BOT,
    Company,
    file,
    message,
    wait_until,
)

SHORT = 0.2  # seconds
LONG = 20.0  # seconds; more than any story takes
LONGER_THAN_SHORT = 3.0  # seconds; what still counts as having kept to it on a busy machine
ME = {"id": "m" * 26, "username": BOT, "roles": "system_user"}
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy_from_outside(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


# Which options there are --------------------------------------------------------------------------

WANTED = {
    "verify_tls": False,
    "ca_file": "/etc/ssl/company.pem",
    "client_certificate": "/etc/ssl/bot.pem",
    "client_key": "/etc/ssl/bot.key",
    "proxy": "http://proxy.example:3128",
    "timeout_seconds": 5,
    "long_timeout_seconds": 20,
    "asset_timeout_seconds": 120,
    "base_path": "/chat/api/v4",
    "websocket_url": "wss://ws.example/api/v4/websocket",
    "websocket_ping_seconds": 20,
    "heartbeat_seconds": 60,
    "websocket_arguments": '{"headers": {"X-Tenant": "seven"}}',
    "reconnect_first_seconds": 0.5,
    "reconnect_longest_seconds": 30,
    "event_handling": "concurrently",
    "messages_per_second": 2.5,
    "teams": "acme, beta",
    "hide_deleted": False,
    "debug_log": True,
    "show_online": False,
}


@pytest.mark.parametrize(("name", "value"), WANTED.items())
def test_an_operator_can_set(name, value):
    assert clean_options(Mattermost, "space", {name: value}) == {name: value}


@pytest.mark.parametrize(
    "name",
    ["teams", "hide_deleted", "debug_log", "show_online", "messages_per_second", "event_handling"],
)
def test_a_bot_can_have_its_own(name):
    assert clean_options(Mattermost, "bot", {name: WANTED[name]}) == {name: WANTED[name]}


def test_every_option_says_what_it_is_about():
    options = declared_options(Mattermost, "space") | declared_options(Mattermost, "bot")

    assert all(option.label for option in options.values())
    numbers = [one for one in options.values() if one.type in ("number", "integer")]
    assert [one.name for one in numbers if not one.unit or one.maximum is None] == []


# Where the server is ------------------------------------------------------------------------------


def reaching(company: Company, server: HttpServer, **options: Any) -> list[str]:
    """What a bot asks for over HTTP and for its websocket, of a server that refuses the latter."""
    server.will(answer(ME), then_close(answer(status=403)), answer(ME))
    bot = company.bot(url=options.pop("url", server.url), **options)
    with pytest.raises(Unavailable):
        bot.open_stream({})
    return [request.target for request in server.requests]


@pytest.fixture
def elsewhere() -> Iterator[HttpServer]:
    with HttpServer() as server:
        yield server


def tls_server(folder: Path, *, asks: bool = False) -> HttpServer:
    """A server that `folder / "certificate.pem"` makes trusted; if it asks, by the same file."""
    context, _ = self_signed_contexts(folder)
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "certificate.pem")
    return HttpServer(context)


@pytest.mark.parametrize(
    ("below", "base_path", "api"),
    [
        ("", "/api/v4", "/api/v4"),
        ("/", "/api/v4", "/api/v4"),
        ("/chat", "/api/v4", "/chat/api/v4"),
        ("/chat/", "gateway/v4/", "/chat/gateway/v4"),
        ("/chat/api/v4", "", "/chat/api/v4"),
    ],
)
def test_the_api_and_its_websocket_are_below_the_url_and_the_base_path(
    company, elsewhere, below, base_path, api
):
    asked = reaching(company, elsewhere, url=elsewhere.url + below, base_path=base_path)

    assert asked == [f"{api}/users/me", f"{api}/websocket", f"{api}/users/me"]


def test_a_url_with_https_means_a_secure_websocket_too(company, tmp_path):
    with tls_server(tmp_path) as server:
        asked = reaching(company, server, ca_file=str(tmp_path / "certificate.pem"))

    assert "/api/v4/websocket" in asked


@pytest.mark.parametrize("url", ["127.0.0.1:8065", "chat.example", "ftp://chat.example", "http://"])
def test_a_url_that_cannot_be_asked_is_misconfigured(company, url):
    with pytest.raises(Misconfigured) as refused:
        company.bot(url=url).connect()

    assert refused.value.option == "url"


@pytest.mark.parametrize("port", ["80:80", "99999", "x"])
def test_a_port_that_is_none_is_misconfigured(company, port):
    with pytest.raises(Misconfigured) as refused:
        company.bot(url=f"http://127.0.0.1:{port}").connect()

    assert refused.value.option == "url"


def test_a_server_of_another_kind_is_misconfigured(company, elsewhere):
    elsewhere.will(answer(b"<html>Welcome</html>"))

    with pytest.raises(Misconfigured) as refused:
        company.bot(url=elsewhere.url).connect()

    assert refused.value.option == "url"


# TLS and proxies ----------------------------------------------------------------------------------


def test_a_server_that_nobody_vouches_for_gets_no_request(company, tmp_path):
    with tls_server(tmp_path) as server:
        with pytest.raises(Misconfigured, match="not trusted"):
            company.bot(url=server.url).connect()

        assert server.requests == []


def test_a_server_that_nobody_vouches_for_gets_no_websocket(company, tmp_path):
    with tls_server(tmp_path) as server:
        bot = company.connected(websocket_url=server.url.replace("https", "wss"))
        with pytest.raises(Misconfigured, match="certificate"):
            bot.open_stream({})

        assert server.requests == []


@pytest.mark.parametrize("option", ["verify_tls", "ca_file"])
def test_verification_is_for_requests_and_websocket(company, tmp_path, option):
    value = {"verify_tls": False, "ca_file": str(tmp_path / "certificate.pem")}[option]

    with tls_server(tmp_path) as server:
        asked = reaching(company, server, **{option: value})

    assert len(asked) == 3


def test_the_client_certificate_is_shown_by_requests_and_websocket(company, tmp_path):
    pem = str(tmp_path / "certificate.pem")

    with tls_server(tmp_path, asks=True) as server:
        asked = reaching(company, server, ca_file=pem, client_certificate=pem, client_key=pem)

    assert len(asked) == 3


def test_requests_and_websocket_go_through_the_proxy(company, elsewhere):
    asked = reaching(company, elsewhere, url="http://chat.example:8065", proxy=elsewhere.url)

    assert asked[:2] == ["http://chat.example:8065/api/v4/users/me", "chat.example:8065"]
    assert [request.method for request in elsewhere.requests][:2] == ["GET", "CONNECT"]


# Timeouts -----------------------------------------------------------------------------------------


def look_up(company: Company, bot: Mattermost) -> None:
    bot.find_person(PersonRef(username="alice"))


def post(company: Company, bot: Mattermost) -> None:
    bot.post_message(message(company.lounge))


def upload(company: Company, bot: Mattermost) -> None:
    bot.post_message(message(company.lounge, files=(file(b"content"),)))


def add(company: Company, bot: Mattermost) -> None:
    bot.add_participants(company.lounge.id, [PersonRef(id=company.user("charlie").id)])


def ask_in_its_words(company: Company, bot: Mattermost) -> None:
    bot.custom_request(CustomRequest(method="GET", path="/users/me"))


def download(company: Company, bot: Mattermost) -> None:
    stored = company.make.file(BOT, company.lounge, "a.txt", b"content")
    bot.download_file(stored.id).close()


@pytest.mark.parametrize(
    ("option", "work", "path"),
    [
        ("timeout_seconds", look_up, "/api/v4/users/usernames"),
        ("long_timeout_seconds", post, "/api/v4/posts"),
        ("long_timeout_seconds", add, "/api/v4/channels"),
        ("long_timeout_seconds", ask_in_its_words, "/api/v4/users/me"),
        ("asset_timeout_seconds", upload, "/api/v4/files"),
        ("asset_timeout_seconds", download, "/api/v4/files"),
    ],
)
def test_each_timeout_is_for_its_kind_of_request(company, option, work, path):
    timeouts = dict.fromkeys(
        ("timeout_seconds", "long_timeout_seconds", "asset_timeout_seconds"), LONG
    )
    bot = company.connected(**timeouts | {option: SHORT})
    company.controls.stall(path=path)
    began = time.monotonic()

    with pytest.raises((Unavailable, OutcomeUnknown)):
        work(company, bot)

    assert SHORT <= time.monotonic() - began < LONGER_THAN_SHORT
    company.controls.release()


def test_a_websocket_that_does_not_open_is_given_up_after_the_timeout(company):
    with socket.create_server(("127.0.0.1", 0)) as nobody_accepts:
        url = f"ws://127.0.0.1:{nobody_accepts.getsockname()[1]}/"
        bot = company.connected(timeout_seconds=SHORT, websocket_url=url)
        began = time.monotonic()

        with pytest.raises(Unavailable):
            bot.open_stream({})

    assert time.monotonic() - began < LONGER_THAN_SHORT


# Signs of life ------------------------------------------------------------------------------------


def opened(company: Company, **options: Any) -> Stream:
    return company.connected(**options).open_stream({})


@pytest.mark.parametrize(
    ("ping", "heartbeat", "beats_every"), [(20, 60, 20), (60, 15, 15), (30, 30, 30)]
)
def test_the_shorter_interval_is_when_the_connection_is_asked(
    company, ping, heartbeat, beats_every
):
    stream = opened(company, websocket_ping_seconds=ping, heartbeat_seconds=heartbeat)
    stream.close()

    assert stream.heartbeat_seconds == beats_every


def test_no_answer_is_missed_before_two_heartbeats_are_over(company):
    stream = opened(company, heartbeat_seconds=LONG)
    wait_until(lambda: drained(stream))
    company.controls.silence_sockets(BOT)

    for _ in range(100):
        stream.beat()

    stream.close()


def drained(stream: Stream) -> bool:
    """Read what is there; whether that was all."""
    return not stream.receive()


# Logs and traces ----------------------------------------------------------------------------------


def test_the_debug_log_of_a_bot_holds_refusals_and_failures_too(company, caplog):
    caplog.set_level(logging.INFO, logger="spaces.platforms.wire")
    bot = company.connected(debug_log=True, timeout_seconds=SHORT)
    company.controls.stall(path="/api/v4/users/usernames")

    bot.custom_request(CustomRequest(method="GET", path="/bots"))
    with pytest.raises(Unavailable):
        look_up(company, bot)

    company.controls.release()
    assert "api.context.permissions.app_error" in caplog.text
    assert "did not answer within" in caplog.text
    assert company.token not in caplog.text


def test_the_websocket_arguments_show_no_secret_in_the_log(company, caplog):
    caplog.set_level(logging.DEBUG)
    bot = company.connected(
        debug_log=True, websocket_arguments='{"headers": {"X-Token": "of-a-gateway"}}'
    )

    bot.open_stream({}).close()

    assert company.token not in caplog.text
    assert "of-a-gateway" not in caplog.text


@pytest.mark.parametrize(
    "request_",
    [
        CustomRequest(method="GET", path="/users/me", query={"access_token": "{token}"}),
        CustomRequest(method="POST", path="/users/tokens/revoke", body={"token_id": "{token}"}),
        CustomRequest(method="PUT", path="/users/me/patch", body={"nickname": "I am {token}"}),
        CustomRequest(method="GET", path="/users/username/{token}"),
    ],
)
def test_a_request_in_the_servers_words_shows_no_secret_in_the_trace(company, caplog, request_):
    caplog.set_level(logging.DEBUG)
    bot = company.connected(debug_log=True)
    filled = CustomRequest(
        method=request_.method,
        path=request_.path.format(token=company.token),
        query={key: value.format(token=company.token) for key, value in request_.query.items()},
        body=json.loads(json.dumps(request_.body).replace("{token}", company.token)),
    )

    with trace.collect({"token": company.token}) as seen, suppress(PlatformError):
        bot.custom_request(filled)

    assert seen.request
    assert company.token not in repr((seen.request, seen.response, filled.method))
    assert company.token not in caplog.text
