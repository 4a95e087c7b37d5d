"""New credentials for a bot, tried before they are used.

What is entered is tried beside what is in use: the bot goes on as it is meanwhile, and nothing is
stored or changed unless the platform lets the new ones in, as the same account. An operator who
means another account has to name the one that was found.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date
from operator import methodcaller

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from bots import audit, clients, closing, lifecycle
from bots.memory import StoredMemory
from bots.models import Bot
from bots.refusals import Invalid
from spaces.platforms import registry
from spaces.platforms.contract import Memory, Platform
from spaces.platforms.errors import CredentialsRefused, Misconfigured, PlatformError
from spaces.platforms.messages import Finding, Identity

OTHER_ACCOUNT = "other_account"

# How a platform is tried: `Platform.rehearsal`, or in earnest.
Around = Callable[[Platform], AbstractContextManager[None]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of new credentials, in the order in which it was found."""

    findings: list[Finding]
    identity: Identity | None = None  # whom the platform lets in; None: nobody
    refused: str = ""  # code of what keeps them from being used; empty: nothing
    # What their platform remembers of it, such as a session, or the code of a second factor that
    # was spent: who logs in with them next has to know.
    learned: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        return not self.refused


def replace_credentials(
    bot: Bot,
    values: Mapping[str, str],
    *,
    user: AbstractBaseUser | None,
    requested_by: str,
    accepted_account: str = "",
    learned: str = "",
    expiries: Mapping[str, date | None] | None = None,
) -> Trial:
    """Try these credentials and, if nothing speaks against them, use them from now on.

    What is refused changes nothing, and the old ones stay in use. `accepted_account` is the
    platform's id of another account that somebody has seen and wants the bot to become, `learned`
    what the trial did in which they saw it, `expiries` until when they work. Raises `Invalid` as
    `lifecycle.check_credentials` does, and when there is nothing to replace.
    """
    _check(bot, values)
    tried = _try(
        bot,
        values,
        learned or spent(bot),
        accepted_account=accepted_account,
        around=lambda platform: nullcontext(),
    )
    if tried.ok and tried.identity is not None:
        with transaction.atomic():
            lifecycle.changed(
                bot, fields=(), requested_by=requested_by, credentials=values, user=user
            )
            lifecycle.set_expiries(bot, expiries or {})
            StoredMemory(bot).write(tried.learned)
        clients.remember_identity(bot, tried.identity)
    return tried


def attempt(bot: Bot, values: Mapping[str, str], *, learned: str = "") -> Trial:
    """Log in with these credentials, and leave everything as it is, here and on the platform.
    Raises as above.

    `learned` is what earlier trials did, of whatever credentials."""
    _check(bot, values)
    before = spent(bot, learned)
    return _try(bot, values, before, accepted_account="", around=methodcaller("rehearsal"))


def spent(bot: Bot, *learned: str) -> str:
    """What has been used up and serves nobody any more, by the bot and in these trials."""
    memories = [*learned, StoredMemory(bot).read()] if bot.pk else learned
    return registry.get(bot.space.platform).spent(memories)


def _check(bot: Bot, values: Mapping[str, str]) -> None:
    if bot.pk and not values:
        raise Invalid("Nothing was entered.", field="credentials")
    lifecycle.check_credentials(bot, values)


def _try(
    bot: Bot, values: Mapping[str, str], remembered: str, *, accepted_account: str, around: Around
) -> Trial:
    memory = Memory()
    memory.write(remembered)
    tried = _tried(bot, values, memory, accepted_account, around)
    if not tried.ok:
        _note(bot, values, tried)
    return replace(tried, learned=memory.read())


def _note(bot: Bot, values: Mapping[str, str], tried: Trial) -> None:
    """For the audit log. By its code: what a platform says may repeat what was entered."""
    told = f"{', '.join(sorted(values))}: tried, not used ({tried.refused}). The old ones stay."
    with transaction.atomic():
        # A new bot has nothing that stays, and one may have been deleted meanwhile.
        if Bot.objects.select_for_update(no_key=True).filter(pk=bot.pk).first() is not None:
            audit.record("bot.credentials_not_used", bot, note=told)


def _tried(
    bot: Bot, values: Mapping[str, str], memory: Memory, accepted_account: str, around: Around
) -> Trial:
    try:
        platform = clients.build_with(bot, values, memory)
    except Misconfigured as error:
        return _refused(error)
    try:
        with around(platform):
            return _let_in(bot, platform, accepted_account)
    except (PlatformError, Misconfigured) as error:
        return _refused(error)
    except Exception:
        # A plugin's fault must not look like one of ours, nor like good credentials.
        log.exception("the platform %s broke while %s was tried", platform.name, bot.slug)
        return _refused(lifecycle.broke(platform))
    finally:
        closing.close(platform)


def _let_in(bot: Bot, platform: Platform, accepted_account: str) -> Trial:
    identity = platform.connect()
    findings = [_logged_in(bot, platform, identity)]
    if findings[0].level == "error" and identity.person.id != accepted_account:
        return Trial(identity=identity, findings=findings, refused=OTHER_ACCOUNT)
    findings += platform.check(identity)
    return Trial(identity=identity, findings=findings)


def _logged_in(bot: Bot, platform: Platform, identity: Identity) -> Finding:
    """Who was let in; an error when that is somebody else than before."""
    now, before = identity.person, bot.identity.get("person") or {}
    if not platform.has_accounts:
        text = f"Nothing is wrong with it by its looks. It would write as {now.username}."
        return Finding(level="ok", code="connected", text=text)
    if not before or now.id == before.get("id"):
        text = f"Logged in as {_called(now.username, now.id)}."
        return Finding(level="ok", code="connected", text=text)
    was = _called(before.get("username", ""), str(before.get("id", "")))
    return Finding(
        level="error",
        code=OTHER_ACCOUNT,
        text=f"They belong to another account: {_called(now.username, now.id)}. Until now the bot "
        f"is {was}.",
        remedy="Enter credentials of the account that it was, or say that it shall be the other "
        "one from now on.",
    )


def _called(username: str, person_id: str) -> str:
    return f"{username} ({person_id})" if username else person_id


def _refused(error: PlatformError | Misconfigured) -> Trial:
    finding = lifecycle.bad_news(error)
    if error.next_step == CredentialsRefused.next_step:
        # The bot has others, or is not there yet: these were only tried.
        finding = replace(
            finding,
            remedy="Correct the credentials, or which account they are for, and try again.",
        )
    return Trial(findings=[finding], refused=error.code)
