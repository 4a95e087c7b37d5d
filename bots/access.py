"""Who may see and do what. One function per question, used by every door.

People are Django users: a superuser sees every bot, anybody else the bots of their groups. Programs
come with a token: its scopes, its bots, its expiry. What somebody may not see does not exist for
them, whichever way they ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from bots import audit
from bots.models import (
    ApiToken,
    AuditEntry,
    Bot,
    BulkAction,
    BulkItem,
    Delivery,
    Scope,
    Subscription,
)
from bots.models.token import digest
from bots.recent import Recent
from spaces.models import Channel, Participant, Person, Space

# A token's last use is written at most this often: a busy token must not cost a write a request.
LAST_USE_SECONDS = 60


_tokens: Recent[str, ApiToken] = Recent()  # by digest
_senders: Recent[tuple[str, str], Bot] = Recent()  # by actor and slug


class Act(Enum):
    """What somebody wants to do: the scope a program needs, the permission a person needs."""

    READ = Scope.READ, "bots.view_bot"
    SEND = Scope.SEND, "bots.operate_bot"
    OPERATE_BOT = Scope.MANAGE, "bots.operate_bot"  # test, start, stop, reconnect, sync
    ADD_BOT = Scope.MANAGE, "bots.add_bot"
    CHANGE_BOT = Scope.MANAGE, "bots.change_bot"  # also where its events go
    DELETE_BOT = Scope.MANAGE, "bots.delete_bot"

    def __init__(self, scope: Scope, permission: str):
        self.scope = scope
        self.permission = permission


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Somebody who asks, person or program."""

    label: str  # as jobs and logs name them
    key: str  # as idempotency keys are told apart
    scopes: frozenset[Scope]  # of a person: what a token of theirs may have at most
    user: User | None = None
    token: ApiToken | None = None

    @property
    def sees_all(self) -> bool:
        if self.token is not None:
            return self.token.all_bots
        return self.user is not None and self.user.is_superuser


def from_token(text: str) -> Actor | None:
    """Who holds this token; None for one that nobody may use. Notes its use."""
    key = digest(text)
    by_digest = ApiToken.objects.select_related("created_by").filter
    token = _tokens.get_or_read(key, lambda: by_digest(digest=key).first())
    if token is None or token.expired or token.orphaned:
        return None
    now = timezone.now()
    if token.last_used_at is None or (now - token.last_used_at).total_seconds() > LAST_USE_SECONDS:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
        token.last_used_at = now
    return Actor(
        label=f"token {token.name}",
        key=f"token:{token.pk}",
        scopes=frozenset(Scope(scope) for scope in token.scopes if scope in Scope),
        token=token,
    )


def from_user(user: AbstractBaseUser | AnonymousUser) -> Actor | None:
    """A person who is logged in and works here; None for anybody else."""
    if not isinstance(user, User) or not (user.is_active and user.is_staff):
        return None
    scopes = (
        scope
        for scope in Scope
        if all(user.has_perm(act.permission) for act in Act if act.scope == scope)
    )
    return Actor(
        label=user.get_username(), key=f"user:{user.pk}", scopes=frozenset(scopes), user=user
    )


def may(actor: Actor, act: Act) -> bool:
    """Whether this actor may do so at all; with which bots is another question."""
    if actor.user is not None:
        return actor.user.has_perm(act.permission)
    return act.scope in actor.scopes


def bots(actor: Actor) -> QuerySet[Bot]:
    """The bots this actor may see."""
    if actor.sees_all:
        return Bot.objects.all()
    if actor.token is not None:
        return Bot.objects.filter(tokens=actor.token)
    assert actor.user is not None
    # A subquery, not a join: somebody in two of a bot's groups must not see it twice.
    mine = Bot.groups.through.objects.filter(group__user=actor.user)
    return Bot.objects.filter(pk__in=mine.values("bot"))


def sender(actor: Actor, slug: str) -> Bot | None:
    """The bot with this slug, if the actor may see it, for sending with it: as it was a moment ago
    (`bots.recent`), and shared, so not to be changed."""
    return _senders.get_or_read(
        (actor.key, slug),
        lambda: bots(actor).select_related("space").filter(slug=slug).first(),
    )


def spaces(actor: Actor) -> QuerySet[Space]:
    """The spaces this actor may see: those of their bots, or all."""
    if actor.sees_all:
        return Space.objects.all()
    return Space.objects.filter(pk__in=bots(actor).values("space"))


def channels(actor: Actor) -> QuerySet[Channel]:
    """The channels this actor may see: those their bots take part in, or all."""
    if actor.sees_all:
        return Channel.objects.all()
    mine = bots(actor).exclude(person=None).values("person")
    return Channel.objects.filter(
        Exists(Participant.objects.filter(channel=OuterRef("pk"), person__in=mine))
    )


def people(actor: Actor) -> QuerySet[Person]:
    """The people this actor may see: those their bots share a channel with, or all."""
    if actor.sees_all:
        return Person.objects.all()
    met = Participant.objects.filter(
        person=OuterRef("pk"), channel__in=channels(actor).values("pk")
    )
    return Person.objects.filter(Exists(met))


def subscriptions(actor: Actor) -> QuerySet[Subscription]:
    """The subscriptions this actor may see: those that ask for nothing but what they may see."""
    if actor.sees_all:
        return Subscription.objects.all()
    asked = Subscription.bots.through.objects.filter(subscription=OuterRef("pk"))
    others = asked.exclude(bot__in=bots(actor).values("pk"))
    return Subscription.objects.filter(Exists(asked), ~Exists(others), all_bots=False)


def deliveries(actor: Actor) -> QuerySet[Delivery]:
    """The deliveries this actor may see: those of their subscriptions, unless they were made when
    the subscription asked for more than the actor may see."""
    if actor.sees_all:
        return Delivery.objects.all()
    # Both asked for first: knowing them, PostgreSQL reads the newest deliveries only, and not all.
    mine = list(subscriptions(actor).values_list("pk", flat=True))
    seen = set(bots(actor).values_list("pk", flat=True))
    return Delivery.objects.filter(subscription__in=mine, event__bot__among=seen)


def audit_entries(actor: Actor) -> QuerySet[AuditEntry]:
    """The entries of the audit log this actor may read: those of their bots, and what they did
    themselves."""
    if actor.sees_all:
        return AuditEntry.objects.all()
    return AuditEntry.objects.filter(Q(bot__in=bots(actor)) | Q(actor_key=actor.key))


def bulk_actions(actor: Actor) -> QuerySet[BulkAction]:
    """What was done with many bots, where one of them is the actor's."""
    if actor.sees_all:
        return BulkAction.objects.all()
    mine = bulk_items(actor).filter(action=OuterRef("pk"))
    return BulkAction.objects.filter(Exists(mine))


def bulk_items(actor: Actor) -> QuerySet[BulkItem]:
    """What became of it for those bots that the actor may see."""
    if actor.sees_all:
        return BulkItem.objects.all()
    return BulkItem.objects.filter(bot__in=bots(actor))


def give(actor: Actor, bot: Bot) -> None:
    """Let who created a bot see it, too: add it to the token, or to the user's groups."""
    if actor.sees_all:
        return
    if actor.token is not None:
        with audit.changing(actor.token, ["bots"]):
            actor.token.bots.add(bot)
    elif actor.user is not None:
        with audit.changing(bot, ["groups"]):
            bot.groups.add(*actor.user.groups.all())
