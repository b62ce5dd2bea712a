"""What a call does to the rest of the program while it waits."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import iotpi
import pytest
from iotpi import aio
from odd_servers import silent_server

JPEG = b"\xff\xd8\xff\xe0\x00\x04\x01\x02\xff\xc0\x00\x11\x08\x00\x08\x00\x08\x03\xff\xda\x00\x02\xff\xd9"
READING = iotpi.Reading(module_id="a", type="temperature", value=1.0, unit="celsius", timestamp=1795472000.0)

CALLS: dict[str, Callable[[iotpi.Client], object]] = {
    "health": lambda client: client.health(),
    "readings": lambda client: list(client.readings("temperature")),
    "latest": lambda client: client.latest(),
    "history": lambda client: list(client.history("temperature")),
    "record": lambda client: client.record("temperature", 1.0, module="a"),
    "record_many": lambda client: client.record_many([READING]),
    "gaps": lambda client: list(client.gaps()),
    "delivery": lambda client: client.delivery("a"),
    "cameras": lambda client: client.cameras(),
    "snapshot": lambda client: client.snapshot(),
    "publish": lambda client: client.publish("a", JPEG),
    "frames": lambda client: client.frames(),
    "modules": lambda client: client.modules(),
    "module": lambda client: client.module("a"),
    "control": lambda client: client.control("a", "set"),
    "command": lambda client: client.command("a"),
    "wait": lambda client: client.wait("a"),
    "cancel": lambda client: client.cancel("a"),
    "live": lambda client: client.live(),
}


def test_the_list_of_calls_is_whole() -> None:
    public = {name for name, member in vars(iotpi.Client).items() if callable(member) and not name.startswith("_")}

    # `stream_frames` returns a publisher at once; only its `wait_for_demand` waits. `close` sends nothing.
    assert public == {*CALLS, "stream_frames", "close"}
    assert public == {
        name for name, member in vars(aio.Client).items() if callable(member) and not name.startswith("_")
    }


@pytest.mark.parametrize("call", CALLS)
def test_another_thread_works_while_a_call_waits(call: str) -> None:
    # The server is a thread of this process: it can only take the request, and hang up on it, while the call
    # does not hold the interpreter. The call ends because the server hung up, long before its own timeout.
    with silent_server() as server:
        client = iotpi.Client(server.url, timeout=60)

        def hang_up() -> None:
            server.asked.wait(30)
            server.close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()

        with pytest.raises(iotpi.Unavailable) as raised:
            CALLS[call](client)

        hanging_up.join(10)
    assert server.asked.is_set()
    assert not isinstance(raised.value, iotpi.Timeout)


WAITING = """
import sys, iotpi
try:
    iotpi.Client(sys.argv[1], timeout=60).latest()
except KeyboardInterrupt:
    print("ended")
"""


def test_ctrl_c_ends_a_call_that_waits() -> None:
    with silent_server() as server:
        process = subprocess.Popen([sys.executable, "-c", WAITING, server.url], stdout=subprocess.PIPE, text=True)
        assert server.asked.wait(30)

        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)

    assert (said, process.returncode) == ("ended\n", 0)


def test_a_cancelled_task_hangs_up() -> None:
    with silent_server() as server:

        async def ask_and_give_up() -> None:
            task = asyncio.create_task(aio.Client(server.url, timeout=60).latest())
            await asyncio.to_thread(server.asked.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(ask_and_give_up())

        assert server.left.wait(30)


def test_the_event_loop_runs_while_a_call_waits() -> None:
    async def ask() -> None:
        with silent_server() as server:
            asked = asyncio.create_task(aio.Client(server.url, timeout=0.05).latest())
            turns = 0
            while not asked.done():
                await asyncio.sleep(0)
                turns += 1
            assert turns > 10
            with pytest.raises(iotpi.Timeout):
                await asked

    asyncio.run(ask())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_client_made_before_a_fork_says_so_in_the_child() -> None:
    with silent_server() as server:
        client = iotpi.Client(server.url, timeout=0.05)
        with pytest.raises(iotpi.Timeout):
            client.latest()

        child = os.fork()
        if child == 0:
            code = 1
            try:
                client.latest()
            except RuntimeError as error:
                own = iotpi.Client(server.url, timeout=0.05)
                try:
                    own.latest()
                except iotpi.Timeout:
                    code = 0 if "forked" in str(error) else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
