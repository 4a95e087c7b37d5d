import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spaces.platforms.contract import Limits
from spaces.platforms.messages import Card
from spaces.platforms.text import SMALLEST_LIMIT, card_to_markdown, split_text

FENCE_LINE = re.compile(r"[^\S\n]*(`{3,}|~{3,})[^\n]*")


def characters(limit):
    return Limits(text=limit)


def utf8_bytes(limit):
    return Limits(text=limit, text_unit="bytes")


def size(part, limits):
    return len(part.encode()) if limits.text_unit == "bytes" else len(part)


def essence(text):
    """What must survive: all but white space and the lines of fences."""
    lines = (line for line in text.split("\n") if not FENCE_LINE.fullmatch(line))
    return "".join("".join(lines).split())


# Splitting ----------------------------------------------------------------------------------------


def test_a_text_within_the_limit_stays_as_it_is():
    text = "  one\n\ntwo \n"

    assert split_text(text, characters(16)) == [text]


def test_without_a_limit_nothing_is_split():
    text = "word " * 10_000

    assert split_text(text, Limits()) == [text]


@pytest.mark.parametrize("text", ["", " ", "\n\n", " \u00a0\n" * 30])
def test_a_blank_text_has_no_parts(text):
    assert split_text(text, characters(20)) == []
    assert split_text(text, Limits()) == []


def test_limits_that_leave_no_room_are_refused():
    with pytest.raises(ValueError, match="parts of 5"):
        split_text("hello world", characters(5))


def test_paragraph_borders_come_first():
    text = "one two\nthree\n \n\nfour five six\nseven"

    assert split_text(text, characters(25)) == ["one two\nthree", "four five six\nseven"]


def test_line_borders_come_second_and_keep_the_indentation_of_the_next_line():
    text = "- first thing  \n  - second thing\n"

    assert split_text(text, characters(20)) == ["- first thing", "  - second thing\n"]


def test_word_borders_come_third():
    assert split_text("the quick brown   fox jumps", characters(16)) == [
        "the quick brown",
        "fox jumps",
    ]


def test_a_border_may_lie_just_behind_what_fits():
    text = "x" * 16 + "\n\n" + "y" * 16

    assert split_text(text, characters(16)) == ["x" * 16, "y" * 16]


def test_a_word_that_is_too_long_is_cut_hard():
    assert split_text("x" * 40, characters(16)) == ["x" * 16, "x" * 16, "x" * 8]


def test_words_bound_by_a_no_break_space_stay_together():
    assert split_text("a distance of 10\u00a0km here", characters(17)) == [
        "a distance of",
        "10\u00a0km here",
    ]


def test_bytes_are_counted_without_dividing_a_character():
    parts = split_text("ä€😀" * 10, utf8_bytes(16))

    assert "".join(parts) == "ä€😀" * 10
    assert max(len(part.encode()) for part in parts) <= 16


@pytest.mark.parametrize(
    "cluster",
    ["e\u0301", "👍🏽", "👩\u200d👩\u200d👧", "🇩🇪", "❤\ufe0f"],
    ids=["accent", "skin tone", "family", "flag", "variation"],
)
def test_a_hard_cut_leaves_a_character_with_its_marks(cluster):
    for shift in range(len(cluster)):
        parts = split_text("x" * (17 - shift) + cluster * 20, characters(20))

        assert all(part.strip("x").replace(cluster, "") == "" for part in parts)


def test_marks_without_end_are_cut_nevertheless():
    text = "e" + "\u0301" * 100

    parts = split_text(text, characters(16))

    assert "".join(parts) == text
    assert max(map(len, parts)) == 16


def test_surrogate_pairs_become_the_characters_they_stand_for():
    assert split_text("x" * 15 + "\ud83d\ude00", characters(16)) == ["x" * 15 + "😀"]
    assert split_text("half \ud83d", utf8_bytes(16)) == ["half \ufffd"]


# Code fences --------------------------------------------------------------------------------------


def test_a_fence_that_fits_into_one_part_is_not_divided():
    fence = "```python\nprint(1)\n\nprint(2)\n```"

    assert split_text(f"Some words before.\n{fence}\nafter", characters(40)) == [
        "Some words before.",
        f"{fence}\nafter",
    ]


def test_a_divided_fence_is_closed_and_opened_again_with_its_info_string():
    text = "```py\nfirst = 1\nsecond = 2\nthird = 3\n```\nDone."

    assert split_text(text, characters(32)) == [
        "```py\nfirst = 1\nsecond = 2\n```",
        "```py\nthird = 3\n```\nDone.",
    ]


def test_a_fence_that_is_divided_anyway_fills_the_part_before_it():
    text = "The log:\n~~~~\n" + "\n".join(f"line {n}" for n in range(6)) + "\n~~~~"

    assert split_text(text, characters(36)) == [
        "The log:\n~~~~\nline 0\nline 1\n~~~~",
        "~~~~\nline 2\nline 3\nline 4\n~~~~",
        "~~~~\nline 5\n~~~~",
    ]


def test_blank_lines_and_indentation_of_code_survive_a_cut():
    text = "```\nif x:\n\n    one()\n\n    two()\n```"

    assert split_text(text, characters(26)) == [
        "```\nif x:\n\n    one()\n\n```",
        "```\n    two()\n```",
    ]


def test_a_line_of_code_that_is_too_long_is_cut_without_loss():
    code = "x" * 30 + " " + "y" * 30

    parts = split_text(f"```\n{code}\n```", characters(40))

    assert [part.removeprefix("```\n").removesuffix("\n```") for part in parts] == [
        "x" * 30 + " ",
        "y" * 30,
    ]


def test_an_indented_fence_is_reopened_at_its_indentation():
    text = "1. Run\n   ```sh\n   one --with options\n   two --with options\n   ```"

    assert split_text(text, characters(50)) == [
        "1. Run\n   ```sh\n   one --with options\n   ```",
        "   ```sh\n   two --with options\n   ```",
    ]


def test_a_fence_nobody_closed_lasts_until_the_end():
    text = "```\n" + "some code\n" * 4

    assert split_text(text, characters(28)) == [
        "```\nsome code\nsome code\n```",
        "```\nsome code\nsome code\n",
    ]


def test_marks_inside_a_longer_fence_do_not_close_it():
    text = "````\n```\nnot the end\n```\nstill code here\n````"

    assert split_text(text, characters(36)) == [
        "````\n```\nnot the end\n```\n````",
        "````\nstill code here\n````",
    ]


def test_inline_code_with_three_backticks_is_no_fence():
    text = "```a``` is code, " + "and words " * 4

    assert all("\n" not in part for part in split_text(text, characters(24)))


def test_a_fence_with_absurdly_long_marks_is_cut_like_text():
    text = "`" * 40 + "\ncode\n" + "`" * 40

    parts = split_text(text, characters(16))

    assert "".join("".join(parts).split()) == "`" * 40 + "code" + "`" * 40
    assert max(map(len, parts)) <= 16


# Whatever the text --------------------------------------------------------------------------------

any_limits = st.builds(
    Limits,
    text=st.integers(SMALLEST_LIMIT, 80),
    text_unit=st.sampled_from(["characters", "bytes"]),
)
anything = st.text() | st.text(alphabet="ab \n`~\té😀\u0301\u200d\u00a0🇩", max_size=300)
words = st.text(alphabet="abcäöé😀", min_size=1, max_size=30)
lines = st.lists(words, max_size=8).map(" ".join)
paragraphs = st.lists(lines, min_size=1, max_size=5).map("\n".join)
fences = st.builds(
    lambda marks, info, body: f"{marks}{info}\n{body}\n{marks}",
    st.sampled_from(["```", "~~~"]),
    st.sampled_from(["", "py"]),
    paragraphs,
)
documents = st.lists(paragraphs | fences, max_size=6).map("\n\n".join)


@settings(deadline=None)
@given(text=anything | documents, limits=any_limits)
def test_parts_are_never_blank_and_never_over_the_limit(text, limits):
    for part in split_text(text, limits):
        assert part.strip()
        assert size(part, limits) <= limits.text


@settings(deadline=None)
@given(text=anything, limits=any_limits)
def test_without_fences_only_white_space_between_parts_is_lost(text, limits):
    text = re.sub("[`~]", "x", text)
    at = 0

    for part in split_text(text, limits):
        start = text.index(part, at)
        assert not text[at:start].strip()
        at = start + len(part)

    assert not text[at:].strip()


@settings(deadline=None)
@given(text=documents, limits=any_limits)
def test_with_fences_only_white_space_and_fence_lines_come_and_go(text, limits):
    assert "".join(essence(part) for part in split_text(text, limits)) == essence(text)


@settings(deadline=None)
@given(text=documents, limits=any_limits.filter(lambda limits: limits.text >= 24))
def test_every_part_closes_the_fences_it_opens(text, limits):
    for part in split_text(text, limits):
        marks = [match[1] for line in part.split("\n") if (match := FENCE_LINE.fullmatch(line))]
        assert marks[0::2] == marks[1::2]


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 200_000 + "x",
        ("a" + " " * 5_000) * 40,
        "```\n```\n" * 20_000,
        "`" * 200_000,
        ("\n" + " " * 50) * 4_000,
        "e" + "\u0301" * 200_000,
        "🇩" * 100_000,
    ],
    ids=["lines", "blanks", "fences", "marks", "indentation", "accents", "flags"],
)
def test_no_text_takes_long(text):
    # Of this process: others may be busy, too.
    started = time.process_time()

    split_text(text, utf8_bytes(4_000))

    assert time.process_time() - started < 5


# Cards --------------------------------------------------------------------------------------------


def test_a_card_becomes_title_body_fields_and_image():
    card = Card(
        title="Build 17",
        link="https://ci.example/17",
        body="It *failed*.",
        summary="Build 17 failed",
        image="https://ci.example/17.png",
        thumbnail="https://ci.example/17-small.png",
        color="red",
        fields=(("Branch", "main"), ("Duration", "`12 s`")),
    )

    assert card_to_markdown(card) == (
        "**[Build 17](https://ci.example/17)**\n\n"
        "It *failed*.\n\n"
        "**Branch:** main  \n**Duration:** `12 s`\n\n"
        "[Image](https://ci.example/17.png)"
    )


def test_the_summary_stands_in_for_a_missing_body():
    assert card_to_markdown(Card(title="Hi", summary="short")) == "**Hi**\n\nshort"


def test_a_link_without_a_title_is_its_own_title():
    assert card_to_markdown(Card(link="https://x.example/a")) == (
        "**[https://x.example/a](https://x.example/a)**"
    )


def test_a_thumbnail_stands_in_for_a_missing_image():
    assert card_to_markdown(Card(thumbnail="https://x.example/t.png")) == (
        "[Image](https://x.example/t.png)"
    )


def test_plain_words_and_addresses_cannot_break_the_markdown_around_them():
    card = Card(title="a]b\n*c*", link="https://x.example/(1) 2", fields=(("_n_", "v"),))

    assert card_to_markdown(card) == (
        "**[a\\]b \\*c\\*](https://x.example/%281%29%202)**\n\n**\\_n\\_:** v"
    )


def test_an_empty_card_is_empty():
    assert card_to_markdown(Card(color="red")) == ""
