"""Handlers: Python functions that answer events, run by workers.

Any installed app registers them in its `handlers.py`:

    from bots.handlers import command, harmless, on

    @on("message.posted")
    def echo(call):
        call.reply(call.text)

    @command("deploy {service} {env?}")
    def deploy(call, service, env):
        call.reply(f"Deploying {harmless(service)} …")

A bot runs the handlers that are enabled for it. Each event meets each of them once, in order per
channel. One that fails is tried again, then left failed with its traceback for operators; it holds
up only its own later turns in that channel. A handler may run twice when a worker dies in the
middle, yet what it asked botadmin to do is done once: a repeated call of `reply`, `send`, `react`
in the same turn is recognised. The bot's own doings are not shown to its handlers, nor are messages
that the platform wrote and not somebody.

Where the platform called and waits for an answer, `answer` gives it one. The answer is stored as a
job that is due when the waiting ends, and the waiting request takes it by ending that job: so one
of the two says it and never both, whoever dies in between.

The parts: `bots.handling.registry` knows who is for what, `commands` with `patterns`, `addressing`
and `permitted` what people ask for in words, `turns` queues, `running` runs, under `deadlines`, and
`call` is what a handler gets.
"""

from bots.handling.attachments import File
from bots.handling.call import Call, Reply
from bots.handling.commands import command
from bots.handling.deadlines import TimedOut
from bots.handling.harmless import harmless
from bots.handling.permitted import moderators
from bots.handling.registry import Handler, forget, on, registered
from bots.handling.running import TRIES
from bots.handling.turns import queue, retry
from spaces.platforms.messages import Card

__all__ = [
    "TRIES",
    "Call",
    "Card",
    "File",
    "Handler",
    "Reply",
    "TimedOut",
    "command",
    "forget",
    "harmless",
    "moderators",
    "on",
    "queue",
    "registered",
    "retry",
]
