"""Bots and all they do, one model a file."""

from bots.models.bot import Bot, Permission, Receive
from bots.models.connection import Connection, State
from bots.models.credential import Credential
from bots.models.event import Event
from bots.models.handler_run import HandlerRun
from bots.models.idempotency import IdempotencyKey
from bots.models.job import Attempt, Job, JobKind
from bots.models.lane import Lane, LaneKind, Priority, Work, WorkState
from bots.models.memory import BotMemory
from bots.models.message import Direction, Message
from bots.models.process import Process
from bots.models.pruning import Pruning
from bots.models.stored_file import StoredFile
from bots.models.token import ApiToken, Scope

__all__ = [
    "ApiToken",
    "Attempt",
    "Bot",
    "BotMemory",
    "Connection",
    "Credential",
    "Direction",
    "Event",
    "HandlerRun",
    "IdempotencyKey",
    "Job",
    "JobKind",
    "Lane",
    "LaneKind",
    "Message",
    "Permission",
    "Priority",
    "Process",
    "Pruning",
    "Receive",
    "Scope",
    "State",
    "StoredFile",
    "Work",
    "WorkState",
]
