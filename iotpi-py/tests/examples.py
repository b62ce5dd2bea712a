"""The Python code of the project's documents and of its examples, taken from where readers find it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = [PROJECT / "README.md", PROJECT / "iotpi-py" / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]

PROGRAMS = sorted((PROJECT / "examples" / "python").glob("*.py"))

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RUNS = re.compile(r"^(?:iotpi|\w+)\.run\((.*)\)$", re.MULTILINE)
_ID = re.compile(r"(?:iotpi\.run|Module)\(\s*\"([^\"]+)\"")


@dataclass(frozen=True)
class Example:
    place: str
    code: str

    @property
    def module_id(self) -> str | None:
        """The id of the module, if it is one that runs until it is stopped."""
        runs, named = _RUNS.search(self.code), _ID.search(self.code)
        goes_on = runs and ("asyncio.run" not in runs[0] or ".serve(" in self.code) and "once=True" not in runs[0]
        return named[1] if goes_on and named else None

    def __str__(self) -> str:
        return self.place


def _examples(document: Path) -> list[Example]:
    text = document.read_text()
    return [
        Example(f"{document.relative_to(PROJECT)}:{text.count(chr(10), 0, block.start()) + 1}", block[1])
        for block in _BLOCK.finditer(text)
        if "import iotpi" in block[1] or "from iotpi" in block[1]
    ]


EXAMPLES = [example for document in DOCUMENTS if document.is_file() for example in _examples(document)] + [
    Example(str(program.relative_to(PROJECT)), program.read_text()) for program in PROGRAMS
]
