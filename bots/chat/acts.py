"""What can be done with a message that is there: react, change, delete, pin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from bots import idempotency, jobs
from bots.access import Actor
from bots.api.sending import LONGEST_TEXT
from bots.models import Bot, Direction, JobKind, Message
from bots.refusals import Invalid, NotPermitted, NotSupported


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    kind: JobKind
    label: str
    own_only: bool = False  # platforms let nobody change what others wrote


ACTS = {
    "react": Act(kind=JobKind.REACT, label="React"),
    "unreact": Act(kind=JobKind.UNREACT, label="Take the reaction back"),
    "edit": Act(kind=JobKind.EDIT, label="Save the new text", own_only=True),
    "delete": Act(kind=JobKind.DELETE, label="Delete message", own_only=True),
    "pin": Act(kind=JobKind.PIN, label="Pin"),
    "unpin": Act(kind=JobKind.UNPIN, label="Unpin"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    label: str
    why_not: str = ""  # why the bot may not, empty when it may


def offers(bot: Bot, message: Message) -> dict[str, Offer]:
    """What to offer for this message; what the platform cannot do is left out."""
    return {
        name: offer
        for name, act in ACTS.items()
        if _fits(act, message) and (offer := _offer(bot, act, message))
    }


def _offer(bot: Bot, act: Act, message: Message) -> Offer | None:
    ability, _ = jobs.NEEDS[act.kind]
    try:
        jobs.check_platform(bot, {ability} if ability else set())
        jobs.check(bot, jobs.Request(kind=act.kind, channel=message.channel))
    except NotSupported:
        return None
    except NotPermitted as refused:
        return Offer(label=act.label, why_not=refused.detail)
    return Offer(label=act.label)


class ActForm(forms.Form):
    """What one needs to know to do it; each name uses the fields that it takes."""

    once = forms.CharField(max_length=32, required=False, widget=forms.HiddenInput)
    name = forms.CharField(
        label="Reaction",
        required=False,
        max_length=100,
        help_text="Its name without colons, as in tada.",
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "list": "reactions"}),
    )
    text = forms.CharField(
        label="New text",
        required=False,
        max_length=LONGEST_TEXT,
        strip=False,
        widget=UnfoldAdminTextareaWidget({"rows": 6}),
    )

    def __init__(self, message: Message, data: Any = None):
        super().__init__(data, initial={"once": uuid4().hex, "text": message.text})


def submit(bot: Bot, message: Message, name: str, form: ActForm, actor: Actor) -> int:
    """Store the job, once for a form; returns its id. Raises `Refused`."""
    act = ACTS[name]
    if not _fits(act, message):
        raise Invalid("Only messages of the bot that were not deleted can be changed.")
    request = jobs.Request(
        kind=act.kind,
        channel=message.channel,
        payload={"message": message.remote_id} | _wanted(act.kind, form),
    )

    def work() -> int:
        return jobs.submit(bot, request, requested_by=actor.label).pk

    once = form.cleaned_data["once"]
    if not once:
        return work()
    asked = idempotency.fingerprint(bot.pk, request.kind, request.payload)
    job_id, _ = idempotency.perform(idempotency.of_form(actor.key, once, asked), work)
    return int(job_id)


def _fits(act: Act, message: Message) -> bool:
    return not message.deleted_at and (message.direction == Direction.OUT or not act.own_only)


def _wanted(kind: JobKind, form: ActForm) -> dict[str, str]:
    match kind:
        case JobKind.REACT | JobKind.UNREACT:
            name = form.cleaned_data["name"].strip().strip(":")
            if not name:
                raise Invalid("Name the reaction, as in tada.", field="name")
            return {"name": name}
        case JobKind.EDIT:
            text = form.cleaned_data["text"].replace("\r\n", "\n")
            if not text.strip():
                raise Invalid("There is nothing left. To remove it, delete it.", field="text")
            return {"text": text}
    return {}
