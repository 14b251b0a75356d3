"""The stage that a probe is in, and the word for what a framework does not offer."""

import contextlib
from collections.abc import Callable, Iterator

STAGES = ("build", "prepare", "calibrate", "convert", "run")


class NoApi(Exception):
    """The framework, or this path of it, offers no way to ask; it says what was looked for."""


class Stage:
    """Where a probe is now, and who wants to know of it."""

    name = "build"
    listeners: tuple[Callable[[str], None], ...] = ()


def enter_stage(name: str) -> None:
    """Make `name` the stage, and tell the listeners."""
    Stage.name = name
    for listener in Stage.listeners:
        listener(name)


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Name the stage of everything inside the block; where the block fails, the stage stands."""
    before = Stage.name
    enter_stage(name)
    yield
    enter_stage(before)
