"""Times one inference after the other, with nothing else between the two clock readings."""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Input = TypeVar("Input")


def time_calls(
    call: Callable[[Input], Any], inputs: Sequence[Input], count: int, warm_up: int
) -> list[int]:
    """Nanoseconds of each of `count` calls, cycling through `inputs`; no garbage is collected.

    `warm_up` calls come before them, which fill the caches and wake the threads.
    """
    clock = time.perf_counter_ns
    nanoseconds = [0] * count
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for index in range(warm_up):
            call(inputs[index % len(inputs)])
        for index in range(count):
            value = inputs[index % len(inputs)]
            started = clock()
            output = call(value)
            nanoseconds[index] = clock() - started
            # Freed after the second reading: the caller of an inference keeps its logits.
            del output
    finally:
        if was_enabled:
            gc.enable()
    return nanoseconds
