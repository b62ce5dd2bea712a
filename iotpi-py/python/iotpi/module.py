"""A module: functions for its sensors, actions and camera, and the loop that calls them."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from os import PathLike
from typing import Any, TypeVar

from . import _iotpi
from ._requests import Requests, to_json
from ._worker import Worker
from .errors import InvalidArgument, Refused
from .schema import bind, schema_of

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger("iotpi.module")


@dataclass
class _Sensor:
    unit: str
    every_secs: float
    function: Callable[..., Any]


@dataclass
class _Action:
    spec: str
    function: Callable[..., Any]


@dataclass
class _Camera:
    width: int
    height: int
    fps: float
    function: Callable[..., Any]


@dataclass
class Module:
    """A module: decorate functions with :meth:`sensor`, :meth:`action` and :meth:`camera`, then :meth:`run`.

    Functions may be plain or ``async def``. All functions of a module run in one thread, plain ones one at a time, so
    they need no locks. A function that takes long should be ``async def``. The camera has its own thread.

    Args:
        id: The module's id, ``[a-z0-9][a-z0-9_-]{0,63}``; may be passed to :meth:`run` instead.
        description: One sentence for the dashboard.
        version: The module's own version.
    """

    id: str | None = None
    description: str | None = None
    version: str | None = None
    _sensors: dict[str, _Sensor] = field(default_factory=dict, init=False, repr=False)
    _actions: dict[str, _Action] = field(default_factory=dict, init=False, repr=False)
    _camera: _Camera | None = field(default=None, init=False, repr=False)
    _state: Callable[[], Any] | None = field(default=None, init=False, repr=False)
    _make_safe: Callable[[], Any] | None = field(default=None, init=False, repr=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _runner: _iotpi.Runner | None = field(default=None, init=False, repr=False)

    def sensor(self, type: str, *, unit: str | None = None, every: float | timedelta = 60.0) -> Callable[[F], F]:
        """Makes a function that returns a number a sensor, which is read at the start and then periodically.

        If it returns ``None`` or raises, the failure is recorded: a reading without a value, with the reason.

        Args:
            type: The quantity: ``temperature``, ``humidity``, ..., or an id of your own.
            unit: The unit of the number, such as ``celsius`` or ``fahrenheit``; required for a type of your own.
            every: The interval between measurements in seconds.

        Raises:
            InvalidArgument: The module has a sensor of this type already, or the type is not an id.
            Unprocessable: The unit does not fit the type.
        """
        if type in self._sensors:
            raise InvalidArgument(f"this module already has a sensor for `{type}`")
        secs = every.total_seconds() if isinstance(every, timedelta) else float(every)
        if not 0 < secs < float("inf"):
            raise InvalidArgument(f"every must be a number of seconds above 0, not {every!r}")
        sensor_unit = unit if unit is not None else _iotpi.canonical_unit(type)
        _iotpi.canonical_unit(type, sensor_unit)

        def decorate(function: F) -> F:
            self._sensors[type] = _Sensor(sensor_unit, secs, function)
            return function

        return decorate

    def action(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        description: str | None = None,
        hazardous: bool = False,
        absolute: bool = False,
        target: str | None = None,
        while_alive: float | timedelta | None = None,
    ) -> Callable[[F], F]:
        """Makes a function an action that can be commanded. Its parameters are keyword arguments.

        Its return value, which must be serializable to JSON, is the command's result. If it raises
        :class:`iotpi.Refused` the command is ``rejected``, after any other exception ``failed``.

        Args:
            name: The action's id.
            params: The JSON Schema of an object; by default derived from the function's annotations.
            description: One sentence for the dashboard; by default the first line of the function's docstring.
            hazardous: Running it twice does harm. It runs only after the hub recorded its start, and at most once.
            absolute: The newest command makes older ones obsolete; it cancels those that are still queued.
            target: For an absolute action, the parameter that distinguishes targets; by default there is one target.
            while_alive: The effect may last only while the issuer is present: the seconds, 1 to 3,600, for which the
                issuer or the hub may be absent before the function of :meth:`make_safe` is called.

        Raises:
            InvalidArgument: The module has an action of this name already, the name is not an id, a parameter has no
                JSON type, the seconds are out of range, or the action has a target and is not absolute.
        """
        _iotpi.check_id(name)
        if name in self._actions:
            raise InvalidArgument(f"this module already has an action `{name}`")

        if target is not None and not absolute:
            raise InvalidArgument(f"`{name}` has a target but is not absolute")
        limit = while_alive.total_seconds() if isinstance(while_alive, timedelta) else while_alive
        if limit is not None and not 1 <= limit <= 3600:
            raise InvalidArgument(f"while_alive must be 1 to 3,600 seconds, not {while_alive!r}")

        def decorate(function: F) -> F:
            summary = description or (function.__doc__ or "").strip().partition("\n")[0]
            spec = {
                "name": name,
                "params": dict(params) if params is not None else schema_of(function),
                "hazardous": hazardous,
                "absolute": absolute,
                **({"description": summary} if summary else {}),
                **({"target": target} if target is not None else {}),
                **({"while_alive": limit} if limit is not None else {}),
            }
            self._actions[name] = _Action(to_json(spec), function)
            return function

        return decorate

    def camera(self, *, width: int, height: int, fps: float = 10.0) -> Callable[[F], F]:
        """Makes a function that returns a JPEG file as ``bytes`` the module's camera.

        Args:
            width: The width of a frame in pixels.
            height: The height of a frame in pixels.
            fps: The maximum frame rate while the camera has a viewer; otherwise it is one frame a second.

        Raises:
            InvalidArgument: The module has a camera already.
        """
        if self._camera is not None:
            raise InvalidArgument("this module already has a camera; use a separate module for a second one")

        def decorate(function: F) -> F:
            self._camera = _Camera(width, height, fps, function)
            return function

        return decorate

    def state(self, function: F) -> F:
        """Makes a function that returns a dict, such as ``{"on": True}``, the source of the module's state.

        It is called at the start and after each action.
        """
        if self._state is not None:
            raise InvalidArgument("this module already has a function for its state")
        self._state = function
        return function

    def make_safe(self, function: F) -> F:
        """Makes a function put the devices into their safe state; it is called when the module ends.

        If an action has ``while_alive``, it is also called at the start, and when the issuer is no longer present.

        It waits up to 0.2 s for the function that is running. If that does not return, it is called in another thread.
        It should finish within half a second.
        """
        if self._make_safe is not None:
            raise InvalidArgument("this module already has a function for its safe state")
        self._make_safe = function
        return function

    def run(
        self,
        id: str | None = None,
        *,
        url: str | None = None,
        token: str | None = None,
        once: bool = False,
        outbox: str | PathLike[str] | None = None,
    ) -> None:
        """Registers with the hub and runs until :meth:`stop` or a signal, then shuts down within 2 s.

        SIGHUP (the terminal was closed), SIGINT (Ctrl-C), SIGQUIT and SIGTERM all end it in this way. If it was started
        with SIGHUP ignored (``nohup``), it continues. Python handles signals in its main thread only: a program that
        calls this in another thread must call :meth:`stop` from its own handlers.

        While the hub cannot be reached, up to 10,000 readings are kept, or as many as the ``outbox`` holds.

        Args:
            id: The module's id, if it was not given before.
            url: The hub, ``http://HOST:PORT``; by default ``IOTPI_URL``, or ``http://127.0.0.1:8000``.
            token: The module's token; by default ``IOTPI_TOKEN``, or none.
            once: Measure once, publish one frame, run the waiting commands, and return, for cron. In this mode an
                unreachable hub and a failed sensor are errors.
            outbox: A directory for this module alone, created if needed. It holds readings that the hub has not
                accepted within 5 s, and all unsent ones at the end: 64 MiB, 1,000,000 readings or 7 days, whichever is
                reached first. Without it they are kept in memory and lost with the process. Lost readings are reported
                to the hub as a gap. Hazardous commands are logged there, too: after a crash during one, the module
                reports at its next start that the outcome is unknown, and never runs it again.

        Raises:
            InvalidArgument: The module has no id, has no functions, or is running already.
            Error: The hub refused the token, the id or the manifest.
            ModuleFailed: The module could not continue, a function did not return in time, or the outbox cannot be
                used: it belongs to another module, or another process has it open.
        """
        module_id = id or self.id
        if module_id is None:
            raise InvalidArgument("the module has no id: use Module(id) or run(id)")
        if self._runner is not None:
            raise InvalidArgument(f"module `{module_id}` is already running")
        if not (self._sensors or self._actions or self._camera):
            raise InvalidArgument(f"module `{module_id}` has no functions; decorate one with sensor, action or camera")
        requests = Requests(url, token, 10.0)
        workers = {name: Worker(f"iotpi {module_id} {name}") for name in self._threads()}
        try:
            self._runner = self._native(requests.hub, module_id, workers, outbox)
            # stop() may have been called before the runner existed.
            if self._stopping.is_set():
                self._runner.stop()
            with _signals(self.stop):
                (self._runner.once() if once else self._runner.run()).wait()
        finally:
            self._runner = None
            self._stopping.clear()
            for worker in workers.values():
                worker.stop()

    def stop(self) -> None:
        """Ends :meth:`run` from another thread or a signal handler; returns at once."""
        self._stopping.set()
        if self._runner is not None:
            self._runner.stop()

    def _threads(self) -> list[str]:
        return ["functions"] if self._camera is None else ["functions", "camera"]

    def _native(
        self, hub: _iotpi.Hub, id: str, workers: dict[str, Worker], outbox: str | PathLike[str] | None
    ) -> _iotpi.Runner:
        worker, camera, state, make_safe = workers["functions"], self._camera, self._state, self._make_safe
        return _iotpi.Runner(
            hub,
            id,
            self.version,
            self.description,
            [
                (name, sensor.unit, sensor.every_secs, _sensor_function(worker, name, sensor.function))
                for name, sensor in self._sensors.items()
            ],
            [(action.spec, _action_function(worker, action.function)) for action in self._actions.values()],
            None
            if camera is None
            else (camera.width, camera.height, camera.fps, _camera_function(workers["camera"], camera.function)),
            (lambda: to_json(worker.call(state))) if state else None,
            _safe_function(worker, make_safe) if make_safe else None,
            outbox,
        )


def _sensor_function(worker: Worker, name: str, function: Callable[..., Any]) -> Callable[[], float | None]:
    failing = False

    def measure() -> float | None:
        nonlocal failing
        try:
            value = worker.call(function)
            measured = None if value is None else float(value)
        except Exception:
            # The core logs the reason once; the traceback is for the programmer.
            if not failing:
                _log.info("sensor %s failed", name, exc_info=True)
            failing = True
            raise
        failing = False
        return measured

    return measure


def _action_function(worker: Worker, function: Callable[..., Any]) -> Callable[[str], str]:
    def act(params: str) -> str:
        try:
            return to_json(worker.call(function, **bind(function, json.loads(params))))
        except Refused:
            raise
        except Exception:
            _log.exception("action %s failed", function.__qualname__)
            raise

    return act


def _camera_function(worker: Worker, function: Callable[..., Any]) -> Callable[[], bytes]:
    def capture() -> bytes:
        jpeg = worker.call(function)
        if not isinstance(jpeg, bytes | bytearray | memoryview):
            raise TypeError(f"a camera function must return a JPEG file as bytes, not {type(jpeg).__name__}")
        return bytes(jpeg)

    return capture


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Calls ``stop`` on the signals that end a program.

    Does nothing outside the main thread, where Python handles no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM]
    # A parent such as nohup ignores SIGHUP so that the module outlives its terminal.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)

    def handle(*_: object) -> None:
        stop()
        _replace_lost_output()

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: the handler was not installed from Python and cannot be restored from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _replace_lost_output() -> None:
    """Replaces standard output and error by ``/dev/null`` if their terminal or the reader of their pipe is gone.

    Otherwise a ``print`` in the function of :meth:`Module.make_safe` would raise and leave the device on.
    """
    for descriptor in (1, 2):
        poll = select.poll()
        poll.register(descriptor, 0)
        if any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0)):
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, descriptor)
            os.close(devnull)


def _safe_function(worker: Worker, function: Callable[[], Any]) -> Callable[[], None]:
    def make_safe() -> None:
        _replace_lost_output()
        worker.call_urgently(function)

    return make_safe


_default = Module()

sensor = _default.sensor
action = _default.action
camera = _default.camera
state = _default.state
make_safe = _default.make_safe
run = _default.run
