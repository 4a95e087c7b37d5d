"""Who may import whom: botadmin -> bots -> spaces -> spaces.platforms, and never back."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

ROOT: Path = settings.BASE_DIR


def keeps_its_rooms_in_our_database(path: Path) -> bool:
    return path.parent.name == "platforms" and path.stem.lstrip("_").startswith("local")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


def offences(folder: str, *forbidden: str) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "tests" not in path.parts and not keeps_its_rooms_in_our_database(path)
        for name in imported(path)
        if name.startswith(tuple(f"{one}." for one in forbidden)) or name in forbidden
    ]


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("spaces", ("bots", "botadmin")),
        ("bots", ("botadmin",)),
        ("spaces/platforms", ("django", "rest_framework", "celery", "spaces.models")),
    ],
)
def test_imports_point_one_way(folder, forbidden):
    assert offences(folder, *forbidden) == []
