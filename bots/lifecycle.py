"""What operators do with bots: create, change, switch on and off, test, give credentials.

Every door (REST, admin, demo) goes through here, so that each change reaches whoever holds the
bot's connection or is about to send for it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.utils import timezone

from bots import (
    audit,
    clients,
    files,
    idempotency,
    incidents,
    jobs,
    labels,
    lanes,
    memory,
    secrets,
    syncing,
)
from bots.connections import states
from bots.models import (
    Bot,
    Connection,
    Credential,
    HandlerRun,
    Job,
    JobKind,
    StoredFile,
    WorkState,
)
from bots.refusals import Invalid, Refused
from bots.scrub import scrub
from spaces.models import Space
from spaces.models.space import KEPT
from spaces.platforms import registry
from spaces.platforms.contract import Ability, Platform
from spaces.platforms.errors import (
    CredentialsRefused,
    Misconfigured,
    OutcomeUnknown,
    PlatformError,
    RateLimited,
    Unavailable,
)
from spaces.platforms.messages import Finding, Identity

LONGEST_REFERENCE = 255  # characters, as many as the column holds
AGAIN = "Try again in a moment."


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a test found. `identity` is None when the platform did not let the bot in."""

    identity: Identity | None
    findings: list[Finding]

    @property
    def ok(self) -> bool:
        return all(finding.level != "error" for finding in self.findings)


def create(bot: Bot, *, requested_by: str) -> None:
    """Store a new bot, validated already, and look around for its channels."""
    with transaction.atomic():
        bot.save()
        Connection.objects.create(bot=bot)
        audit.created(bot)
        _look_around(bot, requested_by)


def changed(
    bot: Bot,
    *,
    fields: Collection[str],
    requested_by: str,
    credentials: Mapping[str, str] | None = None,
    user: AbstractBaseUser | None = None,
) -> None:
    """Store changes of a bot; whoever holds it starts anew with them, and waiting jobs go on.

    Only `fields` are written: others may have changed the rest since `bot` was read.
    """
    with transaction.atomic():
        with audit.changing(bot, fields):
            bot.save(update_fields=fields)
        if credentials:
            _store_credentials(bot, credentials, user)
        _start_anew(bot)
        if credentials or "options" in fields:  # it may be somebody else and reach other channels
            memory.forget([bot.pk])
            _look_around(bot, requested_by)


def delete(bot: Bot) -> None:
    """Remove a bot with all it saw and said, and the files that it was to send. Its incidents stay,
    and close."""
    stored = list(StoredFile.objects.filter(bot=bot))
    with transaction.atomic():
        incidents.close(bot)
        unsettled = HandlerRun.objects.filter(bot=bot).exclude(state=WorkState.SUCCEEDED)
        idempotency.forget_runs(unsettled.values_list("pk", flat=True))
        audit.deleted(bot)
        bot.delete()
        labels.forget_unused()
        transaction.on_commit(lambda: files.discard(stored), robust=True)


def start(bot: Bot) -> None:
    with transaction.atomic():
        bot.renew(enabled=True)
        lanes.resume(bot)
        audit.record("bot.started", bot)


def stop(bot: Bot) -> None:
    """Receive nothing and let jobs wait until the bot is started again."""
    with transaction.atomic():
        bot.renew(enabled=False)
        audit.record("bot.stopped", bot)


def reconnect(bot: Bot) -> None:
    """Drop the connection and connect now, also where it was refused or waits."""
    with transaction.atomic():
        _reconnect(bot)
        audit.record("bot.reconnected", bot)


def sync(bot: Bot, *, requested_by: str) -> Job:
    """Read channels, participants and recent messages from the platform, as a job."""
    with transaction.atomic():
        job = _sync(bot, requested_by)
        audit.record("bot.synced", bot, note=f"Job {job.pk}.")
    return job


def set_credentials(bot: Bot, values: Mapping[str, str], *, user: AbstractBaseUser | None) -> None:
    """Set or, with an empty text, remove credentials. Raises as `check_credentials` does."""
    with transaction.atomic():
        _store_credentials(bot, values, user)
        _start_anew(bot)
        memory.forget([bot.pk])


def set_expiries(bot: Bot, dates: Mapping[str, date | None]) -> None:
    """Note until when credentials work, as platforms do not tell. Connections go on as they are."""
    for credential in bot.credentials.filter(name__in=dates).defer("value"):
        with audit.changing(credential, ["expires_on"]):
            credential.expires_on = dates[credential.name]
            credential.save(update_fields=["expires_on"])


def check_credentials(bot: Bot, values: Mapping[str, str]) -> None:
    """Raises `Invalid` for a name its platform does not know and a reference that is too long."""
    platform = registry.get(bot.space.platform)
    declared = {credential.name for credential in platform.credentials}
    if unknown := sorted(set(values) - declared):
        known = ", ".join(sorted(declared)) or "none"
        raise Invalid(
            f"{platform.label} knows no credential {unknown[0]!r}; known: {known}.",
            field="credentials",
        )
    for name, value in values.items():
        if secrets.is_reference(value) and len(value) > LONGEST_REFERENCE:
            raise Invalid(
                f"{name}: a reference has at most {LONGEST_REFERENCE} characters; a value that "
                "begins with $ is written with $$.",
                field="credentials",
            )


def set_read_receipts(bot: Bot, enabled: bool) -> None:
    """Change the setting here and on the platform.

    Raises what the platform raises: `Rejected` with code `read_receipts_locked` when its
    administrator forbids switching them off; nothing is changed then.
    """
    if Ability.READ_RECEIPTS in registry.get(bot.space.platform).abilities:
        with clients.borrow(bot) as platform:
            platform.set_read_receipts(enabled)
    with audit.changing(bot, ["read_receipts"]):
        bot.renew(read_receipts=enabled)


def check(bot: Bot) -> Checked:
    """Ask the platform now who the bot is and what is missing. Bad news is a finding, too."""
    told = list(check_step_by_step(bot))
    identity = next((one for one in told if isinstance(one, Identity)), None)
    findings = [one for one in told if isinstance(one, Finding)]
    return Checked(identity=identity, findings=findings)


@dataclass(frozen=True, slots=True)
class Step:
    """What is done next; its findings follow."""

    name: str


def check_step_by_step(bot: Bot) -> Iterator[Step | Finding | Identity]:
    """As `check`, each thing as soon as it is known: what is done next, whom the platform let in,
    what was found. Whoever does not wait for the end breaks it off."""
    audit.record("bot.tested", bot)
    yield Step("Logging in")
    try:
        platform = clients.build(bot)
    except Misconfigured as error:
        yield bad_news(error)
        return
    try:
        identity = platform.connect()
        clients.remember_identity(bot, identity)
        yield identity
        if platform.has_accounts:
            logged_in = f"Logged in as {identity.person.username}."
            yield Finding(level="ok", code="connected", text=logged_in)
        yield Step("Reading channels")
        syncing.sync_channels(bot, platform)
        yield Step("Looking at what it may do there")
        yield from platform.check(identity)
    except (PlatformError, Misconfigured) as error:
        if isinstance(error, CredentialsRefused):
            states.refuse(bot, error)
        yield bad_news(error)
        return
    except Exception:
        # A plugin's fault must not look like one of ours to whoever asked for a test.
        log.exception("the platform %s broke while %s was tested", platform.name, bot.slug)
        yield bad_news(broke(platform))
        return
    finally:
        platform.close()
    if states.is_refused(bot):
        with transaction.atomic():
            _reconnect(bot)  # somebody put it right on the other side


def space_changed(space: Space, *, fields: Collection[str]) -> None:
    """Store these fields of a space, validated already; its bots start anew with them, unless all
    that was changed is how long things are kept."""
    with transaction.atomic():
        with audit.changing(space, fields):
            space.save(update_fields=fields)
        if set(fields) <= set(KEPT):
            return
        bots = list(space.bots.all())
        for bot in bots:
            _start_anew(bot)
        memory.forget([bot.pk for bot in bots])


def delete_space(space: Space) -> None:
    """Raises `Invalid` while bots live there."""
    if space.bots.exists():
        raise Invalid(f"{space.slug} still has bots; delete or move them first.")
    with transaction.atomic():
        audit.deleted(space)
        space.delete()


def _reconnect(bot: Bot) -> None:
    bot.renew()
    Connection.objects.filter(bot=bot).update(not_before=None)
    lanes.resume(bot)


def _sync(bot: Bot, requested_by: str) -> Job:
    return jobs.submit(bot, jobs.Request(kind=JobKind.SYNC), requested_by=requested_by)


def _start_anew(bot: Bot) -> None:
    bot.renew()
    lanes.resume(bot)


def _look_around(bot: Bot, requested_by: str) -> None:
    if Job.objects.filter(bot=bot, kind=JobKind.SYNC, state=WorkState.QUEUED).exists():
        return  # that one will see it all
    try:
        _sync(bot, requested_by)
    except Refused:
        return  # a platform that cannot list channels; they come with their first events


def _store_credentials(bot: Bot, values: Mapping[str, str], user: AbstractBaseUser | None) -> None:
    check_credentials(bot, values)
    for name, value in values.items():
        _set_credential(bot, name, value, user)


def _set_credential(bot: Bot, name: str, value: str, user: AbstractBaseUser | None) -> None:
    known = bot.credentials.filter(name=name).defer("value").first()
    if not value:
        if known is not None:
            audit.record("credential.removed", known, [_told(known, None)])
            known.delete()
        return
    if secrets.is_reference(value):
        stored = {"value": "", "reference": value}
    else:
        stored = {"value": secrets.encrypt(secrets.as_entered(value)), "reference": ""}
    by: dict[str, Any] = {"changed_at": timezone.now(), "changed_by": user}
    by["expires_on"] = None  # what was entered there was the old one's
    now, _ = bot.credentials.update_or_create(name=name, defaults=stored | by)
    action = "credential.set" if known is None else "credential.replaced"
    audit.record(action, now, [_told(known, now)])


def _told(before: Credential | None, after: Credential | None) -> audit.Change:
    """What the audit log may know of a credential: that it is there, and where."""
    one = after or before
    assert one is not None
    labels = {c.name: c.label for c in registry.get(one.bot.space.platform).credentials}
    changed = audit.SET if before is None else audit.CHANGED
    return audit.Change(
        field=labels.get(one.name, one.name),
        before="" if before is None else before.reference or audit.SET,
        after=audit.REMOVED if after is None else after.reference or changed,
    )


def bad_news(error: PlatformError | Misconfigured) -> Finding:
    """What to say to somebody who asked the platform just now. Jobs and connections are tried again
    by themselves, and this is not."""
    match error:
        case Unavailable(code=Unavailable.code):
            next_step = f"{AGAIN} If it lasts, check the space's URL and network."
        case Unavailable() | RateLimited() | OutcomeUnknown():
            next_step = AGAIN
        case _:
            next_step = error.next_step
    text, remedy = scrub([error.detail, next_step])
    return Finding(level="error", code=error.code, text=text, remedy=remedy)


def broke(platform: Platform | type[Platform]) -> Misconfigured:
    """What to say of a platform whose code failed."""
    return Misconfigured(
        f"The code of the platform {platform.label} failed; the log has the details.",
        next_step="Report it to whoever wrote the platform.",
    )
