"""Messages as clients hand them in, alone or many at once, made into jobs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import QueryDict
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from bots import bulk, files, guard, jobs, targets
from bots.api import parsers
from bots.api.query import LONGEST_NAME, Name
from bots.files import Handed
from bots.guard import UrlInvalid
from bots.models import Bot, Job, JobKind, Priority, StoredFile
from bots.refusals import Invalid, Missing, Refused
from spaces.api.fields import Choice, Flag, Moment, PersonName, Text
from spaces.models import Channel
from spaces.platforms import registry
from spaces.platforms.contract import Limits
from spaces.platforms.messages import Card, PersonRef

LONGEST_TEXT = 100_000  # characters; what is longer than the platform's limit goes out in parts
MOST_MESSAGES = 1_000  # of one bulk
MOST_FILES = 100

PRIORITIES = {priority.label: priority for priority in Priority}


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A file that we are to fetch when the message is sent."""

    url: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message as a client wants it, valid in itself; names are not looked up yet."""

    channel: str = ""
    person: str = ""
    text: str = ""
    card: Card | None = None
    files: Sequence[Handed | Link] = ()
    thread: str = ""
    only_for: str = ""
    priority: Priority = Priority.INTERACTIVE
    ordered: bool = True
    not_before: datetime | None = None
    expires_at: datetime | None = None


# Reading ----------------------------------------------------------------------------------------


class CardSerializer(serializers.Serializer):
    """A boxed message; goes out as markdown where the platform has none."""

    title = Text(max_length=1000, required=False, allow_blank=True)
    body = Text(max_length=LONGEST_TEXT, required=False, allow_blank=True, help_text="Markdown.")
    summary = Text(max_length=1000, required=False, allow_blank=True)
    link = Text(max_length=2000, required=False, allow_blank=True)
    image = Text(max_length=2000, required=False, allow_blank=True)
    thumbnail = Text(max_length=2000, required=False, allow_blank=True)
    color = Text(max_length=50, required=False, allow_blank=True, help_text="A name or `#rrggbb`.")

    def get_fields(self) -> dict[str, Any]:
        pair = serializers.ListField(
            child=Text(max_length=4000, allow_blank=True), min_length=2, max_length=2
        )
        # Called as an attribute of serializers, so it cannot be declared as one.
        return super().get_fields() | {
            "fields": serializers.ListField(
                child=pair, required=False, max_length=100, help_text="Pairs of name and value."
            )
        }

    def validate(self, attrs: dict[str, Any]) -> Card:
        pairs = tuple((name, value) for name, value in attrs.pop("fields", ()))
        card = Card(**attrs, fields=pairs)
        if card == Card():
            raise serializers.ValidationError("An empty card is no card.")
        return card


class OutgoingFileSerializer(serializers.Serializer):
    """A file: its name and content, or where to fetch it from when the message is sent."""

    name = Text(max_length=255, required=False)
    content = Text(required=False, allow_blank=True, help_text="Base64.")
    url = Text(max_length=2000, required=False, help_text="http or https.")

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, UploadedFile):
            return data
        return super().to_internal_value(data)

    def validate(self, attrs: Any) -> Handed | Link:
        if isinstance(attrs, UploadedFile):
            return Handed(name=attrs.name or "file", content=attrs, size=attrs.size or 0)
        if ("content" in attrs) == ("url" in attrs):
            raise serializers.ValidationError("Give either content or url.")
        if "url" in attrs:
            return Link(url=_checked_url(attrs["url"]), name=attrs.get("name", ""))
        if "name" not in attrs:
            raise serializers.ValidationError({"name": "A file needs a name."})
        try:
            content = base64.b64decode(attrs["content"], validate=True)
        except (binascii.Error, ValueError):
            raise serializers.ValidationError({"content": "This is not base64."}) from None
        return Handed(name=attrs["name"], content=BytesIO(content), size=len(content))


def _checked_url(url: str) -> str:
    try:
        guard.parse(url)
    except UrlInvalid as error:
        raise serializers.ValidationError({"url": error.detail}) from error
    return url


class DraftSerializer(serializers.Serializer):
    """One message: to a channel or a person; a text, a card, files, or several of these."""

    channel = Name(required=False, help_text="Our id, the platform's id, or a unique name.")
    person = PersonName(required=False, help_text="Username, e-mail or id.")
    text = Text(max_length=LONGEST_TEXT, required=False, allow_blank=True, help_text="Markdown.")
    card = CardSerializer(required=False)
    files = serializers.ListField(
        child=OutgoingFileSerializer(), required=False, max_length=MOST_FILES
    )
    thread = Name(required=False, help_text="Id of the message to answer, ours or the platform's.")
    only_for = PersonName(
        required=False,
        help_text="Username, e-mail or id of the one person in `channel` who sees it, and only for "
        "now: the platform keeps no such message, and it is in no list.",
    )
    priority = Choice(choices=list(PRIORITIES), default="interactive")
    ordered = Flag(
        default=True, help_text="false: do not wait for what was sent to the same target before."
    )
    not_before = Moment(required=False, allow_null=True)
    expires_at = Moment(
        required=False, allow_null=True, help_text="Not sent when it is still waiting then."
    )

    def validate(self, attrs: dict[str, Any]) -> Draft:
        draft = Draft(**{**attrs, "priority": PRIORITIES[attrs["priority"]]})
        if bool(draft.channel) == bool(draft.person):
            raise serializers.ValidationError("Give either channel or person.")
        if not (draft.text.strip() or draft.card or draft.files):
            raise serializers.ValidationError("Give a text, a card or files.")
        if draft.only_for and not draft.channel:
            raise serializers.ValidationError({"only_for": "Name the channel they are in, too."})
        if draft.only_for and draft.files:
            raise serializers.ValidationError(
                {"only_for": "Files stay, so they cannot be for one person and for now."}
            )
        if draft.expires_at and draft.expires_at <= (draft.not_before or timezone.now()):
            raise serializers.ValidationError({"expires_at": "It would expire before it is sent."})
        if draft.expires_at and draft.expires_at <= timezone.now():
            raise serializers.ValidationError({"expires_at": "This time has passed."})
        return draft


class FormDraftSerializer(serializers.Serializer):
    """The same as multipart/form-data: files as parts, the card as JSON in a text."""

    channel = serializers.CharField(required=False)
    person = serializers.CharField(required=False)
    text = serializers.CharField(required=False)
    card = serializers.CharField(required=False)
    files = serializers.ListField(child=serializers.FileField(), required=False)
    thread = serializers.CharField(required=False)
    only_for = serializers.CharField(required=False)
    priority = serializers.ChoiceField(choices=list(PRIORITIES), required=False)
    ordered = serializers.ChoiceField(choices=["true", "false"], required=False)
    not_before = serializers.DateTimeField(required=False)
    expires_at = serializers.DateTimeField(required=False)


def drafts(items: Iterable[Any]) -> Iterator[Draft | serializers.ValidationError]:
    """What a client asks for with each of these JSON values, or what is wrong with it."""
    serializer = DraftSerializer()
    for item in items:
        try:
            yield _plain(item) or serializer.run_validation(item)
        except serializers.ValidationError as error:
            yield error


def _plain(item: Any) -> Draft | None:
    """A text for a channel and nothing else, as most messages are: what the serializer makes of it
    in 0.1 ms, in 0.002. None for all others, and for what may be wrong."""
    match item:
        case {"channel": str(channel), "text": str(text), **others} if not others:
            channel = channel.strip()
            if "\x00" in channel or "\x00" in text:
                return None  # of a form: JSON with one has been refused before
            if 0 < len(channel) <= LONGEST_NAME and len(text) <= LONGEST_TEXT and text.strip():
                return Draft(channel=channel, text=text)
    return None


class Anything(serializers.Field):
    def to_internal_value(self, data: Any) -> Any:
        return data


@extend_schema_field(DraftSerializer(many=True))
class Drafts(serializers.ListField):
    """Anything: each is judged alone, so that a bad one stops none of the others."""

    child: serializers.Field = Anything(allow_null=True)


class BulkSerializer(serializers.Serializer):
    messages = Drafts(min_length=1, max_length=MOST_MESSAGES)


def from_form(form: QueryDict) -> dict[str, Any]:
    """A multipart request as JSON would have said it."""
    data: dict[str, Any] = {name: form[name] for name in form if name != "files"}
    if "files" in form:
        data["files"] = form.getlist("files")
    if "card" in data:
        data["card"] = parsers.loads(str(data["card"]).encode(errors="replace"))
    if "ordered" in data:
        data["ordered"] = {"true": True, "false": False}.get(data["ordered"], data["ordered"])
    return data


# Submitting -------------------------------------------------------------------------------------


def send(bot: Bot, drafts: Sequence[Draft], *, requested_by: str) -> list[Job | Refused]:
    """A job for each draft, or why it is refused. The number of queries does not depend on the
    number of drafts."""
    channels = targets.recent_channels(bot, {d.channel for d in drafts if d.channel})
    people = targets.people(bot, {name for d in drafts for name in (d.person, d.only_for) if name})
    threads = targets.threads(bot, {d.thread for d in drafts if d.thread})
    limits = registry.get(bot.space.platform).limits
    asked = [_request(bot, draft, channels, people, threads, limits) for draft in drafts]
    accepted = [
        (draft, request)
        for draft, request in zip(drafts, asked, strict=True)
        if isinstance(request, jobs.Request)
    ]
    stored = iter(_submit(bot, accepted, requested_by=requested_by))
    return [next(stored) if isinstance(answer, jobs.Request) else answer for answer in asked]


def _submit(
    bot: Bot, accepted: Sequence[tuple[Draft, jobs.Request]], *, requested_by: str
) -> list[Job]:
    """Store files and jobs, all or none."""
    handed = [f for draft, _ in accepted for f in draft.files if isinstance(f, Handed)]
    requests = [request for _, request in accepted]
    if not handed:
        for draft, request in accepted:
            _attach(draft, request, iter(()))
        return jobs.submit_many(bot, requests, requested_by=requested_by)
    with transaction.atomic():
        stored = files.store(bot, handed)
        try:
            ids = iter([file.pk for file in stored])
            for draft, request in accepted:
                _attach(draft, request, ids)
            submitted = jobs.submit_many(bot, requests, requested_by=requested_by)
            _note_jobs(stored, accepted, submitted)
            return submitted
        except BaseException:
            files.discard(stored)  # no transaction takes these back
            raise


def _note_jobs(
    stored: Sequence[StoredFile],
    accepted: Sequence[tuple[Draft, jobs.Request]],
    submitted: Sequence[Job],
) -> None:
    """Write down which job sends each file, so that it can be pruned after that."""
    rows = iter(stored)
    for (draft, _), job in zip(accepted, submitted, strict=True):
        for _ in (file for file in draft.files if isinstance(file, Handed)):
            next(rows).job = job
    bulk.update(stored, ["job"])


def _attach(draft: Draft, request: jobs.Request, ids: Iterator[int]) -> None:
    if draft.files:
        request.payload["files"] = [
            asdict(file) if isinstance(file, Link) else {"id": next(ids)} for file in draft.files
        ]


def _request(
    bot: Bot,
    draft: Draft,
    channels: Mapping[str, Channel | Missing],
    people: Mapping[str, PersonRef],
    threads: Mapping[str, str],
    limits: Limits,
) -> jobs.Request | Refused:
    channel = channels[draft.channel] if draft.channel else None
    if isinstance(channel, Missing):
        return channel
    payload = {
        "text": draft.text,
        "card": asdict(draft.card) if draft.card else None,
        "thread": threads.get(draft.thread, ""),
        "only_for": asdict(people[draft.only_for]) if draft.only_for else None,
        "files": [file.name for file in draft.files],  # until they are stored
    }
    request = jobs.Request(
        kind=JobKind.POST,
        channel=channel,
        person=people[draft.person] if draft.person else None,
        payload={name: value for name, value in payload.items() if value},
        priority=draft.priority,
        ordered=draft.ordered,
        not_before=draft.not_before,
        expires_at=draft.expires_at,
    )
    try:
        jobs.check(bot, request)
        _check_files(draft, limits)
    except Refused as refused:
        return refused
    return request


def _check_files(draft: Draft, limits: Limits) -> None:
    if limits.files and len(draft.files) > limits.files:
        raise Invalid(f"A message carries at most {limits.files} files here.", field="files")
    for file in draft.files:
        if isinstance(file, Handed) and limits.file_bytes and file.size > limits.file_bytes:
            raise Invalid(
                f"{file.name} is larger than the {limits.file_bytes} bytes allowed here.",
                field="files",
            )
