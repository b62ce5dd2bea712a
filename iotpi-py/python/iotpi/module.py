"""A module: functions for its sensors, actions and camera, and the loop that calls them."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from os import PathLike
from typing import Any, Final, TypeVar

from . import _iotpi
from ._adapters import adapt as add_device
from ._functions import action_function, camera_function, safe_function, sensor_function, state_function
from ._requests import Request, Requests, to_json
from ._signals import stop_on_signals
from ._worker import ThreadWorker, Worker
from .errors import InvalidArgument, PermissionDenied, Unauthenticated
from .records import Moment, unix_seconds
from .samples import NO_VALUE, Series
from .schema import schema_of

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class _Sensor:
    series: list[Series]
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
    _series: dict[tuple[str, str | None], Series] = field(default_factory=dict, init=False, repr=False)
    _sensors: list[_Sensor] = field(default_factory=list, init=False, repr=False)
    _declared: list[Series] = field(default_factory=list, init=False, repr=False)
    _actions: dict[str, _Action] = field(default_factory=dict, init=False, repr=False)
    _camera: _Camera | None = field(default=None, init=False, repr=False)
    _state: Callable[[], Any] | None = field(default=None, init=False, repr=False)
    _make_safe: Callable[[], Any] | None = field(default=None, init=False, repr=False)
    _device_states: dict[str, Callable[[], Any]] = field(default_factory=dict, init=False, repr=False)
    _device_offs: list[Callable[[], Any]] = field(default_factory=list, init=False, repr=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _runner: _iotpi.Runner | None = field(default=None, init=False, repr=False)
    _recorder: _iotpi.Recorder = field(default_factory=_iotpi.Recorder, init=False, repr=False)

    def sensor(
        self,
        *series: str | Series,
        unit: str | None = None,
        channel: str | None = None,
        every: float | timedelta = 60.0,
    ) -> Callable[[F], F]:
        """Makes a function a sensor, which is read at the start and then periodically.

        The function returns a number. With several series it returns their numbers in order, a dict of them by type,
        or a list of :class:`Sample`. ``None`` stands for a failed measurement of one series; if the function raises,
        the failure of all is recorded: readings without a value, with the reason.

        Args:
            series: The quantities: ``temperature``, ``humidity``, ..., or an id of your own; as :class:`Series` with
                their units.
            unit: The unit of a single series, such as ``celsius`` or ``fahrenheit``; required for a type of your own.
            channel: Distinguishes this sensor from others of the same type in the module, such as ``supply``.
            every: The interval between measurements in seconds.

        Raises:
            InvalidArgument: The module has this series already, or the type is not an id or has no unit.
            Unprocessable: The unit does not fit the type.
        """
        if not series:
            raise InvalidArgument('a sensor measures at least one quantity: sensor("temperature")')
        secs = every.total_seconds() if isinstance(every, timedelta) else float(every)
        if not 0 < secs < float("inf"):
            raise InvalidArgument(f"every must be a number of seconds above 0, not {every!r}")
        if unit is not None and len(series) > 1:
            raise InvalidArgument("`unit` is the unit of a single series; use Series(type, unit) for several")
        measured = [self._new_series(one, unit, channel) for one in series]

        def decorate(function: F) -> F:
            self._series |= {(one.type, one.channel): one for one in measured}
            self._sensors.append(_Sensor(measured, secs, function))
            return function

        return decorate

    def declare(self, *series: str | Series, unit: str | None = None, channel: str | None = None) -> None:
        """Lists series in the manifest whose readings :meth:`record` provides. Call it before :meth:`run`.

        Args:
            series: The quantities, as in :meth:`sensor`.
            unit: The unit of the values.
            channel: As in :meth:`sensor`.

        Raises:
            InvalidArgument: The module has this series already, or the type is not an id or has no unit.
            Unprocessable: The unit does not fit the type.
        """
        for one in series:
            declared = self._new_series(one, unit, channel)
            self._series[declared.type, declared.channel] = declared
            self._declared.append(declared)

    def record(
        self,
        type: str,
        value: float | None,
        *,
        channel: str | None = None,
        unit: str | None = None,
        timestamp: Moment | None = None,
        reason: str | None = None,
    ) -> None:
        """Records a reading when something happens, such as the edge of a pin. May be called from any thread.

        The reading is numbered and goes through the outbox, like those of sensors. Up to 10,000 readings that are
        recorded while the module does not run wait for its next start.

        Args:
            type: The quantity; best one that was declared with :meth:`declare` or :meth:`sensor`.
            value: A number; ``True`` or ``False`` for 1 or 0; ``None`` for a measurement that failed.
            channel: The channel of the series, if it has one.
            unit: The unit of ``value``; by default the declared one. A type of your own that was not declared needs
                one, except for ``True`` and ``False``.
            timestamp: The time of the event; by default the current time.
            reason: With a ``value`` of ``None``: the reason, up to 200 characters.

        Raises:
            InvalidArgument: The type is not an id or has no unit, or the value is not finite.
            Unprocessable: The unit does not fit the type.
            Unavailable: Too many readings wait for the module to run.
        """
        declared = self._series.get((type, channel))
        if unit is None and declared is not None:
            unit = declared.unit
        elif unit is None and isinstance(value, bool):
            unit = "boolean"
        elif declared is None:
            unit = Series(type, unit, channel).unit
        number = None if value is None else float(value)
        sample = (type, channel, number, unit, reason or NO_VALUE)
        self._recorder.record(sample, unix_seconds(timestamp)).wait()

    def adapt(
        self,
        device: Any,
        name: str | None = None,
        *,
        channel: str | None = None,
        every: float | timedelta = 60.0,
    ) -> None:
        """Adds a device of another package.

        A CircuitPython driver becomes a sensor of all its quantities; the axes of a vector are channels. A button or
        motion sensor of gpiozero records its edges, other inputs are read periodically, and outputs become actions,
        with their value in the module's state; they are switched off when the module ends. A ``Picamera2`` becomes
        the camera, and is started if it was not.

        Args:
            device: The device.
            name: The type of the readings of a button, or the name of the action of an output; by default the name of
                its class, such as ``led``.
            channel: Distinguishes the readings of this device from others of the same type in the module.
            every: The interval between measurements in seconds.

        Raises:
            InvalidArgument: There is no adapter for the device, or the module has its series or action already.
        """
        add_device(self, device, name, channel, every)

    def _new_series(self, series: str | Series, unit: str | None, channel: str | None) -> Series:
        if isinstance(series, str):
            new = Series(series, unit, channel)
        else:
            new = series if channel is None else replace(series, channel=channel)
        if (new.type, new.channel) in self._series:
            where = "" if new.channel is None else f" on channel `{new.channel}`"
            raise InvalidArgument(
                f"this module already has a sensor for `{new.type}`{where}; use `channel=` to distinguish several"
            )
        return new

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
        """Makes a function that returns a frame the module's camera.

        A frame is a JPEG file, as bytes or another buffer, such as the array of ``cv2.imencode``, or as ``io.BytesIO``;
        or a PIL image, which is encoded.

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
            url: The hub, ``http://HOST[:PORT][/PREFIX]``; by default ``IOTPI_URL``, or ``http://127.0.0.1:8000``.
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
        requests = Requests(url, token, 10.0)
        with self._explained(id, requests), stop_on_signals(self.stop):
            self._run_on(requests.hub, id, once, outbox)

    async def serve(
        self,
        id: str | None = None,
        *,
        url: str | None = None,
        token: str | None = None,
        once: bool = False,
        outbox: str | PathLike[str] | None = None,
    ) -> None:
        """Runs the module like :meth:`run`, in the running event loop of an asyncio program.

        Its functions are called in that loop, so ``async def`` ones may use the program's own objects, and plain ones
        should return quickly. A plain camera function has its own thread. Several modules may be served at once.

        It runs until :meth:`stop`, or until its task is cancelled: it then shuts down within 2 s before the
        cancellation takes effect. It installs no signal handlers. ``asyncio.run`` cancels the task on Ctrl-C; for
        other signals use ``loop.add_signal_handler(signal.SIGTERM, module.stop)``.

        Args:
            id: As in :meth:`run`.
            url: As in :meth:`run`.
            token: As in :meth:`run`.
            once: As in :meth:`run`.
            outbox: As in :meth:`run`.

        Raises:
            InvalidArgument, Error, ModuleFailed: As in :meth:`run`.
        """
        loop = asyncio.get_running_loop()

        def in_loop(name: str) -> Worker:
            return Worker(loop)

        plain_camera = self._camera is not None and not inspect.iscoroutinefunction(self._camera.function)
        camera_worker = ThreadWorker if plain_camera else in_loop
        requests = Requests(url, token, 10.0)
        with (
            self._explained(id, requests),
            self._started(requests.hub, id, outbox, in_loop, camera_worker) as runner,
        ):
            run = Request(runner.once() if once else runner.run(), lambda _: None)
            running = asyncio.ensure_future(run)
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                runner.stop()
                await asyncio.wait([running])
                # The cancellation takes precedence over the module's own error.
                if not running.cancelled():
                    running.exception()
                raise

    def stop(self) -> None:
        """Ends :meth:`run` or :meth:`serve` from another thread or a signal handler; returns at once."""
        self._stopping.set()
        if self._runner is not None:
            self._runner.stop()

    def _run_on(
        self,
        hub: _iotpi.Hub | _iotpi.RecordingHub,
        id: str | None = None,
        once: bool = False,
        outbox: str | PathLike[str] | None = None,
    ) -> None:
        with self._started(hub, id, outbox, ThreadWorker, ThreadWorker) as runner:
            (runner.once() if once else runner.run()).wait()

    @contextmanager
    def _explained(self, id: str | None, requests: Requests) -> Iterator[None]:
        """Adds to the refusal of a token how to get a valid one."""
        try:
            yield
        except (Unauthenticated, PermissionDenied) as error:
            if not requests.has_token:
                error.add("There is no token: pass `token=`, or set IOTPI_TOKEN.")
            command = f"iotpi-hub token add --role module --module {id or self.id}"
            error.add(f"On the hub's machine `{command}` creates a token.")
            raise

    @contextmanager
    def _started(
        self,
        hub: _iotpi.Hub | _iotpi.RecordingHub,
        id: str | None,
        outbox: str | PathLike[str] | None,
        worker: Callable[[str], Worker],
        camera_worker: Callable[[str], Worker],
    ) -> Iterator[_iotpi.Runner]:
        """A runner of this module, with workers that end afterwards."""
        module_id = id or self.id
        if module_id is None:
            raise InvalidArgument("the module has no id: use Module(id) or run(id)")
        if self._runner is not None:
            raise InvalidArgument(f"module `{module_id}` is already running")
        if not (self._series or self._actions or self._camera):
            raise InvalidArgument(f"module `{module_id}` has no functions; decorate one with sensor, action or camera")
        workers = [worker(f"iotpi {module_id} functions")]
        if self._camera is not None:
            workers.append(camera_worker(f"iotpi {module_id} camera"))
        try:
            self._runner = self._native(hub, module_id, workers[0], workers[-1], outbox)
            # stop() may have been called before the runner existed.
            if self._stopping.is_set():
                self._runner.stop()
            yield self._runner
        finally:
            self._runner = None
            self._stopping.clear()
            for one in workers:
                one.stop()

    def _all_states(self) -> dict[str, Any]:
        own = {} if self._state is None else self._state()
        return {**own, **{name: value() for name, value in self._device_states.items()}}

    async def _all_safe(self) -> None:
        failure: Exception | None = None
        for off in [*self._device_offs, *([] if self._make_safe is None else [self._make_safe])]:
            try:
                done = off()
                if inspect.isawaitable(done):
                    await done
            except Exception as error:
                # The other devices have to be switched off, too.
                failure = failure or error
        if failure is not None:
            raise failure

    def _native(
        self,
        hub: _iotpi.Hub | _iotpi.RecordingHub,
        id: str,
        worker: Worker,
        camera_worker: Worker,
        outbox: str | PathLike[str] | None,
    ) -> _iotpi.Runner:
        camera = self._camera
        state = self._state if not self._device_states else self._all_states
        make_safe = self._make_safe if not self._device_offs else self._all_safe
        return _iotpi.Runner(
            hub,
            id,
            self.version,
            self.description,
            [(one.type, one.channel, one.unit) for one in self._declared],
            [
                (
                    [(one.type, one.channel, one.unit) for one in sensor.series],
                    sensor.every_secs,
                    sensor_function(worker, sensor.series, sensor.function),
                )
                for sensor in self._sensors
            ],
            [(action.spec, action_function(worker, action.function)) for action in self._actions.values()],
            None
            if camera is None
            else (camera.width, camera.height, camera.fps, camera_function(camera_worker, camera.function)),
            None if state is None else state_function(worker, state),
            None if make_safe is None else safe_function(worker, make_safe),
            self._recorder,
            outbox,
        )


_default = Module()

sensor: Final = _default.sensor
action: Final = _default.action
camera: Final = _default.camera
state: Final = _default.state
make_safe: Final = _default.make_safe
run: Final = _default.run
declare: Final = _default.declare
record: Final = _default.record
adapt: Final = _default.adapt
serve: Final = _default.serve
stop: Final = _default.stop
