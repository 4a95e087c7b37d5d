"""The contract as stories. Every platform's tests inherit them and set the scene.

    class TestWebex(PlatformConformance):
        @pytest.fixture
        def scene(self, webex_server) -> Scene:
            return Scene(bot=…, other=…, channel=…, stranger=PersonRef(username="charlie"))

Stories of abilities that a platform does not declare are skipped; that calling them is refused
without a word to the server is a story of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from spaces.platforms import trace
from spaces.platforms.contract import OPERATIONS, Ability, mismatches
from spaces.platforms.errors import Rejected, Unsupported
from spaces.platforms.messages import CustomRequest, Kind
from spaces.testing._stories_of_channels import StoriesOfChannels
from spaces.testing._stories_of_messages import StoriesOfMessages
from spaces.testing._stories_of_receiving import StoriesOfReceiving
from spaces.testing.scene import ARGUMENTS, Scene, listening, text_for


class PlatformConformance(StoriesOfMessages, StoriesOfChannels, StoriesOfReceiving):
    @pytest.fixture
    def scene(self) -> Scene:
        raise NotImplementedError("every platform sets its own scene")

    @pytest.fixture
    def needs(self, scene: Scene) -> Callable[..., None]:
        def check(*abilities: Ability) -> None:
            if missing := set(abilities) - scene.bot.abilities:
                pytest.skip(f"{scene.bot.label} cannot {', '.join(sorted(missing))}")

        return check

    # What is declared -------------------------------------------------------------------------

    def test_it_can_do_what_it_declares_and_nothing_else(self, scene):
        assert mismatches(type(scene.bot)) == []

    def test_what_it_cannot_do_it_refuses_before_anything_is_sent(self, scene):
        for ability in set(OPERATIONS) - scene.bot.abilities:
            for operation in OPERATIONS[ability]:
                with scene.nothing_sent(), pytest.raises(Unsupported):
                    getattr(scene.bot, operation)(*ARGUMENTS.get(operation, ()))

    # Identity ---------------------------------------------------------------------------------

    def test_it_says_who_the_bot_is(self, scene):
        first, again = scene.bot.connect(), scene.bot.connect()

        assert first.person.id
        assert first.person == again.person
        assert first.person.id != scene.other.connect().person.id

    def test_its_server_answers_before_anybody_has_logged_in(self, scene, needs):
        needs(Ability.REACH)

        assert scene.bot.reach().level == "ok"

    def test_a_rehearsal_tells_the_same_as_what_is_in_earnest(self, scene):
        with scene.bot.rehearsal():
            rehearsed = scene.bot.connect()

        assert rehearsed.person == scene.bot.connect().person

    def test_findings_have_a_level_that_operators_know(self, scene):
        findings = scene.bot.check(scene.bot.connect())

        assert {finding.level for finding in findings} <= {"ok", "warning", "error"}

    def test_closing_twice_is_fine(self, scene):
        scene.bot.close()
        scene.bot.close()

    def test_secrets_show_neither_in_repr_nor_in_the_trace(self, scene):
        secrets = scene.bot.account.credentials
        with trace.collect(secrets) as seen:
            scene.bot.connect()
            scene.bot.post_message(text_for(scene, "nothing to see"))

        shown = repr((scene.bot, scene.bot.account, seen, seen.request, seen.response))
        assert seen.request
        assert seen.response
        assert [name for name, secret in secrets.items() if secret and secret in shown] == []

    # Receipts ---------------------------------------------------------------------------------

    def test_a_read_receipt_reaches_the_author(self, scene, needs):
        needs(Ability.MARK_READ, Ability.STREAM)
        if not scene.tells_reads:
            pytest.skip(f"{scene.bot.label} does not tell others")
        sent = scene.other.post_message(text_for(scene, "did you see this?"))

        with listening(scene.other) as heard:
            scene.bot.mark_read(scene.channel, sent.message_id)
            told = heard(Kind.MESSAGE_READ)

        assert (told.message_id, told.person) == (sent.message_id, scene.bot.connect().person)

    def test_the_read_receipt_setting_changes_or_says_why_not(self, scene, needs):
        needs(Ability.READ_RECEIPTS)
        refused = ""
        try:
            scene.bot.set_read_receipts(False)
        except Rejected as error:
            refused = error.code

        assert refused in ("", "read_receipts_locked")
        assert scene.bot.connect().read_receipts is bool(refused)

    # Whatever else there is -------------------------------------------------------------------

    def test_what_is_asked_in_the_platforms_own_words_is_answered(self, scene, needs):
        needs(Ability.CUSTOM_REQUEST)

        known = scene.bot.custom_request(CustomRequest(method="GET", path=scene.known_path))
        unknown = scene.bot.custom_request(CustomRequest(method="GET", path="/no/such/path"))

        assert (known.status, bool(known.body)) == (200, True)
        assert unknown.status >= 400

    def test_a_request_does_not_lead_out_of_the_platforms_api(self, scene, needs):
        needs(Ability.CUSTOM_REQUEST)

        with pytest.raises(Rejected):
            scene.bot.custom_request(CustomRequest(method="GET", path="/../../elsewhere"))
