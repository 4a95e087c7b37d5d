"""Sessions of urllib3 for `http.py`: TLS contexts, proxies, and connections that keep time.

The connections here count all reads of an answer together (`timed`), and tell what fails before a
request can leave from what fails later.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import certifi
from requests.utils import (
    get_auth_from_url,
    get_environ_proxies,
    prepend_scheme_if_needed,
    select_proxy,
    super_len,
)
from urllib3 import (
    BaseHTTPResponse,
    HTTPConnectionPool,
    HTTPSConnectionPool,
    PoolManager,
    ProxyManager,
    Timeout,
)
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, LocationValueError, NewConnectionError
from urllib3.util import Url, make_headers, parse_url

from spaces.platforms.errors import Misconfigured
from spaces.platforms.timed import TimedAnswer


class Session:
    """Keep-alive connections to the host of `base`, through the proxy that `proxies` name for it.

    Nothing is retried, no redirect followed, no cookie kept. On urllib3 without `requests` around
    it, which was half of what a request cost.
    """

    def __init__(self, base: str, tls: ssl.SSLContext, proxies: Mapping[str, str]):
        url = _parsed(base)._replace(auth=None)  # which nobody in between needs to know
        self._base = url.url
        self._place = (url.host, url.port, url.scheme)
        self._pools = _pools(select_proxy(base, dict(proxies)), tls)
        self._pool = self._pools.connection_from_host(*self._place)
        self._names_host = self._pools.proxy is not None and url.scheme == "http"

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Upload | None,
        headers: Mapping[str, str],
        timeout: Timeout,
    ) -> BaseHTTPResponse:
        """The answer, its body not read yet; `path` follows the base. Raises what urllib3 raises,
        and `Misconfigured`."""
        url = _parsed(self._base + path)
        return self._pool.urlopen(
            method,
            url.url if self._names_host else url.request_uri,
            body=body,  # type: ignore[arg-type]  # of an upload it only reads
            headers=headers,
            timeout=timeout,
            retries=False,
            redirect=False,
            assert_same_host=False,  # a proxy's pool is asked for other hosts
            preload_content=False,
        )

    def close(self) -> None:
        """Drop all connections; the next request opens one anew."""
        self._pools.clear()
        self._pool = self._pools.connection_from_host(*self._place)


def _parsed(url: str) -> Url:
    try:
        parsed = parse_url(url)
    except LocationValueError:
        # Not as a cause: it quotes the URL, with what secrets it holds.
        raise Misconfigured("The URL is invalid.", option="url") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Misconfigured("A URL starts with http:// or https:// and a host.", option="url")
    return parsed


def _pools(proxy: str | None, tls: ssl.SSLContext) -> PoolManager:
    # A stream may be open while requests go on: one connection for each.
    how: dict[str, Any] = {"maxsize": 2, "ssl_context": tls}
    pools = _through(proxy, how) if proxy else PoolManager(**how)
    pools.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return pools


def _through(proxy: str, how: Mapping[str, Any]) -> PoolManager:
    try:
        url = prepend_scheme_if_needed(proxy, "http")
        login = ":".join(get_auth_from_url(url))
        headers = make_headers(proxy_basic_auth=login) if login != ":" else None
        return ProxyManager(url, proxy_headers=headers, **how)
    except ValueError:
        # As above.
        raise Misconfigured("The URL of the proxy cannot be used.", option="proxy") from None


def proxies(url: str, options: Mapping[str, Any]) -> Mapping[str, str]:
    """As `requests` takes them: the one of the options, else those of the environment for `url`."""
    proxy = options["proxy"]
    if not proxy:
        return _of_environment(url)
    try:
        parts = urlsplit(proxy)
        _ = parts.port
    except ValueError:
        # A password that holds a slash ends up as the port, and the error quotes it.
        raise Misconfigured("The proxy URL is invalid.", option="proxy") from None
    if parts.scheme != "http" or not parts.hostname:
        raise Misconfigured("A proxy URL starts with http:// and a host name.", option="proxy")
    return {"http": proxy, "https": proxy}


def _of_environment(url: str) -> Mapping[str, str]:
    try:
        return get_environ_proxies(url)
    except ValueError as error:
        raise Misconfigured(f"The URL is invalid: {error}.", option="url") from error


class Upload:
    """A body that is read while it is sent, and given up when its time is over. The socket's
    timeout is for each block alone."""

    def __init__(self, body: Any, seconds: float):
        self._body = body
        self._size = super_len(body)
        self._deadline = time.monotonic() + seconds

    def __len__(self) -> int:
        return self._size

    def read(self, size: int = -1) -> bytes:
        if time.monotonic() > self._deadline:
            raise TimeoutError("the server takes the body too slowly")
        return self._body.read(size)


# Connections --------------------------------------------------------------------------------------


@contextmanager
def _nothing_left_yet(connection: HTTPConnection) -> Iterator[None]:
    """What breaks a handshake, with the server or a proxy, otherwise looks like what breaks a
    request."""
    try:
        yield
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, "The handshake timed out.") from error
    except (OSError, HTTPException) as error:
        raise NewConnectionError(connection, "The handshake failed.") from error


class _Connection(HTTPConnection):
    response_class = TimedAnswer

    def connect(self) -> None:
        with _nothing_left_yet(self):
            super().connect()


class _TlsConnection(HTTPSConnection):
    response_class = TimedAnswer

    def connect(self) -> None:
        with _nothing_left_yet(self):
            super().connect()
        # Where nothing was verified, an operator decided so; urllib3 would warn every time.
        self.is_verified = True


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


# TLS ----------------------------------------------------------------------------------------------


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """The context for a space with these options, the same object for the same options.

    Raises `Misconfigured` when one of the files cannot be used.
    """
    files = (options["ca_file"], options["client_certificate"], options["client_key"])
    return _context(bool(options["verify_tls"]), *files, tuple(map(_changed_at, files)))


@cache
def _context(
    verify: bool, ca_file: str, certificate: str, key: str, changed_at: tuple[int, ...]
) -> ssl.SSLContext:
    # `changed_at` makes a renewed certificate another context; processes live longer than those.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file:
        _load("ca_file", context.load_verify_locations, ca_file)
    else:
        context.load_default_certs()
        context.load_verify_locations(certifi.where())
    if certificate:
        # Without the empty password OpenSSL would ask for one, on the terminal of the process.
        _load("client_certificate", context.load_cert_chain, certificate, key or None, "")
    return context


def _changed_at(file: str) -> int:
    with suppress(OSError):  # `_load` tells it better
        return os.stat(file).st_mtime_ns
    return 0


def _load(option: str, load: Callable[..., None], *files: str | None) -> None:
    try:
        load(*files)
    except OSError as error:  # ssl.SSLError is one
        named = " or ".join(file for file in files if file)
        raise Misconfigured(
            f"{named} cannot be used: {error.strerror or error}.",
            option=option,
            next_step="Name a PEM file that all processes of botadmin can read.",
        ) from error
