"""Signatures, as others who read the same specification verify them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from bots import signing

BODY = '{"type": "message.posted", "data": {"text": "grüße"}}'.encode()


def signed(*secrets: str, body: bytes = BODY, id: str = "evt_7", sent_at: datetime | None = None):
    return signing.headers(id, sent_at or datetime.now(UTC), body, secrets)


def test_a_receiver_with_the_secret_verifies_what_was_sent():
    secret = signing.new_secret()

    assert Webhook(secret).verify(BODY, signed(secret))["data"] == {"text": "grüße"}


def test_the_headers_are_those_of_the_reference():
    secret = signing.new_secret()
    sent_at = datetime(2026, 5, 4, 3, 2, 1, 999_999, tzinfo=UTC)

    headers = signed(secret, sent_at=sent_at)

    assert headers == {
        "webhook-id": "evt_7",
        "webhook-timestamp": "1777863721",
        "webhook-signature": Webhook(secret).sign("evt_7", sent_at, BODY.decode()),
    }


def test_while_a_secret_changes_receivers_with_either_one_verify():
    new, old = signing.new_secret(), signing.new_secret()

    headers = signed(new, old)

    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (new, old):
        Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(signing.new_secret()).verify(BODY, headers)


@pytest.mark.parametrize("changed", ["body", "webhook-id", "webhook-timestamp"])
def test_what_was_changed_on_its_way_is_not_verified(changed):
    secret = signing.new_secret()
    sent_at = datetime.now(UTC)
    headers = signed(secret, sent_at=sent_at)
    another = signed(secret, id="evt_8", sent_at=sent_at - timedelta(seconds=1))

    body = BODY + b" " if changed == "body" else BODY
    headers = {**headers, changed: another.get(changed, "")}

    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(secret).verify(body, headers)


def test_a_new_secret_is_unlike_any_other_and_has_32_bytes():
    secrets = {signing.new_secret() for _ in range(20)}

    assert len(secrets) == 20
    assert {len(base64.b64decode(each.removeprefix("whsec_"))) for each in secrets} == {32}


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize("size", [24, 32, 64])
def test_secrets_of_the_allowed_sizes_are_taken(size):
    signing.check_secret(secret_of(size))


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("", "starts with whsec_"),
        (secret_of(32).removeprefix("whsec_"), "starts with whsec_"),
        ("whsec_", "24 to 64 bytes, this one 0"),
        (secret_of(23), "24 to 64 bytes, this one 23"),
        (secret_of(65), "24 to 64 bytes, this one 65"),
        ("whsec_" + "hunter2!" * 5, "not base64"),
        ("whsec_" + "hunter2" * 5 + "ü", "not base64"),
        (secret_of(32).rstrip("="), "not base64"),
    ],
)
def test_a_secret_that_will_not_do_is_refused_without_being_repeated(secret, why):
    with pytest.raises(signing.SecretInvalid, match=why) as refused:
        signing.check_secret(secret)
    with pytest.raises(signing.SecretInvalid, match=why):
        signed(secret)

    assert "hunter2" not in str(refused.value)


def test_nothing_is_sent_without_a_signature():
    with pytest.raises(signing.SecretInvalid):
        signed()


@pytest.mark.parametrize("id", ["", "evt.7", "evt 7", "evt\r\n7", "évt"])
def test_an_id_that_could_be_read_in_two_ways_is_refused(id):
    with pytest.raises(ValueError, match="id of a webhook"):
        signed(signing.new_secret(), id=id)
