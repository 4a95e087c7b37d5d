import ipaddress
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from botadmin import env


@pytest.mark.parametrize(
    ("read", "given", "value"),
    [
        (lambda: env.text("X", "fallback"), " hello ", "hello"),
        (lambda: env.text("X", "fallback"), "", "fallback"),
        (lambda: env.integer("X", 5, least=0, most=10), "7", 7),
        (lambda: env.integer("X", 5, least=0, most=10), "", 5),
        (lambda: env.number("X", 1.5, least=0, most=10), "0.25", 0.25),
        (lambda: env.boolean("X", False), "Yes", True),
        (lambda: env.boolean("X", True), "off", False),
        (lambda: env.choice("X", "INFO", ("INFO", "DEBUG")), "debug", "DEBUG"),
        (lambda: env.strings("X"), "a, b,,c ", ["a", "b", "c"]),
        (lambda: env.url("X", "", schemes=("redis",)), "redis://h:1/0", "redis://h:1/0"),
        (lambda: env.networks("X"), "10.0.0.0/8", [ipaddress.ip_network("10.0.0.0/8")]),
        (lambda: env.time_zone("X", "UTC"), "Europe/Berlin", "Europe/Berlin"),
        (lambda: env.secrets("X"), "one,two", ["one", "two"]),
    ],
)
def test_a_sensible_value_is_read(monkeypatch, read, given, value):
    monkeypatch.setenv("X", given)

    assert read() == value


@pytest.mark.parametrize(
    ("read", "given", "expected"),
    [
        (lambda: env.integer("X", 5, least=0, most=10), "11", "a whole number from 0 to 10"),
        (lambda: env.integer("X", 5, least=0, most=10), "1.5", "a whole number"),
        (lambda: env.integer("X", 5, least=0, most=10), "--5", "a whole number"),
        (lambda: env.number("X", 1, least=0, most=10), "nan", "a number from 0 to 10"),
        (lambda: env.number("X", 1, least=0, most=10), "soon", "a number from 0 to 10"),
        (lambda: env.boolean("X", False), "maybe", "on or off"),
        (lambda: env.choice("X", "INFO", ("INFO", "DEBUG")), "loud", "one of INFO, DEBUG"),
        (lambda: env.origins("X"), "bots.example.com", "origins like https://"),
        (lambda: env.apps("X"), "no.such.app", "packages"),
        (lambda: env.networks("X"), "10.0.0.1/8", "networks like 10.0.0.0/8"),
        (lambda: env.folder("X", Path("/")), __file__, "a directory, but this is a file"),
        (lambda: env.time_zone("X", "UTC"), "Mars/Olympus", "a time zone like"),
    ],
)
def test_nonsense_is_refused_in_one_line_that_names_it(monkeypatch, read, given, expected):
    monkeypatch.setenv("X", given)

    with pytest.raises(ImproperlyConfigured) as refusal:
        read()

    message = str(refusal.value)
    assert message.startswith(f"X is {given!r}, expected ")
    assert expected in message
    assert "\n" not in message


def test_the_refusal_of_a_url_keeps_its_password_to_itself(monkeypatch):
    monkeypatch.setenv("X", "mysql://root:hunter2@db/x")

    with pytest.raises(ImproperlyConfigured) as refusal:
        env.url("X", "", schemes=("postgres",))

    assert "hunter2" not in str(refusal.value)
    assert "postgres://" in str(refusal.value)


def test_a_secret_may_come_from_a_file(monkeypatch, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    monkeypatch.setenv("X_FILE", str(tmp_path / "token"))

    assert env.secret("X") == "s3cret"


def test_a_secret_given_twice_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("X", "s3cret")
    monkeypatch.setenv("X_FILE", str(tmp_path / "token"))

    with pytest.raises(ImproperlyConfigured, match="X and X_FILE are both set") as refusal:
        env.secret("X")

    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", None])
def test_a_secret_file_that_holds_none_is_refused(monkeypatch, tmp_path, content):
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    monkeypatch.setenv("X_FILE", str(tmp_path / "token"))

    with pytest.raises(ImproperlyConfigured, match="X_FILE is"):
        env.secret("X")
