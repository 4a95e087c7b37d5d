import select
import socket
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus

import pytest

from spaces.platforms.errors import CredentialsRefused, Misconfigured, RateLimited, Unavailable
from spaces.platforms.websocket import (
    LARGEST_OUTBOX,
    READ_AT_ONCE,
    READ_SIZE,
    Closed,
    WebSocketStream,
)
from spaces.testing.certificates import self_signed_contexts
from spaces.testing.websocket_server import TIMEOUT, WebSocketServer, raw_server

FINAL_TEXT, FINAL_PING, FINAL_CLOSE, FINAL_CONTINUATION = b"\x81", b"\x89", b"\x88", b"\x80"


@pytest.fixture(autouse=True)
def _no_proxy_from_outside(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(params=["plain", "tls"])
def secured(request, tmp_path):
    """The TLS contexts of server and client; none for both in the plain run of a test."""
    return (None, None) if request.param == "plain" else self_signed_contexts(tmp_path)


@pytest.fixture
def server():
    with WebSocketServer() as server:
        yield server


@pytest.fixture
def raw():
    with raw_server() as raw:
        yield raw


@contextmanager
def opened(server, path="/", **options):
    """A stream and the server's end of it."""
    with closing(WebSocketStream(server.url(path), **options)) as stream:
        yield stream, server.peer(path)


def open_stream(**options):
    return lambda url: WebSocketStream(url, **options)


def wait_readable(stream):
    assert select.select([stream], [], [], TIMEOUT)[0], "nothing arrived"


def receive(stream, count):
    """As many messages, read the way the reader does: only when the selector says so."""
    messages: list[bytes] = []
    while len(messages) < count:
        wait_readable(stream)
        messages += stream.receive()
    return messages


def receive_end(stream):
    """The messages before the end, and what ended the stream."""
    messages = []
    while True:
        wait_readable(stream)
        try:
            messages += stream.receive()
        except Unavailable as end:
            return messages, end


# Messages -----------------------------------------------------------------------------------------


def test_text_and_binary_messages_arrive_as_bytes(secured):
    with (
        WebSocketServer(secured[0]) as server,
        opened(server, tls=secured[1]) as (stream, peer),
    ):
        peer.send("grüße")
        peer.send(b"\x00\xff")
        peer.send("")

        assert receive(stream, 3) == ["grüße".encode(), b"\x00\xff", b""]


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 3_000_000])
def test_messages_of_every_length_arrive_whole(secured, size):
    with (
        WebSocketServer(secured[0]) as server,
        opened(server, tls=secured[1]) as (stream, peer),
    ):
        sending = threading.Thread(target=peer.send, args=["x" * size])
        sending.start()

        assert receive(stream, 1) == [b"x" * size]
        sending.join()


def test_fragments_are_put_together(server):
    with opened(server) as (stream, peer):
        peer.send(["one ", "", "message"])
        peer.send("another")

        assert receive(stream, 2) == [b"one message", b"another"]


def test_control_frames_between_fragments_are_answered_at_once(raw):
    with raw.serving(open_stream()) as (stream, peer), closing(stream):
        peer.send(b"\x01\x02on" + FINAL_PING + b"\x02hi")
        wait_readable(stream)
        assert stream.receive() == []
        pong = peer.receive(8)
        peer.send(FINAL_CONTINUATION + b"\x01e")

        assert receive(stream, 1) == [b"one"]
        assert pong[:2] == b"\x8a\x82"
        assert bytes(a ^ b for a, b in zip(pong[6:], pong[2:4], strict=True)) == b"hi"


def test_frames_that_arrive_byte_by_byte_are_kept_until_they_are_whole(raw):
    long = b"y" * 300
    frames = FINAL_TEXT + b"\x05hello" + FINAL_TEXT + b"\x7e" + len(long).to_bytes(2) + long
    messages = []

    with raw.serving(open_stream()) as (stream, peer), closing(stream):
        for byte in frames:
            peer.send(bytes([byte]))
            wait_readable(stream)
            messages.append(stream.receive())

    assert [message for message in messages if message] == [[b"hello"], [long]]
    assert messages[6] == [b"hello"]
    assert messages[-1] == [long]


def test_receiving_takes_a_bounded_amount_and_leaves_the_rest_to_the_selector(secured):
    with (
        WebSocketServer(secured[0]) as server,
        opened(server, tls=secured[1]) as (stream, peer),
    ):
        sending = threading.Thread(target=peer.send_many, args=[["x" * 1_000] * 5_000])
        sending.start()
        taken: list[int] = []
        while sum(taken) < 5_000:
            taken.append(len(receive(stream, 1)))
        sending.join()

        assert max(taken) <= (READ_AT_ONCE + READ_SIZE) / 1_000
        assert stream.receive() == []


def test_nothing_to_read_is_no_message(server):
    with opened(server) as (stream, _):
        assert stream.receive() == []


@pytest.mark.parametrize("fragments", ["whole", "in pieces"])
def test_a_message_over_the_limit_ends_the_stream_before_it_is_read(server, fragments):
    with opened(server, largest_message=1_000) as (stream, peer):
        peer.send("small")
        peer.send("x" * 1_001 if fragments == "whole" else ["x" * 600] * 2)

        messages, end = receive_end(stream)

        assert messages == [b"small"]
        assert end.code == "message_too_big"


@pytest.mark.parametrize(
    "frames",
    [
        FINAL_TEXT + b"\x81mask?",
        b"\xc1\x01x",
        b"\x83\x01x",
        b"\x8b\x01x",
        FINAL_CONTINUATION + b"\x01x",
        b"\x01\x01x" + FINAL_TEXT + b"\x01x",
        b"\x09\x01x",
        FINAL_PING + b"\x7e\x00\x7e" + b"x" * 126,
    ],
    ids=[
        "masked",
        "reserved bit",
        "unknown data frame",
        "unknown control frame",
        "continuation of nothing",
        "message inside a message",
        "fragmented ping",
        "long ping",
    ],
)
def test_a_server_that_breaks_the_protocol_is_left(raw, frames):
    with raw.serving(open_stream()) as (stream, peer), closing(stream):
        peer.send(FINAL_TEXT + b"\x02ok" + frames)

        messages, end = receive_end(stream)

        assert messages == [b"ok"]
        assert "protocol" in end.detail
        assert peer.receive(2) == b"\x88\x82"


# Proof of life ------------------------------------------------------------------------------------


def test_pings_are_answered(secured):
    with (
        WebSocketServer(secured[0]) as server,
        opened(server, tls=secured[1]) as (stream, peer),
    ):
        answered = threading.Thread(target=peer.ping)
        answered.start()
        wait_readable(stream)

        assert stream.receive() == []
        answered.join(TIMEOUT)
        assert not answered.is_alive()


def test_a_beat_is_answered_with_something_to_read(server):
    with opened(server) as (stream, _):
        stream.beat()
        wait_readable(stream)

        assert stream.receive() == []


def test_a_beat_can_be_a_message_of_the_platform(server):
    with opened(server, heartbeat=lambda: '{"action": "ping"}') as (stream, peer):
        stream.beat()

        assert peer.received.get(timeout=TIMEOUT) == '{"action": "ping"}'


def test_messages_are_sent_as_text_or_as_bytes(server):
    with opened(server) as (stream, peer):
        stream.send("hällo")
        stream.send(b"\x00")

        assert peer.received.get(timeout=TIMEOUT) == "hällo"
        assert peer.received.get(timeout=TIMEOUT) == b"\x00"


def test_a_peer_that_does_not_read_blocks_nobody_and_is_left(secured):
    with (
        WebSocketServer(secured[0]) as server,
        opened(server, tls=secured[1], heartbeat=lambda: "x" * LARGEST_OUTBOX) as (stream, peer),
    ):
        peer.go_deaf()

        def beat_until_left():
            for _ in range(1_000):
                stream.beat()

        with pytest.raises(Unavailable, match="does not read"):
            beat_until_left()


def test_what_a_slow_peer_did_not_take_at_first_arrives_later(raw):
    message = b"m" * 1_000
    with raw.serving(open_stream()) as (stream, peer), closing(stream):
        count = 20  # of them the kernel will take none
        while select.select([], [stream], [], 0)[1]:
            stream.send(message)
            count += 1
        for _ in range(20):
            stream.send(message)

        arrived = []
        reading = threading.Thread(target=lambda: arrived.append(peer.receive(count * 1_008)))
        reading.start()
        while reading.is_alive():
            stream.receive()  # an occasion to send what is left

    assert [len(data) for data in arrived] == [count * 1_008]
    assert {arrived[0][at : at + 4] for at in range(0, len(arrived[0]), 1_008)} == {
        b"\x82\xfe\x03\xe8"
    }


def test_unanswered_pings_of_a_peer_that_does_not_read_end_the_stream(raw):
    pings = (FINAL_PING + b"\x7d" + b"p" * 125) * 500

    def answer_pings(stream, peer):
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            if select.select([], [peer.socket], [], 0)[1]:
                peer.socket.send(pings)
            stream.receive()

    with raw.serving(open_stream()) as (stream, peer), closing(stream):
        peer.socket.setblocking(False)

        with pytest.raises(Unavailable, match="does not read"):
            answer_pings(stream, peer)


# The end ------------------------------------------------------------------------------------------


def test_a_close_frame_tells_its_code_and_reason(server):
    with opened(server) as (stream, peer):
        closing_peer = threading.Thread(target=peer.close, args=[4001, "token revoked"])
        closing_peer.start()

        messages, end = receive_end(stream)
        closing_peer.join()

        assert messages == []
        assert isinstance(end, Closed)
        assert (end.status, end.reason, end.code) == (4001, "token revoked", "closed_by_platform")
        assert "4001 token revoked" in end.detail


@pytest.mark.parametrize(("frame", "status"), [(b"\x00", 1005), (b"\x02\x03\xe9", 1001)])
def test_messages_before_a_close_frame_come_first_and_then_the_end(raw, frame, status):
    with raw.serving(open_stream()) as (stream, peer), closing(stream):
        peer.send(FINAL_TEXT + b"\x04last" + FINAL_CLOSE + frame)

        messages, end = receive_end(stream)

        assert messages == [b"last"]
        assert isinstance(end, Closed)
        assert end.status == status
        with pytest.raises(Closed):
            stream.receive()


def test_messages_before_a_drop_come_first_and_then_the_end(secured):
    with (
        WebSocketServer(secured[0]) as server,
        opened(server, tls=secured[1]) as (stream, peer),
    ):
        peer.send("last")
        peer.drop()

        messages, end = receive_end(stream)

        assert messages == [b"last"]
        assert end.code == "platform_unavailable"


def test_half_a_frame_is_no_message_when_the_connection_drops(raw):
    with raw.serving(open_stream()) as (stream, peer), closing(stream):
        peer.send(FINAL_TEXT + b"\x05hel")
        peer.socket.close()

        messages, end = receive_end(stream)

        assert messages == []
        assert "dropped" in end.detail


def test_beating_a_broken_connection_leaves_the_bad_news_to_receive(raw):
    with raw.serving(open_stream()) as (stream, peer), closing(stream):
        peer.socket.close()
        wait_readable(stream)
        for _ in range(5):
            stream.beat()

        with pytest.raises(Unavailable):
            stream.receive()


def test_closing_says_goodbye_and_can_be_repeated(raw):
    with raw.serving(open_stream()) as (stream, peer):
        stream.close()
        stream.close()

        frame = peer.receive(9)

        assert frame[:2] == b"\x88\x82"
        assert int.from_bytes(bytes(a ^ b for a, b in zip(frame[6:], frame[2:4], strict=True))) == (
            1001
        )
        assert stream.fileno() == -1


# Opening ------------------------------------------------------------------------------------------


def test_headers_go_out_and_no_origin(server):
    with opened(server, headers={"Authorization": "Bearer abc"}) as (_, peer):
        assert peer.headers["Authorization"] == "Bearer abc"
        assert "Origin" not in peer.headers


def test_a_cookie_set_for_one_bot_is_not_sent_by_another(server):
    cookie = {"Set-Cookie": "session=alice; Domain=127.0.0.1"}
    server.refusals["/alice"] = (HTTPStatus.FOUND, cookie | {"Location": server.url()})
    with pytest.raises(Misconfigured):
        WebSocketStream(server.url("/alice"))

    with opened(server, "/bob") as (_, peer):
        assert "Cookie" not in peer.headers


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (HTTPStatus.UNAUTHORIZED, CredentialsRefused),
        (HTTPStatus.FORBIDDEN, CredentialsRefused),
        (HTTPStatus.INTERNAL_SERVER_ERROR, Unavailable),
        (HTTPStatus.SERVICE_UNAVAILABLE, Unavailable),
        (HTTPStatus.NOT_FOUND, Misconfigured),
        (HTTPStatus.OK, Misconfigured),
        (HTTPStatus.FOUND, Misconfigured),
    ],
)
def test_an_answer_that_opens_nothing_is_translated(server, status, raised):
    server.refusals["/?token=secret"] = (status, {"Location": server.url("/elsewhere")})

    with pytest.raises(raised) as caught:
        WebSocketStream(server.url("/?token=secret"))

    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    ("named", "seconds"),
    [({"Retry-After": "17"}, 17), ({"Retry-After": "soon"}, 5), ({}, 5)],
    ids=["number", "nonsense", "none"],
)
def test_a_rate_limit_says_how_long_to_wait(server, named, seconds):
    server.refusals["/"] = (HTTPStatus.TOO_MANY_REQUESTS, named)

    with pytest.raises(RateLimited) as caught:
        WebSocketStream(server.url())

    assert caught.value.retry_after == seconds


def test_a_rate_limit_may_name_a_time_of_day(server):
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), True)
    server.refusals["/"] = (HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": in_an_hour})

    with pytest.raises(RateLimited) as caught:
        WebSocketStream(server.url())

    assert caught.value.retry_after == pytest.approx(3_600, abs=60)


def test_a_port_nobody_listens_on_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(Unavailable, match="cannot be reached"):
        WebSocketStream(f"ws://127.0.0.1:{port}/")


def test_a_name_nobody_knows_is_unavailable():
    with pytest.raises(Unavailable, match=r"nowhere\.invalid cannot be reached"):
        WebSocketStream("ws://nowhere.invalid/")


def test_a_server_that_says_nothing_is_unavailable():
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(Unavailable, match="did not answer in time"),
    ):
        WebSocketStream(f"ws://127.0.0.1:{listener.getsockname()[1]}/", timeout_seconds=0.1)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-hello\r\n\r\n", b"HTTP/1.1 101 Yes\r\n\r\n"])
def test_a_server_of_another_kind_is_unavailable(answer):
    def answer_one(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(4_096)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_one, args=[listener])
        thread.start()
        with pytest.raises(Unavailable):
            WebSocketStream(f"ws://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join(TIMEOUT)


def test_a_certificate_nobody_vouches_for_is_misconfigured(tmp_path):
    server_tls, _ = self_signed_contexts(tmp_path)

    with (
        WebSocketServer(server_tls) as server,
        pytest.raises(Misconfigured, match="not trusted"),
    ):
        WebSocketStream(server.url())


def test_a_server_without_tls_is_unavailable_for_wss(server):
    with pytest.raises(Unavailable):
        WebSocketStream(server.url().replace("ws:", "wss:"))


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "http://x.example/", "ws://", "ws://h:port/", "ws://[::1/", "ws://a..b/"],
)
def test_an_invalid_url_is_misconfigured(url):
    with pytest.raises(Misconfigured):
        WebSocketStream(url)


def test_a_header_cannot_smuggle_in_another(server):
    with pytest.raises(Misconfigured) as caught:
        WebSocketStream(server.url(), headers={"Authorization": "secret\r\nX-Admin: yes"})

    assert "secret" not in caught.value.detail


@pytest.mark.parametrize("proxy", ["proxy.example:3128", "socks5://127.0.0.1", "http://h:port"])
def test_an_invalid_proxy_is_misconfigured(proxy):
    with pytest.raises(Misconfigured) as caught:
        WebSocketStream("ws://x.example/", proxy=proxy)

    assert caught.value.option == "proxy"


def test_a_proxy_is_asked_with_its_credentials_and_its_refusal_is_told():
    asked = []

    def refuse_one(listener):
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(4_096).decode())
            connection.sendall(b"HTTP/1.1 407 Who are you\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse_one, args=[listener])
        thread.start()
        with pytest.raises(Unavailable, match="407"):
            WebSocketStream(
                "ws://chat.example/",
                proxy=f"http://us%40er:pass@127.0.0.1:{listener.getsockname()[1]}",
            )
        thread.join(TIMEOUT)

    assert asked[0].startswith("CONNECT chat.example:80 ")
    assert "Proxy-Authorization: Basic dXNAZXI6cGFzcw==" in asked[0]
