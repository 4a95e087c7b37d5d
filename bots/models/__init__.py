"""Bots and all they do, one model a file."""

from bots.models.audit import AuditEntry
from bots.models.bot import Bot, Permission, Receive
from bots.models.bulk_action import BulkAction, BulkItem, BulkKind, ItemState
from bots.models.connection import Connection, State
from bots.models.credential import Credential
from bots.models.delivery import Delivery, DeliveryAttempt
from bots.models.event import Event
from bots.models.handler_run import HandlerRun
from bots.models.held_secret import HeldSecret
from bots.models.idempotency import IdempotencyKey
from bots.models.incident import Incident, IncidentClock, IncidentCode, News, Severity, Telling, Way
from bots.models.job import Attempt, Job, JobKind
from bots.models.job_group import (
    Fate,
    Found,
    GroupChannel,
    GroupItem,
    GroupKind,
    GroupPerson,
    GroupState,
    JobGroup,
    Plan,
)
from bots.models.label import Label
from bots.models.lane import Lane, LaneKind, Priority, Work, WorkState
from bots.models.memory import BotMemory
from bots.models.message import Direction, Message
from bots.models.process import Process
from bots.models.pruning import Pruning
from bots.models.sequence import SequenceClock, SequenceEntry, Unnumbered
from bots.models.stored_file import StoredFile
from bots.models.subscription import Ended, Subscription, SubscriptionState
from bots.models.tally import Counted, Tally, TallyClock
from bots.models.token import ApiToken, Scope

__all__ = [
    "ApiToken",
    "Attempt",
    "AuditEntry",
    "Bot",
    "BotMemory",
    "BulkAction",
    "BulkItem",
    "BulkKind",
    "Connection",
    "Counted",
    "Credential",
    "Delivery",
    "DeliveryAttempt",
    "Direction",
    "Ended",
    "Event",
    "Fate",
    "Found",
    "GroupChannel",
    "GroupItem",
    "GroupKind",
    "GroupPerson",
    "GroupState",
    "HandlerRun",
    "HeldSecret",
    "IdempotencyKey",
    "Incident",
    "IncidentClock",
    "IncidentCode",
    "ItemState",
    "Job",
    "JobGroup",
    "JobKind",
    "Label",
    "Lane",
    "LaneKind",
    "Message",
    "News",
    "Permission",
    "Plan",
    "Priority",
    "Process",
    "Pruning",
    "Receive",
    "Scope",
    "SequenceClock",
    "SequenceEntry",
    "Severity",
    "State",
    "StoredFile",
    "Subscription",
    "SubscriptionState",
    "Tally",
    "TallyClock",
    "Telling",
    "Unnumbered",
    "Way",
    "Work",
    "WorkState",
]
