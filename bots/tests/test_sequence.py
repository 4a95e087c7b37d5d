"""One order that readers can trust: who read up to a number never misses what comes later."""

from __future__ import annotations

import threading
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.utils import timezone

from bots import sequence, tasks, wakeups
from bots.models import Event, SequenceEntry, Unnumbered
from bots.sequence import Wanted
from bots.tests.builders import make_bot, make_channel, make_event, make_job, run_lanes
from spaces.platforms.messages import Kind

pytestmark = pytest.mark.django_db

ALL = Wanted()


def read(wanted: Wanted = ALL, *, after: int = 0, limit: int = 100) -> list[int]:
    """The ids of the events that a reader gets."""
    pages = sequence.read(wanted, after=after, limit=limit)
    return [entry.event_id for page in pages for entry in page.entries]


def test_events_get_numbers_in_the_order_in_which_they_were_stored():
    bot = make_bot()
    sequence.number()
    before = sequence.head()
    events = [make_event(bot) for _ in range(3)]

    assert sequence.number() == 3

    assert read(after=before) == [event.pk for event in events]
    assert sequence.head() == before + 3
    assert not Unnumbered.objects.exists()


def test_what_jobs_and_connections_tell_is_numbered_as_well():
    bot = make_bot()
    sequence.number()
    before = sequence.head()

    make_job(bot, make_channel(bot))
    run_lanes()
    sequence.number()

    told = SequenceEntry.objects.filter(seq__gt=before)
    assert Kind.JOB_FINISHED in told.values_list("kind", flat=True)


def test_what_is_stored_once_has_one_number():
    bot = make_bot()
    sequence.number()
    event = make_event(bot, dedupe_key="the same")
    again = Event(
        bot=bot, kind=event.kind, dedupe_key="the same", occurred_at=timezone.now(), data={}
    )

    sequence.store_once([again])

    assert sequence.number() == 1
    assert SequenceEntry.objects.filter(event=event).count() == 1


def test_an_event_that_was_removed_before_its_turn_leaves_no_trace():
    bot = make_bot()
    sequence.number()
    make_event(bot).delete()
    kept = make_event(bot)

    sequence.number()

    assert read(after=sequence.head() - 1) == [kept.pk]


def test_numbers_are_never_given_again():
    bot = make_bot()
    make_event(bot)
    sequence.number()
    last = sequence.head()
    Event.objects.all().delete()

    event = make_event(bot)
    sequence.number()

    assert event.entry.seq == last + 1


def test_readers_choose_by_kind_bot_and_channel():
    bot, other = make_bot(), make_bot("other")
    lobby = make_channel(bot)
    sequence.number()
    before = sequence.head()
    here = make_event(bot, lobby)
    nowhere = make_event(bot)
    of_other = make_event(other, kind=Kind.TYPING)
    of_nobody = make_event(None, kind=Kind.INCIDENT_OPENED)
    sequence.number()

    assert read(after=before) == [here.pk, nowhere.pk, of_other.pk, of_nobody.pk]
    assert read(Wanted(bots={bot.pk}), after=before) == [here.pk, nowhere.pk]
    assert read(Wanted(channels={lobby.pk}), after=before) == [here.pk]
    assert read(Wanted(kinds={Kind.TYPING}), after=before) == [of_other.pk]
    assert read(Wanted(bots=set()), after=before) == []


def test_pages_are_short_and_say_where_to_go_on(monkeypatch):
    monkeypatch.setattr(sequence, "WINDOW", 4)
    bot = make_bot()
    sequence.number()
    before = sequence.head()
    events = [make_event(bot, kind=Kind.TYPING if n == 9 else Kind.GAP) for n in range(10)]
    sequence.number()

    rare = list(sequence.read(Wanted(kinds={Kind.TYPING}), after=before, limit=2))
    all_pages = list(sequence.read(ALL, after=before, limit=3))

    assert [len(page.entries) for page in rare] == [0, 0, 1]
    assert rare[-1].seq == before + 10
    assert [e.event_id for p in all_pages for e in p.entries] == [event.pk for event in events]
    assert [page.seq - before for page in all_pages] == [3, 6, 9, 10]


def test_a_moment_is_found_in_the_sequence():
    bot = make_bot()
    sequence.number()
    before = sequence.head()
    events = [make_event(bot) for _ in range(9)]
    sequence.number()
    for n, event in enumerate(events):
        stored_at = timezone.now() - timedelta(hours=9 - n)
        Event.objects.filter(pk=event.pk).update(stored_at=stored_at)
    Event.objects.filter(entry__seq__lte=before).update(
        stored_at=timezone.now() - timedelta(days=1)
    )

    assert sequence.before(timezone.now() - timedelta(hours=4.5)) == before + 5
    assert sequence.before(timezone.now() - timedelta(days=9)) == 0
    assert sequence.before(timezone.now()) == before + 9


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_a_transaction_that_ends_late_is_never_passed_over():
    bot = make_bot()
    sequence.number()
    before = sequence.head()
    stored, go_on = threading.Event(), threading.Event()
    ids = {}

    def store_slowly() -> None:
        with transaction.atomic():
            ids["late"] = make_event(bot).pk
            stored.set()
            assert go_on.wait(60)
        connection.close()

    slow = threading.Thread(target=store_slowly)
    slow.start()
    assert stored.wait(60)
    ids["early"] = make_event(bot).pk
    sequence.number()
    first = read(after=before)
    position = sequence.head()
    go_on.set()
    slow.join()
    sequence.number()

    assert ids["late"] < ids["early"]
    assert first == [ids["early"]]
    assert read(after=position) == [ids["late"]]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_many_who_number_at_once_give_each_number_once():
    bot = make_bot()
    sequence.number()
    before = sequence.head()

    def store_and_number() -> None:
        for _ in range(20):
            make_event(bot)
            sequence.number()
        connection.close()

    threads = [threading.Thread(target=store_and_number) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sequence.number()  # what the last one was too late for, who left it to another

    numbers = list(SequenceEntry.objects.filter(seq__gt=before).values_list("seq", flat=True))
    assert numbers == list(range(before + 1, before + 81))
    assert not Unnumbered.objects.exists()


def test_what_the_migration_finds_numbered_already_it_leaves():
    begins = import_module("bots.migrations.0007_the_sequence_begins")
    bot = make_bot()
    numbered = make_event(bot)
    sequence.number()
    before = sequence.head()
    old = Event(bot=bot, kind=Kind.GAP, dedupe_key="old", occurred_at=timezone.now(), data={})
    old.save()

    for _ in range(2):
        begins.begin(apps, None)
        sequence.number()

    assert read(after=before) == [old.pk]
    assert SequenceEntry.objects.filter(event=numbered).count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_numbering_does_not_wait_for_who_removes_a_bot():
    bot, other = make_bot(), make_bot("other")
    sequence.number()
    before = sequence.head()
    make_event(bot)
    kept = make_event(other)
    removing, go_on = threading.Event(), threading.Event()

    def remove_slowly() -> None:
        with transaction.atomic():
            bot.delete()
            removing.set()
            assert go_on.wait(60)
        connection.close()

    slow = threading.Thread(target=remove_slowly)
    slow.start()
    assert removing.wait(60)
    sequence.number()
    go_on.set()
    slow.join()

    assert read(after=before) == [kept.pk]


def test_a_worker_that_is_asked_to_sort_leaves_it_to_its_post_office():
    bot = make_bot()
    sequence.number()
    make_event(bot)
    asked = threading.Event()
    wakeups.sort_here(asked.set)
    try:
        tasks.sort_events()
    finally:
        wakeups.sort_here(None)

    assert asked.is_set()
    assert Unnumbered.objects.count() == 1
