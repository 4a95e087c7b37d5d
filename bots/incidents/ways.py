"""The ways to tell people of incidents: by mail, and through a bot. Settings say which are used."""

from __future__ import annotations

from collections.abc import Sequence
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from bots import jobs, scrub, targets
from bots.handling.harmless import harmless
from bots.incidents.wording import Words
from bots.jobs import Request
from bots.models import Bot, Incident, JobKind, Priority, Way
from bots.refusals import Refused

REQUESTED_BY = "incidents"
LONGEST_LINE = 1_000  # characters, in a chat


class NotTold(Exception):
    """It did not work this time."""


def set_up() -> list[Way]:
    by_mail = settings.EMAIL_HOST and settings.BOTADMIN_INCIDENT_MAIL
    by_bot = settings.BOTADMIN_INCIDENT_BOT and settings.BOTADMIN_INCIDENT_CHANNEL
    return [way for way, wanted in ((Way.MAIL, by_mail), (Way.BOT, by_bot)) if wanted]


def those_to_tell(way: Way, incidents: Sequence[Incident]) -> list[Incident]:
    """A bot is not asked to tell that it cannot be relied on."""
    if way != Way.BOT:
        return list(incidents)
    mine = Bot.objects.filter(slug=settings.BOTADMIN_INCIDENT_BOT)
    bot_id = mine.values_list("pk", flat=True).first()
    return [incident for incident in incidents if incident.bot_id != bot_id or bot_id is None]


def mail(words: Words) -> None:
    """Raises `NotTold`, and what our own settings make fail. Takes as long as the mail server."""
    if settings.EMAIL_HOST_PASSWORD:
        scrub.know(settings.EMAIL_HOST_PASSWORD)
    connection = get_connection()
    message = EmailMessage(
        subject=f"[botadmin] {_one_line(words.title)}",
        body=_as_mail(words),
        to=settings.BOTADMIN_INCIDENT_MAIL,
        headers={"Auto-Submitted": "auto-generated"},
        connection=connection,
    )
    try:
        with connection:  # closed also where the login breaks
            message.send()
    except UnicodeError as error:  # its own words would quote a password
        raise NotTold("The user, the password or an address has unusual characters.") from error
    except (SMTPException, OSError) as error:
        raise NotTold(f"{type(error).__name__}: {error}") from error


def submit(words: Words) -> None:
    """Ask the bot to say it, as a job like any other. Raises `NotTold`."""
    slug = settings.BOTADMIN_INCIDENT_BOT
    bot = Bot.objects.select_related("space").filter(slug=slug).first()
    if bot is None:
        raise NotTold(f"There is no bot {slug}.")
    try:
        request = Request(
            kind=JobKind.POST,
            channel=targets.channel(bot, settings.BOTADMIN_INCIDENT_CHANNEL),
            payload={"text": _as_markdown(words)},
            priority=Priority.INTERACTIVE,
        )
        jobs.submit(bot, request, requested_by=REQUESTED_BY)
    except Refused as error:
        raise NotTold(error.detail) from error


def _as_mail(words: Words) -> str:
    paragraphs = [
        "\n".join([f"{heading}:", *(f"- {_one_line(line)}" for line in lines)])
        for heading, lines in words.blocks
    ]
    return "\n\n".join([*paragraphs, *_more(words)]) + "\n"


def _as_markdown(words: Words) -> str:
    """Names, and what servers answered, call nobody and lead nowhere."""
    paragraphs = [
        "\n".join([f"**{heading}**", *(f"- {harmless(line, LONGEST_LINE)}" for line in lines)])
        for heading, lines in words.blocks
    ]
    return "\n\n".join([*paragraphs, *_more(words)])


def _more(words: Words) -> list[str]:
    return [f"… and {words.more:,} more; the admin's front page has them."] if words.more else []


def _one_line(text: str) -> str:
    return " ".join(text.split())
