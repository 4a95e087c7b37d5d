"""What every platform class is held to, before any of them talks to a server."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import spaces.platforms
from spaces.platforms import registry
from spaces.platforms.contract import (
    Ability,
    Account,
    Option,
    Platform,
    clean_options,
    effective_options,
    mismatches,
)
from spaces.platforms.errors import Misconfigured, Unsupported
from spaces.platforms.messages import Outgoing, Sent

ROOT = Path(spaces.platforms.__file__).parents[2]
# Whoever stands further left may import what stands further right, never the other way round.
LAYERS = ("botadmin", "bots", "spaces", "spaces.platforms")


class Poster(Platform):
    name = "poster"
    label = "Poster"
    abilities = frozenset({Ability.POST})
    options = (
        Option(name="proxy", label="Proxy", type="url"),
        Option(name="depth", label="Depth", type="integer", default=3, minimum=1, maximum=9),
        Option(name="color", label="Color", type="choice", choices=("red", "blue"), on=("bot",)),
        Option(name="loud", label="Loud", type="boolean", default=False, on=("space", "bot")),
    )

    def post_message(self, message: Outgoing) -> Sent:
        raise AssertionError("nobody asked for this")


def poster() -> Poster:
    return Poster(Account(space="s", url="", bot="b", options={}, credentials={"token": "s3cr3t"}))


# The registry


def test_the_local_platform_is_found_by_its_name():
    assert registry.get("local").label == "Local"


def test_every_registered_platform_can_do_what_it_declares():
    assert {name: mismatches(cls) for name, cls in registry.platforms().items()} == {
        name: [] for name in registry.platforms()
    }


def test_an_unknown_platform_is_a_configuration_to_correct():
    with pytest.raises(Misconfigured, match="no platform 'pigeon'") as refused:
        registry.get("pigeon")

    assert refused.value.option == "platform"


def test_a_name_that_is_taken_cannot_be_registered_again():
    class Impostor(Poster):
        name = "local"

    registry.platforms()
    with pytest.raises(ValueError, match="two platforms call themselves local"):
        registry.register(Impostor)


def test_a_platform_that_lies_about_its_abilities_cannot_be_registered():
    class Braggart(Poster):
        name = "braggart"
        abilities = frozenset({Ability.POST, Ability.EDIT})

    with pytest.raises(ValueError, match="braggart declares edit: edit_message"):
        registry.register(Braggart)


def test_a_platform_that_hides_an_ability_is_told_so():
    class Modest(Poster):
        name = "modest"
        abilities = frozenset()

    assert mismatches(Modest) == ["modest does not declare post: post_message"]


# Abilities


def test_what_a_class_does_not_override_is_unsupported_in_words_an_operator_reads():
    with pytest.raises(Unsupported, match="Poster does not support list channels"):
        poster().list_channels()


def test_an_account_shows_no_secret():
    assert "s3cr3t" not in repr(poster().account)


# Options


@pytest.mark.parametrize(
    ("on", "values"),
    [
        ("space", {"proxy": "https://proxy.example:8080", "depth": 9, "loud": True}),
        ("space", {"proxy": ""}),
        ("bot", {"color": "blue", "loud": False, "messages_per_second": 0.5}),
    ],
)
def test_right_options_stay_as_they_are(on: Any, values: dict[str, Any]):
    assert clean_options(Poster, on, values) == values


@pytest.mark.parametrize(
    ("on", "values", "says"),
    [
        ("space", {"proxy": "ftp://proxy"}, "proxy must be a url"),
        ("space", {"depth": True}, "depth must be a integer"),
        ("space", {"depth": 2.5}, "depth must be a integer"),
        ("space", {"depth": 0}, "at least 1"),
        ("space", {"depth": 10}, "at most 9"),
        ("space", {"loud": "yes"}, "loud must be a boolean"),
        ("bot", {"color": "green"}, "one of red, blue"),
        ("space", {"color": "red"}, "color is not an option here"),
        ("bot", {"reconnect_first_seconds": 1}, "not an option here"),
        ("bot", {"messages_per_second": -1}, "at least 0"),
    ],
)
def test_wrong_options_are_refused_by_name(on: Any, values: dict[str, Any], says: str):
    with pytest.raises(Misconfigured, match=says) as refused:
        clean_options(Poster, on, values)

    assert refused.value.option in values


def test_a_bots_options_win_over_its_spaces_and_those_over_the_defaults():
    options = effective_options(Poster, {"loud": True, "depth": 5}, {"loud": False})

    assert (options["loud"], options["depth"], options["proxy"]) == (False, 5, "")


# Imports


def test_platforms_know_no_database_but_local_which_keeps_its_rooms_there():
    folder = ROOT / "spaces" / "platforms"
    files = [file for file in folder.glob("*.py") if not file.stem.lstrip("_").startswith("local")]

    found = [
        f"{file.name}: {name}"
        for file in files
        for name in imports(file)
        if name.split(".")[0] in {"django", "rest_framework", "celery"}
        or layer(name) not in (None, "spaces.platforms")
    ]

    assert len(files) > 5
    assert found == []


def test_imports_point_one_way():
    found = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in product_files()
        for name in imports(file)
        if points_back(module_name(file), name)
    ]

    assert found == []


def points_back(module: str, imported: str) -> bool:
    own, theirs = layer(module), layer(imported)
    if own is None or theirs is None:
        return False
    if module.startswith(("spaces.platforms.local", "spaces.platforms._local")):
        return False
    return LAYERS.index(theirs) < LAYERS.index(own)


def layer(module: str) -> str | None:
    """The layer a module belongs to; None for what is not ours."""
    inside = [name for name in LAYERS if f"{module}.".startswith(f"{name}.")]
    return max(inside, key=len) if inside else None


def product_files() -> Iterator[Path]:
    for package in ("botadmin", "bots", "spaces"):
        for file in (ROOT / package).rglob("*.py"):
            if not {"tests", "testing", "migrations"} & set(file.relative_to(ROOT).parts):
                yield file


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(file: Path) -> Iterator[str]:
    """Every imported name in full, those inside functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{file} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
