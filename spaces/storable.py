"""What every database of ours can hold of a text that came from outside."""

from __future__ import annotations


def storable(text: str) -> str:
    """`text` without what databases cannot hold: NUL characters and halves of surrogate pairs."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    return text if text.isascii() else text.encode(errors="replace").decode()
