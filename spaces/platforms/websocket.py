"""A websocket that one reader thread can hold with a thousand others (`contract.Stream`).

`websocket-client` opens the connection: name lookup, proxy, TLS, handshake. It also builds and
masks the frames we send. Reading is ours: the library asks the kernel for two bytes, then for two
more, and starts again when a frame has not arrived as a whole, while a reader of many sockets
wants to take what is there in one call and go on. A server's frames are not masked, so all there
is to do is to read lengths (RFC 6455, section 5.2).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import websocket
from websocket import _handshake  # for its cookie jar only, see below

from spaces.platforms.errors import (
    CredentialsRefused,
    Misconfigured,
    PlatformError,
    RateLimited,
    Unavailable,
)
from spaces.platforms.http import retry_after

READ_SIZE = 64 * 1024  # bytes; more than a TLS record, so that none is left half read
READ_AT_ONCE = 256 * 1024  # bytes per `receive`, after which it is another stream's turn
LARGEST_OUTBOX = 64 * 1024  # bytes a peer that does not read may let us collect
LARGEST_MESSAGE = 16 * 1024 * 1024  # bytes

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FINAL, RESERVED, CONTROL, MASKED = 0x80, 0x70, 0x08, 0x80  # bits of a frame's first two bytes

GOING_AWAY, PROTOCOL_ERROR, NO_STATUS, TOO_BIG = 1001, 1002, 1005, 1009


class _NoCookies:
    """The library keeps one cookie jar for the whole process: what a server sets for one bot would
    go out with the handshakes of all others on that host. Cookies to send are headers here."""

    def add(self, set_cookie: str | None) -> None:
        pass

    def get(self, host: str) -> str:
        return ""


_handshake.CookieJar = _NoCookies()  # type: ignore[assignment]


class Closed(Unavailable):
    """The other side said goodbye. `status` and `reason` are those of its close frame."""

    code = "closed_by_platform"

    def __init__(self, status: int, reason: str):
        super().__init__(f"The platform closed the websocket: {status} {reason}".rstrip())
        self.status = status
        self.reason = reason


class NoWebSocket(Misconfigured):
    """An answer of HTTP, where a websocket should have opened."""


class WebSocketStream:
    """Opens on construction, which blocks up to a few times `timeout_seconds`; nothing else does.

    `tls` is shared by all streams of a space, as a context of its own costs a megabyte each.
    `proxy` is the URL of an HTTP proxy; without one the environment's is used (`https_proxy`,
    `no_proxy`). Redirects are not followed, since the headers mostly hold a credential.

    `heartbeat` makes what `beat` sends, text or bytes, for platforms that do not answer websocket
    pings. Bytes of a message are handed on as they came: text is not checked to be UTF-8.

    Raises `Unavailable`, `RateLimited`, `CredentialsRefused` or `Misconfigured` when it cannot
    open. Used by one thread at a time.
    """

    __slots__ = (
        "_end",
        "_fragments",
        "_heartbeat",
        "_inbox",
        "_largest_message",
        "_outbox",
        "_socket",
        "heartbeat_seconds",
    )

    def __init__(
        self,
        url: str,
        *,
        heartbeat_seconds: float = 30.0,
        timeout_seconds: float = 10.0,
        headers: Mapping[str, str] | None = None,
        subprotocols: tuple[str, ...] = (),
        tls: ssl.SSLContext | None = None,
        proxy: str = "",
        heartbeat: Callable[[], str | bytes] | None = None,
        largest_message: int = LARGEST_MESSAGE,
    ):
        self.heartbeat_seconds = heartbeat_seconds
        self._heartbeat = heartbeat
        self._largest_message = largest_message
        self._inbox = bytearray()  # what came in and is not a whole frame yet
        self._outbox = bytearray()  # what the kernel did not take yet
        self._fragments: bytearray | None = None  # of a message whose last frame is to come
        self._end: Unavailable | None = None  # what every further `receive` raises
        self._socket = _open(
            url,
            timeout=timeout_seconds,
            header=_checked(headers or {}),
            subprotocols=list(subprotocols),
            tls=tls or _default_tls(),
            **_proxy_options(proxy),
        )
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[bytes]:
        """The messages that are complete, and bounded work: what is left makes `fileno` readable
        at once. Raises `Unavailable` after the last message has been handed out."""
        if self._end:
            raise self._end
        messages: list[bytes] = []
        try:
            self._flush()
            lost = self._fill()
            self._take_frames(messages)
            if lost:
                raise lost
        except Unavailable as end:
            self._end = end
            if not messages:
                raise
            # The caller gets the end at the next call; this makes the selector ask for it.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
        return messages

    def send(self, message: str | bytes) -> None:
        """Send a text or binary message as soon as the peer takes it, without waiting for that.

        Raises `Unavailable` when the peer left too much unread. A connection that broke is found
        by the next `receive`, as there may be messages to read from before it broke.
        """
        self._send(message, TEXT if isinstance(message, str) else BINARY)

    def beat(self) -> None:
        if self._heartbeat:
            self.send(self._heartbeat())
        else:
            self._send(b"", PING)

    def close(self) -> None:
        """Say goodbye if that is possible at once. May be called twice."""
        if self._socket.fileno() < 0:
            return
        if not self._end:
            self._goodbye(GOING_AWAY)
        self._socket.close()

    # Reading --------------------------------------------------------------------------------------

    def _fill(self) -> Unavailable | None:
        """Move what arrived into the inbox. Returns how the connection was lost, if it was."""
        # A selector cannot see what TLS has decrypted already, so that must not be left behind.
        pending = self._socket.pending if isinstance(self._socket, ssl.SSLSocket) else None
        taken = 0
        while taken < READ_AT_ONCE or (pending and pending()):
            try:
                data = self._socket.recv(READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None
            except OSError as error:
                lost = Unavailable(f"The websocket broke: {error}")
                lost.__cause__ = error
                return lost
            if not data:
                return Unavailable("The platform dropped the websocket without closing it.")
            self._inbox += data
            taken += len(data)
            if len(data) < READ_SIZE and not pending:
                return None  # the kernel has no more
        return None

    def _take_frames(self, messages: list[bytes]) -> None:
        """Move whole frames out of the inbox; messages that are complete are appended."""
        inbox, end, at = self._inbox, len(self._inbox), 0
        try:
            while end - at >= 2:
                first, second = inbox[at], inbox[at + 1]
                start, length = at + 2, second & 0x7F
                if length == 126:
                    start += 2
                    length = int.from_bytes(inbox[at + 2 : start])
                elif length == 127:
                    start += 8
                    length = int.from_bytes(inbox[at + 2 : start])
                if end < start:
                    break  # the length itself has not arrived yet
                if first & RESERVED or second & MASKED:
                    self._refuse("set bits that only a client or an extension may set")
                if length > self._largest_message:
                    self._refuse_size()
                if end < start + length:
                    break
                at = start + length
                payload = bytes(inbox[start:at])
                if first in (FINAL | TEXT, FINAL | BINARY) and self._fragments is None:
                    messages.append(payload)  # nearly all frames are this kind
                elif first & CONTROL:
                    self._take_control(first, payload)
                elif (message := self._assemble(first, payload)) is not None:
                    messages.append(message)
        finally:
            del inbox[:at]

    def _assemble(self, first: int, payload: bytes) -> bytes | None:
        """The message that this frame completes, if it does."""
        opcode = first & 0x0F
        if opcode == CONTINUATION and self._fragments is not None:
            self._fragments += payload
        elif opcode in (TEXT, BINARY) and self._fragments is None:
            self._fragments = bytearray(payload)
        else:
            self._refuse(f"sent a frame of kind {opcode} where none may be")
        if len(self._fragments) > self._largest_message:
            self._refuse_size()
        if not first & FINAL:
            return None
        message, self._fragments = bytes(self._fragments), None
        return message

    def _take_control(self, first: int, payload: bytes) -> None:
        if not first & FINAL or len(payload) > 125:
            self._refuse("sent a control frame in pieces")
        match first & 0x0F:
            case 0x9:
                self._send(payload, PONG)
            case 0xA:
                pass  # proof of life, and having been read it has done its work
            case 0x8:
                status = int.from_bytes(payload[:2]) if payload else NO_STATUS
                self._send(payload[:2], CLOSE)
                raise Closed(status, payload[2:].decode(errors="replace"))
            case opcode:
                self._refuse(f"sent a frame of kind {opcode}, which does not exist")

    def _refuse(self, what: str) -> NoReturn:
        self._goodbye(PROTOCOL_ERROR)
        raise Unavailable(f"The platform broke the websocket protocol: it {what}.")

    def _refuse_size(self) -> NoReturn:
        self._goodbye(TOO_BIG)
        raise Unavailable(
            f"The platform sent a message of more than {self._largest_message} bytes.",
            code="message_too_big",
        )

    # Sending --------------------------------------------------------------------------------------

    def _send(self, payload: str | bytes, opcode: int) -> None:
        self._outbox += websocket.ABNF.create_frame(payload, opcode).format()
        self._flush()
        if len(self._outbox) > LARGEST_OUTBOX:
            raise Unavailable("The platform does not read what is sent over the websocket.")

    def _flush(self) -> None:
        """Give the kernel what it takes now; the rest waits for the next call."""
        while self._outbox:
            try:
                sent = self._socket.send(self._outbox)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                self._outbox.clear()  # broken: `receive` finds out, after reading what came before
                return
            del self._outbox[:sent]

    def _goodbye(self, status: int) -> None:
        with suppress(Unavailable):
            self._send(status.to_bytes(2), CLOSE)


# Opening ------------------------------------------------------------------------------------------


def _open(url: str, *, tls: ssl.SSLContext, **options: Any) -> socket.socket:
    """A connected socket after the handshake; all else the library keeps is let go."""
    host = _host(url)
    client = websocket.WebSocket(sslopt={"context": tls})
    try:
        client.connect(url, suppress_origin=True, redirect_limit=0, **options)
    except websocket.WebSocketBadStatusException as error:
        # Without the cause: its text holds the response's headers and body.
        raise _refused(host, error) from None
    except ssl.SSLCertVerificationError as error:
        raise Misconfigured(
            f"The certificate of {host} is not trusted: {error.verify_message}.",
            next_step="Name the CA file of this server in the space, or correct its URL.",
        ) from error
    except (websocket.WebSocketProxyException, websocket.WebSocketAddressException) as error:
        raise Unavailable(f"{host} cannot be reached: {error}") from error
    except (websocket.WebSocketTimeoutException, TimeoutError) as error:
        raise Unavailable(f"{host} did not answer in time.") from error
    except websocket.WebSocketException as error:
        if client.status in _handshake.SUPPORTED_REDIRECT_STATUSES:
            raise Misconfigured(f"{host} redirects this URL elsewhere.", option="url") from error
        raise Unavailable(f"{host} did not open a websocket: {error}") from error
    except OSError as error:
        raise Unavailable(f"{host} cannot be reached: {error}") from error
    except ValueError as error:
        raise Misconfigured(f"The websocket URL of {host} cannot be used: {error}") from error
    connected, client.sock = client.sock, None
    assert connected is not None  # the library's type; `connect` sets it or raises
    return connected


@cache
def _default_tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _host(url: str) -> str:
    """Host and port, for people; the rest of a URL may hold secrets."""
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError as error:
        raise Misconfigured(f"The websocket URL is invalid: {error}.", option="url") from error
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise Misconfigured(
            "A websocket URL starts with ws:// or wss:// and a host name.", option="url"
        )
    return f"{parts.hostname}:{port}" if port else parts.hostname


def _refused(
    host: str, error: websocket.WebSocketBadStatusException
) -> PlatformError | Misconfigured:
    status = error.status_code
    detail = f"{host} answered {status} instead of opening a websocket."
    if status in (401, 403):
        return CredentialsRefused(detail)
    if status == 429:
        named = {"Retry-After": (error.resp_headers or {}).get("retry-after", "")}
        return RateLimited(detail, retry_after=retry_after(named))
    if status >= 500:
        return Unavailable(detail)
    return NoWebSocket(detail, option="url", next_step="Correct the URL of the space.")


def _checked(headers: Mapping[str, str]) -> list[str]:
    """Header lines. One with a line break would start a header of its own, or end them all."""
    for name, value in headers.items():
        if not (name + value).isprintable():
            raise Misconfigured(f"The header {name!r} holds characters that no header may hold.")
    return [f"{name}: {value}" for name, value in headers.items()]


def _proxy_options(proxy: str) -> dict[str, Any]:
    if not proxy:
        return {}
    try:
        parts = urlsplit(proxy)
        port = parts.port or 80
    except ValueError as error:
        raise Misconfigured(f"The proxy URL is invalid: {error}.", option="proxy") from error
    if parts.scheme != "http" or not parts.hostname:
        raise Misconfigured("A proxy URL starts with http:// and a host name.", option="proxy")
    options: dict[str, Any] = {"http_proxy_host": parts.hostname, "http_proxy_port": port}
    if parts.username:
        options["http_proxy_auth"] = (unquote(parts.username), unquote(parts.password or ""))
    return options
