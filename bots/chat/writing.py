"""What an operator writes: as the bot, which becomes a job, or as a person of a local space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils.datastructures import MultiValueDict
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from bots import idempotency, jobs
from bots.access import Actor
from bots.api import sending
from bots.chat import speaking, waiting
from bots.chat.markdown import is_link
from bots.files import Handed
from bots.models import Bot, JobKind, Message
from bots.refusals import NotPermitted, Refused
from spaces.models import Channel, Person
from spaces.platforms import registry
from spaces.platforms.contract import Ability, Platform
from spaces.platforms.messages import Card

SOMEBODY_NEW = "+"
EVERY = "every"  # platform, to preview on
CARD = "card_"  # how the names of its fields begin
COLOURS = (
    ("", "No colour"),
    ("#2e7d32", "Green"),
    ("#1565c0", "Blue"),
    ("#ef6c00", "Orange"),
    ("#c62828", "Red"),
    ("#616161", "Grey"),
)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where somebody writes: in a room, or in the thread below `top`."""

    bot: Bot
    room: Channel
    top: Message | None = None

    @property
    def platform(self) -> type[Platform]:
        return registry.get(self.bot.space.platform)

    @cached_property
    def people(self) -> Sequence[Person]:
        """Who takes part here, but for bots."""
        return speaking.people(self.room)

    @property
    def has_markdown(self) -> bool:
        return Ability.MARKDOWN in self.platform.abilities

    @property
    def name(self) -> str:
        """Of its form on the page, where both may stand."""
        return "thread" if self.top else "room"

    def why_not(self) -> str:
        """Why nothing can be written here, empty when it can."""
        if self.room.archived:
            return "This room is archived. Nobody writes here any more."
        request = jobs.Request(kind=JobKind.POST, channel=self.room, payload=self._thread())
        try:
            jobs.check(self.bot, request)
        except Refused as refused:
            is_ours = isinstance(refused, NotPermitted)
            return f"{refused.detail} Give it on the bot's page." if is_ours else refused.detail
        return ""

    def _thread(self) -> dict[str, str]:
        return {"thread": self.top.remote_id} if self.top else {}


class ManyFiles(forms.FileInput):
    allow_multiple_selected = True

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[UploadedFile]:
        if isinstance(files, MultiValueDict):
            return files.getlist(name)
        return [file for file in [files.get(name)] if file]


class Files(forms.FileField):
    widget = ManyFiles

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        return [super(Files, self).clean(one) for one in data]


class Words(forms.Form):
    """The form below a conversation."""

    # One form is one message, however often it is sent: a double click must not post twice.
    once = forms.CharField(max_length=32, widget=forms.HiddenInput)
    speaker = forms.ChoiceField(
        label="Write as", required=False, widget=UnfoldAdminSelectWidget({"data-speaker": ""})
    )
    newcomer = forms.CharField(
        label="Their name",
        required=False,
        max_length=100,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off"}),
    )
    text = forms.CharField(
        label="Message",
        required=False,
        max_length=sending.LONGEST_TEXT,
        strip=False,
        widget=UnfoldAdminTextareaWidget({"rows": 2, "data-words": ""}),
    )
    only_for = forms.CharField(
        label="Only for",
        required=False,
        max_length=255,
        help_text="The one person here who sees it, and only for now.",
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "list": "people"}),
    )
    uploads = Files(label="Files", required=False)
    card_title = forms.CharField(
        label="Title", required=False, max_length=1000, widget=UnfoldAdminTextInputWidget()
    )
    card_body = forms.CharField(
        label="Text",
        required=False,
        max_length=sending.LONGEST_TEXT,
        strip=False,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
    )
    card_fields = forms.CharField(
        label="Fields",
        required=False,
        max_length=20_000,
        help_text="One per line, as in “Version: 2.4”.",
        widget=UnfoldAdminTextareaWidget({"rows": 2}),
    )
    card_link = forms.CharField(
        label="Link of the title",
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextInputWidget({"inputmode": "url"}),
    )
    card_color = forms.ChoiceField(
        label="Colour", required=False, choices=COLOURS, widget=UnfoldAdminSelectWidget()
    )
    on = forms.ChoiceField(label="Preview on", required=False, widget=UnfoldAdminSelectWidget())

    def __init__(
        self,
        desk: Desk,
        data: Any = None,
        files: Any = None,
        *,
        initial: dict[str, Any] | None = None,
    ):
        initial = {"once": uuid4().hex, **(initial or {})}
        super().__init__(data, files, initial=initial, auto_id=f"{desk.name}_%s")
        self.desk = desk
        preview_on = self.fields["on"]
        assert isinstance(preview_on, forms.ChoiceField)
        preview_on.choices = [("", str(desk.bot.space)), (EVERY, "every platform")]
        self._drop_unsupported()
        if speaking.is_offered(desk.bot):
            self._offer_speakers(desk.people)
        else:
            del self.fields["speaker"], self.fields["newcomer"]

    def _drop_unsupported(self) -> None:
        abilities = self.desk.platform.abilities
        for name, ability in (("uploads", Ability.FILES), ("only_for", Ability.EPHEMERAL)):
            if ability not in abilities:
                del self.fields[name]

    def _offer_speakers(self, people: Sequence[Any]) -> None:
        field = self.fields["speaker"]
        assert isinstance(field, forms.ChoiceField)
        bot = self.desk.bot
        field.choices = [
            ("", f"{bot} (the bot)"),
            *((p.username, f"{p} (person)") for p in people if p.username),
            (SOMEBODY_NEW, "Somebody new …"),
        ]

    def card_parts(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith(CARD)]

    def has_more(self) -> bool:
        """Whether something was entered beside the text."""
        names = ["only_for", *(name for name in self.fields if name.startswith(CARD))]
        return any(self[name].value() for name in names if name in self.fields)

    # Reading ------------------------------------------------------------------------------------

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        return text.replace("\r\n", "\n")

    def clean_card_fields(self) -> tuple[tuple[str, str], ...]:
        lines = [line for line in self.cleaned_data["card_fields"].splitlines() if line.strip()]
        pairs = [
            (name.strip(), value.strip()) for name, _, value in (x.partition(":") for x in lines)
        ]
        if len(pairs) > 100 or not all(name and value for name, value in pairs):
            raise forms.ValidationError("Write up to 100 lines, each a name, a colon and a value.")
        return tuple(pairs)

    def clean_card_link(self) -> str:
        link: str = self.cleaned_data["card_link"].strip()
        if link and not is_link(link):
            raise forms.ValidationError("A link begins with https:// or http://.")
        return link

    def clean(self) -> dict[str, Any]:
        entered = super().clean() or self.cleaned_data
        if self.errors:
            return entered
        draft = self.draft()
        if self.is_empty(draft):
            self.add_error("text", "There is nothing to send.")
        elif self.who and (draft.card or draft.files or draft.only_for):
            self.add_error("speaker", "As a person you write text only. Leave out the rest.")
        elif draft.only_for and draft.files:
            self.add_error("only_for", "Files stay, so they cannot be for one person and for now.")
        elif entered.get("speaker") == SOMEBODY_NEW and not self.who:
            self.add_error("newcomer", "Say who writes.")
        return entered

    def is_empty(self, draft: sending.Draft) -> bool:
        return not (draft.text or draft.card or draft.files)

    @property
    def who(self) -> str:
        """The username of the person who writes; empty for the bot."""
        chosen: str = self.cleaned_data.get("speaker") or ""
        if chosen == SOMEBODY_NEW:
            return str(self.cleaned_data.get("newcomer", "")).strip().lstrip("@")
        return chosen

    def again(self) -> dict[str, str]:
        """What the next form begins with: the same person goes on."""
        return {name: self.data.get(name, "") for name in ("speaker", "newcomer")}

    def card(self) -> Card | None:
        entered = self.cleaned_data
        card = Card(
            title=entered["card_title"],
            body=entered["card_body"].replace("\r\n", "\n"),
            link=entered["card_link"],
            color=entered["card_color"],
            fields=entered["card_fields"],
        )
        return card if card.title or card.body or card.fields else None

    def draft(self) -> sending.Draft:
        entered = self.cleaned_data
        return sending.Draft(
            channel=str(self.desk.room.pk),
            text=entered["text"] if entered["text"].strip() else "",
            card=self.card(),
            files=[
                Handed(name=file.name or "file", content=file, size=file.size or 0)
                for file in entered.get("uploads", ())
            ],
            thread=str(self.desk.top.pk) if self.desk.top else "",
            only_for=entered.get("only_for", "").strip(),
        )

    # Sending ------------------------------------------------------------------------------------

    def send(self, actor: Actor) -> str:
        """Send it, once; returns what to tell. Raises `Refused`."""
        draft = self.draft()
        if self.who:
            desk = self.desk
            asked = idempotency.fingerprint(draft.channel, draft.thread, draft.text, self.who)
            once = idempotency.of_form(actor.key, self.cleaned_data["once"], asked)

            def say() -> str:
                return speaking.say(
                    desk.bot, desk.room, self.who, draft.text, top=desk.top, key=once.key
                )

            text, _ = idempotency.perform(once, say)
            return str(text)
        job_id = self._submit(actor, draft)
        if draft.only_for:
            done = f"shows it to {draft.only_for} alone: it is in no list"
            return waiting.told(job_id, done)
        return waiting.told(job_id, "sends it")

    def _submit(self, actor: Actor, draft: sending.Draft) -> int:
        named = [(file.name, getattr(file, "size", 0)) for file in draft.files]
        card = asdict(draft.card) if draft.card else None
        asked = idempotency.fingerprint(
            self.desk.bot.pk, draft.channel, draft.thread, draft.text, card, named, draft.only_for
        )
        once = idempotency.of_form(actor.key, self.cleaned_data["once"], asked)

        def work() -> int:
            (answer,) = sending.send(self.desk.bot, [draft], requested_by=actor.label)
            if isinstance(answer, Refused):
                raise answer
            return answer.pk

        job_id, _ = idempotency.perform(once, work)
        return int(job_id)


class Sketch(Words):
    """The same form for a preview: not finished, and its files are not handed in yet."""

    def is_empty(self, draft: sending.Draft) -> bool:
        return False
