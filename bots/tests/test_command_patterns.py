"""Patterns of commands, and what people type for them."""

from __future__ import annotations

import pytest

from bots.handling.patterns import Pattern, Unreadable, check_signature, words


def read(pattern: str, text: str):
    return Pattern.parse(pattern).read(text)


@pytest.mark.parametrize(
    ("pattern", "text", "arguments"),
    [
        ("ping", "PING", {}),
        ("who is on call", "Who  is\non call", {}),
        ("deploy {service}", "deploy api", {"service": "api"}),
        ("deploy {service} {env?}", "deploy api", {"service": "api"}),
        ("deploy {service} {env?}", "deploy api prod", {"service": "api", "env": "prod"}),
        ("deploy {service}", 'deploy "the api"', {"service": "the api"}),
        ("deploy {service}", "deploy “the api”", {"service": "the api"}),
        ("deploy {service}", 'deploy ""', {"service": ""}),
        ("say {word} {rest...}", 'say "a b" c  "d"\ne ', {"word": "a b", "rest": 'c  "d"\ne'}),
        ("say {word} {rest...}", "say it's so", {"word": "it's", "rest": "so"}),
        ("say {word}", 'say 5"', {"word": '5"'}),
        ("say {word}", 'say "5', {"word": '"5'}),
        ("say {rest...?}", "say", {}),
        ("say {rest...?}", "say a  b", {"rest": "a  b"}),
        ("wait {n:int}", "wait -5", {"n": -5}),
        ("wait {n:float}", "wait 2.5", {"n": 2.5}),
        ("go {env:prod|test}", "go PROD", {"env": "prod"}),
        ("go {env:prod|test?}", "go", {}),
        ("in {n:int} minutes to {what...}", "in 5 Minutes to eat", {"n": 5, "what": "eat"}),
    ],
)  # fmt: skip
def test_what_fits_becomes_arguments(pattern, text, arguments):
    assert read(pattern, text) == arguments


@pytest.mark.parametrize(
    ("pattern", "text", "why"),
    [
        ("ping", "pong", "“ping” is missing."),
        ("ping", "", "“ping” is missing."),
        ("ping", "ping pong", "“pong” is too much."),
        ("deploy {service}", "deploy", "service is missing."),
        ("say {rest...}", "say  ", "rest is missing."),
        ("wait {n:int}", "wait long", "n is a whole number, not “long”."),
        ("wait {n:int}", "wait 1_000", "n is a whole number, not “1_000”."),
        ("wait {n:int}", "wait ٣", "n is a whole number, not “٣”."),
        ("wait {n:int}", f"wait {'9' * 5000}", f"n is a whole number, not “{'9' * 79}…”."),
        ("ping", 'ping "@all\n`#x`"', "“＠all '＃x'” is too much."),
        ("wait {n:float}", "wait nan", "n is a number, not “nan”."),
        ("go {env:prod|test}", "go home", "env is one of prod, test, not “home”."),
        ("in {n:int} minutes", "in 5 hours", "“minutes” is missing."),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(pattern, text, why):
    with pytest.raises(Unreadable) as refused:
        read(pattern, text)

    assert str(refused.value) == why


@pytest.mark.parametrize("end", ["", '"x', "”x", "”"])
@pytest.mark.parametrize("mark", ['"', "“", "”", '" ', "“ ", "” ", '"x ', "“x "])
def test_however_many_quotation_marks_take_as_long_as_letters(mark, end):
    # Looking through the rest for each of them would take hours.
    count = sum(1 for _ in words(mark * 500_000 + end))

    assert 1 <= count <= 500_001


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", "begins with no word"),
        ("{service}", "begins with no word"),
        ("deploy {}", "is no field"),
        ("deploy {1st}", "is no field"),
        ("deploy x{service}", "is no field"),
        ("deploy {service", "is no field"),
        ("deploy {a} {a}", "two fields of one name"),
        ("deploy {a?} {b}", "only optional fields"),
        ("deploy {a?} now", "only optional fields"),
        ("deploy {a...} {b}", "nothing can follow"),
        ("deploy {a...} {b...}", "two fields that take the rest"),
        ("deploy {a:date}", "not int, float, or choices"),
        ("deploy {a:x||y}", "not int, float, or choices"),
        ("deploy {a:int...}", "takes the rest, as text"),
    ],
)
def test_a_pattern_that_makes_no_sense_is_refused_at_once(pattern, why):
    with pytest.raises(ValueError, match=why):
        Pattern.parse(pattern)


def test_a_pattern_is_shown_as_people_type_it():
    pattern = Pattern.parse("deploy {service} {env:prod|test} {note...?}")

    assert str(pattern) == "deploy <service> <prod|test> [note …]"


@pytest.mark.parametrize(
    ("function", "fits"),
    [
        (lambda call, service, env: None, True),
        (lambda call, service, env="test": None, True),
        (lambda call, *, service, env, more=1: None, True),
        (lambda call, **arguments: None, True),
        (lambda call, service: None, False),
        (lambda call, service, env, more: None, False),
        (lambda service, env: None, False),
        (lambda: None, False),
    ],
)
def test_a_function_has_to_take_what_its_pattern_gives(function, fits):
    pattern = Pattern.parse("deploy {service} {env?}")
    if fits:
        check_signature(function, pattern)
        return

    with pytest.raises(ValueError, match="cannot be called as"):
        check_signature(function, pattern)
