"""Ends the process when the one that started it dies, in the middle of a command too.

The end of stdin alone does not say so: a command may run for minutes before stdin is read again.
"""

import os
import signal
import threading
import time

try:
    from select import poll
except ImportError:
    poll = None  # type: ignore[assignment,misc]

PAUSE_SECONDS = 0.1


def hold() -> None:
    """Watch stdin from a thread that sleeps in the kernel; call before stdin is replaced."""
    if poll is None:
        return
    threading.Thread(target=_watch, args=(os.dup(0), os.getppid()), daemon=True).start()


def _watch(stdin: int, asker: int) -> None:
    ends = poll()
    # No event is asked for: a hang-up is reported all the same, and arriving requests are not.
    ends.register(stdin, 0)
    ends.poll()
    # An asker that lives on may have closed stdin on purpose, and still waits for its answers. The
    # stdin of a dead one ends a moment before its children get another parent.
    while os.getppid() == asker:
        time.sleep(PAUSE_SECONDS)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
