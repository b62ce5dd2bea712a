"""Pictures that differ."""

from __future__ import annotations


def commented(jpeg: bytes, length: int) -> bytes:
    """The JPEG with a comment of that many bytes behind its start marker: another file of the same picture."""
    return jpeg[:2] + b"\xff\xfe" + (length + 2).to_bytes(2, "big") + bytes(length) + jpeg[2:]
