"""The audit log: who changed what, before and after, with secrets only as "changed".

Whatever people and programs change passes one of these, in the transaction of the change, so that
one is never there without the other. `bots.who` knows who is at work.

    audit.record("lane.paused", lane)                   # something was done with it
    with audit.changing(bot, ["name", "options"]): ...  # what differs afterwards
    audit.created(token)                                # after it was stored
    audit.deleted(token)                                # before it goes

What happens inside `audit.together()` to one object is one entry. The forms of the admin do all
this by themselves (`bots.admin.base.ListAdmin`). Not here: what bots are asked to send, which
becomes jobs that say who asked, and what processes do on their own.
"""

from bots.audit.entries import changing, created, deleted, kind_of, record, together
from bots.audit.values import CHANGED, REMOVED, SET, Change, told_of_option

__all__ = [
    "CHANGED",
    "REMOVED",
    "SET",
    "Change",
    "changing",
    "created",
    "deleted",
    "kind_of",
    "record",
    "together",
    "told_of_option",
]
