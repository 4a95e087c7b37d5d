"""Bots and all they do, one model a file."""

from bots.models.bot import Bot, Permission, Receive
from bots.models.connection import Connection, State
from bots.models.credential import Credential
from bots.models.delivery import Delivery, DeliveryAttempt
from bots.models.event import Event
from bots.models.handler_run import HandlerRun
from bots.models.idempotency import IdempotencyKey
from bots.models.incident import Incident, IncidentClock, IncidentCode, News, Severity, Telling, Way
from bots.models.job import Attempt, Job, JobKind
from bots.models.lane import Lane, LaneKind, Priority, Work, WorkState
from bots.models.memory import BotMemory
from bots.models.message import Direction, Message
from bots.models.process import Process
from bots.models.pruning import Pruning
from bots.models.sequence import SequenceClock, SequenceEntry, Unnumbered
from bots.models.stored_file import StoredFile
from bots.models.subscription import Ended, Subscription, SubscriptionState
from bots.models.token import ApiToken, Scope

__all__ = [
    "ApiToken",
    "Attempt",
    "Bot",
    "BotMemory",
    "Connection",
    "Credential",
    "Delivery",
    "DeliveryAttempt",
    "Direction",
    "Ended",
    "Event",
    "HandlerRun",
    "IdempotencyKey",
    "Incident",
    "IncidentClock",
    "IncidentCode",
    "Job",
    "JobKind",
    "Lane",
    "LaneKind",
    "Message",
    "News",
    "Permission",
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
    "Telling",
    "Unnumbered",
    "Way",
    "Work",
    "WorkState",
]
