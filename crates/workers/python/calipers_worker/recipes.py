"""The exact recipe of an artefact: the source of the functions that made it."""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def source_of(*functions: Callable[..., Any]) -> str:
    """The source of `functions`, in order, as a person reads it."""
    return "\n\n".join(textwrap.dedent(inspect.getsource(one)).rstrip() for one in functions)
