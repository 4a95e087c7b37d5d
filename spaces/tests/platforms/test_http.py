"""HTTP as all platforms speak it, against a server that does what servers and networks do."""

from __future__ import annotations

import gzip
import io
import json
import logging
import socket
import ssl
import threading
import time
import traceback
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from spaces.platforms import http, trace
from spaces.platforms.contract import Account
from spaces.platforms.errors import (
    CredentialsRefused,
    Forbidden,
    Misconfigured,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    Unavailable,
)
from spaces.testing.certificates import self_signed_contexts
from spaces.testing.http_server import (
    TIMEOUT,
    HttpServer,
    answer,
    deaf,
    dripping,
    head,
    reads_slowly,
    reset_after_reading,
    reset_before_reading,
    sending,
    silent,
    then_close,
    tunnel,
)

SHORT = 0.2  # seconds
LONGER_THAN_SHORT = 3.0  # seconds; what still counts as having kept to it on a busy machine
SECRET = "correct horse battery"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxy_from_outside(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server():
    with HttpServer() as server:
        yield server


@pytest.fixture
def tls(tmp_path):
    """A server with a certificate that `tmp_path / "certificate.pem"` makes trusted."""
    with HttpServer(self_signed_contexts(tmp_path)[0]) as server:
        yield server


@pytest.fixture
def strict(tmp_path):
    """A server that wants a client certificate: its own will do."""
    context, _ = self_signed_contexts(tmp_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(tmp_path / "certificate.pem")
    with HttpServer(context) as server:
        yield server


@pytest.fixture
def connect():
    """Makes clients, and closes them when the test ends."""
    with ExitStack() as stack:

        def make(url, authorize=lambda: "", **options):
            return stack.enter_context(closing(make_http(url, authorize, **options)))

        yield make


def make_http(url, authorize=lambda: "", **options):
    defaults = {option.name: option.default for option in http.OPTIONS}
    account = Account(
        space="office",
        url=url,
        bot="helper",
        options={**defaults, **options},
        credentials={"token": SECRET},
    )
    return http.Http(url, account, authorize=authorize, refusal=refused)


def refused(answer, call):
    return http.refusal(answer, call, f"{call.method} {call.path}: {answer.status}")


@contextmanager
def keeps_time():
    started = time.monotonic()
    yield
    assert time.monotonic() - started < LONGER_THAN_SHORT


class Body:
    """A binary stream that is made while it is read. `largest_read` tells what it was asked for."""

    def __init__(self, size):
        self._left = size
        self._size = size
        self.largest_read = 0

    def __len__(self):
        return self._size

    def read(self, size=-1):
        self.largest_read = max(self.largest_read, size if size >= 0 else self._left)
        given = min(size, self._left) if size >= 0 else self._left
        self._left -= given
        return b"x" * given


# Asking -------------------------------------------------------------------------------------------


def test_json_goes_out_and_comes_back(server, connect):
    server.will(answer({"id": "7"}, status=201))

    told = connect(server.url + "/api/v4").post("/posts", {"message": "grüße"})

    (request,) = server.requests
    assert told == {"id": "7"}
    assert (request.method, request.target) == ("POST", "/api/v4/posts")
    assert request.json == {"message": "grüße"}
    assert request.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("method", ["get", "put", "delete", "post"])
def test_every_method_asks_with_its_own_name(server, connect, method):
    getattr(connect(server.url), method)("/thing")

    assert [(each.method, each.target) for each in server.requests] == [(method.upper(), "/thing")]


def test_queries_are_quoted_and_nothing_is_left_out_of_them_but_none(server, connect):
    connect(server.url).get("/find", {"name": "a b&c", "page": 0, "team": None})

    assert server.requests[0].target == "/find?name=a+b%26c&page=0"


def test_empty_json_is_a_body_and_no_body_is_none(server, connect):
    client = connect(server.url)

    client.post("/empty", {})
    client.post("/none")

    assert [each.body for each in server.requests] == [b"{}", b""]
    assert server.requests[1].headers["Content-Length"] == "0"


def test_one_connection_serves_one_request_after_the_other(server, connect):
    client = connect(server.url)

    for _ in range(3):
        client.get("/")

    assert [each.connection for each in server.requests] == [1, 1, 1]


def test_a_connection_that_was_idle_for_long_is_not_used_again(server, connect, monkeypatch):
    client = connect(server.url)
    client.get("/")
    monkeypatch.setattr(http, "IDLE_SECONDS", 0.0)

    client.post("/")

    assert [each.connection for each in server.requests] == [1, 2]


def test_a_closed_client_can_be_closed_again(server, connect):
    client = connect(server.url)
    client.get("/")

    client.close()
    client.close()

    server.wait_for_closed(1)


# Credentials --------------------------------------------------------------------------------------


def test_the_authorization_is_that_of_the_moment(server, connect):
    tokens = iter(["Bearer one", "Bearer two", ""])
    client = connect(server.url, authorize=lambda: next(tokens))

    for _ in range(3):
        client.get("/")

    sent = [each.headers["Authorization"] for each in server.requests]
    assert sent == ["Bearer one", "Bearer two", None]


def test_cookies_are_neither_kept_nor_sent(server, connect):
    cookie = {"Set-Cookie": "MMAUTHTOKEN=stolen; Path=/"}
    server.will(answer(headers=cookie), answer(status=302, headers={**cookie, "Location": "/x"}))
    client = connect(server.url)

    client.get("/")
    client.ask("GET", "/")
    client.get("/")

    assert [each.headers["Cookie"] for each in server.requests] == [None, None, None]


@pytest.mark.parametrize("token", ["", "Bearer mine"])
def test_the_netrc_of_the_process_is_nobodys_business(
    server, connect, monkeypatch, tmp_path, token
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login root password toor\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    connect(server.url, authorize=lambda: token).get("/")

    assert server.requests[0].headers["Authorization"] == (token or None)


def test_a_name_and_password_in_the_url_are_not_sent_nor_told(server, connect):
    url = server.url.replace("//", "//root:toor@")
    server.will(reset_after_reading)

    with pytest.raises(Unavailable) as caught:
        connect(url).get("/")

    assert server.requests[0].headers["Authorization"] is None
    assert "toor" not in caught.value.detail


def test_a_proxy_is_not_told_a_name_and_password_in_the_url(proxy, connect):
    connect("http://root:toor@chat.example", proxy=proxy.url).get("/users/me")

    (asked,) = proxy.requests
    assert (asked.target, asked.headers["Host"]) == ("http://chat.example/users/me", "chat.example")


def test_a_url_that_cannot_be_used_is_not_told_with_its_password(connect):
    url = "http://root:toor@chat.example:99999"

    with pytest.raises(Misconfigured) as caught:
        connect(url)

    assert "toor" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("token", ["line\nbreak", "line\r\nX-Admin: yes", "ellips…", "umläut"])
def test_a_credential_that_no_header_may_hold_is_told_but_not_shown(server, connect, token):
    client = connect(server.url, authorize=lambda: f"Bearer {token}")

    with pytest.raises(Misconfigured) as caught:
        client.post("/")

    assert server.requests == []
    assert token not in f"{caught.value!r}{caught.value.__context__!r}"


# Answers that are no success ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("ask", ["get", "post", "stream"])
def test_redirects_are_not_followed(server, connect, status, ask):
    location = {"Location": server.url + "/elsewhere"}
    server.will(answer(status=status, headers=location))

    with pytest.raises(Misconfigured) as caught:
        getattr(connect(server.url, authorize=lambda: "Bearer mine"), ask)("/")

    assert caught.value.option == "url"
    assert len(server.requests) == 1


def test_where_a_redirect_leads_need_not_make_sense(server, connect):
    server.will(answer(status=302, headers={"Location": "http://[::1"}))

    with pytest.raises(Misconfigured, match="redirects"):
        connect(server.url).get("/")


def test_an_upload_that_is_redirected_is_told_so(server, connect):
    server.will(answer(status=307, headers={"Location": "/elsewhere"}))

    with pytest.raises(Misconfigured, match="redirects"):
        connect(server.url).post("/files", Body(10))


@pytest.mark.parametrize("status", [300, 302, 304])
def test_a_redirect_to_nowhere_is_no_success_either(server, connect, status):
    server.will(sending(head(status, {"Content-Length": "0"})))

    with pytest.raises(Misconfigured):
        connect(server.url).request("GET", "/")


@pytest.mark.parametrize(
    ("status", "on_get", "on_post"),
    [
        (400, Rejected, Rejected),
        (401, CredentialsRefused, CredentialsRefused),
        (403, Forbidden, Forbidden),
        (404, NotFound, NotFound),
        (407, Misconfigured, Misconfigured),
        (413, Rejected, Rejected),
        (429, RateLimited, RateLimited),
        (500, Unavailable, OutcomeUnknown),
        (503, Unavailable, OutcomeUnknown),
    ],
)
def test_a_status_says_what_may_be_done_next(server, connect, status, on_get, on_post):
    server.will(*[answer(status=status)] * 3)
    client = connect(server.url)

    with pytest.raises(on_get):
        client.get("/")
    with pytest.raises(on_post):
        client.post("/")
    with pytest.raises(on_get):
        client.post("/", idempotent=True)


def test_whoever_asks_gets_refusals_as_answers(server, connect):
    server.will(answer({"id": "no"}, status=404))

    answered, call = connect(server.url).ask("GET", "/thing")

    assert (answered.status, json.loads(answered.content)) == (404, {"id": "no"})
    assert (call.method, call.path, call.idempotent) == ("GET", "/thing", True)


@pytest.mark.parametrize("page", [b"", b"<html>Log in</html>", b"[" * 100_000, b"\xff\xfe"])
def test_an_answer_that_is_no_json_means_another_server(server, connect, page):
    server.will(answer(page))

    with pytest.raises(Misconfigured) as caught:
        connect(server.url).get("/")

    assert caught.value.option == "url"


def test_a_body_that_json_cannot_hold_is_rejected_and_not_sent(server, connect):
    with pytest.raises(Rejected):
        connect(server.url).post("/", {"number": float("nan")})

    assert server.requests == []


def test_a_header_that_cannot_be_sent_is_rejected_and_not_sent(server, connect):
    with pytest.raises(Rejected):
        connect(server.url).post("/", headers={"X-Key": "line\nbreak"})

    assert server.requests == []


# What may have arrived ----------------------------------------------------------------------------


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def full_listener():
    """An address where nobody ever accepts, and there is no room left to wait."""
    with ExitStack() as stack:
        listener = stack.enter_context(closing(socket.socket()))
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(closing(socket.socket()))
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def mute_listener():
    """An address that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_nothing_arrives_where_nobody_listens(connect):
    with pytest.raises(Unavailable, match="Connection refused"):
        connect(f"http://127.0.0.1:{unused_port()}").post("/")


def test_nothing_arrives_at_a_name_that_does_not_exist(connect):
    with pytest.raises(Unavailable, match="nowhere"):
        connect("http://nowhere.invalid").post("/")


def test_nothing_arrives_where_no_connection_comes_about_in_time(connect):
    with full_listener() as port, keeps_time(), pytest.raises(Unavailable, match=r"within 0\.2 s"):
        connect(f"http://127.0.0.1:{port}", timeout_seconds=SHORT).post("/")


def test_nothing_arrives_when_the_tls_handshake_hangs(connect):
    with mute_listener() as port, keeps_time(), pytest.raises(Unavailable, match=r"within 0\.2 s"):
        connect(f"https://127.0.0.1:{port}", timeout_seconds=SHORT).post("/")


def test_nothing_arrives_when_the_tls_handshake_breaks(server, connect):
    server.will(reset_before_reading)

    with pytest.raises(Unavailable):
        connect(server.url.replace("http:", "https:")).post("/")


@pytest.mark.parametrize("banner", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b"220 mail ESMTP\r\n"])
def test_a_server_without_tls_is_misconfigured(server, connect, banner):
    server.will(then_close(lambda exchange: exchange.send(banner)))

    with pytest.raises(Misconfigured, match="TLS") as refused:
        connect(server.url.replace("http:", "https:")).post("/")

    assert refused.value.option == "url"
    assert "http://" in refused.value.next_step


@pytest.mark.parametrize(
    "act",
    [
        reset_after_reading,
        reset_before_reading,
        then_close(lambda exchange: exchange.read()),
        then_close(sending(b"HTTP/1.1 200 OK\r\nContent-Le")),
        then_close(sending(head(200, {"Content-Length": "100"}) + b"half")),
        then_close(sending(head(200, {"Transfer-Encoding": "chunked"}) + b"5\r\nhalf")),
        sending(head(200, {"Transfer-Encoding": "chunked"}) + b"nonsense\r\n"),
        sending(head(200, {"Content-Length": "4", "Content-Encoding": "gzip"}) + b"nope"),
        then_close(sending(b"220 mail.example ESMTP\r\n")),
        sending(head(200, {"Content-Length": "4, 5"}) + b"nope"),
    ],
    ids=[
        "reset",
        "reset unread",
        "closed",
        "cut in the head",
        "cut in the body",
        "cut in a chunk",
        "no chunk",
        "no gzip",
        "no http",
        "two lengths",
    ],
)
def test_what_went_out_and_was_not_answered_may_have_arrived(server, connect, act):
    server.will(act, act, act)
    client = connect(server.url)

    with pytest.raises(OutcomeUnknown):
        client.post("/")
    with pytest.raises(Unavailable):
        client.get("/")
    with pytest.raises(Unavailable):
        client.post("/", idempotent=True)


def test_what_a_server_says_before_its_answer_is_not_the_answer(server, connect):
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    server.will(sending(early + head(201, {"Content-Length": "2"}) + b"{}"))
    client = connect(server.url)

    with pytest.raises(OutcomeUnknown):
        client.post("/")

    client.get("/")
    assert [each.connection for each in server.requests] == [1, 2]


def test_silence_after_the_request_may_mean_that_it_arrived(server, connect):
    server.will(silent, silent)
    client = connect(server.url, timeout_seconds=SHORT)

    with keeps_time(), pytest.raises(OutcomeUnknown, match=r"within 0\.2 s"):
        client.post("/posts")
    with keeps_time(), pytest.raises(Unavailable):
        client.get("/posts")

    assert [each.method for each in server.requests] == ["POST", "GET"]


def test_a_connection_that_the_server_closed_meanwhile_is_replaced(server, connect):
    server.will(then_close(answer()))
    client = connect(server.url)
    client.get("/")
    server.wait_for_closed(1)

    client.post("/", {"message": "once"})

    assert [(each.method, each.connection) for each in server.requests] == [("GET", 1), ("POST", 2)]


def test_a_connection_that_breaks_under_a_request_is_not_tried_again(server, connect):
    server.will(answer(), reset_after_reading)
    client = connect(server.url)
    client.get("/")

    with pytest.raises(OutcomeUnknown):
        client.post("/")

    assert [each.connection for each in server.requests] == [1, 1]


def test_a_failure_while_another_is_being_mended_is_judged_by_itself(server, connect):
    server.will(reset_after_reading)
    client = connect(server.url)
    try:
        connect(f"http://127.0.0.1:{unused_port()}").get("/")
    except Unavailable:
        with pytest.raises(OutcomeUnknown):
            client.post("/")
    else:
        pytest.fail("somebody listened")


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1", "http://", "http://[::1", "http://a..b", "http://127.0.0.1:99999"]
)
def test_a_url_that_leads_nowhere_is_misconfigured(connect, url):
    with pytest.raises(Misconfigured) as caught:
        connect(url).post("/")

    assert caught.value.option == "url"


# Time and size ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        head(200, {"Content-Length": "1000000"}),
        head(200, {"Transfer-Encoding": "chunked"}) + b"FFFFF\r\n",
        head(200, {"Transfer-Encoding": "chunked"}),
        head(200, {}),
        head(302, {"Location": "/", "Content-Length": "1000000"}),
    ],
    ids=["in the head", "in the body", "in a chunk", "before a chunk", "until closed", "redirect"],
)
@pytest.mark.parametrize("secured", [False, True])
def test_an_answer_that_drips_ends_with_the_timeout(server, tls, connect, tmp_path, start, secured):
    host = tls if secured else server
    host.will(dripping(start))
    ca_file = str(tmp_path / "certificate.pem")
    client = connect(host.url, timeout_seconds=SHORT, ca_file=ca_file)

    with keeps_time(), pytest.raises(Unavailable, match=r"within 0\.2 s"):
        client.get("/")


def test_an_answer_that_goes_on_is_cut_off(server, connect):
    server.will(dripping(head(200, {}), b"x" * 2**20), dripping(head(200, {}), b"x" * 2**20))
    client = connect(server.url)

    with pytest.raises(OutcomeUnknown, match=str(http.LARGEST_BODY)):
        client.post("/")
    with pytest.raises(Unavailable):
        client.get("/")


def test_an_answer_that_grows_when_it_is_unpacked_is_cut_off(server, connect):
    bomb = gzip.compress(bytes(http.LARGEST_BODY + 1))
    server.will(answer(bomb, headers={"Content-Encoding": "gzip"}))

    with pytest.raises(Unavailable, match=str(http.LARGEST_BODY)):
        connect(server.url).get("/")


def test_an_answer_in_gzip_is_unpacked(server, connect):
    packed = gzip.compress(json.dumps({"id": "7"}).encode())
    server.will(answer(packed, headers={"Content-Encoding": "gzip"}))

    assert connect(server.url).get("/") == {"id": "7"}
    assert "gzip" in server.requests[0].headers["Accept-Encoding"]


def test_a_request_may_have_a_timeout_of_its_own(server, connect):
    server.will(silent)

    with keeps_time(), pytest.raises(Unavailable, match=r"within 0\.2 s"):
        connect(server.url).request("GET", "/", timeout_seconds=SHORT)


def test_a_time_that_was_used_up_does_not_count_for_the_next_request(server, connect):
    # Given an answer that took most of its time
    late = threading.Event()
    server.will(lambda exchange: late.wait(SHORT / 2) or answer()(exchange))
    client = connect(server.url, timeout_seconds=SHORT)
    client.get("/")

    # When the next does as well, on the same connection
    server.will(lambda exchange: late.wait(SHORT * 0.7) or answer()(exchange))

    assert client.get("/") == {}
    assert [each.connection for each in server.requests] == [1, 1]


# Streams ------------------------------------------------------------------------------------------


def test_a_stream_goes_up_as_it_is_read(server, connect):
    body = Body(5_000_000)

    connect(server.url).post("/files", body, headers={"Content-Type": "image/png"})

    (request,) = server.requests
    assert len(request.body) == 5_000_000
    assert request.headers["Content-Length"] == "5000000"
    assert request.headers["Content-Type"] == "image/png"
    assert 0 < body.largest_read <= http.CHUNK


def test_a_file_goes_up_from_where_it_stands(server, connect):
    file = io.BytesIO(b"header and content")
    file.seek(11)

    connect(server.url).post("/files", file)

    assert server.requests[0].body == b"content"


def test_an_empty_stream_goes_up_as_an_empty_body(server, connect):
    connect(server.url).post("/files", Body(0))

    assert server.requests[0].headers["Content-Length"] == "0"


@pytest.mark.parametrize("act", [deaf, reads_slowly])
def test_a_stream_that_is_taken_too_slowly_ends_with_the_timeout(server, connect, act):
    server.will(act)
    client = connect(server.url, timeout_seconds=SHORT)

    with keeps_time(), pytest.raises(OutcomeUnknown, match=r"within 0\.2 s"):
        client.post("/files", Body(10**9))


def test_a_refusal_is_heard_although_the_server_reads_no_more(server, connect):
    def refuse(exchange):
        exchange.read_head()
        exchange.send(head(413, {"Content-Length": "0", "Connection": "close"}))
        while exchange.read_some(2**20):
            pass

    server.will(refuse)

    with pytest.raises(Rejected):
        connect(server.url, timeout_seconds=TIMEOUT).post("/files", Body(10_000_000))


def test_a_stream_comes_down_in_pieces_and_gives_its_connection_back(server, connect):
    content = bytes(range(256)) * 1000
    server.will(answer(content))
    client = connect(server.url)

    with client.stream("/files/7") as stream:
        first, rest = stream.read(10), stream.read()
    client.get("/")

    assert first + rest == content
    assert [each.connection for each in server.requests] == [1, 1]


def test_a_stream_that_is_closed_early_lets_go_of_its_connection(server, connect):
    server.will(dripping(head(200, {"Content-Length": "1000000"}), b"x" * 1000))
    client = connect(server.url)

    with client.stream("/files/7") as stream:
        assert stream.read(10) == b"x" * 10

    server.wait_for_closed(1)
    assert client.get("/") == {}


def test_other_requests_go_on_while_a_stream_is_open(server, connect):
    server.will(answer(b"x" * 100_000))
    client = connect(server.url)

    with client.stream("/files/7") as stream:
        client.get("/")
        assert len(stream.read()) == 100_000


def test_a_stream_and_requests_beside_it_keep_a_connection_each(server, connect, caplog):
    server.will(answer(b"x" * 100_000))
    client = connect(server.url)

    with client.stream("/files/7") as stream:
        client.get("/")
        stream.read()

    assert not caplog.records  # urllib3 warns when it throws a connection away


@pytest.mark.parametrize(
    "act",
    [
        then_close(sending(head(200, {"Content-Length": "100"}) + b"half")),
        dripping(head(200, {"Content-Length": "1000000"})),
    ],
    ids=["cut", "dripping"],
)
def test_a_stream_that_stops_halfway_can_be_had_again(server, connect, act):
    server.will(act)
    client = connect(server.url, asset_timeout_seconds=SHORT)

    with keeps_time(), client.stream("/files/7") as stream, pytest.raises(Unavailable):
        stream.read()


def test_a_stream_that_is_refused_is_told_in_our_words(server, connect):
    server.will(answer({"message": "no"}, status=404))
    client = connect(server.url)

    with pytest.raises(NotFound):
        client.stream("/files/7")

    client.get("/")
    assert [each.connection for each in server.requests] == [1, 1]


# TLS ----------------------------------------------------------------------------------------------


def test_a_server_that_nobody_vouches_for_gets_nothing(tls, connect):
    with pytest.raises(Misconfigured, match="not trusted"):
        connect(tls.url, authorize=lambda: "Bearer mine").post("/")

    assert tls.requests == []


def test_the_ca_file_makes_a_server_trusted(tls, connect, tmp_path):
    connect(tls.url, ca_file=str(tmp_path / "certificate.pem")).post("/")

    assert len(tls.requests) == 1


def test_the_certificate_must_be_for_this_host(tls, connect, tmp_path):
    url = tls.url.replace("127.0.0.1", "localhost")

    with pytest.raises(Misconfigured, match="not trusted"):
        connect(url, ca_file=str(tmp_path / "certificate.pem")).post("/")


def test_bundles_named_by_the_environment_make_nobody_trusted(tls, connect, tmp_path, monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(tmp_path / "certificate.pem"))

    with pytest.raises(Misconfigured, match="not trusted"):
        connect(tls.url).get("/")


def test_verification_can_be_switched_off(tls, connect):
    client = connect(tls.url, verify_tls=False)

    client.post("/")
    client.post("/")

    assert [each.connection for each in tls.requests] == [1, 1]


@pytest.mark.parametrize("option", ["ca_file", "client_certificate"])
@pytest.mark.parametrize("content", [None, "no PEM at all"])
def test_a_file_that_cannot_be_used_is_named_with_its_option(connect, tmp_path, option, content):
    file = tmp_path / "wrong.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(Misconfigured, match=r"wrong\.pem") as caught:
        connect("https://127.0.0.1", **{option: str(file)})

    assert caught.value.option == option


def test_a_client_certificate_is_shown(strict, connect, tmp_path):
    pem = str(tmp_path / "certificate.pem")

    connect(strict.url, ca_file=pem, client_certificate=pem).post("/")
    connect(strict.url, ca_file=pem, client_certificate=pem, client_key=pem).post("/")

    assert len(strict.requests) == 2


def test_a_server_that_misses_the_client_certificate_says_so(strict, connect, tmp_path):
    with pytest.raises(Misconfigured) as caught:
        connect(strict.url, ca_file=str(tmp_path / "certificate.pem")).post("/")

    assert caught.value.option == "client_certificate"
    assert strict.requests == []


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(connect, tmp_path):
    from cryptography.hazmat.primitives import serialization

    self_signed_contexts(tmp_path)
    pem = (tmp_path / "certificate.pem").read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    encrypted = tmp_path / "encrypted.pem"
    encrypted.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"swordfish"),
        )
    )

    with pytest.raises(Misconfigured, match=r"encrypted\.pem"):
        connect(
            "https://127.0.0.1",
            client_certificate=str(tmp_path / "certificate.pem"),
            client_key=str(encrypted),
        )


def tls_options(**changes):
    return {option.name: option.default for option in http.OPTIONS} | changes


def test_equal_options_share_a_tls_context(tmp_path):
    self_signed_contexts(tmp_path)
    ca_file = str(tmp_path / "certificate.pem")

    assert http.tls_context(tls_options()) is http.tls_context(tls_options(timeout_seconds=3))
    assert http.tls_context(tls_options(ca_file=ca_file)) is http.tls_context(
        tls_options(ca_file=ca_file)
    )
    assert http.tls_context(tls_options()) is not http.tls_context(tls_options(verify_tls=False))


def test_a_renewed_file_is_read_again(tls, connect, tmp_path):
    # Given a CA file that does not vouch for the server
    other = tmp_path / "other"
    other.mkdir()
    self_signed_contexts(other)
    ca_file = other / "certificate.pem"
    with pytest.raises(Misconfigured):
        connect(tls.url, ca_file=str(ca_file)).get("/")

    ca_file.write_bytes((tmp_path / "certificate.pem").read_bytes())

    assert connect(tls.url, ca_file=str(ca_file)).get("/") == {}


# Proxies ------------------------------------------------------------------------------------------


@pytest.fixture
def proxy():
    with HttpServer() as proxy:
        yield proxy


def test_plain_http_goes_through_the_proxy_of_the_space(proxy, connect):
    connect("http://chat.example", proxy=proxy.url).get("/users/me")

    assert proxy.requests[0].target == "http://chat.example/users/me"


def test_tls_goes_through_a_tunnel_that_sees_no_credentials(proxy, tls, connect, tmp_path):
    proxy.will(tunnel)
    client = connect(
        tls.url,
        authorize=lambda: "Bearer mine",
        proxy=proxy.url.replace("//", "//me:secret@"),
        ca_file=str(tmp_path / "certificate.pem"),
    )

    client.post("/posts", {"message": "hello"})

    (asked,) = proxy.requests
    assert (asked.method, asked.target) == ("CONNECT", f"127.0.0.1:{tls.port}")
    assert asked.headers["Authorization"] is None
    assert asked.headers["Proxy-Authorization"] == "Basic bWU6c2VjcmV0"
    assert tls.requests[0].headers["Authorization"] == "Bearer mine"
    assert tls.requests[0].headers["Proxy-Authorization"] is None


def test_the_proxy_of_the_environment_is_used_where_the_space_names_none(
    proxy, connect, monkeypatch
):
    monkeypatch.setenv("http_proxy", proxy.url)

    connect("http://chat.example").get("/")

    assert len(proxy.requests) == 1


def test_the_environment_can_except_hosts_from_its_proxy(server, proxy, connect, monkeypatch):
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    connect(server.url).get("/")

    assert (len(server.requests), len(proxy.requests)) == (1, 0)


def test_the_proxy_of_the_space_comes_before_that_of_the_environment(proxy, connect, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")

    connect("http://chat.example", proxy=proxy.url).get("/")

    assert len(proxy.requests) == 1


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses_a_tunnel_lets_nothing_arrive(proxy, connect, status):
    proxy.will(then_close(answer(status=status)))

    with pytest.raises(Unavailable, match=str(status)):
        connect("https://chat.example", proxy=proxy.url).post("/")


@pytest.mark.parametrize("act", [reset_after_reading, then_close(sending(b"220 ESMTP\r\n"))])
def test_a_proxy_that_breaks_lets_nothing_arrive(proxy, connect, act):
    proxy.will(act)

    with pytest.raises(Unavailable):
        connect("https://chat.example", proxy=proxy.url).post("/")


@pytest.mark.parametrize("act", [silent, dripping(b"HTTP/1.1 200 ")])
def test_a_proxy_that_takes_too_long_lets_nothing_arrive(proxy, connect, act):
    proxy.will(act)

    with keeps_time(), pytest.raises(Unavailable, match=r"within 0\.2 s"):
        connect("https://chat.example", proxy=proxy.url, timeout_seconds=SHORT).post("/")


def test_a_proxy_that_is_not_there_lets_nothing_arrive(connect):
    for scheme in ("http", "https"):
        with pytest.raises(Unavailable, match="Connection refused"):
            connect(f"{scheme}://chat.example", proxy=f"http://127.0.0.1:{unused_port()}").post("/")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:3128", "socks5://127.0.0.1", "http://", "http://127.0.0.1:x", "http://[::1"]
)
def test_a_proxy_url_that_cannot_be_used_is_named(connect, url):
    with pytest.raises(Misconfigured) as caught:
        connect("http://chat.example", proxy=url)

    assert caught.value.option == "proxy"


@pytest.mark.parametrize(
    "url",
    ["http://me:s3cret@127.0.0.1:99999", "http://me:s3cret/x@127.0.0.1", "http://me:s3cret€@proxy"],
    ids=["port", "slash", "euro"],
)
def test_a_proxy_url_that_cannot_be_used_is_not_told_with_its_password(connect, monkeypatch, url):
    with pytest.raises(Misconfigured) as by_the_space:
        connect("http://chat.example", proxy=url)
    monkeypatch.setenv("http_proxy", url)
    with pytest.raises(Misconfigured) as by_the_environment:
        connect("http://chat.example")

    for caught in (by_the_space, by_the_environment):
        assert caught.value.option == "proxy"
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))


# What an operator reads ---------------------------------------------------------------------------


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "spaces.platforms.wire")
    return caplog


def test_the_trace_holds_the_exchange_without_secrets(server, connect):
    server.will(answer({"id": "7", "session_token": "s3ss10n", "note": f"you are {SECRET}"}))
    client = connect(server.url, authorize=lambda: f"Bearer {SECRET}")

    with trace.collect({"token": SECRET}) as seen:
        client.post(
            "/users/login",
            {"login_id": "helper", "password": "hunter2", "token": "123456"},
            query={"from": "here"},
        )

    assert seen.request == {
        "method": "POST",
        "path": "/users/login",
        "query": {"from": "here"},
        "body": {"login_id": "helper", "password": trace.HIDDEN, "token": trace.HIDDEN},
    }
    assert seen.response == {
        "status": 200,
        "body": {
            "id": "7",
            "session_token": trace.HIDDEN,
            "note": f"you are {trace.HIDDEN}",
        },
    }


def test_the_trace_tells_that_nothing_came_back(server, connect):
    server.will(answer(), reset_after_reading)
    client = connect(server.url)

    with trace.collect({}) as seen:
        client.get("/one")
        with pytest.raises(Unavailable):
            client.get("/two")

    assert (seen.request["path"], seen.response) == ("/two", None)


def test_the_trace_shows_the_beginning_of_what_is_no_json(server, connect):
    page = b"<html>" + b"\xff" * (trace.LONGEST_TEXT * 2)
    server.will(answer(page, status=502))

    with trace.collect({}) as seen, pytest.raises(Unavailable):
        connect(server.url).get("/")

    assert seen.response["body"].startswith("<html>")
    assert len(seen.response["body"]) <= trace.LONGEST_TEXT


def test_the_trace_names_streams_instead_of_holding_them(server, connect):
    server.will(answer(), answer(b"content"))
    client = connect(server.url)

    with trace.collect({}) as up:
        client.post("/files", Body(10))
    with trace.collect({}) as down, client.stream("/files/7"):
        pass

    assert up.request["body"] == "[a stream]"
    assert down.response == {"status": 200, "body": "[a stream]"}


def test_the_trace_of_a_stream_tells_why_it_was_refused(server, connect):
    server.will(answer({"message": "gone"}, status=404))

    with trace.collect({}) as seen, pytest.raises(NotFound):
        connect(server.url).stream("/files/7")

    assert seen.response == {"status": 404, "body": {"message": "gone"}}


def test_the_debug_log_holds_every_exchange_without_secrets(server, connect, log):
    server.will(answer({"token": "s3ss10n", "note": SECRET}), reset_after_reading)
    client = connect(server.url, authorize=lambda: f"Bearer {SECRET}", debug_log=True)

    client.post("/users/login", {"login_id": "helper", "password": "hunter2"})
    with pytest.raises(OutcomeUnknown):
        client.post(f"/hooks/{SECRET}")

    asked, told, asked_again, lost = log.messages
    assert asked.startswith(">")
    assert "helper" in asked
    assert told.startswith("< POST /users/login after")
    assert "/hooks/" in asked_again
    assert "Connection reset" in lost
    for secret in (SECRET, "hunter2", "s3ss10n", "Bearer", "Authorization"):
        assert secret not in log.text


def test_nothing_is_logged_unless_it_was_asked_for(server, connect, log):
    server.will(answer(), reset_after_reading)
    client = connect(server.url)

    client.post("/")
    with pytest.raises(Unavailable):
        client.get("/")

    assert log.messages == []


# Clocks -------------------------------------------------------------------------------------------


def in_seconds(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({}, http.RETRY_AFTER),
        ({"Retry-After": ""}, http.RETRY_AFTER),
        ({"Retry-After": "soon"}, http.RETRY_AFTER),
        ({"Retry-After": "-7"}, http.RETRY_AFTER),
        ({"Retry-After": "1.5"}, http.RETRY_AFTER),
        ({"Retry-After": "9" * 400}, http.RETRY_AFTER),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00"}, http.RETRY_AFTER),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_how_long_to_wait_is_what_the_header_says(header, seconds):
    assert http.retry_after(header) == seconds


def test_how_long_to_wait_may_be_a_date():
    assert 50 < http.retry_after({"Retry-After": in_seconds(60)}) <= 60


def test_a_rate_limit_carries_how_long_to_wait(server, connect):
    server.will(answer(status=429, headers={"Retry-After": "3"}))

    with pytest.raises(RateLimited) as caught:
        connect(server.url).post("/")

    assert caught.value.retry_after == 3.0


def told_the_time(exchange):
    answer(headers={"Date": in_seconds(0)})(exchange)


@pytest.mark.parametrize("ahead", [300, -300])
def test_the_servers_clock_is_learned_from_its_answers(server, connect, ahead):
    server.will(answer(headers={"Date": in_seconds(ahead)}))
    client = connect(server.url)

    client.get("/")

    assert client.clock_skew_seconds == pytest.approx(ahead, abs=5)


def test_a_clock_that_is_right_has_no_skew(server, connect):
    server.will(told_the_time)
    client = connect(server.url)

    client.get("/")

    assert client.clock_skew_seconds == 0.0


def test_a_clock_that_was_set_right_is_learned_anew(server, connect):
    server.will(answer(headers={"Date": in_seconds(300)}), told_the_time)
    client = connect(server.url)

    client.get("/")
    client.get("/")

    assert client.clock_skew_seconds == pytest.approx(0, abs=5)


def test_an_answer_without_a_time_changes_nothing(server, connect):
    server.will(
        answer(headers={"Date": in_seconds(300)}), answer(), answer(headers={"Date": "now"})
    )
    client = connect(server.url)

    for _ in range(3):
        client.get("/")

    assert client.clock_skew_seconds > 200
