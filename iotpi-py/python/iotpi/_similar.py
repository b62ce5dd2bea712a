"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# A similarity of 1 is equality. `temprature` and `temperature` have 0.95, `humidty` and `humidity` 0.93.
_SIMILAR = 0.75


def similar(name: str, choices: Iterable[str]) -> str | None:
    """The choice that a misspelt name probably stands for.

    Not one that the name extends (``temperature-2``), nor one that differs in numbers only (``room-1``, ``room-2``).
    """
    candidates = [choice for choice in choices if choice not in name and _letters(choice) != _letters(name)]
    return next(iter(get_close_matches(name, candidates, n=1, cutoff=_SIMILAR)), None)


def _letters(name: str) -> str:
    return "".join(letter for letter in name if letter.isalpha())


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A question for the end of an error about a misspelt name; empty if nothing is similar."""
    found = similar(name, choices)
    return f"Did you mean `{found}`?" if found else ""
