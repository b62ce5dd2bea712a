"""A real hub in a process of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from ..client import Client

_START_SECS = 30
_STOP_SECS = 10

Role = Literal["viewer", "operator", "admin", "module"]


def hub_binary() -> Path:
    """The program ``iotpi-hub``: ``IOTPI_HUB_BIN``, else the one on the ``PATH``.

    Raises:
        FileNotFoundError: There is none.
    """
    binary = os.environ.get("IOTPI_HUB_BIN") or shutil.which("iotpi-hub")
    if binary is None or not Path(binary).is_file():
        raise FileNotFoundError(
            f"there is no hub at {binary}" if binary else "there is no iotpi-hub on the PATH; or set IOTPI_HUB_BIN"
        )
    return Path(binary)


class HubProcess:
    """A running hub with a new database, on a free port of this machine. ``with`` or :meth:`stop` ends it.

    Args:
        data: An existing, empty directory for the hub's data.
        config: The text of a config file (TOML).
        binary: The program; by default ``IOTPI_HUB_BIN``, or ``iotpi-hub`` on the ``PATH``.

    Raises:
        FileNotFoundError: There is no such program.
        RuntimeError: The hub did not start; the text has its output.
    """

    def __init__(
        self, data: str | PathLike[str], config: str | None = None, binary: str | PathLike[str] | None = None
    ) -> None:
        self.data: Path = Path(data)
        self.binary: Path = hub_binary() if binary is None else Path(binary)
        more = []
        if config is not None:
            (self.data / "hub.toml").write_text(config)
            more = ["--config", str(self.data / "hub.toml")]
        self.log: Path = self.data / "hub.log"
        with self.log.open("wb") as log:
            self.process: subprocess.Popen[str] = subprocess.Popen(
                [self.binary, "serve", "--data", self.data, "--listen", "127.0.0.1:0", *more],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._tokens: dict[tuple[str, str], str] = {}
        self.url: str = self._wait_for_url()

    def _wait_for_url(self) -> str:
        assert self.process.stdout is not None
        output = []
        for line in self.process.stdout:
            output.append(line)
            if found := re.search(r"listening on (http://\S+)", line):
                return found[1]
        self.stop()
        raise RuntimeError(f"the hub did not start:\n{''.join(output)}{self.log.read_text()}")

    def token(self, role: Role, name: str) -> str:
        """Returns the token of a role for a person or script, or for the module with that id; creates it at first."""
        if (role, name) in self._tokens:
            return self._tokens[role, name]
        owner = ["--module", name] if role == "module" else [name]
        added = subprocess.run(
            [self.binary, "token", "add", "--role", role, *owner, "--data", self.data],
            capture_output=True,
            text=True,
            timeout=_START_SECS,
            check=False,
        )
        if added.returncode != 0:
            raise RuntimeError(f"the token of {name} could not be created: {added.stderr}")
        self._tokens[role, name] = added.stdout.strip()
        return self._tokens[role, name]

    def client(self, role: Role = "operator", name: str | None = None) -> Client:
        """A client with a token of that role."""
        return Client(self.url, self.token(role, name or f"test-{role}"))

    def stop(self) -> None:
        """Ends the hub and waits for it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_STOP_SECS)
        finally:
            self.process.kill()
            if self.process.stdout is not None:
                self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
