"""Calls to URLs that somebody gave us: against real servers on this machine, which nobody reaches
whom the guard does not allow."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from ipaddress import ip_network

import pytest

from bots import sockets
from bots.guard import CallFailed
from bots.outbound import Outbound
from bots.tests.test_guard import PRIVATE_HOSTS
from spaces.testing.certificates import self_signed_contexts
from spaces.testing.http_server import (
    HttpServer,
    answer,
    deaf,
    dripping,
    flooding,
    head,
    reads_slowly,
    reset_after_reading,
    reset_before_reading,
    sending,
    silent,
    then_close,
)

HERE = "127.0.0.1"
BODY = b'{"hello": "there"}'


class Names:
    """A name server of a test: what it answers in turn, the last for ever."""

    def __init__(self, *answers: Sequence[str]):
        self._answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found


@pytest.fixture(autouse=True)
def near(settings):
    """One address of this machine is allowed; all others are not."""
    settings.BOTADMIN_ALLOWED_NETWORKS = [ip_network(HERE)]


@contextmanager
def outbound(*answers: Sequence[str], **how) -> Iterator[Outbound]:
    with closing(Outbound(resolve=Names(*answers or [[]]), **how)) as made:
        yield made


def failure(calls: Outbound, url: str, body: bytes = BODY, **how) -> CallFailed:
    with pytest.raises(CallFailed) as caught:
        calls.post(url, body, {}, **how)
    return caught.value


class Listener:
    """Listens on an address of this machine, and knows whether anybody came."""

    def __init__(self, address: str = HERE, port: int = 0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, port), family=family)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def was_reached(self) -> bool:
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return False
        connection.close()
        return True


# Whom nobody reaches


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
def test_no_spelling_of_a_private_address_is_connected_to(settings, host):
    settings.BOTADMIN_ALLOWED_NETWORKS = []
    settings.BOTADMIN_ALLOW_HTTP_WEBHOOKS = True

    with Listener() as listener, outbound([HERE]) as calls:
        refused = failure(calls, f"http://{host}:{listener.port}/")
        with (
            pytest.raises(CallFailed) as not_fetched,
            calls.get(f"http://{host}:{listener.port}/", seconds=5),
        ):
            pass

        assert refused.code == not_fetched.value.code == "private_address"
        assert not listener.was_reached


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.2"],
        ["::1"],
        ["::ffff:127.0.0.2"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["fe80::1%eth0"],
        ["93.184.215.14", "127.0.0.2"],
        [HERE, "10.0.0.1"],
        ["2606:4700::1111", "fd00::1"],
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_leads_to_a_private_address_among_others_is_not_connected_to(scheme, addresses):
    with Listener() as near, Listener("127.0.0.2", near.port) as far, outbound(addresses) as calls:
        refused = failure(calls, f"{scheme}://hook.example:{near.port}/secret?token=abc")

        assert refused.code == "private_address"
        assert refused.detail == (
            f"{scheme}://hook.example:{near.port} leads to an address that is not public."
        )
        assert not near.was_reached
        assert not far.was_reached


def test_a_name_that_changes_its_answer_is_asked_once_and_its_first_answer_counts():
    with HttpServer() as server, Listener("127.0.0.2", server.port) as far:
        names = Names([HERE], ["127.0.0.2"])
        with closing(Outbound(resolve=names)) as calls:
            url = f"http://hook.example:{server.port}/"

            assert calls.post(url, BODY, {}).status == 200
            assert names.asked == ["hook.example"]

            calls.close()  # so that the next one looks again
            assert failure(calls, url).code == "private_address"
            assert not far.was_reached


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status):
    with HttpServer() as server, Listener("127.0.0.2") as far, outbound() as calls:
        server.will(answer(b"", status, {"Location": f"http://127.0.0.2:{far.port}/"}))

        answered = calls.post(server.url, BODY, {})

        assert answered.status == status
        assert not answered.is_success
        assert not far.was_reached


def test_the_proxy_of_the_environment_is_not_asked(monkeypatch):
    with HttpServer() as server, Listener() as proxy, outbound() as calls:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{HERE}:{proxy.port}")

        assert calls.post(server.url, BODY, {}).is_success
        assert not proxy.was_reached


def test_plain_http_to_a_public_name_is_refused_without_connecting():
    with outbound(["93.184.215.14"]) as calls:
        assert failure(calls, "http://hook.example/").code == "https_required"


# What is asked, and answered


def test_a_post_arrives_as_it_was_given():
    with HttpServer() as server, outbound([HERE]) as calls:
        server.will(answer(b"thanks", 202, {"Retry-After": "7"}))

        answered = calls.post(
            f"http://hook.example:{server.port}/in?token=a%20b", BODY, {"webhook-id": "evt_1"}
        )

        request = server.requests[0]
        assert (request.method, request.target, request.body) == ("POST", "/in?token=a%20b", BODY)
        assert request.headers["Host"] == f"hook.example:{server.port}"
        assert request.headers["webhook-id"] == "evt_1"
        assert request.headers["User-Agent"] == "botadmin"
        assert (answered.status, answered.text, answered.is_success) == (202, "thanks", True)
        assert answered.headers["retry-after"] == "7"
        assert 0 < answered.seconds < 5


def test_a_host_that_is_known_by_its_address_is_named_by_it():
    with HttpServer() as server, outbound() as calls:
        calls.post(f"http://0x7f000001:{server.port}/", BODY, {})

        assert server.requests[0].headers["Host"] == f"{HERE}:{server.port}"


def test_of_a_long_answer_the_first_kilobyte_is_kept():
    with HttpServer() as server, outbound() as calls:
        server.will(answer(b"\0\xff" + b"x" * 100_000, 500))

        answered = calls.post(server.url, BODY, {})

        assert (answered.status, answered.is_success) == (500, False)
        assert answered.text == "��" + "x" * 1022


def test_the_next_address_is_tried_when_one_takes_no_connection(settings):
    settings.BOTADMIN_ALLOWED_NETWORKS = [ip_network("127.0.0.0/8"), ip_network("::1")]
    with HttpServer() as server, outbound(["127.0.0.9", "::1", HERE]) as calls:
        assert calls.post(f"http://hook.example:{server.port}/", BODY, {}).is_success


def test_an_early_answer_counts_though_the_body_was_not_read():
    def refuse(exchange):
        exchange.read_head()
        exchange.send(head(413, {"Content-Length": "0"}))
        exchange.close()

    with HttpServer() as server, outbound() as calls:
        server.will(refuse)

        assert calls.post(server.url, b"x" * 5_000_000, {}).status == 413


# Connections


def connections(server: HttpServer) -> list[int]:
    return [request.connection for request in server.requests]


def test_a_connection_is_used_again_also_after_refusals_and_longer_answers():
    with HttpServer() as server, outbound([HERE]) as calls:
        server.will(answer(b"x" * 10_000, 500), answer(b"", 204), answer(b"no", 429))
        for _ in range(4):
            calls.post(f"http://hook.example:{server.port}/", BODY, {})

        assert connections(server) == [1, 1, 1, 1]


def test_many_threads_share_connections():
    with HttpServer() as server, outbound() as calls, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: calls.post(server.url, BODY, {}), range(200)))

        assert all(answered.is_success for answered in answers)
        assert max(connections(server)) <= 8


@pytest.mark.parametrize(
    "last",
    [
        then_close(answer()),
        answer(headers={"Connection": "close"}),
        answer(b"x" * 100_000),
        sending(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["closed", "announced", "long", "old"],
)
def test_a_connection_that_will_not_do_is_not_used_again(last):
    with HttpServer() as server, outbound() as calls:
        server.will(last)
        for _ in range(2):
            assert calls.post(server.url, BODY, {}).is_success

        assert connections(server) == [1, 2]


def test_a_kept_connection_that_breaks_while_it_is_used_is_replaced_at_once():
    with HttpServer() as server, outbound() as calls:
        server.will(answer(), reset_after_reading)
        calls.post(server.url, BODY, {})

        assert calls.post(server.url, BODY, {}).is_success
        assert connections(server) == [1, 1, 2]


def test_what_a_server_says_unasked_is_no_answer_to_the_next_call():
    was_answered = threading.Event()

    def lose_patience(exchange):
        answer()(exchange)
        was_answered.wait(10)
        exchange.send(head(408, {"Content-Length": "0"}))
        exchange.close()

    with HttpServer() as server, outbound() as calls:
        server.will(lose_patience)
        calls.post(server.url, BODY, {})
        was_answered.set()
        server.wait_for_closed(1)

        assert calls.post(server.url, BODY, {}).status == 200


def test_a_new_connection_that_breaks_is_a_failure():
    with HttpServer() as server, outbound() as calls:
        server.will(reset_after_reading)

        assert failure(calls, server.url).code == "unreachable"
        assert len(server.requests) == 1


def test_a_connection_that_was_idle_for_long_is_dropped(monkeypatch):
    monkeypatch.setattr(sockets, "IDLE_SECONDS", 0)
    with HttpServer() as server, outbound() as calls:
        calls.post(server.url, BODY, {})
        server.wait_for_closed(1)
        calls.post(server.url, BODY, {})

        assert connections(server) == [1, 2]


def test_so_many_connections_are_kept_and_no_more(monkeypatch):
    monkeypatch.setattr(sockets, "MOST_IDLE", 1)
    with HttpServer() as one, HttpServer() as other, outbound() as calls:
        calls.post(one.url, BODY, {})
        calls.post(other.url, BODY, {})

        one.wait_for_closed(1)
        calls.post(other.url, BODY, {})
        assert connections(other) == [1, 1]


# Failures


def test_a_host_without_an_address_is_unresolvable():
    with outbound([]) as calls:
        failed = failure(calls, "https://nowhere.example/?token=secret")

    assert failed.code == "unresolvable"
    assert failed.detail == "https://nowhere.example:443: the host is not known."


def test_a_lookup_that_hangs_holds_nobody_for_longer():
    never = threading.Event()

    def hang(host: str, port: int) -> Sequence[str]:
        never.wait(10)
        return []

    with closing(Outbound(resolve=hang)) as calls:
        began = time.monotonic()
        failed = failure(calls, "https://slow.example/", seconds=0.1)
        gone = time.monotonic() - began
    never.set()

    assert failed.code == "unresolvable"
    assert gone < 3


def test_a_port_without_a_server_is_unreachable():
    with Listener() as listener:
        port = listener.port
    with outbound() as calls:
        failed = failure(calls, f"http://{HERE}:{port}/?token=secret")

    assert (failed.code, failed.detail) == (
        "unreachable",
        f"http://{HERE}:{port}: Connection refused.",
    )


@pytest.mark.parametrize(
    "act",
    [
        silent,
        dripping(b""),
        dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        dripping(b"HTTP/1.1 100 C\r\n\r\n", b"H"),
        flooding(b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silent", "blank", "endless header", "forever", "flood"],
)
def test_a_server_that_does_not_come_to_an_answer_holds_nobody_for_longer(act):
    with HttpServer() as server, outbound() as calls:
        server.will(act)

        began = time.monotonic()
        failed = failure(calls, server.url, seconds=0.3)

        assert failed.code == "timed_out"
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("reads", [deaf, reads_slowly])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_does_not_read_holds_nobody_for_longer(tmp_path, scheme, reads):
    theirs, ours = self_signed_contexts(tmp_path)
    with HttpServer(theirs if scheme == "https" else None) as server, outbound(tls=ours) as calls:
        server.will(reads)

        began = time.monotonic()
        failed = failure(calls, server.url, b"x" * 50_000_000, seconds=0.4)

        assert failed.code == "timed_out"
        assert time.monotonic() - began < 3


def test_an_answer_counts_though_its_body_never_ends(monkeypatch):
    monkeypatch.setattr("bots.outbound.BODY_SECONDS", 0.2)
    with HttpServer() as server, outbound() as calls:
        server.will(dripping(head(200, {"Content-Length": "1000"}) + b"thanks", b"!"))

        answered = calls.post(server.url, BODY, {})

        assert answered.is_success
        assert answered.text.startswith("thanks!")
        assert answered.seconds < 3


@pytest.mark.parametrize(
    "data",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 103 Early\r\n\r\n",
    ],
    ids=["another protocol", "status", "two lengths", "headers", "header", "early"],
)
def test_what_is_no_http_is_told_from_silence(data):
    with HttpServer() as server, outbound() as calls:
        server.will(then_close(sending(data)))

        assert failure(calls, server.url).code == "answer_invalid"


def test_a_connection_that_is_reset_at_once_is_unreachable():
    with HttpServer() as server, outbound() as calls:
        server.will(reset_before_reading)

        assert failure(calls, server.url).code == "unreachable"


# TLS


def test_tls_is_verified_for_the_name_in_the_url(tmp_path):
    theirs, ours = self_signed_contexts(tmp_path, "hook.example")
    asked: list[str] = []
    theirs.sni_callback = lambda _connection, name, _context: asked.append(name)
    with HttpServer(theirs) as server, outbound([HERE], tls=ours) as calls:
        assert calls.post(f"https://hook.example:{server.port}/", BODY, {}).is_success
        assert calls.post(f"https://hook.example:{server.port}/", BODY, {}).is_success
        assert connections(server) == [1, 1]

        failed = failure(calls, f"https://other.example:{server.port}/")
        assert failed.code == "tls_failed"
        assert "other.example" in failed.detail
        assert asked == ["hook.example", "other.example"]


def test_a_certificate_that_nobody_signed_is_refused(tmp_path):
    theirs, _ = self_signed_contexts(tmp_path)
    with HttpServer(theirs) as server, outbound() as calls:
        failed = failure(calls, server.url)

    assert (failed.code, failed.detail) == (
        "tls_failed",
        f"{server.url}: self-signed certificate.",
    )


def test_a_server_without_tls_is_told_apart():
    with HttpServer() as server, outbound() as calls:
        server.will(then_close(lambda exchange: exchange.send(b"HTTP/1.1 400 Bad\r\n\r\n")))

        failed = failure(calls, server.url.replace("http:", "https:"))

    assert failed.code == "tls_failed"


# Downloads


def test_a_download_comes_bit_by_bit():
    with HttpServer() as server, outbound([HERE]) as calls:
        server.will(answer(b"x" * 200_000, headers={"Content-Type": "text/plain"}))

        with calls.get(f"http://files.example:{server.port}/a", seconds=10) as download:
            chunks = list(download.chunks())

        assert (download.status, download.headers["content-type"]) == (200, "text/plain")
        assert b"".join(chunks) == b"x" * 200_000
        assert len(chunks) > 1


def test_a_download_that_drips_is_given_up():
    with HttpServer() as server, outbound() as calls:
        server.will(dripping(head(200, {"Content-Length": "100000"})))

        with (
            pytest.raises(CallFailed) as caught,
            calls.get(server.url, seconds=0.3) as download,
        ):
            list(download.chunks())

        assert caught.value.code == "timed_out"


def test_a_download_that_is_cut_short_is_no_download():
    with HttpServer() as server, outbound() as calls:
        server.will(then_close(sending(head(200, {"Content-Length": "10"}) + b"half")))

        with pytest.raises(CallFailed) as caught, calls.get(server.url, seconds=5) as download:
            list(download.chunks())

        assert caught.value.code == "answer_invalid"
