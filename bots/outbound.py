"""Calls to URLs that somebody gave us: webhooks that we send, files that we fetch.

What `guard` allows is asked and nothing else. A name is looked up once per connection, all its
addresses are shown to the guard, and one of those is connected to: there is no second lookup that
could answer otherwise. Redirects are not followed, as they would lead past the guard, and neither
are the environment's proxies, which would look names up for us. A call ends within its seconds,
whatever the other side does.

On `http.client` with sockets of our own, and not on the pools of urllib3, which look names up
themselves and keep idle connections for ever.
"""

from __future__ import annotations

import atexit
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from ipaddress import ip_address

from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util import make_headers

from bots import guard, sockets
from bots.guard import Address, CallFailed, Target, check_url
from spaces.platforms import http
from spaces.platforms.timed import TimedAnswer

__all__ = ["Answer", "CallFailed", "NoAnswer", "Outbound", "check_url", "get", "post"]

SECONDS = 15.0  # for a webhook, from looking up its host to the start of the answer's body
BODY_SECONDS = 2.0  # for what follows the head of an answer, which already tells what we need
START = 1024  # bytes of an answer that are kept
REST = 16 * 1024  # bytes after these that are read, and dropped, to use the connection again
CHUNK = 64 * 1024  # bytes of a file

# The addresses of a host, as text; raises `OSError` when it has none.
Resolve = Callable[[str, int], Sequence[str]]
Check = Callable[[Target, Sequence[Address]], None]


class NoAnswer(CallFailed):
    """It was called, or nearly, without an answer; it may go better another time."""

    code = "no_answer"
    next_step = "Nothing to do: it is tried again. If it lasts, check the server."


class Unresolvable(NoAnswer):
    """No name server knows the host, or none says so in time."""

    code = "unresolvable"
    next_step = "Check the host in the URL."


class Unreachable(NoAnswer):
    """No connection came about, or it broke before the answer."""

    code = "unreachable"


class TimedOut(NoAnswer):
    """The answer took too long."""

    code = "timed_out"


class TlsFailed(NoAnswer):
    """The server does not prove who it is, or does not speak TLS."""

    code = "tls_failed"
    next_step = "Give the server a certificate for this host that a public authority signed."


class AnswerInvalid(NoAnswer):
    """What came back is no HTTP."""

    code = "answer_invalid"
    next_step = "Check that an HTTP server listens there."


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `headers` takes names in any case."""

    status: int
    headers: Mapping[str, str]
    text: str  # its first kilobyte
    seconds: float  # that the whole call took

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def look_up(host: str, port: int) -> Sequence[str]:
    """What this system says of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Outbound:
    """Calls, on connections that are kept and used again. For any number of threads.

    `resolve` looks names up, `tls` says whom to trust; without it, whom this system does.
    """

    def __init__(self, *, resolve: Resolve = look_up, tls: ssl.SSLContext | None = None):
        self._resolve = resolve
        self._tls = tls
        self._idle = sockets.Idle()

    def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float = SECONDS
    ) -> Answer:
        """Any answer, redirects and refusals too. Raises `CallFailed`.

        Once more on a new connection, if one that was kept turns out to be closed: the server may
        then see a call twice.
        """
        deadline = sockets.Deadline(seconds)
        target = guard.webhook_target(url)
        headers = {"User-Agent": http.HEADERS["User-Agent"], **headers}
        with _in_our_words(target, seconds):
            if (kept := self._idle.take(target.place)) is not None:
                try:
                    return self._post(kept, target, body, headers, deadline)
                except (ConnectionError, ssl.SSLEOFError):
                    pass  # closed while we began to write
            opened = self._open(target, guard.check_webhook, deadline)
            return self._post(opened, target, body, headers, deadline)

    @contextmanager
    def get(self, url: str, *, seconds: float) -> Iterator[Download]:
        """An answer whose body is read bit by bit, within `seconds` from now, whatever the caller
        does meanwhile. Plain http will do. Raises `CallFailed`."""
        target = guard.parse(url)
        headers = dict(http.HEADERS)
        if target.login:
            headers |= make_headers(basic_auth=target.login)
        deadline = sockets.Deadline(seconds)
        with _in_our_words(target, seconds):
            # None that is kept: they are for webhooks, which the guard allows less.
            connection = self._open(target, guard.check_addresses, deadline)
        with closing(connection):
            with _in_our_words(target, seconds):
                answer = connection.ask("GET", target.path, None, headers, deadline)
            with closing(answer):
                yield Download(answer, target, deadline)

    def close(self) -> None:
        """Drop all connections that are kept."""
        self._idle.clear()

    def _post(
        self,
        connection: sockets.Connection,
        target: Target,
        body: bytes,
        headers: Mapping[str, str],
        deadline: sockets.Deadline,
    ) -> Answer:
        try:
            answer = connection.ask("POST", target.path, body, headers, deadline)
            start = _start_of(answer)
            if answer.isclosed() and not answer.will_close:
                self._idle.keep(target.place, connection)
            else:
                answer.close()
                connection.close()
        except BaseException:
            connection.close()
            raise
        return Answer(
            status=answer.status,
            headers=_headers(answer),
            text=start.decode(errors="replace").replace("\0", "�"),  # which databases refuse
            seconds=deadline.seconds_gone,
        )

    def _open(self, target: Target, check: Check, deadline: sockets.Deadline) -> sockets.Connection:
        addresses = self._addresses(target, deadline)
        check(target, addresses)
        connected = sockets.connected(addresses, target.port, deadline)
        try:
            # Who it was that answered, whatever stands in between.
            check(target, [ip_address(connected.getpeername()[0])])
            if target.scheme == "https":
                connected.settimeout(deadline.seconds_left())
                connected = self._context().wrap_socket(connected, server_hostname=target.host)
        except BaseException:
            connected.close()
            raise
        return sockets.Connection(target, connected)

    def _addresses(self, target: Target, deadline: sockets.Deadline) -> Sequence[Address]:
        if target.address is not None:
            return [target.address]
        future: Future[Sequence[str]] = Future()
        # A lookup knows no timeout. A thread that is left behind ends when the system gives up.
        threading.Thread(
            target=_answer, args=(future, self._resolve, target), name="lookup", daemon=True
        ).start()
        try:
            found = future.result(deadline.seconds_left())
        except TimeoutError as error:
            raise Unresolvable(f"{target}: the name servers do not answer.") from error
        except OSError as error:
            raise Unresolvable(f"{target}: the host is not known.") from error
        if not found:
            raise Unresolvable(f"{target}: the host has no address.")
        return [ip_address(one) for one in found]

    def _context(self) -> ssl.SSLContext:
        return self._tls or _public_trust()


class Download:
    """An answer to `get`; `chunks` may be asked for once."""

    def __init__(self, answer: TimedAnswer, target: Target, deadline: sockets.Deadline):
        self.status = answer.status
        self.headers = _headers(answer)
        self._target = target
        self._deadline = deadline
        # Which knows how to unpack what servers pack, asked or not.
        self._response = HTTPResponse(
            body=answer,
            headers=self.headers,
            status=answer.status,
            original_response=answer,
            preload_content=False,
            request_method="GET",
        )

    def chunks(self) -> Iterator[bytes]:
        """What has arrived, as soon as it has. Raises `CallFailed`."""
        while chunk := self._read():
            yield chunk

    def _read(self) -> bytes:
        with _in_our_words(self._target, self._deadline.seconds):
            self._deadline.seconds_left()
            return self._response.read1(CHUNK, decode_content=True)


def _start_of(answer: TimedAnswer) -> bytes:
    """The first kilobyte of the body, or what comes of it: the head was the answer."""
    answer.hurry(BODY_SECONDS)
    start = b""
    try:
        while len(start) < START and (some := answer.read1(START - len(start))):
            start += some
        if not answer.isclosed():
            answer.read(REST)  # closes it at the body's end
    except (OSError, HTTPException):
        answer.close()
        answer.will_close = True
    return start


def _headers(answer: TimedAnswer) -> HTTPHeaderDict:
    return HTTPHeaderDict(answer.getheaders())


@contextmanager
def _in_our_words(target: Target, seconds: float) -> Iterator[None]:
    try:
        yield
    except (TimeoutError, ReadTimeoutError) as error:
        raise TimedOut(f"{target} did not answer within {seconds:g} s.") from error
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason or "the handshake failed"
        raise TlsFailed(f"{target}: {why.rstrip('.')}.") from error
    except OSError as error:
        why = error.strerror or "the connection ended without an answer"
        raise Unreachable(f"{target}: {why}.") from error
    except (HTTPException, HTTPError) as error:
        raise AnswerInvalid(f"{target} does not answer in HTTP as it should.") from error


@cache
def _public_trust() -> ssl.SSLContext:
    # As for a space whose operator says nothing of TLS.
    return http.tls_context({option.name: option.default for option in http.OPTIONS})


def _answer(future: Future[Sequence[str]], resolve: Resolve, target: Target) -> None:
    try:
        future.set_result(resolve(target.host, target.port))
    except BaseException as error:
        future.set_exception(error)  # raised again where it is waited for


# One for all of a process, which keeps its connections.
_ours = Outbound()
post = _ours.post
get = _ours.get
atexit.register(_ours.close)
