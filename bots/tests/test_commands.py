"""Commands: who is meant, with which arguments, who may, and help."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator

import pytest

from bots.handlers import Call, command, forget, moderators, on, registered
from bots.models import HandlerRun, Permission
from bots.testing.chat import HandlerFailed

heard: list[object] = []


@command("deploy {service} {env:prod|test?}", name="test_deploy")
def deploy(call: Call, service: str, env: str = "test") -> None:
    """Deploy a service.

    To the test environment, unless you say otherwise.
    """
    call.reply(f"Deploying {service} to {env} …")


@command("deploy all {wave:int}", name="test_deploy_all")
def deploy_all(call: Call, wave: int) -> None:
    call.reply(f"Deploying all of wave {wave} …")


@command("note {what...?}", name="test_note")
def note(call: Call, what: str | None) -> None:
    """Take a note."""
    heard.append(what)


@command("reboot", name="test_reboot", who=("@alice", "carla@example.com"), where="#ops")
def reboot(call: Call) -> None:
    """Reboot everything."""
    call.reply("Rebooting.")


@command("tidy", name="test_tidy", who=moderators, where="channel")
def tidy(call: Call) -> None:
    """Tidy the channel."""
    call.reply("Tidied.")


@command("confess", name="test_confess", where="direct")
def confess(call: Call) -> None:
    """Confess."""
    call.reply("I will tell nobody.")


@command("help", name="test_own_help")
def own_help(call: Call) -> None:
    call.reply("Help yourself.")


@command("break", name="test_break")
def break_it(call: Call) -> None:
    """Break."""
    raise RuntimeError("broken")


@on("message.posted", name="test_overhearer")
def overhear(call: Call) -> None:
    heard.append(call.text)


@pytest.fixture(autouse=True)
def _silence():
    yield
    heard.clear()


@pytest.fixture
def alice(chat):
    return chat.person("alice")


def said(chat) -> list[str]:
    return [one.text for one in chat.said]


def test_a_command_is_called_with_its_arguments(chat, alice):
    chat.switch_on(deploy)

    alice.says("!deploy api prod")
    alice.says('!Deploy "the api"')

    assert said(chat) == ["Deploying api to prod …", "Deploying the api to test …"]


@pytest.mark.parametrize("text", ["!deploy api", "@bot deploy api", "@Bot: deploy api"])
def test_in_a_channel_a_command_begins_with_the_prefix_or_a_mention(chat, alice, text):
    chat.switch_on(deploy)

    alice.says(text)

    assert chat.last.text == "Deploying api to test …"


@pytest.mark.parametrize(
    "text", ["deploy api", "! deploy api", "!!", "@bots deploy api", "well, !deploy api", "!", "…"]
)
def test_what_is_said_otherwise_is_no_command_and_costs_no_turn(chat, alice, text):
    chat.switch_on(deploy)

    alice.says(text)

    assert said(chat) == []
    assert not HandlerRun.objects.exists()


def test_directly_a_command_needs_nothing_before_it(chat, alice):
    chat.switch_on(deploy)

    alice.says_directly("deploy api")
    alice.says_directly("!deploy web")

    assert said(chat) == ["Deploying api to test …", "Deploying web to test …"]
    assert chat.last.to == "alice"


def test_a_slash_command_is_a_command(chat, alice):
    chat.switch_on(deploy)

    alice.invokes("/deploy api prod")
    alice.invokes("/bot deploy web")

    assert said(chat) == ["Deploying api to prod …", "Deploying web to test …"]


def test_the_prefix_is_an_option(chat, alice):
    chat.switch_on(deploy)
    chat.configure(options={"command_prefix": "./"})

    alice.says("!deploy api")
    alice.says("./deploy web")
    assert said(chat) == ["Deploying web to test …"]

    chat.configure(options={"command_prefix": ""})
    alice.says("./deploy api")
    alice.says("@bot deploy db")
    assert said(chat)[1:] == ["Deploying db to test …"]


def test_of_commands_with_one_word_the_one_that_fits_is_run(chat, alice):
    chat.switch_on(deploy, deploy_all)

    alice.says("!deploy all 3")
    assert chat.last.text == "Deploying all of wave 3 …"

    alice.says("!deploy all 3 4")
    assert chat.last.text.endswith(
        "Usage: `!deploy <service> [prod|test]`\nUsage: `!deploy all <wave>`"
    )


def test_other_handlers_hear_a_command_as_any_message(chat, alice):
    chat.switch_on(deploy, overhear)

    alice.says("!deploy api")

    assert heard == ["!deploy api"]


def test_wrong_arguments_are_explained_in_the_thread(chat, alice):
    chat.switch_on(deploy)

    asked = alice.says("!deploy api moon")

    assert chat.last.text == (
        "env is one of prod, test, not “moon”.\n\nUsage: `!deploy <service> [prod|test]`"
    )
    assert chat.last.thread == asked


def test_wrong_arguments_of_a_slash_command_are_explained_to_who_used_it(chat, alice):
    chat.switch_on(deploy)

    alice.invokes("/deploy")

    assert chat.last.text == "service is missing.\n\nUsage: `/deploy <service> [prod|test]`"
    assert chat.last.to == "alice"


def test_an_optional_argument_that_is_missing_is_none(chat, alice):
    chat.switch_on(note)

    alice.says("!note")
    alice.says("!note two  words")

    assert heard == [None, "two  words"]


def test_a_command_that_fails_shows_in_the_test(chat, alice):
    chat.switch_on(break_it)

    with pytest.raises(HandlerFailed, match="RuntimeError: broken"):
        alice.says("!break")


def test_bots_give_no_commands(chat):
    chat.switch_on(deploy, overhear)

    chat.robot("machine").says("!deploy api")

    assert said(chat) == []
    assert heard == ["!deploy api"]


# Who, and where ---------------------------------------------------------------------------------


def test_who_may_not_is_told_so_politely_and_alone(chat, alice):
    chat.switch_on(reboot)
    alice.says("!reboot", channel="#ops")
    assert chat.last.text == "Rebooting."

    chat.person("bob").says("!reboot", channel="#ops")
    assert chat.last.text == "Sorry, `reboot` is not for you to ask for."
    assert chat.last.to == "bob"

    chat.person("carla", email="carla@example.com").says("!reboot", channel="#ops")
    assert chat.last.text == "Rebooting."


def test_where_it_may_not_be_asked_for_is_told(chat, alice):
    chat.switch_on(reboot, confess)

    alice.says("!reboot")
    assert chat.last.text == "Sorry, `reboot` can be asked for in #ops only."

    alice.says("!confess")
    assert chat.last.text == "Sorry, `confess` can be asked for in a direct conversation only."

    alice.says_directly("confess")
    assert chat.last.text == "I will tell nobody."


def test_a_bot_that_may_not_write_directly_refuses_in_the_channel(chat):
    chat.switch_on(reboot)
    chat.configure(permissions=[Permission.POST])

    chat.person("bob").says("!reboot", channel="ops")

    assert (chat.last.text, chat.last.channel) == (
        "Sorry, `reboot` is not for you to ask for.",
        "ops",
    )


def test_moderators_are_asked_for_by_a_function(chat, alice):
    chat.switch_on(tidy)
    bob = chat.person("bob")
    bob.joins("lobby")
    chat.appoint("bob", "lobby")

    alice.says("!tidy")
    assert chat.last.text.startswith("Sorry")

    bob.says("!tidy")
    assert chat.last.text == "Tidied."


# Help -------------------------------------------------------------------------------------------


def test_help_lists_what_this_person_may_ask_for_here(chat, alice):
    chat.switch_on(deploy, reboot, tidy, confess)

    asked = alice.says("!help", channel="ops")
    assert chat.last.text == (
        "What you can ask for here:\n\n"
        "- `!deploy <service> [prod|test]` Deploy a service.\n"
        "- `!reboot` Reboot everything.\n"
        "- `!help [command …]` Tell what you can ask for here, or how one command is used."
    )
    assert chat.last.thread == asked

    alice.says_directly("help")
    assert "- `confess` Confess." in chat.last.text
    assert "reboot" not in chat.last.text


def test_help_tells_how_a_command_is_used(chat, alice):
    chat.switch_on(deploy)

    for asked in ("!help deploy", "!help !DEPLOY"):
        alice.says(asked)
        assert chat.last.text == (
            "`!deploy <service> [prod|test]`\n\n"
            "Deploy a service.\n\nTo the test environment, unless you say otherwise."
        )

    alice.says("!help reboot")
    assert chat.last.text.startswith("There is no `reboot` for you here")


def test_a_bot_without_commands_knows_no_help(chat, alice):
    chat.switch_on(overhear)

    alice.says("!help")

    assert said(chat) == []


def test_an_app_may_have_a_help_of_its_own_under_another_name(chat, alice):
    chat.switch_on(own_help)

    alice.says("!help")

    assert said(chat) == ["Help yourself."]


# What was typed ---------------------------------------------------------------------------------


def test_what_was_typed_comes_back_harmless(chat, alice):
    chat.switch_on(deploy)

    alice.says("!deploy api @all")
    assert chat.last.text.startswith("env is one of prod, test, not “＠all”.")

    alice.says('!deploy api test "x\n# PAY [here](http://evil.example)"')
    assert chat.last.text.startswith(
        "“x ＃ PAY (here)(http:∕∕evil.example)” is too much.\n\nUsage:"
    )

    alice.says('!help "`@all"')
    assert chat.last.text == "There is no `'＠all` for you here; `!help` tells what there is."

    alice.says(f"!deploy api {'a' * 3_000}")
    assert len(chat.last.text) < 200


def test_usage_is_shown_in_our_words_however_the_bot_was_called(chat, alice):
    chat.switch_on(deploy)
    chat.configure(options={"command_prefix": ""})

    alice.says("@BOT,\n\ndeploy")

    assert chat.last.text.endswith("Usage: `@bot deploy <service> [prod|test]`")


# Registration -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "options", "why"),
    [
        ("deploy {service}", {}, "cannot be called as"),
        ("{service}", {}, "begins with no word"),
        ("deploy", {"name": "echo"}, "two handlers are called echo"),
        ("deploy", {"name": "help"}, "built in"),
        ("deploy", {"name": "test_deploy"}, "two handlers are called test_deploy"),
        ("deploy", {"timeout": 0}, "a timeout is up to"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(pattern, options, why):
    def function(call: Call) -> None:
        """Nothing."""

    with pytest.raises(ValueError, match=why):
        command(pattern, **{"name": "test_nonsense"} | options)(function)

    assert "test_nonsense" not in registered()


def test_one_function_under_one_name_is_one_command():
    def greet(call: Call) -> None:
        """Greet."""

    command("hello", name="test_greet")(greet)
    try:
        command("hello", name="test_greet")(greet)  # once more is no harm
        with pytest.raises(ValueError, match="two handlers are called test_greet"):
            command("goodbye", name="test_greet")(greet)
    finally:
        forget("test_greet")


def test_a_module_may_be_imported_anew(tmp_path, monkeypatch):
    (tmp_path / "greetings_of_a_test.py").write_text(
        "from bots.handlers import command\n\n"
        "def is_guest(call):\n    return True\n\n"
        "@command('hello', name='test_greet', who=is_guest)\n"
        "def greet(call):\n    call.reply('Hello!')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        module = importlib.import_module("greetings_of_a_test")
        importlib.reload(module)

        assert registered()["test_greet"].function is module.greet
    finally:
        forget("test_greet")
        del sys.modules["greetings_of_a_test"]


async def wait_for_it(call: Call) -> None:
    """Nobody would await this."""


async def may_wait(call: Call) -> bool:
    return False


def give_one_by_one(call: Call) -> Iterator[None]:
    yield


class Waiting:
    async def __call__(self, call: Call) -> None:
        """Nobody would await this either."""


@pytest.mark.parametrize(
    "register",
    [
        lambda: command("wait", name="test_waiter")(wait_for_it),
        lambda: on("message.posted", name="test_waiter")(wait_for_it),
        lambda: on("message.posted", name="test_waiter")(give_one_by_one),
        lambda: on("message.posted", name="test_waiter")(Waiting()),
        lambda: command("wait", name="test_waiter", who=may_wait)(lambda call: None),
        lambda: command("wait", name="test_waiter", who=("@alice", may_wait))(lambda call: None),
    ],
)
def test_what_would_never_run_is_refused_at_once(register):
    with pytest.raises(ValueError, match="async or a generator"):
        register()

    assert "test_waiter" not in registered()
