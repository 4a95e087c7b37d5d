"""Platform objects for bots: made from their settings, logged in once, kept while they serve.

A client belongs to one thread at a time. It is kept for the next piece of work of the same bot,
so that a login and a keep-alive session serve many sends, and dropped when the bot's settings
change (its generation), when a call on it failed, or when nobody needs it for a while.

Accounts get locked by logins that are refused again and again. So the logins of a bot in a process
are made one after the other, the first that is refused writes it down, and nobody tries again.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakSet

from django.db.models import QuerySet

from bots import closing
from bots.connections import states
from bots.memory import StoredMemory
from bots.models import Bot, Credential
from bots.secrets import decrypt, resolve, reveal
from spaces import sync
from spaces.platforms import registry
from spaces.platforms.contract import Account, Memory, Platform, effective_options
from spaces.platforms.errors import CredentialsRefused, Misconfigured, Rejected, Unavailable
from spaces.platforms.messages import Identity

IDLE_SECONDS = 300  # an unused client is closed after this long
KEPT_PER_BOT = 16  # as many as one bot uses at once in a worker with 64 threads
LOOK_SECONDS = 30.0  # idle clients are looked for at most this often
LOGIN_PATIENCE_SECONDS = 20.0  # for another login of the same bot


@dataclass(slots=True)
class _Idle:
    platform: Platform
    generation: int
    since: float  # time.monotonic()


_idle: dict[int, list[_Idle]] = defaultdict(list)
_logins: dict[int, threading.Lock] = defaultdict(threading.Lock)
_distrusted: WeakSet[Platform] = WeakSet()
_looked_at = 0.0  # time.monotonic()
_lock = threading.Lock()  # guards the four


def build(bot: Bot) -> Platform:
    """A platform object for `bot`, not connected. Raises `Misconfigured`."""
    platform = registry.get(bot.space.platform)
    return platform(account(bot))


def build_with(bot: Bot, entered: Mapping[str, str], memory: Memory) -> Platform:
    """As `build`, with these credentials instead of stored ones, given as an operator enters them;
    an empty one takes the stored one away. `memory` is theirs: a session that the stored ones
    opened would say that these are good. A bot that is not stored yet has only these."""
    instead = {name: reveal(text) for name, text in entered.items()}
    stored = Credential.objects.filter(bot_id=bot.pk).exclude(name__in=instead)
    platform = registry.get(bot.space.platform)
    return platform(_account(bot, _in_clear(stored) | instead, memory))


def account(bot: Bot) -> Account:
    """All a platform is told about `bot`, secrets in clear. Raises `Misconfigured`."""
    return _account(bot, _in_clear(Credential.objects.filter(bot=bot)), StoredMemory(bot))


def _in_clear(stored: QuerySet[Credential]) -> dict[str, str]:
    return {c.name: resolve(c.reference) if c.reference else decrypt(c.value) for c in stored}


def _account(bot: Bot, credentials: dict[str, str], memory: Memory) -> Account:
    platform = registry.get(bot.space.platform)
    for declared in platform.credentials:
        if declared.required and not credentials.get(declared.name):
            raise Misconfigured(
                f"The credential {declared.label!r} is not set.",
                option=declared.name,
                next_step="Set it on the bot's page, under Credentials, then press Test.",
            )
    return Account(
        space=bot.space.slug,
        url=bot.space.url,
        bot=bot.slug,
        options=options(bot),
        credentials=credentials,
        read_receipts=bot.read_receipts,
        memory=memory,
    )


def options(bot: Bot) -> dict[str, Any]:
    """The bot's options: defaults, overlaid by its space's, overlaid by its own."""
    platform = registry.get(bot.space.platform)
    return effective_options(platform, bot.space.options, bot.options)


@contextmanager
def borrow(bot: Bot) -> Iterator[Platform]:
    """A connected platform object, for the block only.

    Raises `Misconfigured`, and what `Platform.connect` raises. When the block raises, the object is
    closed and not used again.
    """
    platform = _take(bot) or connect(bot)
    try:
        yield platform
    except BaseException:
        closing.close(platform)
        raise
    _keep(bot, platform)


def distrust(platform: Platform) -> None:
    """Do not keep a borrowed object whose call failed: its session may be what is broken. For
    those who do not let the error out of the block."""
    with _lock:
        _distrusted.add(platform)


def connect(bot: Bot) -> Platform:
    """A new connected platform object; writes down who the platform says the bot is.

    Raises what `Platform.connect` raises; `CredentialsRefused` without asking the platform while
    a refusal stands, and `Unavailable` when another login of the bot hangs.
    """
    platform = build(bot)
    try:
        with _login_of(bot):
            identity = platform.connect()
        _align_read_receipts(bot, platform, identity)
    except BaseException:
        closing.close(platform)
        raise
    remember_identity(bot, identity)
    return platform


@contextmanager
def _login_of(bot: Bot) -> Iterator[None]:
    with _lock:
        login = _logins[bot.pk]
    if not login.acquire(timeout=LOGIN_PATIENCE_SECONDS):
        raise Unavailable("Another login of this bot has not been answered yet.")
    try:
        if refusal := states.refusal(bot):
            raise refusal
        yield
    except CredentialsRefused as error:
        states.refuse(bot, error)
        raise
    finally:
        login.release()


def _align_read_receipts(bot: Bot, platform: Platform, identity: Identity) -> None:
    """Make the platform's setting what ours is; ours follows where an administrator forbids it."""
    if identity.read_receipts in (None, bot.read_receipts):
        return
    try:
        platform.set_read_receipts(bot.read_receipts)
    except Rejected:
        Bot.objects.filter(pk=bot.pk).update(read_receipts=identity.read_receipts)
        bot.read_receipts = bool(identity.read_receipts)


def remember_identity(bot: Bot, identity: Identity) -> None:
    known: dict[str, Any] = {
        "person": asdict(identity.person),
        "permissions": None if identity.permissions is None else list(identity.permissions),
        "read_receipts": identity.read_receipts,
        "server": identity.server,
    }
    if known == bot.identity and bot.person_id:
        return
    person_id = sync.people(bot.space_id, [identity.person])[identity.person.id]
    Bot.objects.filter(pk=bot.pk).update(person=person_id, identity=known)
    bot.person_id, bot.identity = person_id, known


def close_idle(*, older_than: float = IDLE_SECONDS) -> None:
    """Close clients that nobody used for `older_than` seconds."""
    limit = time.monotonic() - older_than
    with _lock:
        old = [i.platform for kept in _idle.values() for i in kept if i.since <= limit]
        for bot_id in list(_idle):
            _idle[bot_id] = [i for i in _idle[bot_id] if i.since > limit]
            if not _idle[bot_id]:
                del _idle[bot_id]
    for platform in old:
        closing.close_soon(platform)


def _take(bot: Bot) -> Platform | None:
    outdated = []
    found = None
    with _lock:
        kept = _idle.get(bot.pk, [])
        while kept and found is None:
            idle = kept.pop()
            if idle.generation == bot.generation:
                found = idle.platform
            else:
                outdated.append(idle.platform)
    for platform in outdated:
        closing.close_soon(platform)
    return found


def _keep(bot: Bot, platform: Platform) -> None:
    global _looked_at
    now = time.monotonic()
    with _lock:
        look = now - _looked_at > LOOK_SECONDS
        if look:
            _looked_at = now
        kept = _idle[bot.pk]
        keep = len(kept) < KEPT_PER_BOT and platform not in _distrusted
        if keep:
            kept.append(_Idle(platform, bot.generation, now))
    if not keep:
        closing.close_soon(platform)
    if look:  # each process looks after its own
        close_idle(older_than=IDLE_SECONDS)
