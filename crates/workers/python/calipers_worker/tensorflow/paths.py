"""TensorFlow's ways to an artefact: what each path makes, and where experts set it otherwise."""

from calipers_worker.errors import BadArgument
from calipers_worker.protocol import Request

VARIANTS_OF_PATH = {
    "keras": ("float", "float-finetuned"),
    "tflite": ("float", "ptq-static", "ptq-dynamic"),
    "tflite-int16x8": ("ptq-static",),
    "tflite-float16": ("weight-only",),
    "tfmot": ("qat",),
    "aeq": ("ptq-static", "ptq-dynamic", "weight-only"),
}
TUNINGS = ("default", "tuned")
TUNED = {("tfmot", "qat"), ("aeq", "ptq-static")}
"""The paths and variants that have a `tuned` form beside the `default`."""


def path_of(request: Request) -> str:
    """The argument `path`."""
    return request.choice("path", tuple(VARIANTS_OF_PATH))


def variant_of(request: Request, path: str) -> str:
    """The argument `variant`, which must be one that `path` makes."""
    return request.choice("variant", VARIANTS_OF_PATH[path])


def is_tuned(request: Request, path: str, variant: str) -> bool:
    """Whether the argument `tuning` is `tuned`; BadArgument where `path` has no such form."""
    tuned = request.choice("tuning", TUNINGS) == "tuned"
    if tuned and (path, variant) not in TUNED:
        known = ", ".join(f"{variant} on {path}" for path, variant in sorted(TUNED))
        raise BadArgument(
            f"argument `tuning`: {variant} on path `{path}` has no tuned form; there is one for "
            f"{known}; ask for `default`"
        )
    return tuned
