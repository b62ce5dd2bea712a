"""The package's types: the stubs are the module's, and what is documented type-checks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from examples import EXAMPLES

PACKAGE = Path(__file__).resolve().parents[1]


def check(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=PACKAGE, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stubs_are_what_the_module_is() -> None:
    check("mypy.stubtest", "iotpi._iotpi", "--mypy-config-file", "pyproject.toml")


def test_the_package_and_its_tests_type_check_strictly() -> None:
    check("mypy", "python/iotpi", "tests")


def test_the_examples_of_the_documents_type_check(tmp_path: Path) -> None:
    scripts = []
    for number, example in enumerate(EXAMPLES):
        script = tmp_path / f"example_{number}.py"
        script.write_text(f"# {example}\n{example.code}")
        scripts.append(str(script))

    # Readers' programs are not strict.
    check("mypy", "--config-file=", "--check-untyped-defs", "--ignore-missing-imports", *scripts)
