"""The package's types: the stubs are the module's, and what is documented type-checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from examples import EXAMPLES, Example

PACKAGE = Path(__file__).resolve().parents[1]


def check(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=PACKAGE, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stubs_are_what_the_module_is(tmp_path: Path) -> None:
    check("mypy.stubtest", "iotpi", "--mypy-config-file", "pyproject.toml")


def test_the_package_and_its_tests_type_check_strictly() -> None:
    check("mypy", "--cache-dir", ".mypy_cache", "python/iotpi", "tests")


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_type_checks(example: Example, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(example.code)

    check("mypy", "--no-strict", "--check-untyped-defs", str(script))
