"""What a handler can do with its call: replies, files, changes, reactions, later, and once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bots import files, handlers
from bots.files import Handed
from bots.handlers import Call, Card, File, on
from bots.models import HandlerRun, Job, Permission, StoredFile, WorkState
from bots.refusals import NotPermitted
from bots.testing.chat import HandlerFailed

acts: list[Callable[[Call], object]] = []


@on("message.posted", "reaction.added", name="test_actor")
def actor(call: Call) -> None:
    for act in list(acts):
        act(call)


@pytest.fixture(autouse=True)
def _no_acts():
    yield
    acts.clear()


@pytest.fixture
def alice(chat):
    chat.switch_on(actor)
    return chat.person("alice")


def fail_once(call: Call) -> None:
    acts.remove(fail_once)
    raise RuntimeError("late")


def until_it_works(chat, alice, text: str = "go") -> None:
    """The first try fails at its end, the second does not."""
    acts.append(fail_once)
    with pytest.raises(HandlerFailed, match="late"):
        alice.says(text)
    chat.passes(seconds=5)
    assert HandlerRun.objects.latest("pk").state == WorkState.SUCCEEDED


def test_a_reply_carries_files_from_text_bytes_paths_and_the_store(chat, alice, tmp_path: Path):
    path = tmp_path / "c.txt"
    path.write_text("from a path")
    with path.open("rb") as content:
        stored = files.store(chat.bot, [Handed(name="d.txt", content=content, size=11)])[0]
    wanted = [File("a.txt", "text"), File("b.bin", b"\x00\x01"), path, File("c2.txt", path), stored]
    acts.append(lambda call: call.reply("Here.", card=Card(title="All"), files=wanted))

    alice.says("files?")

    assert chat.last.text == "Here."
    assert chat.last.card == Card(title="All")
    assert chat.last.files == {
        "a.txt": b"text",
        "b.bin": b"\x00\x01",
        "c.txt": b"from a path",
        "c2.txt": b"from a path",
        "d.txt": b"from a path",
    }


def test_a_turn_that_runs_again_sends_its_files_once(chat, alice):
    acts.append(lambda call: call.reply(files=[File("a.txt", "a")]))

    until_it_works(chat, alice)

    assert [one.files for one in chat.said] == [{"a.txt": b"a"}]
    assert StoredFile.objects.get().job == Job.objects.get(payload__has_key="files")


def test_files_of_a_bot_that_may_not_post_are_not_even_kept(chat, alice):
    chat.configure(permissions=[])
    acts.append(lambda call: call.reply(files=[File("a.txt", "a")]))

    with pytest.raises(HandlerFailed, match=NotPermitted.__name__):
        alice.says("go")

    assert not StoredFile.objects.exists()


def test_a_file_that_somebody_sent_can_be_read(chat, alice):
    acts.append(lambda call: call.reply(call.read(call.files[0]).decode().upper()))

    alice.says("shout", files={"quiet.txt": b"hello"})

    assert chat.last.text == "HELLO"


def test_a_reply_is_changed_and_taken_back_once_it_was_sent(chat, alice):
    def work(call: Call) -> None:
        progress = call.reply("Working …")
        spoiler = call.reply("Oops")
        progress.edit("Done.")
        spoiler.delete()

    acts.append(work)
    alice.says("go")

    assert [one.text for one in chat.said] == ["Done."]
    assert chat.bot.messages.get(text="Done.").edited_at is not None


def test_a_private_reply_is_changed_as_well(chat, alice):
    acts.append(lambda call: call.reply_privately("one").edit("two"))

    alice.says("go")

    assert (chat.last.text, chat.last.to) == ("two", "alice")


def test_a_reply_that_comes_later_is_changed_later(chat, alice):
    acts.append(lambda call: call.reply("soon", at=timedelta(minutes=5)).edit("now"))
    alice.says("go")
    assert chat.said == []

    chat.passes(minutes=5)

    assert [one.text for one in chat.said] == ["now"]


def test_a_reply_that_was_not_sent_cannot_be_changed(chat, alice):
    def answer(call: Call) -> None:
        reply = call.reply("never", at=timedelta(minutes=5))
        Job.objects.filter(pk=reply.job.pk).update(state=WorkState.CANCELLED)
        reply.edit("ever")

    acts.append(answer)
    alice.says("go")

    with pytest.raises(AssertionError, match="nothing_sent"):
        chat.passes(minutes=5)


def test_a_turn_that_runs_again_changes_and_reacts_once(chat, alice):
    def work(call: Call) -> None:
        call.typing()
        call.react("eyes")
        call.reply("one").edit("two")

    acts.append(work)
    until_it_works(chat, alice)

    kinds = sorted(Job.objects.exclude(kind="bot.sync").values_list("kind", flat=True))
    assert kinds == ["channel.typing", "message.edit", "message.post", "reaction.add"]


def test_a_message_is_reacted_to(chat, alice):
    acts.append(lambda call: call.react("eyes"))

    assert alice.says("look").reactions == ["eyes"]


def test_a_reaction_is_answered_where_it_was_given(chat, alice):
    said = alice.says("look", channel="ops")
    acts.append(lambda call: call.reply(call.event.data["reaction"]))

    alice.reacts("tada", said)

    assert (chat.last.text, chat.last.channel) == ("tada", "ops")


def test_replies_reach_the_channel_the_thread_the_person_and_others(chat, alice):
    def work(call: Call) -> None:
        call.reply("here")
        call.reply_in_thread("there")
        call.reply_privately("psst")
        call.send("elsewhere", channel="#ops")
        call.send("to Bob", person="bob")

    chat.channel("ops")
    chat.person("bob")
    acts.append(work)
    asked = alice.says("go")

    told = {one.text: one for one in chat.said}
    assert (told["here"].thread, told["there"].thread) == (None, asked)
    assert (told["psst"].to, told["to Bob"].to) == ("alice", "bob")
    assert told["elsewhere"].channel == "ops"


def test_what_is_answered_in_a_thread_stays_in_it(chat, alice):
    acts.append(lambda call: call.reply("again"))
    first = alice.says("go")

    alice.says("go on", thread=first)

    assert chat.last.thread == first


def test_a_time_to_send_at_needs_a_zone(chat, alice):
    acts.append(lambda call: call.reply("soon", at=datetime(2026, 1, 5)))
    with pytest.raises(HandlerFailed, match="needs a time zone"):
        alice.says("go")

    acts[:] = [lambda call: call.reply("past", at=datetime(2026, 1, 5, tzinfo=UTC))]
    chat.passes(seconds=5)
    assert chat.last.text == "past"


def test_an_event_has_the_same_id_whenever_it_is_handled(chat, alice):
    ids: list[str] = []
    acts.append(lambda call: ids.append(call.event_id))

    until_it_works(chat, alice)
    alice.says("another")

    assert ids[0] == ids[1] != ids[2]
    assert handlers.registered()["test_actor"].timeout == 60


def test_who_may_not_react_sees_it_fail(chat, alice):
    chat.configure(permissions=[Permission.POST])
    acts.append(lambda call: call.react("eyes"))

    with pytest.raises(HandlerFailed, match=NotPermitted.__name__):
        alice.says("look")
