"""What every test stands on: nothing leaves this machine, and little is done twice."""

from __future__ import annotations

import gc
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

pytest_plugins = ["bots.testing.plugin"]  # `chat`, also for the handlers of whoever tests here

# Also where the environment says not to keep what was compiled: each worker of a run and each
# process that a test starts would compile all of it again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--only-database",
        action="store_true",
        help="leave out what touches no database: another one makes no difference to it",
    )


@pytest.hookimpl(trylast=True)  # after they were put in random order
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long ones begin first, so that no worker is left with one when the others are done."""
    if config.getoption("--only-database"):
        without = [item for item in items if not _touches_a_database(item)]
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if _touches_a_database(item)]
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def _touches_a_database(item: pytest.Item) -> bool:
    marked = any(item.get_closest_marker(name) for name in ("django_db", "services"))
    return marked or bool({"db", "transactional_db", "live_server"} & {*_fixtures_of(item)})


def _fixtures_of(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def pytest_collection_finish() -> None:
    """What was imported stays until the end: garbage is no more looked for among it."""
    gc.collect()
    gc.freeze()


class NetworkIsShut(AssertionError):
    """A test tried to reach another machine. Not an OSError: nothing may take it for an outage."""


@pytest.fixture(autouse=True, scope="session")
def _no_network_but_loopback() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _loopback_only(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", _no_lookups(socket.getaddrinfo))
        yield


def _loopback_only(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            raise NetworkIsShut(f"a test tried to connect to {address}")
        return connect(self, address)

    return guarded


def _no_lookups(getaddrinfo: Any) -> Any:
    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and not _is_address(name) and not _is_here(name):
            raise socket.gaierror(socket.EAI_NONAME, f"tests look up no names, not even {name}")
        return getaddrinfo(host, *args, **kwargs)

    return guarded


def _is_here(host: str) -> bool:
    if _is_address(host):
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return host in ("localhost", "")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
