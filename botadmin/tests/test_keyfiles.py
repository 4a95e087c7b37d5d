import stat
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured

from botadmin.keyfiles import read_or_create, write


def test_processes_that_start_together_agree_on_one_key(tmp_path):
    together = threading.Barrier(8)
    read = []

    def start(number: int) -> None:
        together.wait()
        read.append(read_or_create(tmp_path / "keys" / "key", lambda: f"key {number}"))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(read) == 8
    assert len(set(read)) == 1
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["key"]


def test_a_key_file_is_for_its_owner_only(tmp_path):
    write(tmp_path / "key", "value")

    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_an_empty_key_file_is_not_replaced_silently(tmp_path):
    (tmp_path / "key").touch()

    with pytest.raises(ImproperlyConfigured, match="is empty"):
        read_or_create(tmp_path / "key", lambda: "new")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(ImproperlyConfigured, match="cannot be"):
        read_or_create(tmp_path / "file" / "key", lambda: "new")
