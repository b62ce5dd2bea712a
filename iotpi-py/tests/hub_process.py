"""A real hub: the binary in a process of its own, on a port of its own, with a fresh database."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import iotpi

PROJECT = Path(__file__).resolve().parents[2]
START_SECS = 30
STOP_SECS = 10


def hub_binary() -> Path:
    binary = Path(os.environ.get("IOTPI_HUB_BIN") or PROJECT / "target" / "debug" / "iotpi-hub")
    if not binary.is_file():
        raise FileNotFoundError(f"there is no hub at {binary}; run `make test`, or set IOTPI_HUB_BIN")
    return binary


class HubProcess:
    def __init__(self, data: Path, config: str | None = None) -> None:
        self.data = data
        self.binary = hub_binary()
        more = []
        if config is not None:
            (data / "hub.toml").write_text(config)
            more = ["--config", str(data / "hub.toml")]
        self.log = data / "hub.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--data", data, "--listen", "127.0.0.1:0", *more],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._tokens: dict[tuple[str, str], str] = {}
        self.url = self._url()

    def _url(self) -> str:
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if found := re.search(r"listening on (http://\S+)", line):
                return found[1]
        self.stop()
        raise AssertionError(f"the hub did not start:\n{''.join(said)}{self.log.read_text()}")

    def token(self, role: str, name: str) -> str:
        """The token of a person or script of that name, or of the module of that id; made when first asked for."""
        if (role, name) in self._tokens:
            return self._tokens[role, name]
        who = ["--module", name] if role == "module" else [name]
        made = subprocess.run(
            [self.binary, "token", "add", "--role", role, *who, "--data", self.data],
            capture_output=True,
            text=True,
            timeout=START_SECS,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        self._tokens[role, name] = made.stdout.strip()
        return self._tokens[role, name]

    def client(self, role: str, name: str | None = None) -> iotpi.Client:
        return iotpi.Client(self.url, self.token(role, name or f"test-{role}"))

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECS)
        finally:
            self.process.kill()
            if self.process.stdout is not None:
                self.process.stdout.close()
