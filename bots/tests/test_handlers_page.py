"""`docs/handlers.md` holds what it promises: all its Python is laid out as the files it names, in a
folder elsewhere, and its tests are run there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

PAGE: Path = settings.BASE_DIR / "docs" / "handlers.md"
BLOCK = re.compile(
    r"^```(?:python|ini)\n# (?P<path>\S+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
SECONDS = 300


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files of the page."""
    for block in BLOCK.finditer(PAGE.read_text()):
        path = tmp_path / block["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block["code"])
    (tmp_path / "deploys" / "__init__.py").touch()
    return tmp_path


def run_tests(project: Path, *names: str) -> subprocess.CompletedProcess[str]:
    # On a database of its own: ours may be a server, and have the very name that it would take.
    ours = ("PYTEST_", "DATABASE_URL", "BROKER_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names],
        cwd=project,
        env=kept | {"PYTHONPATH": str(settings.BASE_DIR), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_every_block_of_python_names_its_file():
    page = PAGE.read_text()

    assert page.count("```python") + page.count("```ini") == len(BLOCK.findall(page))


@pytest.mark.long
def test_all_that_the_page_shows_works(project):
    ran = run_tests(project)

    written = sum(path.read_text().count("\ndef test_") for path in project.rglob("test_*.py"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{written} passed" in ran.stdout


@pytest.mark.long
def test_a_page_that_shows_what_does_not_work_is_found_out(project):
    handlers = project / "deploys" / "handlers.py"
    handlers.write_text(handlers.read_text().replace("call.reply(", "call.answer_by_mail("))

    ran = run_tests(project, "deploys/test_deploys.py")

    assert ran.returncode == 1
    assert "answer_by_mail" in ran.stdout
