"""What the page of a job group says of it: in a sentence, as a badge, a bar, and figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from django.utils.safestring import SafeString

from bots.admin import looks
from bots.admin.group_results import DRY, FATE_COLOURS, PLAN_COLOURS, Wish
from bots.admin.progress import Progress
from bots.job_groups import Counts
from bots.models import Fate, Found, GroupKind, GroupState, JobGroup, Plan
from bots.models.job_group import OPEN_GROUPS

NAMED = 20  # people, in one sentence
UNCLEAR = {Found.NOBODY: "not found", Found.SEVERAL: "found more than once"}
TONES = {"success": "ok", "info": "busy", "warning": "warn", "danger": "bad"}
STATES = {
    GroupState.CHECKING: ("dry run under way", "info"),
    GroupState.CHECKED: ("dry run: nothing is changed yet", "warning"),
    GroupState.STOPPED: ("stopped", "danger"),
    GroupState.STARTING: ("starting", "info"),
    GroupState.RUNNING: ("running", "info"),
    GroupState.FINISHED: ("finished", "success"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """How many there are of a kind, and where only those are shown."""

    count: int
    what: str
    tone: str
    query: str
    is_on: bool


def what(group: JobGroup) -> str:
    """What somebody asked for, in a sentence without its full stop."""
    adds = group.kind == GroupKind.ADD
    people = "person" if group.people_count == 1 else "people"
    channels = "channel" if group.channel_count == 1 else "channels"
    verb, where = ("Add", "to") if adds else ("Remove", "from")
    told = (
        f"{verb} {group.people_count:,} {people} {where} {group.channel_count:,} {channels}"
        f"{' as moderators' if group.moderator else ''}"
    )
    return f"Undo: {told[0].lower()}{told[1:]}" if group.undoes_id else told


def counts_in(counts: Counts, *fates: Fate) -> int:
    return sum(count for (_, fate), count in counts.items() if fate in fates)


def state(group: JobGroup) -> SafeString:
    if group.state == GroupState.FINISHED and group.failed_count:
        return looks.badge(f"finished, {group.failed_count:,} failed", "warning")
    if group.state == GroupState.FINISHED and group.cancelled_at:
        return looks.badge("cancelled", "warning")
    if group.state in OPEN_GROUPS and group.cancelled_at:
        return looks.badge("being cancelled", "warning")
    return looks.badge(*STATES[GroupState(group.state)])


def progress(group: JobGroup, counts: Counts) -> Progress | None:
    if group.state == GroupState.CHECKING:
        read = group.channels.filter(is_read=True).count()
        unasked = group.people.filter(found=Found.UNASKED).count()
        done = read + group.people_count - unasked
        return Progress(done=done, waiting=group.channel_count - read + unasked)
    if group.state in DRY:
        return None
    return Progress(
        done=counts_in(counts, Fate.DONE),
        failed=counts_in(counts, Fate.FAILED),
        waiting=counts_in(counts, Fate.WAITING, Fate.PLANNED),
        cancelled=counts_in(counts, Fate.CANCELLED),
    )


def figures(group: JobGroup, counts: Counts, wish: Wish) -> list[Figure]:
    if group.state in DRY:
        left_out = counts_in(counts, Fate.LEFT_OUT)
        plans: Counter[Plan] = Counter()
        for (plan, fate), count in counts.items():
            plans[plan] += 0 if fate == Fate.LEFT_OUT else count
        shown = [
            _figure(plans[plan], plan.label, PLAN_COLOURS.get(plan, ""), wish, plan=plan)
            for plan in Plan
            if plans[plan]
        ]
        if left_out:
            shown.append(_figure(left_out, "left out", "", wish, fate=Fate.LEFT_OUT))
        return shown
    return [
        _figure(count, fate.label, FATE_COLOURS.get(fate, ""), wish, fate=fate)
        for fate in Fate
        if (count := counts_in(counts, fate))
    ]


def _figure(
    count: int,
    label: str,
    colour: str,
    wish: Wish,
    *,
    plan: Plan | None = None,
    fate: Fate | None = None,
) -> Figure:
    is_on = (wish.plan, wish.fate) == (plan, fate)
    query = wish.query(
        plan=plan.name.lower() if plan is not None and not is_on else "",
        state=fate.name.lower() if fate is not None and not is_on else "",
    )
    return Figure(count=count, what=label, tone=TONES.get(colour, ""), query=query, is_on=is_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """People who were named, and are nobody or several: once each, however many the channels."""

    count: int
    what: str
    names: str


def unclear(group: JobGroup) -> list[Unclear]:
    if group.state != GroupState.CHECKED:
        return []
    told = []
    for found, what in UNCLEAR.items():
        people = group.people.filter(found=found)
        if count := people.count():
            names = people.order_by("number").values_list("asked", flat=True)[:NAMED]
            more = f" and {count - NAMED:,} more" if count > NAMED else ""
            told.append(Unclear(count=count, what=what, names=", ".join(names) + more))
    return told


def will(group: JobGroup, counts: Counts) -> str:
    """What pressing Run does."""
    parts = []
    for plan, verb in ((Plan.ADD, "add"), (Plan.PROMOTE, "promote"), (Plan.REMOVE, "remove")):
        if count := counts[plan, Fate.PLANNED]:
            parts.append(f"{verb} {count:,}")
    return ", ".join(parts)


def can_be_undone(group: JobGroup, counts: Counts) -> bool:
    changed = counts[Plan.ADD, Fate.DONE] + counts[Plan.REMOVE, Fate.DONE]
    return bool(changed) and getattr(group, "undone_by", None) is None


def undo_told(group: JobGroup, counts: Counts) -> list[str]:
    adds = group.kind == GroupKind.ADD
    plan = Plan.ADD if adds else Plan.REMOVE
    changed = counts[plan, Fate.DONE]
    before = counts[Plan.THERE, Fate.NOTHING] + counts[Plan.ABSENT, Fate.NOTHING]
    times = "membership" if changed == 1 else "memberships"
    told = [
        f"{changed:,} {times} that this change {'began will end' if adds else 'ended will begin'}"
        " again."
    ]
    if before:
        told.append(
            f"{before:,} stay as they are: they were {'members' if adds else 'no members'} before."
        )
    if failed := counts_in(counts, Fate.FAILED):
        told.append(
            f"Of the {failed:,} that failed nothing is taken back, though a part may have been "
            "done. Retry them first if it matters."
        )
    if promoted := counts[Plan.PROMOTE, Fate.DONE]:
        told.append(f"{promoted:,} who became moderators stay moderators.")
    told.append(
        "There is no dry run: what the platform does not let the bot do fails, and says so then."
    )
    if not adds:
        told.append("Who was a moderator becomes one again, where the platform can do that.")
    return told
