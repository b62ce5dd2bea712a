"""Modules of Python functions, run against a real hub."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import iotpi
import pytest
from iotpi.testing import HubProcess
from odd_servers import silent_server

TIMEOUT_SECS = 20

Start = Callable[[iotpi.Module], None]


def first(client: iotpi.Client, module: str, wanted: Callable[[iotpi.Event], Any]) -> Any:
    """Waits for the first live event of a module that is wanted, and returns what is wanted of it."""
    with client.live(modules=[module]) as events:
        patience = threading.Timer(TIMEOUT_SECS, events.close)
        patience.start()
        try:
            for event in events:
                if (found := wanted(event)) is not None:
                    return found
        finally:
            patience.cancel()
    raise AssertionError(f"nothing of {module} that was waited for came")


def reading(event: iotpi.Event) -> iotpi.Reading | None:
    match event:
        case iotpi.ReadingStored(reading=reading) | iotpi.Recent(readings=[*_, reading]):
            return reading
    return None


def registered(event: iotpi.Event) -> iotpi.ModuleInfo | None:
    match event:
        case iotpi.ModuleChanged(module=module) | iotpi.Recent(modules=[module]) if module.manifest:
            return module
    return None


def outcome(client: iotpi.Client, module: str, action: str, **params: Any) -> iotpi.Command:
    first(client, module, registered)
    return client.wait(client.control(module, action, params), timeout=30)


def test_a_function_becomes_a_sensor(client: iotpi.Client, module_id: str, start: Start) -> None:
    module = iotpi.Module(module_id, description="A test", version="1.2.3")

    @module.sensor("temperature", unit="fahrenheit", every=3600)
    def read() -> float:
        return 212

    start(module)

    measured = first(client, module_id, reading)
    manifest = first(client, module_id, registered).manifest
    assert (measured.value, measured.unit) == (pytest.approx(100), "celsius")
    assert manifest["measures"] == [{"type": "temperature", "unit": "celsius", "every_secs": 3600}]
    assert (manifest["description"], manifest["version"]) == ("A test", "1.2.3")


def test_a_sensor_is_read_again_and_again(client: iotpi.Client, module_id: str, start: Start) -> None:
    module = iotpi.Module(module_id)
    values = iter(range(1000))

    @module.sensor("ticks", unit="count", every=0.01)
    def read() -> int:
        return next(values)

    start(module)

    assert first(client, module_id, lambda event: ((found := reading(event)) and found.value == 3) or None)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_sensor_that_raises_leaves_its_reason(
    client: iotpi.Client, module_id: str, start: Start, asynchronous: bool
) -> None:
    module = iotpi.Module(module_id)

    def fail() -> float:
        raise OSError("no acknowledge")

    async def fail_later() -> float:
        await asyncio.sleep(0)
        return fail()

    module.sensor("temperature")(fail_later if asynchronous else fail)
    start(module)

    measured = first(client, module_id, reading)
    assert measured.value is None
    assert "OSError: no acknowledge" in measured.reason


@pytest.mark.parametrize("value", [None, float("nan")])
def test_a_sensor_without_a_value_leaves_a_gap(
    client: iotpi.Client, module_id: str, start: Start, value: float | None
) -> None:
    module = iotpi.Module(module_id)
    module.sensor("temperature")(lambda: value)
    start(module)

    measured = first(client, module_id, reading)

    assert measured.value is None
    assert measured.reason


def test_an_action_is_done_and_answers(client: iotpi.Client, module_id: str, start: Start) -> None:
    module = iotpi.Module(module_id)
    done: list[int] = []

    @module.action("blink")
    def blink(times: int, colour: str = "red") -> dict[str, object]:
        """Blink some times.

        And more about it.
        """
        done.append(times)
        return {"times": times, "colour": colour}

    start(module)
    command = outcome(client, module_id, "blink", times=3)

    assert (command.state, command.result) == ("succeeded", {"times": 3, "colour": "red"})
    assert (command.succeeded, command.finished, done) == (True, True, [3])
    [action] = first(client, module_id, registered).manifest["actions"]
    assert (action["name"], action["description"], action["hazardous"]) == ("blink", "Blink some times.", False)
    with pytest.raises(iotpi.Unprocessable):
        client.control(module_id, "blink", {"times": "often"})


def test_an_action_may_be_async_and_use_a_schema_of_its_own(client: iotpi.Client, module_id: str, start: Start) -> None:
    module = iotpi.Module(module_id)
    schema = {"type": "object", "properties": {"level": {"type": "integer", "maximum": 9}}, "required": ["level"]}

    @module.action("dim", params=schema, hazardous=True)
    async def dim(level: int) -> int:
        await asyncio.sleep(0)
        return level

    start(module)

    assert outcome(client, module_id, "dim", level=9).result == 9
    [action] = first(client, module_id, registered).manifest["actions"]
    assert (action["params"], action["hazardous"]) == (schema, True)


def test_an_action_says_what_the_manifest_has_a_word_for(client: iotpi.Client, module_id: str, start: Start) -> None:
    module = iotpi.Module(module_id)

    @module.action("heat", absolute=True, target="zone", while_alive=timedelta(minutes=1))
    def heat(zone: int) -> None:
        pass

    start(module)

    [action] = first(client, module_id, registered).manifest["actions"]
    assert (action["absolute"], action["target"], action["while_alive"]) == (True, "zone", 60)
    for wrong in [{"target": "zone"}, {"while_alive": 0.5}, {"while_alive": 3601}]:
        with pytest.raises(iotpi.InvalidArgument):
            module.action("other", **wrong)  # type: ignore[arg-type]


def test_what_lasts_only_while_somebody_watches_is_made_safe(
    client: iotpi.Client, hub: HubProcess, module_id: str, start: Start
) -> None:
    module = iotpi.Module(module_id)
    safe = threading.Event()
    module.action("heat", while_alive=1)(lambda: None)
    module.make_safe(safe.set)
    # Another client watches; the issuer makes no further request.
    leaving = hub.client("operator")

    start(module)
    first(client, module_id, registered)
    command = leaving.control(module_id, "heat")
    assert client.wait(command, timeout=30).succeeded
    # It was called at the start as well.
    safe.clear()

    assert safe.wait(30)


def test_a_request_under_one_key_is_one_command(client: iotpi.Client, module_id: str, start: Start) -> None:
    module = iotpi.Module(module_id)
    done = []
    module.action("count")(lambda: done.append(1))

    start(module)
    first(client, module_id, registered)
    commands = [client.control(module_id, "count", key="once") for _ in range(3)]

    assert len({command.id for command in commands}) == 1
    assert client.wait(commands[0], timeout=30).succeeded
    assert done == [1]
    with pytest.raises(iotpi.Conflict):
        client.control(module_id, "count", expires_in=5, key="once")


@pytest.mark.parametrize(
    ("error", "state"), [(iotpi.Refused("not at night"), "rejected"), (RuntimeError("stuck"), "failed")]
)
def test_an_action_that_raises_says_how_it_ended(
    client: iotpi.Client, module_id: str, start: Start, error: Exception, state: str
) -> None:
    module = iotpi.Module(module_id)

    @module.action("turn")
    def turn() -> None:
        raise error

    start(module)
    command = outcome(client, module_id, "turn")

    assert command.state == state
    assert command.error is not None
    assert str(error) in command.error
    assert not command.succeeded


def test_the_state_is_told_at_the_start_and_after_an_action(client: iotpi.Client, module_id: str, start: Start) -> None:
    module = iotpi.Module(module_id)
    light = {"on": False}
    module.state(lambda: light)
    module.action("on")(lambda: light.update(on=True))

    start(module)

    def state(event: iotpi.Event) -> Any:
        match event:
            case iotpi.ModuleChanged(module=module) | iotpi.Recent(modules=[module]):
                return module.state
        return None

    assert first(client, module_id, state) == {"on": False}
    assert outcome(client, module_id, "on").succeeded
    assert client.module(module_id).state == {"on": True}


def test_a_camera_shows_what_its_function_returns(
    client: iotpi.Client, module_id: str, start: Start, jpeg: bytes
) -> None:
    module = iotpi.Module(module_id)
    module.camera(width=1, height=1, fps=50)(lambda: jpeg)

    start(module)
    first(client, module_id, lambda event: isinstance(event, iotpi.CameraSeen) or None)

    with client.frames(module_id) as frames:
        assert [next(frames), next(frames)] == [jpeg, jpeg]


def test_functions_of_a_module_share_one_thread(client: iotpi.Client, module_id: str, start: Start) -> None:
    module = iotpi.Module(module_id)
    threads = set()

    @module.sensor("a", unit="count")
    def read() -> int:
        threads.add(threading.get_ident())
        return 1

    @module.action("act")
    async def act() -> None:
        threads.add(threading.get_ident())

    start(module)
    first(client, module_id, reading)

    assert outcome(client, module_id, "act").succeeded
    assert len(threads) == 1


def test_the_module_is_made_safe_when_it_stops(module_id: str, start: Start, client: iotpi.Client) -> None:
    module = iotpi.Module(module_id)
    safe = threading.Event()
    module.sensor("temperature")(lambda: 1)
    module.make_safe(safe.set)
    start(module)
    first(client, module_id, registered)

    module.stop()

    assert safe.wait(10)


def test_a_function_that_hangs_does_not_keep_the_module_from_being_made_safe(hub: HubProcess, module_id: str) -> None:
    module = iotpi.Module(module_id)
    hanging, release, safe = threading.Event(), threading.Event(), threading.Event()

    @module.sensor("temperature")
    def read() -> None:
        hanging.set()
        release.wait(30)

    module.make_safe(safe.set)

    def stop() -> None:
        hanging.wait(10)
        module.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()

    module.run(url=hub.url, token=hub.token("module", module_id))

    stopping.join(10)
    release.set()
    assert safe.is_set()


def test_once_measures_once_and_returns(hub: HubProcess, client: iotpi.Client, module_id: str) -> None:
    module = iotpi.Module(module_id)
    module.sensor("temperature")(lambda: 21.5)
    token = hub.token("module", module_id)

    module.run(url=hub.url, token=token, once=True)
    module.run(url=hub.url, token=token, once=True)

    assert [reading.value for reading in client.readings("temperature", module=module_id)] == [21.5, 21.5]


def test_what_the_hub_did_not_take_waits_in_the_outbox(
    hub: HubProcess, client: iotpi.Client, module_id: str, tmp_path: Path
) -> None:
    token, outbox = hub.token("module", module_id), tmp_path / "outbox"
    module = iotpi.Module(module_id)
    values = iter([1.5, 2.5])

    @module.sensor("temperature", every=60)
    def read() -> float:
        return next(values)

    with pytest.raises(iotpi.Unavailable):
        module.run(url="http://127.0.0.1:1", token=token, once=True, outbox=outbox)
    assert len(list(outbox.glob("*.seg"))) == 1
    module.run(url=hub.url, token=token, once=True, outbox=outbox)

    assert {reading.value for reading in client.readings("temperature", module=module_id)} == {1.5, 2.5}
    assert list(outbox.glob("*.seg")) == []


def test_a_module_that_was_killed_at_a_hazardous_action_says_so_and_does_not_do_it_again(
    hub: HubProcess, client: iotpi.Client, module_id: str, tmp_path: Path
) -> None:
    token, outbox = hub.token("module", module_id), tmp_path / "outbox"
    script = tmp_path / "module.py"
    script.write_text(
        "import os, sys, iotpi\n"
        "module = iotpi.Module(sys.argv[1])\n"
        "module.action('open', hazardous=True)(lambda: os._exit(3))\n"
        "module.run(outbox=sys.argv[2])\n"
    )
    environment = {**os.environ, "IOTPI_URL": hub.url, "IOTPI_TOKEN": token}
    with subprocess.Popen([sys.executable, script, module_id, outbox], env=environment) as process:
        try:
            first(client, module_id, registered)
            command = client.control(module_id, "open")
            assert process.wait(30) == 3
        finally:
            process.kill()
    opened: list[int] = []
    module = iotpi.Module(module_id)
    module.action("open", hazardous=True)(lambda: opened.append(1))

    module.run(url=hub.url, token=token, once=True, outbox=outbox)

    ended = client.command(command.id)
    assert (ended.state, ended.error) == ("unknown_outcome", "the module was interrupted after it had begun")
    assert opened == []


def test_an_outbox_belongs_to_one_module(hub: HubProcess, module_id: str, tmp_path: Path) -> None:
    for owner, ends in [(module_id, iotpi.Unavailable), (f"{module_id}-too", iotpi.ModuleFailed)]:
        module = iotpi.Module(owner)
        module.sensor("temperature", every=60)(lambda: 1.0)

        with pytest.raises(ends):
            module.run(url="http://127.0.0.1:1", token="none", once=True, outbox=str(tmp_path))


def test_once_fails_when_the_sensor_fails(hub: HubProcess, client: iotpi.Client, module_id: str) -> None:
    module = iotpi.Module(module_id)
    module.sensor("temperature")(lambda: 1 / 0)

    with pytest.raises(iotpi.ModuleFailed, match="ZeroDivisionError"):
        module.run(url=hub.url, token=hub.token("module", module_id), once=True)

    [gap] = client.latest(module_id)
    assert gap.value is None


def test_a_wrong_token_ends_the_module_with_its_exception(hub: HubProcess, module_id: str) -> None:
    module = iotpi.Module(module_id)
    module.sensor("temperature")(lambda: 1)

    with pytest.raises(iotpi.PermissionDenied):
        module.run(url=hub.url, token=hub.token("module", "somebody-else"))
    with pytest.raises(iotpi.Unauthenticated):
        module.run(url=hub.url, token="iotpi_wrong")


def test_a_stop_that_comes_first_counts(hub: HubProcess, module_id: str) -> None:
    module = iotpi.Module(module_id)
    module.sensor("temperature")(lambda: 1)
    module.stop()

    # It returns; a stop that was forgotten would let it run on.
    module.run(url=hub.url, token=hub.token("module", module_id))

    assert not [thread for thread in threading.enumerate() if module_id in thread.name]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_a_signal_ends_a_module_in_order(number: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "module.py"
    script.write_text(
        "import iotpi\n"
        "iotpi.sensor('temperature')(lambda: 1)\n"
        "iotpi.make_safe(lambda: print('safe', flush=True))\n"
        "iotpi.run('a-module')\n"
        "print('ended')\n"
    )
    with silent_server() as server:
        process = subprocess.Popen(
            # The process that runs the tests may ignore some signals, and a child inherits that.
            ["env", "--default-signal", sys.executable, script],
            env={**os.environ, "IOTPI_URL": server.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert server.asked.wait(30)

        process.send_signal(number)
        said, _ = process.communicate(timeout=30)

    assert said == "safe\nended\n"
    assert process.returncode == 0


def lamp_script(folder: Path) -> Path:
    """A module whose lamp is a file: on when it begins, off when it was made safe, which takes a while."""
    script = folder / "lamp.py"
    script.write_text(
        "import os, pathlib, time, iotpi\n"
        f"lamp = pathlib.Path({str(folder / 'lamp')!r})\n"
        "@iotpi.sensor('temperature', every=0.1)\n"
        "def measure():\n"
        "    print('measured by', os.getpid(), flush=True)\n"
        "    return 1\n"
        "@iotpi.make_safe\n"
        "def off():\n"
        "    print('making safe', flush=True)\n"
        "    time.sleep(0.3)\n"
        "    print('safe', flush=True)\n"
        "    lamp.write_text('off')\n"
        "lamp.write_text('on')\n"
        "iotpi.run('lamp', url='http://127.0.0.1:1')\n"
    )
    return script


def started(signals: str, folder: Path) -> tuple[subprocess.Popen[str], Iterator[str]]:
    """The lamp's module with what `env` does about signals, once it has measured, and what it prints after that."""
    process = subprocess.Popen(["env", signals, sys.executable, lamp_script(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = iter(process.stdout)
    assert next(lines).startswith("measured")
    return process, lines


def test_further_signals_do_not_cut_the_end_short(tmp_path: Path) -> None:
    process, lines = started("--default-signal", tmp_path)

    process.send_signal(signal.SIGHUP)
    assert "making safe\n" in lines
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        process.send_signal(number)

    assert process.wait(30) == 0
    assert process.stdout is not None
    process.stdout.close()
    assert (tmp_path / "lamp").read_text() == "off"


def test_under_nohup_a_module_outlives_its_terminal(tmp_path: Path) -> None:
    process, lines = started("--ignore-signal=HUP", tmp_path)

    process.send_signal(signal.SIGHUP)
    after = [next(lines) for _ in range(5)]
    process.send_signal(signal.SIGTERM)

    assert all(line.startswith("measured") for line in after)
    assert process.wait(30) == 0
    assert process.stdout is not None
    process.stdout.close()
    assert (tmp_path / "lamp").read_text() == "off"


def test_a_terminal_that_is_closed_leaves_the_device_safe(tmp_path: Path) -> None:
    # Killed, `script` closes the terminal it gave the module, as a lost SSH connection does: `print` then fails.
    command = f"env --default-signal {sys.executable} {lamp_script(tmp_path)}"
    terminal = subprocess.Popen(
        ["script", "--quiet", "--flush", "--command", command, "/dev/null"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert terminal.stdout is not None
    measured = next(line for line in terminal.stdout if line.startswith("measured"))
    module = os.pidfd_open(int(measured.split()[-1]))

    terminal.kill()
    terminal.wait(30)
    terminal.stdout.close()
    assert terminal.stdin is not None
    terminal.stdin.close()

    ended, _, _ = select.select([module], [], [], 30)
    os.close(module)
    assert ended
    assert (tmp_path / "lamp").read_text() == "off"


def test_mistakes_are_named_where_they_are_made(module_id: str) -> None:
    module = iotpi.Module()
    module.sensor("temperature")(lambda: 1)
    module.declare("humidity")
    module.action("set")(lambda: None)
    module.camera(width=1, height=1)(lambda: b"")
    module.state(dict)
    module.make_safe(lambda: None)

    mistakes: dict[str, Callable[[], Any]] = {
        "already has a sensor for `temperature`": lambda: module.sensor("temperature"),
        "already has a sensor for `humidity`": lambda: module.sensor("humidity"),
        "at least one quantity": lambda: module.sensor(),
        "the unit of a single series": lambda: module.sensor("pressure", "co2", unit="pascal"),
        "already has an action `set`": lambda: module.action("set"),
        "already has a camera": lambda: module.camera(width=1, height=1),
        "already has a function for its state": lambda: module.state(dict),
        "already has a function for its safe state": lambda: module.make_safe(dict),
        "`Soil` is not an id": lambda: module.sensor("Soil", unit="percent"),
        "`Blink` is not an id": lambda: module.action("Blink"),
        "say its unit": lambda: module.sensor("soil"),
        "seconds above 0": lambda: module.sensor("pressure", every=0),
        "the module has no id": lambda: module.run(),
        "is not an id": lambda: module.run("No Id"),
        "has no functions": lambda: iotpi.Module(module_id).run(),
    }
    for text, mistake in mistakes.items():
        with pytest.raises(iotpi.InvalidArgument, match=text):
            mistake()
    with pytest.raises(iotpi.Unprocessable, match="humidity cannot be measured in `celsius`"):
        iotpi.Module().sensor("humidity", unit="celsius")
