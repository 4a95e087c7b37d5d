"""The guard: which URLs that somebody gave us we may call, however they spell where they lead.

A URL comes from a client, and the request would come from us, who stand inside the company's
network. So only public addresses are called, unless an operator allowed a network. A URL is taken
apart here and nowhere else: two readers who disagree about its host are how guards are passed.
Names are looked up by who connects (`outbound`) and shows each of their addresses here.
"""

from __future__ import annotations

import re
import socket
import string
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import quote, unquote, urlsplit

import idna
from django.conf import settings

LONGEST_URL = 2_000  # characters

Address = IPv4Address | IPv6Address
Place = tuple[str, str, int]  # scheme, host, port


class CallFailed(Exception):
    """A URL that was not called, or gave no answer; never raised itself.

    `code` is stable and shown to clients. `detail` is for people and quotes no more of the URL than
    scheme, host and port: what else it holds may be secret.
    """

    code = "call_failed"
    next_step = ""

    def __init__(self, detail: str):
        super().__init__(detail)
        self.detail = detail


class UrlRefused(CallFailed):
    """We do not call it; trying again changes nothing until the URL, a setting or a name does."""

    code = "url_refused"


class UrlInvalid(UrlRefused):
    """This is no URL that we can call."""

    code = "url_invalid"
    next_step = "Correct the URL."


class PrivateAddress(UrlRefused):
    """It leads, or may lead, to an address that is not public."""

    code = "private_address"
    next_step = "An operator can allow the network with BOTADMIN_ALLOWED_NETWORKS."


class HttpsRequired(UrlRefused):
    """Anybody in between could read what goes there."""

    code = "https_required"
    next_step = (
        "Use https. An operator can allow http with BOTADMIN_ALLOW_HTTP_WEBHOOKS, or to a network"
        " with BOTADMIN_ALLOWED_NETWORKS."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL, taken apart."""

    scheme: str  # http or https
    host: str  # a name in ASCII or an address, without brackets and without a dot at its end
    port: int
    path: str  # with the query, as a request names it
    login: str  # user:password, empty for none
    has_fragment: bool
    address: Address | None  # of a host that is no name to look up

    @property
    def place(self) -> Place:
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        """What may be shown of it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def check_url(url: str) -> None:
    """Whether a webhook may be sent there, as far as the URL itself tells; raises `UrlRefused`.

    Names are not looked up: that may take long, and holds for no longer than the answer does.
    """
    webhook_target(url)


def webhook_target(url: str) -> Target:
    """Where a webhook goes. Raises as `check_url` does."""
    target = parse(url)
    if target.login:
        raise UrlInvalid("A webhook's URL holds no user and password.")
    if target.has_fragment:
        raise UrlInvalid("A webhook's URL holds no #fragment.")
    if target.address is not None:
        check_webhook(target, [target.address])
    elif not settings.BOTADMIN_ALLOWED_NETWORKS:  # else it depends on where the name leads
        _check_scheme(target, [])
    return target


def check_webhook(target: Target, addresses: Sequence[Address]) -> None:
    """Whether a webhook may be sent to these addresses, all of them; raises `UrlRefused`."""
    check_addresses(target, addresses)
    _check_scheme(target, addresses)


def check_addresses(target: Target, addresses: Sequence[Address]) -> None:
    """Raises `PrivateAddress` if any may not be asked: who connects would choose among them."""
    if not all(map(may_be_asked, addresses)):
        # Without the address, which would tell outsiders about the names of a network.
        raise PrivateAddress(f"{target} leads to an address that is not public.")


def _check_scheme(target: Target, addresses: Sequence[Address]) -> None:
    if target.scheme == "https" or settings.BOTADMIN_ALLOW_HTTP_WEBHOOKS:
        return
    # An operator who allows a network knows it.
    if not addresses or not all(map(_is_allowed, addresses)):
        raise HttpsRequired(f"{target} would be asked in plain text.")


# Addresses


def may_be_asked(address: Address) -> bool:
    """Whether an address is public, or of a network that an operator allowed."""
    return _is_allowed(address) or _is_public(_reached(address))


def _is_allowed(address: Address) -> bool:
    either = (address, _reached(address))
    return any(one in network for network in settings.BOTADMIN_ALLOWED_NETWORKS for one in either)


def _is_public(address: Address) -> bool:
    if address.version == 6 and address not in _PUBLIC_IPV6:
        return False
    if any(address in network for network in _LEADING_ELSEWHERE):
        return False
    return address.is_global and not address.is_multicast


_PUBLIC_IPV6 = IPv6Network("2000::/3")  # all that is given to networks; the rest has other uses
# What `is_global` of some versions of Python calls public. Source: the special-purpose address
# registries of IANA.
_LEADING_ELSEWHERE: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("0.0.0.0/8"),  # "this network": 0.0.0.0 is this machine
    IPv4Network("100.64.0.0/10"),  # providers' NAT
    IPv4Network("192.0.0.0/24"),  # protocols
    IPv4Network("192.0.2.0/24"),  # documentation, as the next two of its kind
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv4Network("198.18.0.0/15"),  # measurements
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
    IPv4Network("240.0.0.0/4"),  # reserved, and broadcast
    IPv6Network("2001::/23"),  # protocols, among them Teredo, which leads to IPv4 addresses
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4, which leads to IPv4 addresses
    IPv6Network("3fff::/20"),  # documentation
)
_NAT64 = IPv6Network("64:ff9b::/96")


def _reached(address: Address) -> Address:
    """The address that is really reached: an IPv4 one, where one is wrapped in an IPv6 one."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


# URLs

_PORTS = {"http": 80, "https": 443}
_PLACE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::([0-9]{0,5}))?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")


def parse(url: str) -> Target:
    """Raises `UrlInvalid` for what is no http or https URL, or can be read in two ways."""
    if len(url) > LONGEST_URL:
        raise UrlInvalid(f"A URL has at most {LONGEST_URL} characters.")
    if url != url.strip() or not url.isprintable() or "\\" in url:
        raise UrlInvalid("A URL holds no backslashes, control characters or surrounding blanks.")
    try:
        parts = urlsplit(url)
    except ValueError:  # which quotes the URL
        raise UrlInvalid("The URL is invalid.") from None
    if parts.scheme not in _PORTS:
        raise UrlInvalid("A URL starts with http:// or https://.")
    login, _, place = parts.netloc.rpartition("@")
    match = _PLACE.fullmatch(place)
    if match is None:
        raise UrlInvalid("The URL names no host, or not as it should.")
    port = int(match[3] or _PORTS[parts.scheme])
    if not 0 < port < 65_536:
        raise UrlInvalid("A port is a number from 1 to 65535.")
    host, address = _ipv6(match[1]) if match[1] else _named(match[2])
    return Target(
        scheme=parts.scheme,
        host=host,
        port=port,
        path=_path(parts.path, parts.query),
        login=unquote(login),
        has_fragment="#" in url,
        address=address,
    )


def _path(path: str, query: str) -> str:
    return quote((path or "/") + (f"?{query}" if query else ""), safe=string.punctuation)


def _ipv6(text: str) -> tuple[str, Address]:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise UrlInvalid("The URL's IPv6 address is invalid.") from None
    return str(address), address


def _named(text: str) -> tuple[str, Address | None]:
    """The host, and its address if it is one, in any of the ways in which systems write them."""
    host = _in_ascii(text).removesuffix(".")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        address = _ipv4(host)
        return str(address), address
    if not _NAME.fullmatch(host):
        raise UrlInvalid("The URL's host name is invalid.")
    # Whatever a name server says of it.
    is_here = host == "localhost" or host.endswith(".localhost")
    return host, IPv4Address("127.0.0.1") if is_here else None


def _in_ascii(text: str) -> str:
    if text.isascii():
        return text.lower()
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError:  # idna.IDNAError is one
        raise UrlInvalid("The URL's host name is invalid.") from None


def _ipv4(text: str) -> IPv4Address:
    """Also from octal, hexadecimal and fewer than four numbers, as a connecting system reads it."""
    try:
        return IPv4Address(socket.inet_aton(text))
    except OSError:
        raise UrlInvalid("The URL's IPv4 address is invalid.") from None
