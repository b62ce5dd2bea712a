"""A hub in the test's own process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .. import _iotpi
from .._requests import to_json
from ..module import Module
from ..records import CommandState, Manifest, Reading

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_STOP_SECS = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a command.

    Attributes:
        state: ``succeeded``, ``failed``, ``rejected`` or ``unknown_outcome``.
        result: The return value of the action, in the types of JSON, if it succeeded.
        error: The reason why it did not succeed.
    """

    state: CommandState
    result: Any = None
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the action succeeded."""
        return self.state == "succeeded"


class RecordingHub:
    """A hub in this process that records what modules send, without a network and without files.

    It accepts everything: it checks neither tokens nor manifests nor the parameters of commands. Test these with a
    :class:`iotpi.testing.HubProcess`.
    """

    def __init__(self) -> None:
        self._native = _iotpi.RecordingHub()

    def run_once(self, module: Module) -> None:
        """Runs a module like ``module.run(once=True)``: one measurement, one frame.

        Raises:
            ModuleFailed: A sensor function failed; its reading without a value is recorded.
        """
        module._run_on(self._native, once=True)

    @contextmanager
    def running(self, module: Module) -> Iterator[None]:
        """Runs a module in another thread until the ``with`` block ends.

        Raises:
            Error: At the end of the block, what ``module.run`` raised.
        """
        failures: list[BaseException] = []

        def run() -> None:
            try:
                module._run_on(self._native)
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run, name=f"running {module.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            module.stop()
            thread.join(_STOP_SECS)
        if failures:
            raise failures[0]

    def control(
        self,
        module: str,
        action: str,
        params: Mapping[str, Any] | DataclassInstance | None = None,
        *,
        timeout: float = 10.0,
    ) -> Outcome:
        """Sends a command to a running module and waits for its outcome.

        Raises:
            Timeout: The module did not report one within ``timeout`` seconds.
        """
        command = self._native.command(module, action, to_json(params or {}))
        report = json.loads(cast(str, self._native.outcome(module, command, timeout).wait()))
        return Outcome(report["outcome"], report.get("result"), report.get("error"))

    def wait_for_readings(self, module: str, count: int = 1, *, timeout: float = 10.0) -> list[Reading]:
        """Waits until a running module has delivered ``count`` readings, and returns its readings.

        Raises:
            Timeout: There were fewer after ``timeout`` seconds.
        """
        self._native.delivered(module, count, timeout).wait()
        return [reading for reading in self.readings if reading.module_id == module]

    def set_away(self, away: bool) -> None:
        """Makes the hub unreachable, or reachable again, for the modules that have run so far."""
        self._native.set_away(away)

    @property
    def readings(self) -> list[Reading]:
        """The readings of all modules, by module and in order of arrival."""
        return [Reading(**reading) for reading in json.loads(self._native.readings())]

    def values(self, type: str, module: str | None = None, channel: str | None = None) -> list[float | None]:
        """The values of the readings of one type, in order of arrival; without a channel, of all channels."""
        readings = (reading for reading in self.readings if reading.type == type)
        return [
            reading.value
            for reading in readings
            if module in (None, reading.module_id) and channel in (None, reading.channel)
        ]

    def manifest(self, module: str) -> Manifest | None:
        """The manifest that a module registered last."""
        text = self._native.manifest(module)
        return None if text is None else cast(Manifest, json.loads(text))

    def states(self, module: str) -> list[dict[str, Any]]:
        """The states that a module reported, oldest first."""
        return cast("list[dict[str, Any]]", json.loads(self._native.states(module)))

    def frames(self, module: str) -> list[bytes]:
        """The frames that a module published, oldest first."""
        return self._native.frames(module)
