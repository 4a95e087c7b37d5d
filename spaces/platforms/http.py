"""HTTP to a platform, for all that speak it: one keep-alive session per platform object.

On urllib3, and not on `requests`, which does what a bot must not: keep cookies, look into
`~/.netrc`, follow redirects with the credentials; and takes twice the time. What neither does and
we need: one TLS context for all objects of a space, a limit on the whole of a request and not on
each of its reads, failures told apart by whether the request may have arrived, and a trace without
secrets. Sessions and their connections are in `_http_session`.
"""

from __future__ import annotations

import io
import json
import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    ReadTimeoutError,
)

from spaces.platforms import trace
from spaces.platforms._http_session import Session, Upload, proxies, tls_context
from spaces.platforms.contract import Account, Option
from spaces.platforms.errors import (
    CredentialsRefused,
    Forbidden,
    Misconfigured,
    NotFound,
    OutcomeUnknown,
    PlatformError,
    RateLimited,
    Rejected,
    Unavailable,
)

wire = logging.getLogger("spaces.platforms.wire")  # what operators switch on with debug_log

IDLE_SECONDS = 45.0  # servers close idle connections after a minute; a request must not race that
RETRY_AFTER = 5.0  # seconds, when a rate limit names no time
LARGEST_BODY = 32 * 1024 * 1024  # bytes of an answer that is read as a whole
CHUNK = 64 * 1024  # bytes
HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
    "User-Agent": "botadmin",
}

OPTIONS: tuple[Option, ...] = (
    Option(
        name="verify_tls",
        label="Verify the server's certificate",
        type="boolean",
        default=True,
        help="Switch off only for tests: anybody in between can then read the bot's credentials.",
    ),
    Option(
        name="ca_file",
        label="CA file",
        help="Path of a PEM file with the authority that signed the server's certificate.",
    ),
    Option(
        name="client_certificate",
        label="Client certificate",
        help="Path of a PEM file, for servers that ask for one.",
    ),
    Option(name="client_key", label="Key of the client certificate", help="Path of a PEM file."),
    Option(
        name="proxy",
        label="Proxy",
        help="URL of an HTTP proxy. Empty: that of the environment (https_proxy, no_proxy).",
    ),
    Option(
        name="timeout_seconds",
        label="Timeout",
        type="number",
        default=10,
        unit="s",
        minimum=0.1,
        maximum=600,
        help="For most requests, from connecting to the end of the answer.",
    ),
    Option(
        name="long_timeout_seconds",
        label="Timeout of sending and listing",
        type="number",
        default=15,
        unit="s",
        minimum=0.1,
        maximum=600,
    ),
    Option(
        name="asset_timeout_seconds",
        label="Timeout of each file",
        type="number",
        default=60,
        unit="s",
        minimum=0.1,
        maximum=3600,
    ),
    Option(
        name="debug_log",
        label="Log every request",
        type="boolean",
        default=False,
        on=("space", "bot"),
        help="With bodies, without secrets, to the logger spaces.platforms.wire.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request about to be made. `idempotent`: doing it twice does no more than doing it once."""

    method: str
    path: str
    idempotent: bool
    timeout_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, read as a whole. `headers` takes names in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def is_success(self) -> bool:
        return _is_success(self.status)

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")


# Puts an answer that is no success into our words.
Refusal = Callable[[Answer, Call], PlatformError | Misconfigured]


class Http:
    """Requests below `base`, a URL without a slash at its end. Used by one thread at a time.

    `authorize` gives the `Authorization` header of the moment, empty for none.
    """

    def __init__(
        self,
        base: str,
        account: Account,
        *,
        authorize: Callable[[], str],
        refusal: Refusal,
    ):
        self._base = base
        self._host = _host(base)
        self._authorize = authorize
        self._refusal = refusal
        options = account.options
        self.default_seconds = float(options["timeout_seconds"])
        self.long_seconds = float(options["long_timeout_seconds"])
        self.asset_seconds = float(options["asset_timeout_seconds"])
        self._secrets = trace.forms(account.credentials.values()) if options["debug_log"] else None
        self._session = Session(base, tls_context(options), proxies(base, options))
        self._used_at = 0.0  # time.monotonic()
        self.clock_skew_seconds = 0.0  # how far the server's clock is ahead of ours

    def close(self) -> None:
        self._session.close()

    # Requests -------------------------------------------------------------------------------------

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self.json("GET", path, query=query)

    def post(self, path: str, body: Any = None, **how: Any) -> Any:
        return self.json("POST", path, body=body, **how)

    def put(self, path: str, body: Any = None) -> Any:
        return self.json("PUT", path, body=body)

    def delete(self, path: str) -> Any:
        return self.json("DELETE", path)

    def json(self, method: str, path: str, **how: Any) -> Any:
        """The JSON of the answer; takes what `request` takes, and raises as it does."""
        answer = self.request(method, path, **how)
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError) as error:
            raise Misconfigured(
                f"{self._host} does not answer in JSON; is this the server's own address?",
                option="url",
            ) from error

    def request(self, method: str, path: str, **how: Any) -> Answer:
        """A successful answer; takes what `ask` takes, and raises as it does.

        Raises besides what the platform's `refusal` makes of an answer that is no success.
        """
        answer, call = self.ask(method, path, **how)
        if not answer.is_success:
            raise self._refusal(answer, call)
        return answer

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
        timeout_seconds: float | None = None,
    ) -> tuple[Answer, Call]:
        """Any answer, read as a whole. `body` is JSON, or a binary stream of known length.

        Raises `Unavailable` when nothing arrived or repeating does no harm, `OutcomeUnknown` when
        it may have arrived, `Rejected` for a body that is no JSON, `Misconfigured` when the
        settings cannot work.
        """
        call = Call(
            method=method,
            path=path,
            idempotent=method != "POST" if idempotent is None else idempotent,
            timeout_seconds=timeout_seconds or self.default_seconds,
        )
        answer = self._read(call, self._send(call, query, body, headers))
        return answer, call

    def stream(self, path: str) -> BinaryIO:
        """The bytes of an answer, read bit by bit; the caller closes it.

        Raises as `request` does. Waiting for the bytes may take `asset_seconds` in all.
        """
        call = Call(method="GET", path=path, idempotent=True, timeout_seconds=self.asset_seconds)
        sent = self._send(call)
        if not _is_success(sent.status):
            raise self._refusal(self._read(call, sent), call)
        self._note(call, sent.status, "[a stream]")
        return io.BufferedReader(_Body(sent), CHUNK)

    def _send(
        self,
        call: Call,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> BaseHTTPResponse:
        """The answer, its body not read yet."""
        self._refresh()
        is_stream = hasattr(body, "read")
        self._announce(call, query, "[a stream]" if is_stream else body)
        seconds = call.timeout_seconds
        complete = HEADERS | self._authorization()
        data: bytes | Upload | None = None
        if is_stream:
            data = Upload(body, seconds)
            complete["Content-Length"] = str(len(data))
        elif body is not None:
            data = _as_json(body)
            complete["Content-Type"] = "application/json"
        with self._in_our_words(call):
            started = time.monotonic()
            response = self._session.send(
                call.method,
                call.path + _as_query(query, call.path),
                data,
                complete | _sendable(headers or {}),
                # What is left after connecting and sending is for all of the answer.
                Timeout(total=seconds, connect=min(seconds, self.default_seconds)),
            )
            self._learn_clock(response.headers, time.monotonic() - started)
        return response

    def _read(self, call: Call, response: BaseHTTPResponse) -> Answer:
        with self._in_our_words(call), closing(response):
            content = _content(response)
        answer = Answer(status=response.status, headers=response.headers, content=content)
        if self._secrets is not None or trace.is_collected():
            self._note(call, answer.status, _body_of(content))
        return answer

    @contextmanager
    def _in_our_words(self, call: Call) -> Iterator[None]:
        try:
            yield
        except (HTTPError, OSError) as error:
            lost = _lost(error, call, self._host)
            self._log(f"< {call.method} {call.path}: {lost.detail}")
            raise lost from error
        except ValueError:
            # Without its text and as no cause: it quotes what could not be sent.
            raise Misconfigured(f"{self._host} cannot be asked like this.") from None

    def _authorization(self) -> dict[str, str]:
        if not (authorization := self._authorize()):
            return {}
        if not (authorization.isascii() and authorization.isprintable()):
            raise Misconfigured("A credential holds characters that no header may hold.")
        return {"Authorization": authorization}

    def _refresh(self) -> None:
        """Drop connections that the server is about to close, if it has not yet."""
        now = time.monotonic()
        if now - self._used_at > IDLE_SECONDS:
            self._session.close()
        self._used_at = now

    def _learn_clock(self, headers: Mapping[str, str], seconds: float) -> None:
        with suppress(KeyError, ValueError, TypeError):
            told = parsedate_to_datetime(headers["Date"])
            # The header counts whole seconds, and was written at some time since we asked.
            least = (told - datetime.now(UTC)).total_seconds()
            most = least + 1.0 + seconds
            if not least <= self.clock_skew_seconds <= most:
                self.clock_skew_seconds = (least + most) / 2

    # What an operator reads -----------------------------------------------------------------------

    def _announce(self, call: Call, query: Any, body: Any) -> None:
        asked = {"method": call.method, "path": call.path, "query": query, "body": body}
        asked = {name: value for name, value in asked.items() if value is not None}
        trace.record(request=asked)
        self._log("> ", asked)

    def _note(self, call: Call, status: int, body: Any) -> None:
        told = {"status": status, "body": body}
        trace.record(response=told)
        seconds = time.monotonic() - self._used_at
        self._log(f"< {call.method} {call.path} after {seconds:.3f} s: ", told)

    def _log(self, line: str, exchanged: Mapping[str, Any] | None = None) -> None:
        if self._secrets is not None:
            values = "" if exchanged is None else trace.redact(exchanged, self._secrets)
            wire.info("%s%s", trace.hide(line, self._secrets), values)


class _Body(io.RawIOBase):
    """An answer's bytes as they come; failures while reading are in our words."""

    def __init__(self, response: BaseHTTPResponse):
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._response.read(len(buffer))
        except (HTTPError, OSError) as error:
            raise Unavailable(f"The file stopped coming: {type(error).__name__}.") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._response.close()
        super().close()


# Failures -----------------------------------------------------------------------------------------


def refusal(answer: Answer, call: Call, detail: str) -> PlatformError | Misconfigured:
    """What a status means where the platform says nothing finer."""
    status = answer.status
    if status == 401:
        return CredentialsRefused(detail)
    if status == 403:
        return Forbidden(detail)
    if status == 404:
        return NotFound(detail)
    if status == 429:
        return RateLimited(detail, retry_after=retry_after(answer.headers))
    if status >= 500:
        # What was broken may have been the answer only.
        return Unavailable(detail) if call.idempotent else OutcomeUnknown(detail)
    if status < 400:
        return Misconfigured(f"The server redirects elsewhere ({status}).", option="url")
    if status == 407:
        return Misconfigured("The proxy asks who we are.", option="proxy")
    return Rejected(detail)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a `Retry-After` header asks to wait, `RETRY_AFTER` without one that makes sense.

    It holds a number, or a date in RFC 9110's form.
    """
    named = headers.get("Retry-After", "")
    if named.isdecimal() and len(named) < 10:
        return float(named)
    with suppress(ValueError, TypeError):  # no date, or one that does not tell its time zone
        return max(0.0, (parsedate_to_datetime(named) - datetime.now(UTC)).total_seconds())
    return RETRY_AFTER


def _host(url: str) -> str:
    """Host and port, for people; the rest of a URL may hold secrets."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError as error:
        raise Misconfigured(f"The URL is invalid: {error}.", option="url") from error


class _TooLong(HTTPError):
    pass


def _as_json(body: Any) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except ValueError:
        raise Rejected("The request holds a value that cannot be sent.") from None


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    if not all(value.isascii() and value.isprintable() for value in headers.values()):
        raise Rejected("The request holds a value that cannot be sent.")
    return dict(headers)


def _as_query(query: Mapping[str, Any] | None, path: str) -> str:
    """What follows the path. Values that are `None` are left out, lists name each of theirs."""
    named = {name: value for name, value in (query or {}).items() if value is not None}
    if not named:
        return ""
    return f"{'&' if '?' in path else '?'}{urlencode(named, doseq=True)}"


def _is_success(status: int) -> bool:
    return 200 <= status < 300


def _content(response: BaseHTTPResponse) -> bytes:
    body = bytearray()
    while chunk := response.read(CHUNK):
        body += chunk
        if len(body) > LARGEST_BODY:
            raise _TooLong
    return bytes(body)


def _body_of(content: bytes) -> Any:
    """For people: JSON if it is, else as much text as they will see of it."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content[: trace.LONGEST_TEXT].decode(errors="replace")


def _lost(error: Exception, call: Call, host: str) -> PlatformError | Misconfigured:
    """A request without an answer."""
    causes = list(_causes(error))
    for cause in causes:
        if wrong := _misconfigured(cause, host):
            return wrong
    detail = f"{host} {_words(causes, call)}."
    # No connection came about, so that the server saw nothing. Its subclass is all but a timeout.
    if call.idempotent or any(isinstance(each, ConnectTimeoutError) for each in causes):
        return Unavailable(detail)
    return OutcomeUnknown(f"{call.method} {call.path}: {detail}")


def _misconfigured(cause: BaseException, host: str) -> Misconfigured | None:
    """What waiting and trying again cannot mend."""
    match cause:
        case ssl.SSLCertVerificationError():
            return Misconfigured(
                f"The certificate of {host} is not trusted: {cause.verify_message}.",
                next_step="Name the CA file of this server in the space, or correct its URL.",
            )
        case ssl.SSLError() if _refuses_certificate(cause):
            # With TLS 1.3 it comes in place of an answer, though nothing was looked at.
            return Misconfigured(
                f"{host} does not accept the client certificate, or the lack of one.",
                option="client_certificate",
            )
        case ssl.SSLError() if cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return Misconfigured(
                f"{host} answers, but does not speak TLS.",
                option="url",
                next_step="Write http:// in place of https://, or correct the port.",
            )
        case LocationValueError():
            return Misconfigured(f"The URL of {host} or its proxy cannot be used.", option="url")
    return None


def _refuses_certificate(error: ssl.SSLError) -> bool:
    reason = error.reason or ""  # OpenSSL's name for it, such as TLSV13_ALERT_CERTIFICATE_REQUIRED
    return "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps; urllib3 hands its causes on in several ways."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        # Not `__context__`: that may be an earlier failure, which somebody was about to mend.
        inner = (getattr(one, "reason", None), *one.args, one.__cause__)
        waiting += [each for each in inner if isinstance(each, BaseException)]


def _words(causes: list[BaseException], call: Call) -> str:
    """For people, without the URL that urllib3 quotes."""
    if any(isinstance(each, _TooLong) for each in causes):
        return f"answered with more than {LARGEST_BODY} bytes"
    if any(isinstance(each, TimeoutError | ReadTimeoutError) for each in causes):
        return f"did not answer within {call.timeout_seconds:g} s"
    of_system = [each for each in causes if isinstance(each, OSError)]
    if not of_system:
        return f"did not answer as it should: {type(causes[-1]).__name__}"
    return f"cannot be reached: {of_system[-1].strerror or of_system[-1]}"
