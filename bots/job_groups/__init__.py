"""Job groups: many people, many channels, one bot.

    reading    people as somebody pasted them
    asking     what people press: check, leave out, run, retry, cancel, undo
    checking   the dry run: asks the platform who is who and who is where, and changes nothing
    running    makes the jobs, and learns from them what became of each person
    counting   how many are how far
    working    whose turn it is: wake-ups, claims, the sweep

A group goes from `checking` to `checked`, and when somebody runs it, over `starting` and `running`
to `finished`. All that takes long is done by workers, a turn at a time, and may be cut off
anywhere: what is left to do is in the rows.
"""

from bots.job_groups.asking import (
    MOST_CHANNELS,
    MOST_PEOPLE,
    Wanted,
    ask,
    cancel,
    check,
    check_again,
    is_outdated,
    leave_out,
    run,
    try_again,
    undo,
)
from bots.job_groups.counting import Counts, counts
from bots.job_groups.reading import Reading, read
from bots.job_groups.working import sweep, tidy, work

__all__ = [
    "MOST_CHANNELS",
    "MOST_PEOPLE",
    "Counts",
    "Reading",
    "Wanted",
    "ask",
    "cancel",
    "check",
    "check_again",
    "counts",
    "is_outdated",
    "leave_out",
    "read",
    "run",
    "sweep",
    "tidy",
    "try_again",
    "undo",
    "work",
]
