"""The signals that end a module, and the output that may be gone by then."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
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
        replace_lost_output()

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: the handler was not installed from Python and cannot be restored from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def replace_lost_output() -> None:
    """Replaces standard output and error by ``/dev/null`` if their terminal or the reader of their pipe is gone.

    Otherwise a ``print`` in the function of :meth:`iotpi.Module.make_safe` would raise and leave the device on.
    """
    for descriptor in (1, 2):
        poll = select.poll()
        poll.register(descriptor, 0)
        if any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0)):
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, descriptor)
            os.close(devnull)
