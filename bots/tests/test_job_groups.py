"""Many people, many channels: what a dry run says, what becomes of it, and taking it back."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from bots import job_groups, jobs, lifecycle
from bots.job_groups import Wanted
from bots.models import (
    Bot,
    Fate,
    GroupItem,
    GroupKind,
    GroupState,
    Job,
    JobGroup,
    Permission,
    Plan,
    Priority,
    WorkState,
)
from bots.refusals import Conflict, Invalid, NotPermitted
from bots.tests.builders import (
    let_time_pass,
    make_bot,
    make_channel,
    make_person,
    make_space,
    run_lanes,
)
from spaces.models import Channel, LocalAccount, LocalMember, Person
from spaces.platforms.errors import (
    CredentialsRefused,
    Forbidden,
    Misconfigured,
    RateLimited,
    Unavailable,
)
from spaces.testing import faulty

pytestmark = pytest.mark.django_db


@pytest.fixture
def bot() -> Bot:
    return make_bot(space=make_space("shaky", platform="faulty"))


@pytest.fixture
def lobby(bot) -> Channel:
    return make_channel(bot, "lobby", people=["dora"])


@pytest.fixture
def attic(bot) -> Channel:
    return make_channel(bot, "attic")


def people(bot: Bot, *names: str) -> None:
    for name in names:
        make_person(name, space=bot.space)


def ask(bot: Bot, names, channels, **changes) -> JobGroup:
    wanted = Wanted(**{"kind": GroupKind.ADD, "people": names, "channels": channels} | changes)
    return job_groups.ask(bot, wanted, requested_by="alice")


def go_on(group: JobGroup) -> JobGroup:
    """Let workers do all that they can now."""
    for _ in range(20):
        job_groups.work(group.pk)
        run_lanes()
    group.refresh_from_db()
    return group


def checked(*args, **changes) -> JobGroup:
    group = go_on(ask(*args, **changes))
    assert group.state == GroupState.CHECKED
    return group


def ran(*args, **changes) -> JobGroup:
    group = checked(*args, **changes)
    job_groups.run(group)
    return go_on(group)


def plans(group: JobGroup) -> dict[tuple[str, str], str]:
    rows = group.items.values_list("person__asked", "channel__name", "plan")
    return {(asked, channel): Plan(plan).name for asked, channel, plan in rows}


def fates(group: JobGroup) -> dict[tuple[str, str], str]:
    rows = group.items.values_list("person__asked", "channel__name", "state")
    return {(asked, channel): Fate(state).name for asked, channel, state in rows}


def members(channel: Channel) -> set[str]:
    inside = LocalMember.objects.filter(room=channel.remote_id, left_seq=None)
    return set(inside.values_list("account__username", flat=True))


def moderators(channel: Channel) -> set[str]:
    inside = LocalMember.objects.filter(room=channel.remote_id, left_seq=None, role="moderator")
    return set(inside.values_list("account__username", flat=True))


# Reading ----------------------------------------------------------------------------------------


ANNA, BERT = "anna@acme.example", "bert@acme.example"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("@anna\n\n  bert \n", ["@anna", "bert"]),
        (f"{ANNA}, {BERT}; 17", [ANNA, BERT, "17"]),
        (f"Anna Ant <{ANNA}>, Bert <{BERT}>", [ANNA, BERT]),
        (f'"Ant, Anna" <{ANNA}>;', [ANNA]),
        (f"Ant, Anna <{ANNA}>", [ANNA]),
        (f"Anna <{ANNA}>, {BERT}", [ANNA, BERT]),
        (f"E-Mail\r\n{ANNA}\r\n{BERT}\r\n", [ANNA, BERT]),
        (f'"Anna Ant","{ANNA}"\n"Bert Bee","{BERT}"', [ANNA, BERT]),
        (f"Anna Ant\t{ANNA}", [ANNA]),
        (f"mailto:{ANNA}", [ANNA]),
        ("\ufeffanna\u200b", ["anna"]),
        ("an\0na", ["an\ufffdna"]),
        ("Anna Ant", ["Anna Ant"]),
        (" ,; \n\t\n", []),
        ("name\nanna", ["anna"]),
        ("user", ["user"]),
    ],
)
def test_people_are_read_in_any_usual_form(text, named):
    assert list(job_groups.read(text).people) == named


def test_who_is_named_twice_is_read_once_and_counted():
    reading = job_groups.read("@anna\n@Anna\nbert\n@anna")

    assert list(reading.people) == ["@anna", "bert"]
    assert reading.doubles == 2


@pytest.mark.parametrize(
    ("text", "passed_over"),
    [
        (f"bert; Anna <{ANNA}>", ["bert"]),
        (f"Ant, Anna <{ANNA}>", ["Ant"]),
        (f"Anna Ant\t{ANNA}", ["Anna Ant"]),
        ("name\nanna", ["name"]),
        (f"{ANNA}, bert", []),
    ],
)
def test_what_is_no_person_is_passed_over_and_told(text, passed_over):
    assert list(job_groups.read(text).passed_over) == passed_over


@pytest.mark.parametrize("pasted", ["," * 1_000_000, '",' * 500_000, "<" + "@" * 1_000_000])
def test_nothing_that_is_pasted_takes_long(pasted):
    started = time.process_time()  # of this process: others may be busy, too

    job_groups.read(pasted)

    assert time.process_time() - started < 5


# Asking -----------------------------------------------------------------------------------------


def test_what_can_never_be_is_refused_at_once(bot, lobby):
    with pytest.raises(Invalid):
        ask(bot, [], [lobby])
    with pytest.raises(Invalid):
        ask(bot, ["@dora"], [])
    with pytest.raises(Invalid):
        ask(bot, [f"@p{n}" for n in range(10_001)], [lobby])
    bot.permissions = []
    with pytest.raises(NotPermitted):
        ask(bot, ["@dora"], [lobby])


def test_nothing_is_asked_for_a_bot_that_is_switched_off(bot, lobby):
    lifecycle.stop(bot)
    bot.refresh_from_db()

    with pytest.raises(Invalid, match="switched off"):
        ask(bot, ["@dora"], [lobby])


# The dry run ------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_happen_to_each_and_changes_nothing(bot, lobby, attic):
    people(bot, "anna")

    group = checked(bot, ["@anna", "@dora", "@nobody"], [lobby, attic])

    assert plans(group) == {
        ("@anna", "lobby"): "ADD",
        ("@anna", "attic"): "ADD",
        ("@dora", "lobby"): "THERE",
        ("@dora", "attic"): "ADD",
        ("@nobody", "lobby"): "NOT_FOUND",
        ("@nobody", "attic"): "NOT_FOUND",
    }
    assert members(attic) == {"echo"}
    assert not Job.objects.exists()


def test_a_dry_run_of_removing_knows_who_is_not_there_and_spares_the_bot(bot, lobby):
    people(bot, "anna")

    group = checked(bot, ["@anna", "@dora", "@echo"], [lobby], kind=GroupKind.REMOVE)

    assert plans(group) == {
        ("@anna", "lobby"): "ABSENT",
        ("@dora", "lobby"): "REMOVE",
        ("@echo", "lobby"): "REFUSED",
    }


def test_a_dry_run_reads_the_channel_anew(bot, lobby):
    anna = make_person("anna", space=bot.space)
    anna.join_channel(lobby.remote_id)  # which nobody told us of

    group = checked(bot, ["@anna"], [lobby])

    assert plans(group) == {("@anna", "lobby"): "THERE"}
    assert group.channels.get().known_at > timezone.now() - timedelta(minutes=1)


def test_members_become_moderators_where_moderators_are_added(bot, lobby):
    group = ran(bot, ["@dora"], [lobby], moderator=True)

    assert plans(group) == {("@dora", "lobby"): "PROMOTE"}
    assert moderators(lobby) == {"echo", "dora"}


def test_the_same_person_in_other_words_counts_once(bot, lobby):
    people(bot, "anna")
    go_on(ask(bot, ["@anna"], [lobby]))
    remote_id = Person.objects.get(username="anna").remote_id

    group = checked(bot, ["@anna", remote_id], [lobby])

    assert plans(group) == {("@anna", "lobby"): "ADD"}


def test_a_name_that_several_have_is_ambiguous(bot, lobby):
    for number in ("71", "72"):
        Person.objects.create(space=bot.space, remote_id=number, email="team@acme.example")

    group = checked(bot, ["team@acme.example"], [lobby])

    assert plans(group) == {("team@acme.example", "lobby"): "AMBIGUOUS"}
    assert "2 people" in group.items.get().detail


def test_a_channel_that_is_not_shown_to_the_bot_holds_up_no_other(bot, lobby, attic):
    people(bot, "anna")
    faulty.script(faulty.before(Forbidden("not yours")), operation="list_participants")

    group = checked(bot, ["@anna"], [lobby, attic])

    assert plans(group) == {("@anna", "lobby"): "REFUSED", ("@anna", "attic"): "ADD"}
    assert group.items.get(channel=lobby).detail == "not yours"


def test_a_dry_run_waits_when_the_platform_says_so(bot, lobby):
    people(bot, "anna")
    limit = RateLimited("slowly", retry_after=120)
    faulty.script(faulty.before(limit), operation="find_person")

    group = go_on(ask(bot, ["@anna"], [lobby]))
    assert group.state == GroupState.CHECKING
    assert group.error_code == "rate_limited"
    assert group.claimed_until > timezone.now() + timedelta(seconds=100)
    bot.refresh_from_db()
    assert bot.limited_until is not None

    let_time_pass()
    JobGroup.objects.update(claimed_until=None)
    assert go_on(group).state == GroupState.CHECKED
    assert group.error_code == ""


def test_a_dry_run_goes_on_when_the_platform_is_back(bot, lobby):
    people(bot, "anna")
    faulty.script(faulty.before(Unavailable("away")), operation="list_participants")

    group = go_on(ask(bot, ["@anna"], [lobby]))
    assert (group.state, group.error_detail) == (GroupState.CHECKING, "away")

    JobGroup.objects.update(claimed_until=None)
    assert go_on(group).state == GroupState.CHECKED


def test_a_dry_run_stops_when_the_bot_is_refused_and_can_be_repeated(bot, lobby):
    people(bot, "anna")
    faulty.script(faulty.before(CredentialsRefused("no")), operation="list_participants")

    group = go_on(ask(bot, ["@anna"], [lobby]))

    assert (group.state, group.error_code) == (GroupState.STOPPED, "credentials_refused")
    lifecycle.reconnect(bot)
    job_groups.check_again(group)
    assert go_on(group).state == GroupState.CHECKED


def test_a_worker_that_is_late_does_not_stop_the_dry_run_that_was_begun_since(bot, lobby):
    group = ask(bot, ["@dora"], [lobby])

    def late(do):
        job_groups.cancel(group)
        job_groups.check_again(group)
        raise Misconfigured("too late")

    faulty.script(late, operation="list_participants")

    assert go_on(group).state == GroupState.CHECKED
    assert group.error_code == ""


def test_a_fault_of_the_platforms_code_stops_the_dry_run(bot, lobby):
    faulty.script(faulty.before(ZeroDivisionError("oops")), operation="list_participants")

    group = go_on(ask(bot, ["@dora"], [lobby]))

    assert (group.state, group.error_code) == (GroupState.STOPPED, "platform_broke")


def test_somebody_stops_a_dry_run(bot, lobby):
    group = ask(bot, ["@dora"], [lobby])

    job_groups.cancel(group)

    assert go_on(group).state == GroupState.STOPPED
    assert not group.items.exists()


# Running ----------------------------------------------------------------------------------------


def test_a_group_runs_as_jobs_of_the_bulk_kind_and_says_what_became_of_each(bot, lobby, attic):
    people(bot, "anna", "bert")

    group = ran(bot, ["@anna", "@bert", "@dora"], [lobby, attic])

    assert group.state == GroupState.FINISHED
    assert set(fates(group).values()) == {"DONE", "NOTHING"}
    assert members(lobby) == members(attic) == {"echo", "anna", "bert", "dora"}
    assert {job.priority for job in group.jobs.all()} == {Priority.BULK}
    assert group.jobs.count() == 2
    assert {job.requested_by for job in group.jobs.all()} == {"alice"}


def test_no_job_has_more_people_than_the_platform_takes(bot, lobby):
    people(bot, *(f"p{n}" for n in range(150)))

    group = ran(bot, [f"@p{n}" for n in range(150)], [lobby])

    assert sorted(len(job.payload["people"]) for job in group.jobs.all()) == [50, 100]
    assert len(members(lobby)) == 152


def test_a_double_click_runs_it_once(bot, lobby):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby])

    job_groups.run(group)
    job_groups.run(group)

    assert go_on(group).jobs.count() == 1


def test_what_has_finished_does_not_run_once_more(bot, lobby):
    people(bot, "anna")
    group = ran(bot, ["@anna"], [lobby])

    with pytest.raises(Conflict, match="has finished"):
        job_groups.run(group)

    assert go_on(group).jobs.count() == 1


def test_what_cannot_be_done_is_left_out_before_it_runs(bot, lobby):
    people(bot, "anna")
    group = checked(bot, ["@anna", "@nobody"], [lobby])

    with pytest.raises(Conflict, match="Leave them out"):
        job_groups.run(group)
    assert job_groups.leave_out(group) == 1
    job_groups.run(group)

    assert fates(go_on(group)) == {("@anna", "lobby"): "DONE", ("@nobody", "lobby"): "LEFT_OUT"}


def test_a_dry_run_of_more_than_an_hour_ago_is_to_be_repeated(bot, lobby):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby])
    JobGroup.objects.update(checked_at=timezone.now() - timedelta(hours=1, seconds=1))

    with pytest.raises(Conflict, match="older than an hour"):
        job_groups.run(group)
    job_groups.check_again(group)
    go_on(group)
    assert group.items.count() == 1  # of the dry run before nothing is left
    job_groups.run(group)

    assert go_on(group).state == GroupState.FINISHED


def test_a_dry_run_that_finds_nothing_to_do_cannot_be_run(bot, lobby):
    group = checked(bot, ["@dora"], [lobby])

    with pytest.raises(Conflict, match="nothing to do"):
        job_groups.run(group)


def test_each_is_told_their_own_outcome_also_where_members_become_moderators(bot, lobby):
    people(bot, "carl", "zed")
    group = checked(bot, ["@dora", "@carl", "@zed"], [lobby], moderator=True)
    LocalAccount.objects.filter(username="zed").delete()

    job_groups.run(group)
    go_on(group)

    assert group.jobs.count() == 1
    assert fates(group) == {
        ("@dora", "lobby"): "DONE",
        ("@carl", "lobby"): "DONE",
        ("@zed", "lobby"): "FAILED",
    }


def test_only_those_it_failed_for_are_tried_again(bot, lobby, attic):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby, attic])
    faulty.script(faulty.before(Forbidden("not now")), operation="add_participants")
    job_groups.run(group)
    go_on(group)
    assert (group.state, group.failed_count) == (GroupState.FINISHED, 1)
    failed = group.items.get(state=Fate.FAILED)
    assert (failed.code, failed.detail) == ("remote_forbidden", "not now")

    assert job_groups.try_again(group, Fate.FAILED) == 1

    go_on(group)
    assert (group.state, group.failed_count) == (GroupState.FINISHED, 0)
    assert group.jobs.count() == 3
    assert members(lobby) >= {"anna"}
    assert members(attic) >= {"anna"}


def test_a_job_that_is_retried_on_its_own_page_counts_for_its_group(bot, lobby):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby])
    faulty.script(faulty.before(Forbidden("not now")), operation="add_participants")
    job_groups.run(group)
    assert go_on(group).failed_count == 1

    jobs.retry(group.jobs.get())

    go_on(group)
    assert (group.state, group.failed_count) == (GroupState.FINISHED, 0)
    assert fates(group) == {("@anna", "lobby"): "DONE"}


def test_what_waits_can_be_cancelled(bot, lobby, attic):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby, attic])
    job_groups.run(group)
    job_groups.work(group.pk)  # makes the jobs

    job_groups.cancel(group)

    assert go_on(group).state == GroupState.FINISHED
    assert set(fates(group).values()) == {"CANCELLED"}
    assert members(attic) == {"echo"}


def test_what_comes_back_from_a_worker_after_cancelling_is_cancelled_too(bot, lobby):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby])
    job_groups.run(group)
    job_groups.work(group.pk)  # makes the job
    Job.objects.update(state=WorkState.RUNNING)  # a worker has taken it
    job_groups.cancel(group)
    job_groups.work(group.pk)

    Job.objects.update(state=WorkState.QUEUED)  # and had no time for it

    assert go_on(group).state == GroupState.FINISHED
    assert fates(group) == {("@anna", "lobby"): "CANCELLED"}
    assert "anna" not in members(lobby)


def test_nobody_is_called_cancelled_of_whom_it_is_not_known(bot, lobby):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby])
    limit = RateLimited("slowly", retry_after=120)
    faulty.script(faulty.after(limit), operation="add_participants")
    job_groups.run(group)
    go_on(group)

    job_groups.cancel(group)
    go_on(group)

    assert (group.state, group.failed_count) == (GroupState.FINISHED, 1)
    assert group.items.get().code == "unclear"
    let_time_pass()
    job_groups.try_again(group, Fate.FAILED)
    assert fates(go_on(group)) == {("@anna", "lobby"): "DONE"}


def test_what_was_cancelled_can_be_taken_up_again(bot, lobby, attic):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby, attic])
    job_groups.run(group)
    job_groups.work(group.pk)
    job_groups.cancel(group)
    go_on(group)

    assert job_groups.try_again(group, Fate.CANCELLED) == 2

    assert set(fates(go_on(group)).values()) == {"DONE"}
    assert group.cancelled_at is None


def test_a_job_of_a_cancelled_group_that_somebody_retries_is_done(bot, lobby):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby])
    job_groups.run(group)
    job_groups.work(group.pk)
    job_groups.cancel(group)
    go_on(group)

    jobs.retry(group.jobs.get())

    assert fates(go_on(group)) == {("@anna", "lobby"): "DONE"}
    assert "anna" in members(lobby)


def test_a_job_that_was_removed_before_anybody_looked_does_not_hold_up_its_group(bot, lobby):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby])
    job_groups.run(group)
    job_groups.work(group.pk)

    Job.objects.all().delete()

    assert (go_on(group).state, group.failed_count) == (GroupState.FINISHED, 1)
    assert group.items.get().code == "job_removed"


def test_a_permission_that_was_taken_away_meanwhile_fails_what_was_planned(bot, lobby):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby])
    bot.renew(permissions=[str(Permission.POST)])

    job_groups.run(group)

    assert go_on(group).failed_count == 1
    assert group.items.get().code == "not_permitted"


# Undoing ----------------------------------------------------------------------------------------


def test_undoing_takes_back_what_the_group_changed_and_nothing_else(bot, lobby, attic):
    people(bot, "anna")
    group = ran(bot, ["@anna", "@dora"], [lobby, attic])

    undoing = go_on(job_groups.undo(group, requested_by="alice"))

    assert undoing.undoes == group
    assert undoing.state == GroupState.FINISHED
    assert members(lobby) == {"echo", "dora"}  # she was there before
    assert members(attic) == {"echo"}


def test_who_moderated_does_so_again(bot, lobby):
    ran(bot, ["@dora"], [lobby], moderator=True)
    people(bot, "anna")
    ran(bot, ["@anna"], [lobby])
    group = ran(bot, ["@anna", "@dora"], [lobby], kind=GroupKind.REMOVE)
    assert members(lobby) == {"echo"}

    go_on(job_groups.undo(group, requested_by="alice"))

    assert members(lobby) == {"echo", "anna", "dora"}
    assert moderators(lobby) == {"echo", "dora"}


def test_a_group_is_undone_once_however_often_it_is_asked_for(bot, lobby):
    people(bot, "anna")
    group = ran(bot, ["@anna"], [lobby])

    first = job_groups.undo(group, requested_by="alice")
    second = job_groups.undo(group, requested_by="alice")

    assert first == second


def test_what_was_undone_is_not_tried_again(bot, lobby, attic):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby, attic])
    faulty.script(faulty.before(Forbidden("not now")), operation="add_participants")
    job_groups.run(group)
    assert go_on(group).failed_count == 1
    undoing = go_on(job_groups.undo(group, requested_by="alice"))

    with pytest.raises(Conflict, match="A later change takes this back"):
        job_groups.try_again(group, Fate.FAILED)
    with pytest.raises(Conflict, match="A later change takes back"):
        jobs.retry(group.jobs.get(state=WorkState.FAILED))

    assert go_on(group).failed_count == 1
    assert group.jobs.filter(state=WorkState.FAILED).count() == 1
    assert "anna" not in members(lobby) | members(attic)
    job_groups.undo(undoing, requested_by="alice")  # which can be undone itself


def test_undoing_that_was_cancelled_before_it_began_is_taken_up_again(bot, lobby):
    people(bot, "anna")
    group = ran(bot, ["@anna"], [lobby])
    undoing = job_groups.undo(group, requested_by="alice")
    job_groups.cancel(undoing)
    assert fates(go_on(undoing)) == {("@anna", "lobby"): "CANCELLED"}
    assert "anna" in members(lobby)

    job_groups.try_again(undoing, Fate.CANCELLED)

    assert fates(go_on(undoing)) == {("@anna", "lobby"): "DONE"}
    assert "anna" not in members(lobby)


def test_undoing_can_be_undone(bot, lobby):
    people(bot, "anna")
    group = ran(bot, ["@anna"], [lobby])
    undoing = go_on(job_groups.undo(group, requested_by="alice"))

    go_on(job_groups.undo(undoing, requested_by="alice"))

    assert members(lobby) == {"echo", "dora", "anna"}


def test_nothing_is_undone_where_nothing_was_changed_or_is_still_running(bot, lobby):
    people(bot, "anna")
    group = checked(bot, ["@anna"], [lobby])
    with pytest.raises(Conflict):
        job_groups.undo(group, requested_by="alice")
    job_groups.run(group)
    job_groups.work(group.pk)
    job_groups.cancel(group)

    with pytest.raises(Conflict, match="changed nothing"):
        job_groups.undo(go_on(group), requested_by="alice")


# Keeping ----------------------------------------------------------------------------------------


def test_groups_go_when_their_jobs_may_those_that_were_undone_after_what_undid_them(bot, lobby):
    people(bot, "anna")
    group = ran(bot, ["@anna"], [lobby])
    go_on(job_groups.undo(group, requested_by="alice"))
    dry = checked(bot, ["@anna"], [lobby])
    long_ago = timezone.now() - timedelta(days=bot.space.keep_jobs_days + 1)
    JobGroup.objects.exclude(pk=dry.pk).update(finished_at=long_ago)

    job_groups.tidy()
    assert JobGroup.objects.filter(pk=group.pk).exists()
    job_groups.tidy()

    assert list(JobGroup.objects.all()) == [dry]
    assert GroupItem.objects.count() == 1
    assert Job.objects.count() == 2
