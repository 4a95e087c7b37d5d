"""Who may ask for a command, and where; and who cannot pass for somebody who may."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from bots.handlers import Call, command, forget, moderators, on, registered
from bots.testing.chat import Chat, HandlerFailed
from bots.tests.builders import make_bot, make_channel, make_person, run_lanes
from bots.tests.test_handlers import tell
from spaces.platforms.messages import (
    ChannelKind,
    NewChannel,
    Outgoing,
    PersonInfo,
    PersonRef,
)

moderating: list[bool] = []


@on("message.posted", name="test_ask_who_moderates")
def ask_who_moderates(call: Call) -> None:
    moderating.append(moderators(call))


@pytest.fixture
def only_for(chat: Chat) -> Iterator[Callable[..., None]]:
    """Lets the bot know `!open`, for `who` and `where`."""

    def make(**options: object) -> None:
        def open_it(call: Call) -> None:
            call.reply("Open.")

        command("open", name="test_open", **options)(open_it)
        chat.switch_on(open_it)

    yield make
    if "test_open" in registered():
        forget("test_open")


REFUSED = "Sorry, `open` is not for you to ask for."


def test_an_id_is_not_met_by_a_name_that_looks_like_it(chat, only_for):
    alice = chat.person("alice")
    impostor = chat.person(alice.info.id)
    only_for(who=alice.info.id)

    impostor.says("!open")
    assert chat.last.text == REFUSED

    alice.says("!open")
    assert chat.last.text == "Open."


def test_a_username_is_not_met_by_an_id_or_another_spelling(chat, only_for):
    alice = chat.person("alice")
    only_for(who=(f"@{alice.info.id}", "@bob"))

    for person in (alice, chat.person("Bob")):
        person.says("!open")
        assert chat.last.text == REFUSED

    chat.person("bob").says("!open")
    assert chat.last.text == "Open."


def test_a_bare_word_is_no_username(chat, only_for):
    only_for(who="alice")

    chat.person("alice").says("!open")

    assert chat.last.text == REFUSED


def test_an_address_is_met_in_any_case_and_by_no_letter_that_looks_like_it(chat, only_for):
    only_for(who="Sam@example.com")

    chat.person("sam", email="sam@example.com").says("!open")
    assert chat.last.text == "Open."

    chat.person("mas", email="\N{LATIN SMALL LETTER LONG S}am@example.com").says("!open")
    assert chat.last.text == REFUSED


def test_a_function_that_returns_a_promise_lets_nobody_in(chat, only_for):
    class Later:
        def __await__(self) -> Iterator[None]:
            yield

    only_for(who=lambda call: Later())

    with pytest.raises(HandlerFailed, match="something to await"):
        chat.person("alice").says("!open")

    assert chat.said == []


def test_a_title_is_no_name_of_a_channel(chat, only_for):
    # Given a command for #ops, and a group of Mallory's that she calls ops
    only_for(where="#ops")
    chat.channel("ops")
    mallory = make_person("mallory", space=chat.bot.space)
    new = NewChannel(key="", kind=ChannelKind.PUBLIC, name="mine", title="ops")
    group, _ = mallory.create_channel(new)
    mallory.add_participants(group.id, [PersonRef(username="bot")])
    chat.settle()

    # When she asks there
    mallory.post_message(Outgoing(key="1", channel=group.id, text="!open"))
    chat.settle()

    # Then it is refused
    assert chat.last.text == "Sorry, `open` can be asked for in #ops only."

    # And in the real one it is not
    chat.person("mallory").says("!open", channel="#ops")
    assert chat.last.text == "Open."


def test_a_channel_is_met_by_its_id_and_not_by_a_name_that_looks_like_it(chat, only_for):
    ops = chat.channel("ops")
    alice = chat.person("alice")
    only_for(where=ops)

    alice.says("!open", channel=ops)  # a channel whose name is that id
    assert chat.last.text == f"Sorry, `open` can be asked for in the channel {ops} only."

    alice.says("!open", channel="ops")
    assert chat.last.text == "Open."


@pytest.mark.django_db
def test_a_bot_moderates_nothing_even_under_the_id_of_who_does():
    # Given a channel, and a webhook that posts under the id of its moderator
    moderating.clear()
    bot = make_bot(handlers=["test_ask_who_moderates"])
    channel = make_channel(bot)
    maker = PersonInfo(id=bot.person.remote_id, is_bot=True)

    tell(bot, channel, "hello", person=maker)
    run_lanes()

    assert moderating == [False]


NOBODY = [(), [], "", " ", "@", ["@alice", ""]]
NOWHERE = [(), [], "", " ", "#", ["#ops", ""]]


@pytest.mark.parametrize(
    ("what", "given"), [*(("who", one) for one in NOBODY), *(("where", one) for one in NOWHERE)]
)
def test_nobody_and_nowhere_are_not_taken_for_everybody_and_anywhere(what, given):
    with pytest.raises(ValueError, match=what):
        command("open", name="test_open", **{what: given})(lambda call: None)

    assert "test_open" not in registered()


def test_words_are_no_person():
    with pytest.raises(ValueError, match="write @username"):
        command("open", name="test_open", who="Alice Jones")(lambda call: None)
