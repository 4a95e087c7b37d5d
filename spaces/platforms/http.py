"""HTTP to a platform, for all that speak it: one keep-alive session per platform object.

What `requests` would do by itself and a bot must not: keep cookies, look into `~/.netrc`, follow
redirects with the credentials, retry. What it does not and we need: one TLS context for all objects
of a space, a limit on the whole of a request and not on each of its reads, failures told apart by
whether the request may have arrived, and a trace without secrets. Sessions and their connections
are in `_http_session`.
"""

from __future__ import annotations

import io
import json
import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import requests
from urllib3 import Timeout
from urllib3 import exceptions as urllib3

from spaces.platforms import trace
from spaces.platforms._http_session import Upload, open_session, proxies, tls_context
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


# Puts an answer that is no success into our words.
Refusal = Callable[[requests.Response, Call], PlatformError | Misconfigured]


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
        self._session = open_session(tls_context(options), proxies(base, options))
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
        response = self.request(method, path, **how)
        try:
            return json.loads(response.content)
        except (ValueError, RecursionError) as error:
            raise Misconfigured(
                f"{self._host} does not answer in JSON; is this the server's own address?",
                option="url",
            ) from error

    def request(self, method: str, path: str, **how: Any) -> requests.Response:
        """A successful answer; takes what `ask` takes, and raises as it does.

        Raises besides what the platform's `refusal` makes of an answer that is no success.
        """
        response, call = self.ask(method, path, **how)
        if not _is_success(response):
            raise self._refusal(response, call)
        return response

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
    ) -> tuple[requests.Response, Call]:
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
        sent = self._send(call, query, body, headers)
        with self._in_our_words(call), closing(sent) as response:
            response._content = _read(response)
        self._note(call, response, _body_of(response))
        return response, call

    def stream(self, path: str) -> BinaryIO:
        """The bytes of an answer, read bit by bit; the caller closes it.

        Raises as `request` does. Waiting for the bytes may take `asset_seconds` in all.
        """
        call = Call(method="GET", path=path, idempotent=True, timeout_seconds=self.asset_seconds)
        with ExitStack() as unless_it_streams:
            response = unless_it_streams.enter_context(closing(self._send(call)))
            if not _is_success(response):
                with self._in_our_words(call):
                    response._content = _read(response)
                self._note(call, response, _body_of(response))
                raise self._refusal(response, call)
            self._note(call, response, "[a stream]")
            unless_it_streams.pop_all()
        return io.BufferedReader(_Body(response), CHUNK)

    def _send(
        self,
        call: Call,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """The answer, its body not read yet."""
        self._refresh()
        is_stream = hasattr(body, "read")
        self._announce(call, query, "[a stream]" if is_stream else body)
        seconds = call.timeout_seconds
        with self._in_our_words(call):
            # Not by `session.request`, which merges settings and cookies that we have none of: a
            # tenth of what a request costs.
            request = requests.PreparedRequest()
            request.prepare(
                method=call.method,
                url=self._base + call.path,
                params=query,
                json=None if is_stream else body,
                data=Upload(body, seconds) if is_stream else None,
                headers={**self._session.headers, **(headers or {})},
                auth=self._sign,
            )
            response = self._session.send(
                request,
                # What is left after connecting and sending is for all of the answer.
                timeout=Timeout(  # type: ignore[arg-type]  # the stubs lack it
                    total=seconds, connect=min(seconds, self.default_seconds)
                ),
                proxies=self._session.proxies,
                allow_redirects=False,
                stream=True,
            )
        self._learn_clock(response)
        return response

    @contextmanager
    def _in_our_words(self, call: Call) -> Iterator[None]:
        try:
            yield
        except (requests.RequestException, urllib3.HTTPError, OSError) as error:
            lost = _lost(error, call, self._host)
            self._log(f"< {call.method} {call.path}: {lost.detail}")
            raise lost from error
        except ValueError:
            # Without its text and as no cause: it quotes what could not be sent.
            raise Misconfigured(f"{self._host} cannot be asked like this.") from None

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if authorization := self._authorize():
            if not (authorization.isascii() and authorization.isprintable()):
                raise Misconfigured("A credential holds characters that no header may hold.")
            request.headers["Authorization"] = authorization
        return request

    def _refresh(self) -> None:
        """Drop connections that the server is about to close, if it has not yet."""
        now = time.monotonic()
        if now - self._used_at > IDLE_SECONDS:
            self._session.close()
        self._used_at = now

    def _learn_clock(self, response: requests.Response) -> None:
        with suppress(KeyError, ValueError, TypeError):
            told = parsedate_to_datetime(response.headers["Date"])
            # The header counts whole seconds, and was written at some time since we asked.
            least = (told - datetime.now(UTC)).total_seconds()
            most = least + 1.0 + response.elapsed.total_seconds()
            if not least <= self.clock_skew_seconds <= most:
                self.clock_skew_seconds = (least + most) / 2

    # What an operator reads -----------------------------------------------------------------------

    def _announce(self, call: Call, query: Any, body: Any) -> None:
        asked = {"method": call.method, "path": call.path, "query": query, "body": body}
        asked = {name: value for name, value in asked.items() if value is not None}
        trace.record(request=asked)
        self._log("> ", asked)

    def _note(self, call: Call, response: requests.Response, body: Any) -> None:
        told = {"status": response.status_code, "body": body}
        trace.record(response=told)
        seconds = response.elapsed.total_seconds()
        self._log(f"< {call.method} {call.path} after {seconds:.3f} s: ", told)

    def _log(self, line: str, exchanged: Mapping[str, Any] | None = None) -> None:
        if self._secrets is not None:
            values = "" if exchanged is None else trace.redact(exchanged, self._secrets)
            wire.info("%s%s", trace.hide(line, self._secrets), values)


class _Body(io.RawIOBase):
    """An answer's bytes as they come; failures while reading are in our words."""

    def __init__(self, response: requests.Response):
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._response.raw.read(len(buffer), decode_content=True)
        except (urllib3.HTTPError, OSError) as error:
            raise Unavailable(f"The file stopped coming: {type(error).__name__}.") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._response.close()
        super().close()


# Failures -----------------------------------------------------------------------------------------


def refusal(response: requests.Response, call: Call, detail: str) -> PlatformError | Misconfigured:
    """What a status means where the platform says nothing finer."""
    status = response.status_code
    if status == 401:
        return CredentialsRefused(detail)
    if status == 403:
        return Forbidden(detail)
    if status == 404:
        return NotFound(detail)
    if status == 429:
        return RateLimited(detail, retry_after=retry_after(response.headers))
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


class _TooLong(requests.RequestException):
    pass


def _is_success(response: requests.Response) -> bool:
    return 200 <= response.status_code < 300  # `response.ok` takes redirects for one


def _read(response: requests.Response) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(CHUNK):
        body += chunk
        if len(body) > LARGEST_BODY:
            raise _TooLong
    return bytes(body)


def _body_of(response: requests.Response) -> Any:
    """For people: JSON if it is, else as much text as they will see of it."""
    try:
        # Not `response.json()`, which guesses the encoding of what is none, and takes long.
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return response.content[: trace.LONGEST_TEXT].decode(errors="replace")


def _lost(error: Exception, call: Call, host: str) -> PlatformError | Misconfigured:
    """A request without an answer."""
    causes = list(_causes(error))
    for cause in causes:
        if wrong := _misconfigured(cause, host):
            return wrong
    if isinstance(error, requests.exceptions.InvalidJSONError | requests.exceptions.InvalidHeader):
        return Rejected("The request holds a value that cannot be sent.")
    detail = f"{host} {_words(causes, call)}."
    # No connection came about, so that the server saw nothing. Its subclass is all but a timeout.
    if call.idempotent or any(isinstance(each, urllib3.ConnectTimeoutError) for each in causes):
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
        case requests.exceptions.InvalidProxyURL():
            return Misconfigured("The URL of the proxy cannot be used.", option="proxy")
        case (
            requests.exceptions.InvalidURL()
            | requests.exceptions.InvalidSchema()
            | requests.exceptions.MissingSchema()
            | urllib3.LocationValueError()
        ):
            return Misconfigured(f"The URL of {host} or its proxy cannot be used.", option="url")
    return None


def _refuses_certificate(error: ssl.SSLError) -> bool:
    reason = error.reason or ""  # OpenSSL's name for it, such as TLSV13_ALERT_CERTIFICATE_REQUIRED
    return "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps; urllib3 and requests hand their causes on in several ways."""
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
    """For people, without the URL that requests quotes."""
    if any(isinstance(each, _TooLong) for each in causes):
        return f"answered with more than {LARGEST_BODY} bytes"
    if any(isinstance(each, TimeoutError | urllib3.ReadTimeoutError) for each in causes):
        return f"did not answer within {call.timeout_seconds:g} s"
    of_system = [
        each
        for each in causes
        if isinstance(each, OSError) and not isinstance(each, requests.RequestException)
    ]
    if not of_system:
        return f"did not answer as it should: {type(causes[-1]).__name__}"
    return f"cannot be reached: {of_system[-1].strerror or of_system[-1]}"
