"""Adding a bot step by step: platform, space, bot, first channels."""

import html
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import strip_tags

from bots import clients, lifecycle
from bots.api import outside
from bots.models import AuditEntry, Bot, Credential, Job, JobKind, State, WorkState
from bots.tests import cast
from bots.tests.builders import (
    make_bot,
    make_channel,
    make_person,
    make_space,
    run_lanes,
)
from bots.tests.trouble import early_in_a_half_minute
from spaces.models import Space
from spaces.models.local import LocalAccount
from spaces.platforms.errors import Forbidden, Unavailable
from spaces.platforms.messages import ChannelKind, NewChannel
from spaces.testing import faulty
from spaces.testing.mattermost import SimulatedMattermost
from spaces.testing.mattermost.making import PASSWORD

pytestmark = pytest.mark.django_db

SECRET = "open-sesame-42"
NEW = {"name": "Door Keeper", "slug": "keeper", "receive": "websocket", "credential_secret": SECRET}
BY_HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _no_clients_of_other_stories():
    # Rolled back transactions give ids out again.
    clients.close_idle(older_than=0)


def add_page(**query) -> str:
    return reverse("admin:bots_bot_add", query=query)


@contextmanager
def all_places_taken(settings) -> Iterator[None]:
    with ExitStack() as waiting:
        for _ in range(settings.BOTADMIN_WEB_THREADS // 2):
            waiting.enter_context(outside.place())
        yield


def page_of(name: str, bot: Bot, **query) -> str:
    return reverse(f"admin:bots_bot_{name}", args=[bot.pk], query=query)


def text_of(answer) -> str:
    return html.unescape(answer.content.decode())


def press(client, space: Space, button: str, **entered):
    """As the page does it: what comes back replaces what was found before."""
    return client.post(add_page(space=space.pk), NEW | entered | {"do": button}, headers=BY_HTMX)


# Platform and space -----------------------------------------------------------------------------


def test_it_begins_with_what_each_platform_can():
    page = text_of(cast.root().get(add_page()))

    assert "?platform=local" in page
    assert "?platform=mattermost" in page
    assert "Step 1 of 4" in page


@pytest.mark.parametrize(
    "query",
    [{"platform": "irc"}, {"space": "x"}, {"space": "-1"}, {"space": "9" * 30}, {"space": "²"}],
)
def test_an_address_that_means_nothing_leads_to_the_first_step(query):
    answer = cast.root().get(add_page(**query))

    assert answer.status_code == 200
    assert "Step 1 of 4" in text_of(answer)


def test_the_spaces_of_the_platform_are_offered_and_others_are_not():
    here = make_space("here", name="Head Office")
    make_space("there", name="Elsewhere", platform="mattermost", url="http://127.0.0.1:1")

    page = text_of(cast.root().get(add_page(platform="local")))

    assert "Head Office" in page
    assert add_page(space=here.pk) in page
    assert "Elsewhere" not in page


def test_a_new_space_needs_its_name_and_no_more():
    answer = cast.root().post(add_page(platform="local"), {"name": "Head Office"})

    space = Space.objects.get()
    assert answer.url == add_page(space=space.pk)
    assert (space.slug, space.platform, space.options) == ("head-office", "local", {})
    assert AuditEntry.objects.filter(action="space.created").count() == 1


def test_a_name_without_latin_letters_asks_for_a_slug():
    answer = cast.root().post(add_page(platform="local"), {"name": "本社"})

    assert "enter one" in text_of(answer)
    assert not Space.objects.exists()


def test_a_wrong_setting_opens_what_is_folded():
    entered = {"name": "Head Office", "option_poll_seconds": "0"}

    answer = cast.root().post(add_page(platform="local"), entered)

    assert answer.context["form"].opens_fold()
    assert "must be at least 1" in text_of(answer)


def test_what_few_look_for_is_folded_once_more_and_opened_by_an_error():
    space, root = make_space(), cast.root()
    wrong = NEW | {"option_fault_seed": "7", "option_fault_stall_percent": "101"}

    fresh = root.get(add_page(space=space.pk)).context["form"]
    refused = root.post(add_page(space=space.pk), wrong).context["form"]

    assert [fold.name for fold in fresh.folds()] == ["Faults, brought about on purpose"]
    assert not any("fault" in field.name for field in fresh.folded())
    assert not fresh.opens_fold()
    assert refused.opens_fold()
    assert refused.folds()[0].is_open


def test_a_server_that_does_not_answer_is_told_and_nothing_stored_unless_somebody_insists():
    root = cast.root()
    entered = {"name": "Chat", "url": "http://127.0.0.1:1"}

    answer = root.post(add_page(platform="mattermost"), entered)

    assert "cannot be reached" in text_of(answer)
    assert not Space.objects.exists()
    root.post(add_page(platform="mattermost"), entered | {"anyway": "1"})
    assert Space.objects.get().url == "http://127.0.0.1:1"


def test_a_server_that_answers_is_told_of():
    with SimulatedMattermost() as server:
        entered = {"name": "Chat", "url": server.url}
        page = text_of(cast.root().post(add_page(platform="mattermost"), entered, follow=True))

    assert "Mattermost 11" in page


def test_an_address_where_something_else_answers_is_told_with_what_to_do():
    with SimulatedMattermost() as server:
        entered = {"name": "Chat", "url": f"{server.url}/elsewhere"}
        page = text_of(cast.root().post(add_page(platform="mattermost"), entered))

    assert "There is no Mattermost at this URL." in page
    assert "without the name of a team" in page
    assert not Space.objects.exists()


def test_only_the_bots_that_one_sees_are_counted():
    bot = make_bot("hers")
    make_bot("his")

    page = text_of(cast.alice(bot).get(add_page(platform="local")))

    assert "<span>1 bot</span>" in page


def test_who_sees_only_some_bots_adds_no_space():
    bot = make_bot("hers")
    alice = cast.alice(bot)

    page = text_of(alice.get(add_page(platform="local")))

    assert bot.space.name in page
    assert "A new space" not in page
    assert alice.post(add_page(platform="local"), {"name": "Mine"}).status_code == 403
    assert Space.objects.count() == 1


# The bot ----------------------------------------------------------------------------------------


def test_a_test_tells_who_it_would_be_and_stores_nothing():
    space = make_space()

    page = text_of(press(cast.root(), space, "test"))

    assert "Logged in as keeper" in page
    assert "It works." in page
    assert SECRET not in page
    assert not Bot.objects.exists()
    assert not LocalAccount.objects.exists()
    assert not Credential.objects.exists()


def test_a_second_test_within_half_a_minute_does_not_call_a_good_code_bad():
    with SimulatedMattermost() as server:
        server.make.user("alice")
        secret = server.make.mfa_secret("alice")
        space = make_space("chat", platform="mattermost", url=server.url)
        entered = {"credential_login": "alice", "credential_password": PASSWORD}
        entered["credential_mfa"] = secret
        root = cast.root()
        early_in_a_half_minute(server)

        first = text_of(press(root, space, "test", **entered))
        second = text_of(press(root, space, "test", **entered, name="Other"))

    assert "Logged in as alice" in first
    assert "the next one comes in" in second


def test_where_nobody_can_be_asked_no_test_says_that_it_works():
    space = make_space("chat", platform="mattermost-webhook")
    entered = {"credential_webhook_url": "http://127.0.0.1:1/hooks/x", "receive": "off"}

    page = text_of(press(cast.root(), space, "test", **entered))

    assert "It works." not in page
    assert "Logged in" not in page
    assert "It can be saved." in page


def test_where_too_many_wait_for_platforms_it_is_said_and_can_be_tried_again(settings):
    root, local = cast.root(), make_space()
    entered = {"name": "Chat", "url": "http://127.0.0.1:1"}

    with all_places_taken(settings):
        reached = text_of(root.post(add_page(platform="mattermost"), entered))
        tested = text_of(press(root, local, "test"))

    for page in (reached, tested):
        assert "Too many requests are waiting for platforms" in page
    assert "It works." in text_of(press(root, local, "test"))


def test_a_bot_is_saved_after_a_test_that_passed():
    space, root = make_space(), cast.root()
    press(root, space, "test")

    answer = press(root, space, "save", handlers=["echo"])

    bot = Bot.objects.get(slug="keeper")
    assert answer["HX-Redirect"] == page_of("first_channels", bot)
    assert (bot.space, bot.handlers, bot.options) == (space, ["echo"], {})
    assert len(bot.permissions) == 8
    assert bot.connection.state == State.OFF
    assert Credential.objects.get().changed_by.get_username() == "root"
    assert lifecycle.check(bot).ok
    assert not AuditEntry.objects.filter(action="bot.added_untested").exists()


@pytest.mark.parametrize("changed", [{"credential_secret": "other"}, {"slug": "other"}])
def test_what_was_changed_after_the_test_is_not_saved_just_so(changed):
    space, root = make_space(), cast.root()
    press(root, space, "test")

    page = text_of(press(root, space, "save", **changed))

    assert "changed after the test" in page
    assert not Bot.objects.exists()


def test_a_bot_is_saved_untested_when_somebody_insists_and_the_log_tells_why():
    space, root = make_space(), cast.root()

    page = text_of(press(root, space, "save"))
    assert "were not tested" in page
    assert not Bot.objects.exists()

    press(root, space, "anyway")
    assert Bot.objects.get().slug == "keeper"
    assert "not tested" in AuditEntry.objects.get(action="bot.added_untested").note


def test_a_test_that_fails_says_what_to_do_and_does_not_open_the_way():
    taken, root = make_bot("taken"), cast.root()
    entered = {"option_username": taken.slug}

    page = text_of(press(root, taken.space, "test", **entered))

    assert "The password of taken is another one." in page
    assert "Correct the credentials, or which account they are for" in page
    assert "on the bot" not in page  # there is none yet
    assert "Save anyway" in page
    press(root, taken.space, "save", **entered)
    assert Bot.objects.count() == 1


def test_a_needed_credential_that_is_missing_is_named():
    page = text_of(press(cast.root(), make_space(), "test", credential_secret=""))

    assert "Account password" in page
    assert "This field is required" in page


def test_a_platform_with_several_ways_in_wants_one_of_them():
    space = make_space("chat", platform="mattermost", url="http://127.0.0.1:1")

    page = text_of(press(cast.root(), space, "test"))

    assert "neither a token nor a login" in page


def test_the_page_says_where_to_find_a_token_in_the_words_of_the_platform():
    space = make_space("chat", platform="mattermost", url="http://127.0.0.1:1")

    page = text_of(cast.root().get(add_page(space=space.pk)))

    assert "System Console, Integrations, Bot Accounts" in page
    assert "Invite People" in page


def test_a_bot_of_a_server_is_tested_with_its_token():
    with SimulatedMattermost() as server:
        server.make.admin()
        _, token = server.make.bot("helper", owner="admin")
        server.make.team("acme", "admin", "helper")
        space = make_space("chat", platform="mattermost", url=server.url)
        root = cast.root()

        page = text_of(press(root, space, "test", credential_token=token))
        press(root, space, "save", credential_token=token)
        bot = Bot.objects.get()
        found = text_of(root.get(page_of("channels_found", bot)))

    assert "Logged in as helper" in page
    assert "It is in the teams acme." in page
    assert "Town Square" in found


def test_without_a_script_it_works_too():
    space, root = make_space(), cast.root()
    url = add_page(space=space.pk)

    page = text_of(root.post(url, NEW | {"do": "test"}))
    assert "It works." in page
    assert SECRET not in page

    answer = root.post(url, NEW | {"do": "save"})
    assert answer.url == page_of("first_channels", Bot.objects.get())


def test_a_form_with_an_error_does_not_give_the_credential_back():
    answer = cast.root().post(add_page(space=make_space().pk), NEW | {"name": "", "do": "test"})

    assert answer.status_code == 200
    assert SECRET not in text_of(answer)


def test_a_reference_that_is_too_long_is_an_error_of_the_form():
    page = text_of(press(cast.root(), make_space(), "anyway", credential_secret="$" + "A" * 255))

    assert "at most 255 characters" in page
    assert not Bot.objects.exists()


def test_a_slug_that_is_taken_is_an_error_of_the_form():
    taken = make_bot("keeper")

    page = text_of(press(cast.root(), taken.space, "test"))

    assert "already exists" in page


def test_who_adds_a_bot_sees_it_and_is_led_on():
    hers = make_bot("hers")
    alice = cast.alice(hers)

    answer = press(alice, hers.space, "anyway")

    bot = Bot.objects.get(slug="keeper")
    assert answer["HX-Redirect"] == page_of("first_channels", bot)
    assert alice.get(answer["HX-Redirect"]).status_code == 200


def test_charlie_adds_nothing_where_he_sees_no_bot():
    space = make_space()

    answer = press(cast.charlie(), space, "anyway")

    assert answer.status_code == 200
    assert not Bot.objects.exists()


def test_bob_adds_nothing():
    bot = make_bot()
    bob = cast.bob(bot)

    assert bob.get(add_page(space=bot.space_id)).status_code == 403
    assert press(bob, bot.space, "anyway").status_code == 403
    for name in ("first_channels", "channels_found", "hello", "hello_now"):
        assert bob.get(page_of(name, bot)).status_code == 403
        assert bob.post(page_of(name, bot), {}).status_code in (403, 405)
        assert (
            cast.browser(cast.person(f"c-{name}", cast.RUNS)).get(page_of(name, bot)).status_code
            == 404
        )


# First channels ---------------------------------------------------------------------------------


@pytest.fixture
def bot() -> Bot:
    return make_bot("keeper", name="Keeper")


def make_room(bot: Bot, name: str, kind: ChannelKind = ChannelKind.PUBLIC) -> str:
    """A room of somebody else; returns its id."""
    new = NewChannel(key="", kind=kind, name=name, title=name.title())
    return make_person("dagobert", space=bot.space).create_channel(new)[0].id


def choose(client, bot: Bot, **entered):
    return client.post(page_of("first_channels", bot), {"once": "1"} | entered)


def test_channels_it_is_in_are_ticked_and_those_it_could_join_can_be(bot):
    mine = make_channel(bot, "mine")
    open_room = make_room(bot, "open")
    make_room(bot, "hidden", ChannelKind.PRIVATE)

    page = text_of(cast.root().get(page_of("channels_found", bot)))

    assert f'value="{mine.remote_id}" checked disabled' in page
    assert f'value="{open_room}">' in page
    assert "Hidden" not in page


def test_what_is_ticked_named_and_created_becomes_jobs_that_the_next_page_follows(bot):
    ticked, root = make_room(bot, "ticked"), cast.root()
    make_room(bot, "named")

    answer = choose(root, bot, join=[ticked], named="#named", title="News", channel_kind="private")
    before = text_of(root.get(answer.url))
    run_lanes()
    after = text_of(root.get(answer.url))

    assert "0 of 4 done" in before
    assert "4 of 4 done" in after
    kinds = [JobKind.JOIN_CHANNEL, JobKind.JOIN_CHANNEL, JobKind.CREATE_CHANNEL, JobKind.SYNC]
    assert list(Job.objects.order_by("pk").values_list("kind", flat=True)) == kinds
    for title in ("Ticked", "Named", "News"):
        assert f'Say hello<span class="unseen"> in {title}' in after


def test_ids_that_no_database_holds_become_harmless(bot):
    choose(cast.root(), bot, join=["a\0b"], **{"title-a\ufffdb": "c\0d"})

    joined = Job.objects.get(kind=JobKind.JOIN_CHANNEL)
    assert "\0" not in joined.payload["channel"] + joined.payload["name"]


def test_what_was_ticked_stays_ticked_when_something_else_is_wrong(bot):
    room, root = make_room(bot, "open"), cast.root()

    answer = choose(root, bot, join=[room], title="x" * 65)
    found = root.post(answer.context["found_url"], {"join": [room]})

    assert f'name="join" value="{room}"' in text_of(answer)  # sent along
    assert f'value="{room}" checked>' in text_of(found)


def test_many_that_are_ticked_make_no_long_address_and_stay_when_nobody_can_be_asked():
    bot = make_bot("keeper", space=make_space(platform="faulty"))
    rooms, root = [f"room-{number}" for number in range(200)], cast.root()
    titles = {f"title-{room}": room.title() for room in rooms}

    answer = choose(root, bot, join=rooms, **titles)
    faulty.script(faulty.before(Unavailable("Not now.")), operation="list_channels")
    found = text_of(root.post(answer.context["found_url"], {"join": rooms} | titles))
    faulty.reset()

    assert answer.status_code == 200
    assert "That are too many at once: at most 49." in text_of(answer)
    assert len(answer.context["found_url"]) < 100
    assert "The channels could not be read." in found
    for page in (text_of(answer), found):
        assert page.count('name="join"') == 200
        assert 'name="title-room-7" value="Room-7"' in page
    assert not Job.objects.exists()


def test_a_guest_who_may_not_look_around_sees_where_it_is():
    bot = make_bot("keeper", space=make_space(platform="faulty"))
    mine, root = make_channel(bot, "mine"), cast.root()
    url = page_of("channels_found", bot)

    faulty.script(faulty.before(Forbidden("Guests may not.")), operation="list_joinable_channels")
    as_guest = text_of(root.get(url))
    faulty.script(faulty.before(KeyError("id")), operation="list_channels")
    broken = text_of(root.get(url))
    faulty.reset()

    assert f'value="{mine.remote_id}" checked disabled' in as_guest
    assert "The channels could not be read." in broken
    assert "the log has the details" in broken


def test_where_too_many_wait_the_list_can_be_asked_for_again(bot, settings, monkeypatch):
    monkeypatch.setattr(outside, "PATIENCE_SECONDS", 0.01)

    with all_places_taken(settings):
        page = text_of(cast.root().get(page_of("channels_found", bot)))

    assert "Too many requests are waiting for platforms" in page
    assert "Try again</button>" in page


def test_pressing_twice_asks_once(bot):
    room, root = make_room(bot, "open"), cast.root()

    first, second = (choose(root, bot, join=[room]).url for _ in range(2))

    assert first == second
    assert Job.objects.filter(kind=JobKind.JOIN_CHANNEL).count() == 1


def test_nothing_chosen_leads_on_and_asks_nothing(bot):
    answer = choose(cast.root(), bot)

    assert answer.url == page_of("hello", bot)
    assert not Job.objects.exists()


def test_what_the_bot_may_not_is_said(bot):
    Bot.objects.update(permissions=["post"])

    answer = choose(cast.root(), bot, title="News")

    assert "no permission 'channels'" in text_of(answer)
    assert not Job.objects.exists()


def test_a_platform_that_lets_nobody_in_is_told_with_what_to_do(bot):
    lifecycle.set_credentials(bot, {"secret": "wrong"}, user=None)

    page = text_of(cast.root().get(page_of("channels_found", bot)))

    assert "The channels could not be read." in page
    assert reverse("admin:bots_bot_credentials", args=[bot.pk]) in page


def test_the_bot_says_hello_once_in_a_channel(bot):
    channel, root = make_channel(bot, "lobby"), cast.root()

    urls = {root.post(page_of("hello", bot), {"channel": channel.pk}).url for _ in range(2)}
    run_lanes()

    assert len(urls) == 1
    job = Job.objects.get(kind=JobKind.POST)
    assert (job.state, job.payload["text"]) == (WorkState.SUCCEEDED, "Hello, I am Keeper.")
    assert "greeted" in text_of(root.get(urls.pop()))


def test_a_greeting_that_is_not_out_is_not_called_one_and_one_that_failed_is_tried_anew(bot):
    channel, root = make_channel(bot, "lobby"), cast.root()
    url = root.post(page_of("hello", bot), {"channel": channel.pk}).url
    waiting = text_of(root.get(url))
    Job.objects.filter(kind=JobKind.POST).update(state=WorkState.FAILED)
    failed = text_of(root.get(url))

    first = Job.objects.get(kind=JobKind.POST)
    root.post(url, {"channel": channel.pk, "after": first.pk})

    for page in (waiting, failed):
        assert "greeted" not in page
    assert "under way" in waiting
    assert f'name="after" value="{first.pk}"' in failed
    assert Job.objects.filter(kind=JobKind.POST).count() == 2


def test_a_channel_to_join_that_is_not_there_is_told_to_somebody_who_is_not_in_it(bot):
    root = cast.root()
    form = root.get(page_of("first_channels", bot)).context["form"]
    wanted = {"once": form["once"].value(), "named": "opss"}
    follow = root.post(page_of("first_channels", bot), wanted).url
    run_lanes()

    page = text_of(root.get(follow))

    assert "There is no channel opss. Check the name." in " ".join(strip_tags(page).split())
    assert "that the bot is a member" not in page


def test_the_newest_of_many_jobs_is_followed(bot):
    channel, root = make_channel(bot, "lobby"), cast.root()
    many = [_job_of(bot) for _ in range(50)]

    answer = root.post(page_of("hello", bot, job=many), {"channel": channel.pk})

    assert "Say hello in" in text_of(root.get(answer.url))


@pytest.mark.parametrize("channel", ["", "x", "0", "9" * 30])
def test_a_channel_that_is_none_is_not_there(bot, channel):
    assert cast.root().post(page_of("hello", bot), {"channel": channel}).status_code == 404


def test_a_page_shows_no_jobs_of_other_bots(bot):
    other = make_bot("other")
    job = Job.objects.get(pk=_job_of(other))

    page = text_of(cast.root().get(page_of("hello", bot, job=[job.pk, "x", "9" * 30])))

    assert "What is under way" not in page


def _job_of(bot: Bot) -> int:
    return lifecycle.sync(bot, requested_by="test").pk


def test_the_page_asks_the_database_no_more_for_many_channels_than_for_few(bot):
    root = cast.root()

    def queries(names: list[str]) -> int:
        answer = choose(root, bot, once=names[0], named=",".join(names))
        for name in names:
            make_room(bot, name)
        run_lanes()
        with CaptureQueriesContext(
            connection,
        ) as caught:
            assert root.get(answer.url).status_code == 200
        return len(caught)

    assert queries(["a1"]) == queries([f"b{number}" for number in range(15)])


def test_the_spaces_to_choose_are_counted_in_one_query():
    root = cast.root()

    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            assert root.get(add_page(platform="local")).status_code == 200
        return len(caught)

    make_bot("one", space=make_space("s1"))
    few = queries()
    for number in range(2, 12):
        make_space(f"s{number}")
    assert queries() == few
