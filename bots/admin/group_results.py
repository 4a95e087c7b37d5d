"""What becomes of each person in a job group: filtered, page by page, and as a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from bots.admin import looks
from bots.models import Fate, GroupItem, GroupState, Job, JobGroup, Plan
from bots.targets import as_id
from spaces.platforms.errors import Forbidden, NotFound, Rejected, Unsupported

PER_PAGE = 50
READ_AT_ONCE = 2_000  # rows, for a file
LONGEST_SEARCH = 200  # characters
FARTHEST_PAGE = 10_000
DRY = (GroupState.CHECKING, GroupState.CHECKED, GroupState.STOPPED)
PLAN_COLOURS = {
    Plan.AMBIGUOUS: "warning",
    Plan.NOT_FOUND: "warning",
    Plan.REFUSED: "danger",
    Plan.ADD: "info",
    Plan.PROMOTE: "info",
    Plan.REMOVE: "info",
}
FATE_COLOURS = {
    Fate.FAILED: "danger",
    Fate.WAITING: "info",
    Fate.HELD: "warning",
    Fate.DONE: "success",
}
CSV_HEADINGS = (
    "person",
    "name",
    "username",
    "channel",
    "dry run",
    "outcome",
    "code",
    "detail",
    "job",
)
CSV_FIELDS = (
    "person__asked",
    "person__person__name",
    "person__person__username",
    "channel__title",
    "channel__name",
    "channel__remote_id",
    "plan",
    "state",
    "code",
    "detail",
    "job",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What of the results somebody wants to see. What makes no sense is no filter."""

    plan: Plan | None = None
    fate: Fate | None = None
    channel: int | None = None
    text: str = ""
    page: int = 1

    @classmethod
    def parse(cls, query: QueryDict) -> Wish:
        return cls(
            plan=_named(Plan, query.get("plan")),
            fate=_named(Fate, query.get("state")),
            channel=as_id(query.get("channel", "")),
            text=query.get("q", "").strip()[:LONGEST_SEARCH].replace("\0", ""),
            page=min(max(as_id(query.get("page", "")) or 1, 1), FARTHEST_PAGE),
        )

    def query(self, **changes: Any) -> str:
        """As the end of an address; another filter begins at the first page."""
        values: dict[str, Any] = {
            "plan": self.plan.name.lower() if self.plan is not None else "",
            "state": self.fate.name.lower() if self.fate is not None else "",
            "channel": self.channel or "",
            "q": self.text,
            **changes,
        }
        return "?" + urlencode({name: value for name, value in values.items() if value})

    @property
    def filters(self) -> bool:
        return self.plan is not None or self.fate is not None or bool(self.channel or self.text)


def _named(choices: Any, name: str | None) -> Any:
    return choices[name.upper()] if name and name.upper() in choices.__members__ else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A page of them."""

    table: dict[str, Any]
    wish: Wish
    previous: str  # addresses, empty where there is none
    next: str


def results(group: JobGroup, wish: Wish) -> Results:
    first = (wish.page - 1) * PER_PAGE
    rows = list(_wanted(group, wish)[first : first + PER_PAGE + 1])
    steps = _next_steps(rows[:PER_PAGE])
    dry = group.state in DRY
    headers = ("Person", "Channel", "What would happen" if dry else "Outcome", "Details")
    return Results(
        table=looks.table(headers, (_cells(row, dry, steps) for row in rows[:PER_PAGE])),
        wish=wish,
        previous=wish.query(page=wish.page - 1) if wish.page > 1 else "",
        next=wish.query(page=wish.page + 1) if len(rows) > PER_PAGE else "",
    )


def _wanted(group: JobGroup, wish: Wish) -> QuerySet[GroupItem]:
    rows = group.items.select_related("person__person", "channel")
    if wish.plan is not None:
        rows = rows.filter(plan=wish.plan)
    if wish.fate is not None:
        rows = rows.filter(state=wish.fate)
    if wish.channel is not None:
        rows = rows.filter(channel=wish.channel)
    if wish.text:
        rows = rows.filter(
            Q(person__asked__icontains=wish.text)
            | Q(person__person__name__icontains=wish.text)
            | Q(person__person__username__icontains=wish.text)
        )
    # Along the indexes: what needs a look comes first.
    if group.state in DRY:
        return rows.order_by("plan", "pk")
    return rows.order_by("state", "plan", "pk")


def _next_steps(rows: Sequence[GroupItem]) -> dict[int, str]:
    """What to do about those that failed, by row; one query at most.

    The job knows where it failed as a whole. Of each person it knows a code alone, and what the
    platform's errors say of such.
    """
    failed = {row.pk: row for row in rows if row.state == Fate.FAILED}
    if not failed:
        return {}
    jobs = Job.objects.filter(pk__in={row.job_id for row in failed.values() if row.job_id})
    told = dict(jobs.values_list("pk", "next_step"))
    by_code = {kind.code: kind.next_step for kind in (Rejected, NotFound, Forbidden, Unsupported)}
    return {
        pk: told.get(row.job_id or 0) or by_code.get(row.code, "") for pk, row in failed.items()
    }


def _cells(item: GroupItem, dry: bool, steps: Mapping[int, str]) -> Sequence[Any]:
    return (
        _person(item),
        looks.link(item.channel),
        _plan(item) if dry else _fate(item),
        _details(item, steps.get(item.pk, "")),
    )


def _person(item: GroupItem) -> SafeString | str:
    person = item.person.person
    if person is None:
        return item.person.asked
    known = looks.link(person)
    if item.person.asked.lstrip("@") in (str(person), person.username, person.email):
        return known
    return format_html('{} <span class="text-subtle">{}</span>', known, item.person.asked)


def _plan(item: GroupItem) -> SafeString:
    if item.state == Fate.LEFT_OUT:
        return looks.badge("left out")
    return looks.badge(Plan(item.plan).label, PLAN_COLOURS.get(Plan(item.plan), ""))


def _fate(item: GroupItem) -> SafeString:
    fate, plan = Fate(item.state), Plan(item.plan)
    done = {Plan.ADD: "added", Plan.REMOVE: "removed", Plan.PROMOTE: "made moderator"}
    if fate == Fate.DONE:
        return looks.badge(done.get(plan, fate.label), "success")
    text = plan.label if fate == Fate.NOTHING else fate.label
    return looks.badge(text, FATE_COLOURS.get(fate, ""))


def _details(item: GroupItem, next_step: str) -> SafeString | str:
    # By its number: a job that is old enough was removed, and its page says so.
    job = ""
    if item.job_id:
        url = reverse("admin:bots_job_change", args=[item.job_id])
        job = format_html('<a href="{}" class="text-link">Job {}</a>', url, item.job_id)
    moderator = "As moderator." if item.moderator and item.plan == Plan.ADD else ""
    code = format_html("<code>{}</code>", item.code) if item.code else ""
    step = format_html("<strong>{}</strong>", next_step) if next_step else ""
    told = [part for part in (item.detail, step, moderator, code, job) if part]
    return format_html("{}" + " {}" * (len(told) - 1), *told) if told else looks.NOTHING


def csv_lines(group: JobGroup, wish: Wish) -> Iterator[str]:
    """The results as the lines of a file that a spreadsheet opens. Without objects, which take
    twice as long: there may be 200,000 lines."""
    writer = csv.writer(_Line())
    yield "\ufeff"  # or spreadsheets take it for another encoding
    yield writer.writerow(CSV_HEADINGS)
    rows = _wanted(group, wish).select_related(None).values_list(*CSV_FIELDS)
    for *person, title, name, remote_id, plan, fate, code, detail, job_id in rows.iterator(
        chunk_size=READ_AT_ONCE
    ):
        channel = title or name or remote_id
        told = (Plan(plan).label, Fate(fate).label, code, detail, str(job_id or ""))
        yield writer.writerow(harmless(cell or "") for cell in (*person, channel, *told))


def harmless(cell: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") else cell


class _Line:
    """Where `csv` writes to, that gives each line back."""

    def write(self, line: str) -> str:
        return line
