"""What each kind of job does on its platform.

An action takes a connected platform and the job, and returns the job's result, JSON-ready. It may
run again after a crash: where doing it twice would show, it finds out first whether it happened
(`job.interrupted`); all others are harmless to repeat. What is to be remembered of the outcome is
written by `bots.records`; only sync, in `bots.syncing`, writes what it reads as it goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from datetime import timedelta
from typing import Any

from django.utils import timezone

from bots import files
from bots.models import Job, JobKind
from bots.scrub import scrub
from spaces.platforms import trace
from spaces.platforms.contract import Ability, Platform
from spaces.platforms.errors import NotFound, OutcomeUnknown, Rejected, StillRunning
from spaces.platforms.messages import (
    Card,
    ChannelChange,
    ChannelInfo,
    ChannelKind,
    CustomRequest,
    File,
    NewChannel,
    Outgoing,
    PersonOutcome,
    PersonRef,
    Presence,
    Sent,
)
from spaces.platforms.text import card_to_markdown, split_text

Result = dict[str, Any]
Action = Callable[[Platform, Job], Result]
_actions: dict[str, Action] = {}

SAFE_METHODS = frozenset({"GET", "HEAD"})  # of requests that change nothing
OF_JOB = "of_job"  # in a payload: the job whose messages are meant
STILL_RUNNING = "still_running"  # in a result: the platform was still at an earlier try
LONGEST_ANSWER = 256 * 1024  # characters of JSON that are kept of the answer to a custom request


def action(kind: JobKind) -> Callable[[Action], Action]:
    def register(function: Action) -> Action:
        _actions[kind] = function
        return function

    return register


def perform(platform: Platform, job: Job) -> Result:
    """Do what the job asks. Raises what the platform raises."""
    return _actions[job.kind](platform, job)


def can_settle(platform: Platform, job: Job) -> bool:
    """Whether doing the job once more, marked as interrupted, finds out what became of it."""
    if job.kind == JobKind.POST:
        # What is shown to one person leaves nothing behind that could be found.
        return Ability.FIND_SENT in platform.abilities and not job.payload.get("only_for")
    return repeatable(job)


def goes_alone(platform: Platform, job: Job) -> bool:
    """Whether what was done before it has to be written down before it begins: then a crash leaves
    one to look at, and what it is about is known."""
    return not can_settle(platform, job) or OF_JOB in job.payload


def repeatable(job: Job) -> bool:
    """Whether the job does nothing else when it is done twice, on every platform."""
    if job.kind == JobKind.CUSTOM_REQUEST:
        return job.payload["method"] in SAFE_METHODS
    return True


# Messages ---------------------------------------------------------------------------------------


@action(JobKind.POST)
def post(platform: Platform, job: Job) -> Result:
    """Post one message, in parts where it is too long; goes on after the parts already sent.

    `job.result` grows with each part, so that a failure in the middle keeps what was done.
    """
    done = job.result.setdefault("messages", [])
    with ExitStack() as stack:
        parts = compose(platform, job, files.outgoing(job, stack))
        job.result["parts"] = len(parts)
        for part in parts[len(done) :]:
            sent = _find(platform, job, part) if job.interrupted else None
            if sent is None:
                _require_ended(platform, job)
                job.interrupted = False  # parts go in order: from here on nothing was sent
                sent = _send(platform, job, part)
            job.result.pop(STILL_RUNNING, None)
            done.append(
                {
                    "remote_id": sent.message_id,
                    "channel": sent.channel_id,
                    "sent_at": sent.sent_at.isoformat(),
                    "text": part.text,
                    # Without ids: the platform tells those with the message's own event.
                    "files": [
                        {"id": "", "name": f.name, "content_type": f.content_type, "size": f.size}
                        for f in part.files
                    ],
                }
            )
    return job.result


def compose(platform: Platform, job: Job, attached: Sequence[File]) -> list[Outgoing]:
    """The messages that a job becomes on this platform, in order, each within its limits.

    A card travels with the last piece of text; files that do not fit follow in messages of their
    own. The same job always becomes the same messages: their keys count them.
    """
    payload = job.payload
    text = payload.get("text", "")
    card = card_from(payload.get("card"))
    if card and Ability.CARDS not in platform.abilities:
        text = "\n\n".join(filter(None, [text, card_to_markdown(card)]))
        card = None
    limits = platform.limits
    pieces = split_text(text, limits) if text else [""]
    per_message = limits.files or len(attached) or 1
    bundles = [attached[i : i + per_message] for i in range(0, len(attached), per_message)]

    base = Outgoing(
        key="",
        channel=payload.get("channel", ""),
        person=PersonRef(**payload["person"]) if payload.get("person") else None,
        thread=payload.get("thread", ""),
        only_for=PersonRef(**payload["only_for"]) if payload.get("only_for") else None,
        not_before=job.started_at or job.created_at,
    )
    messages = [replace(base, text=piece) for piece in pieces]
    messages[-1] = replace(messages[-1], card=card, files=tuple(bundles[0]) if bundles else ())
    messages += [replace(base, files=tuple(bundle)) for bundle in bundles[1:]]
    return [replace(m, key=f"{job.key.hex}-{n}") for n, m in enumerate(messages)]


def card_from(payload: dict[str, Any] | None) -> Card | None:
    if not payload:
        return None
    return Card(**{**payload, "fields": tuple((k, v) for k, v in payload.get("fields", ()))})


def _find(platform: Platform, job: Job, part: Outgoing) -> Sent | None:
    if not can_settle(platform, job):
        raise OutcomeUnknown("The process sending it ended before it learned the outcome.")
    return platform.find_sent(part)


def _send(platform: Platform, job: Job, part: Outgoing) -> Sent:
    try:
        return platform.post_message(part)
    except StillRunning:
        job.result[STILL_RUNNING] = True  # other failures may follow upon it
        raise


def _require_ended(platform: Platform, job: Job) -> None:
    """Raises `StillRunning` while the platform may be at the last try, of which nothing shows."""
    if not job.interrupted or STILL_RUNNING not in job.result or not job.started_at:
        return
    if timezone.now() < job.started_at + timedelta(seconds=platform.longest_running_seconds):
        raise StillRunning(job.error_detail)


@action(JobKind.EDIT)
def edit(platform: Platform, job: Job) -> Result:
    text = job.payload["text"]
    limits = platform.limits
    if len(split_text(text, limits)) > 1:
        raise Rejected(
            f"An edited message may have {limits.text} {limits.text_unit}.", code="too_long"
        )
    targets = _meant(job)
    if len(targets) > 1:
        raise Rejected("A message that went out in parts cannot be edited.", code="too_long")
    platform.edit_message(*targets[0], text)
    return {}


@action(JobKind.DELETE)
def delete(platform: Platform, job: Job) -> Result:
    for channel, message in _meant(job):
        try:
            platform.delete_message(channel, message)
        except NotFound:
            if not job.interrupted:
                raise
    return {}


def _meant(job: Job) -> list[tuple[str, str]]:
    """Channel and message that a job is about: as named, or all that an earlier job posted, which
    had no id when this one was asked for."""
    if OF_JOB not in job.payload:
        return [(job.payload["channel"], job.payload["message"])]
    earlier = Job.objects.filter(pk=job.payload[OF_JOB], bot=job.bot_id).first()
    sent = earlier.result.get("messages", ()) if earlier else ()
    if not sent:
        raise Rejected("That message was not sent, or not as one.", code="nothing_sent")
    # For whoever writes down what became of it.
    job.payload |= {"channel": sent[0]["channel"], "message": sent[0]["remote_id"]}
    return [(one["channel"], one["remote_id"]) for one in sent]


@action(JobKind.REACT)
def react(platform: Platform, job: Job) -> Result:
    platform.react(job.payload["channel"], job.payload["message"], job.payload["name"])
    return {}


@action(JobKind.UNREACT)
def unreact(platform: Platform, job: Job) -> Result:
    platform.unreact(job.payload["channel"], job.payload["message"], job.payload["name"])
    return {}


@action(JobKind.PIN)
def pin(platform: Platform, job: Job) -> Result:
    platform.pin_message(job.payload["channel"], job.payload["message"])
    return {}


@action(JobKind.UNPIN)
def unpin(platform: Platform, job: Job) -> Result:
    platform.unpin_message(job.payload["channel"], job.payload["message"])
    return {}


@action(JobKind.MARK_READ)
def mark_read(platform: Platform, job: Job) -> Result:
    if not job.bot.read_receipts:
        return {"receipt_sent": False, "reason": "The bot's read receipts are switched off."}
    platform.mark_read(job.payload["channel"], job.payload["message"])
    return {"receipt_sent": True}


@action(JobKind.TYPING)
def typing(platform: Platform, job: Job) -> Result:
    platform.typing(job.payload["channel"])
    return {}


@action(JobKind.PRESENCE)
def presence(platform: Platform, job: Job) -> Result:
    platform.set_presence(Presence(job.payload["presence"]), job.payload.get("text", ""))
    return {}


# Channels ---------------------------------------------------------------------------------------


@action(JobKind.CREATE_CHANNEL)
def create_channel(platform: Platform, job: Job) -> Result:
    new = NewChannel(
        key=job.key.hex,
        kind=ChannelKind(job.payload["kind"]),
        name=job.payload.get("name", ""),
        title=job.payload.get("title", ""),
        topic=job.payload.get("topic", ""),
        purpose=job.payload.get("purpose", ""),
        people=_people(job),
    )
    if job.interrupted and (found := platform.find_created(new)):
        outcomes = _add(platform, found.id, new.people, moderator=False)
    else:
        job.interrupted = False  # it was not created
        found, outcomes = platform.create_channel(new)
    return {"channel": _channel(found), "people": _outcomes(outcomes)}


@action(JobKind.UPDATE_CHANNEL)
def update_channel(platform: Platform, job: Job) -> Result:
    wanted = {f.name: job.payload[f.name] for f in fields(ChannelChange) if f.name in job.payload}
    if "kind" in wanted:
        wanted["kind"] = ChannelKind(wanted["kind"])
    info = platform.update_channel(job.payload["channel"], ChannelChange(**wanted))
    return {"channel": _channel(info)}


@action(JobKind.ARCHIVE_CHANNEL)
def archive_channel(platform: Platform, job: Job) -> Result:
    platform.archive_channel(job.payload["channel"])
    return {}


@action(JobKind.RESTORE_CHANNEL)
def restore_channel(platform: Platform, job: Job) -> Result:
    channel_id = job.payload.get("channel") or _channel_id(platform, job.payload["name"])
    return {"channel": _channel(platform.restore_channel(channel_id))}


# Elsewhere a bot has to be a member; here it wants to become one.
CANNOT_JOIN = "Check the name. Into a private channel, somebody who is in it has to add the bot."


@action(JobKind.JOIN_CHANNEL)
def join_channel(platform: Platform, job: Job) -> Result:
    try:
        channel_id = job.payload.get("channel") or _channel_id(platform, job.payload["name"])
        return {"channel": _channel(platform.join_channel(channel_id))}
    except NotFound as error:
        if error.next_step == NotFound.next_step:
            error.next_step = CANNOT_JOIN
        raise


def _channel_id(platform: Platform, name: str) -> str:
    """The id of the channel called `name`, which may be an id itself."""
    if Ability.FIND_CHANNEL not in platform.abilities:
        return name
    try:
        return platform.find_channel(name=name).id
    except NotFound as error:
        if error.code != NotFound.code:
            raise  # several have this name
        return name


@action(JobKind.LEAVE_CHANNEL)
def leave_channel(platform: Platform, job: Job) -> Result:
    platform.leave_channel(job.payload["channel"])
    return {}


# Participants -----------------------------------------------------------------------------------


@action(JobKind.ADD_PARTICIPANTS)
def add_participants(platform: Platform, job: Job) -> Result:
    moderator = job.payload.get("moderator", False)
    outcomes = _add(platform, job.payload["channel"], _people(job), moderator=moderator)
    return _unless_all_failed(job, outcomes)


@action(JobKind.REMOVE_PARTICIPANTS)
def remove_participants(platform: Platform, job: Job) -> Result:
    people = _people(job)
    size = platform.limits.people_per_request or len(people)
    outcomes: list[PersonOutcome] = []
    for start in range(0, len(people), size):
        outcomes += platform.remove_participants(
            job.payload["channel"], people[start : start + size]
        )
    return _unless_all_failed(job, outcomes)


def _add(
    platform: Platform, channel_id: str, people: Sequence[PersonRef], *, moderator: bool
) -> list[PersonOutcome]:
    size = platform.limits.people_per_request or len(people) or 1
    outcomes: list[PersonOutcome] = []
    for start in range(0, len(people), size):
        outcomes += platform.add_participants(
            channel_id, people[start : start + size], moderator=moderator
        )
    return outcomes


def _unless_all_failed(job: Job, outcomes: Sequence[PersonOutcome]) -> Result:
    """The result; raises `Rejected` when it worked for nobody, so that nobody reads success."""
    job.result["people"] = _outcomes(outcomes)
    failed = [outcome for outcome in outcomes if not outcome.ok]
    job.result["failed"] = len(failed)
    if failed and len(failed) == len(outcomes):
        raise Rejected(
            f"It worked for nobody. The first of {len(failed)}: {failed[0].detail}",
            code="nobody_changed",
            next_step="See the outcome for each person.",
        )
    return job.result


def _people(job: Job) -> tuple[PersonRef, ...]:
    return tuple(PersonRef(**ref) for ref in job.payload.get("people", ()))


def _outcomes(outcomes: Sequence[PersonOutcome]) -> list[dict[str, Any]]:
    return [
        {
            "asked": outcome.asked,
            "ok": outcome.ok,
            "code": outcome.code,
            "detail": scrub(outcome.detail),
            "person": asdict(outcome.person) if outcome.person else None,
        }
        for outcome in outcomes
    ]


def _channel(info: ChannelInfo) -> dict[str, Any]:
    return {key: value for key, value in asdict(info).items() if key != "peer"}


# Whatever else there is -------------------------------------------------------------------------


@action(JobKind.CUSTOM_REQUEST)
def custom_request(platform: Platform, job: Job) -> Result:
    """Status and body, also of a refusal, which fails the job. Neither holds a secret: not those
    we know, and nothing that is called like one, say a token that was made just now."""
    if job.interrupted and not can_settle(platform, job):
        raise OutcomeUnknown("The process making this request ended before it learned the outcome.")
    payload = job.payload
    response = platform.custom_request(
        CustomRequest(
            method=payload["method"],
            path=payload["path"],
            query=payload.get("query", {}),
            body=payload.get("body"),
        )
    )
    job.result = {"status": response.status, "body": None}
    body = scrub(trace.redact(response.body, longest=LONGEST_ANSWER))
    if len(json.dumps(body)) <= LONGEST_ANSWER:
        job.result["body"] = body
    else:
        job.result["left_out"] = f"The body has more than {LONGEST_ANSWER} characters."
    if response.status >= 400:
        raise Rejected(
            f"The platform answered with status {response.status}.",
            code="platform_refused",
            next_step="See the body of its answer in the result.",
        )
    return job.result
