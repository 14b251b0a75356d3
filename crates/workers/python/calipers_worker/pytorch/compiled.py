"""Models that Inductor compiles, with frozen weights, and which kernels of theirs execute."""

import functools
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._inductor.utils import run_and_get_code
from torch.profiler import ProfilerActivity, profile

from calipers_worker.errors import WorkerError
from calipers_worker.gaps.pytorch.paths_compiled import (
    ARGUMENT,
    CALLED,
    SIGNATURE,
    Buffers,
    Call,
    call_class,
    is_kernel,
    is_kernel_call,
    kernel_name,
    reads,
    split_arguments,
)
from calipers_worker.gaps.pytorch.paths_executed import PRODUCTS
from calipers_worker.operators import executed
from calipers_worker.pytorch.executed import Product
from calipers_worker.pytorch.kinds import kind_of

Model = Callable[[torch.Tensor], torch.Tensor]

_ALIAS = re.compile(r"^\s+(\w+) = (\w+)$")
_CHECKED = re.compile(r"^\s+assert_(?:tensor_metadata|size_stride)\((\w+), \(([^)]*)\)")
_PRODUCTS_IN_NAMES = re.compile(r"(?<=_)(addmm|bmm|mm|convolution)(?=_)")
_ACCUMULATED = {"onednn::qconv2d_pointwise": 6, "mkldnn::_convolution_pointwise_": 0}
"""Which argument a library's fused sum is written into."""
CACHE = "TORCHINDUCTOR_CACHE_DIR"
"""The environment variable that names the folder of Inductor's compiled code."""


class NoCompiler(WorkerError):
    """Inductor needs a C++ compiler, and there is none."""


class UnknownCode(WorkerError):
    """What Inductor generated is not what this version of the worker can read."""


def compiled(model: nn.Module, *, kernels_in_profile: bool = False) -> Model:
    """The exported model as `torch.compile` makes it; it must be called without gradients.

    It compiles when it is called first with a batch of 1, and once more for all other sizes. With
    `kernels_in_profile` a profiler sees generated kernels, which costs a little time for each.
    """
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        raise NoCompiler(
            "torch.compile needs a C++ compiler, found neither `g++` nor `clang++`; install one "
            "(for example the package `g++`), or leave the path `pt2e` out"
        )
    _own_cache()
    torch._inductor.config.freezing = True
    # One thread compiles in this process; more would be processes that go on beside the timing.
    torch._inductor.config.compile_threads = 1
    options = {"cpp.enable_kernel_profile": True} if kernels_in_profile else None
    run = torch.compile(model, options=options)

    def call(inputs: torch.Tensor) -> torch.Tensor:
        if len(inputs) > 1:
            torch._dynamo.mark_dynamic(inputs, 0)
        return run(inputs)

    return call


@functools.cache
def _own_cache() -> tempfile.TemporaryDirectory[str] | None:
    """A cache of compiled code that ends with this process, unless the asker names one.

    In the one that all processes of a user share, another may be writing the same file just now,
    and what a killed one left unfinished is taken for whole.
    """
    if CACHE in os.environ:
        return None
    folder = tempfile.TemporaryDirectory(prefix="calipers-inductor-", ignore_cleanup_errors=True)
    os.environ[CACHE] = folder.name
    return folder


def operators(call: Model, example: torch.Tensor) -> list[dict[str, Any]]:
    """What executes in `call(example)`, which was never called before, in order."""
    with torch.no_grad(), torch._inductor.config.patch(fx_graph_cache=False):
        _, code = run_and_get_code(call, example)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            call(example)
    kernels = _kernels_in("\n".join(code))
    ran = [event.name for event in profiled.events() if is_kernel(event)]
    library = [one.call.name for one in kernels if "::" in one.call.name]
    if library != ran:
        raise UnknownCode(
            f"the calls that ran, {ran}, are not those of the generated code, {library}"
        )
    return [one.described() for one in kernels]


@dataclass(frozen=True)
class _Kernel:
    """A call in the generated code, with the shapes that its work follows from.

    `weights` are the constants that it multiplies, with their types as they are stored.
    """

    call: Call
    written: list[list[int]]
    weights: list[tuple[list[int], str]]

    @property
    def is_generated(self) -> bool:
        """Whether Inductor wrote it; else it is a library's."""
        return "::" not in self.call.name

    def product(self) -> Product | None:
        """The work of a convolution or matrix product for one sample."""
        name = self.call.name
        if not any(word in name for word in PRODUCTS) or not self.weights:
            return None
        shapes = [shape for shape, _ in self.weights]
        # A kernel that writes what has a weight's shape lays it out for the product to come.
        if self.is_generated and (
            "convolution" in name or any(shape in shapes for shape in self.written)
        ):
            return None
        # Where a library has packed the weight, the weight itself comes after the packed one.
        shape, kind = self.weights[-1]
        elements, bits = math.prod(shape), 8 * getattr(torch, kind).itemsize
        if "conv" in name:
            made = [one for one in self.written if len(one) == len(shape)]
        else:
            made = [one for one in self.written if len(one) == 2 and one[-1] in shape]
        if not made:
            raise UnknownCode(f"the generated code does not say what shape `{name}` makes")
        if "conv" in name:
            return Product(math.prod(made[0]) * elements // shape[0], elements, bits)
        return Product(made[0][0] * elements, elements, bits)

    def described(self) -> dict[str, Any]:
        """The call as an answer tells it."""
        name, product, computes = self.call.name, self.product(), call_class(self.call)
        if product is not None:
            # Generated products compute in float, also on weights that they read as integers.
            if self.is_generated and product.weight_bits == 8:
                computes = "weight_only"
            return executed(name, kind_of(name), computes, **vars(product))
        kind = {"convert": "conversion", "move": "movement"}.get(computes)
        plain = _PRODUCTS_IN_NAMES.sub("", name) if self.is_generated else name
        return executed(name, kind or kind_of(plain), computes)


class _Shapes(Buffers):
    """What the variables of the generated code hold, and what it says of shapes in its checks."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__([found for line in lines if (found := ARGUMENT.match(line))])
        self.checked = {found[1]: found[2] for line in lines if (found := _CHECKED.match(line))}
        self.aliases = {found[2]: found[1] for line in lines if (found := _ALIAS.match(line))}

    def kernel(self, call: Call, written: list[str]) -> _Kernel:
        """The call with its shapes; `written` are the variables that it writes."""
        shapes = [self._shape(name) for name in written]
        weights = [
            # What another kernel has made float is stored as integers.
            (self._shape(name) or [], "int8" if call.dequantized else self.types[name])
            for name in call.dequantized or call.weights
        ]
        return _Kernel(call, [shape for shape in shapes if shape is not None], weights)

    def _shape(self, name: str) -> list[int] | None:
        for one in (name, self.aliases.get(name)):
            if one in self.checked:
                return [int(size) for size in re.findall(r"\d+", self.checked[one])]
        return [int(size) for size in self.shapes[name]] if name in self.shapes else None


def _kernels_in(code: str) -> list[_Kernel]:
    lines = code.splitlines()
    signatures = {found[1]: found[2] for line in lines if (found := SIGNATURE.match(line))}
    buffers = _Shapes(lines)
    kernels = []
    for line in lines:
        buffers.read(line)
        found = CALLED.match(line)
        if not found or not is_kernel_call(found[2]):
            continue
        arguments = [reads(one) for one in split_arguments(found[3])]
        name = kernel_name(found[2])
        if name in signatures:
            pointers = re.findall(r"'(.*?)'", signatures[name])
            written = [
                one
                for one, pointer in zip(arguments, pointers, strict=True)
                if not pointer.startswith("const")
            ]
            kernels.append(buffers.kernel(buffers.generated(name, arguments, pointers), written))
            continue
        written = [found[1]] if found[1] else re.findall(r"\bout=(\w+)", found[3])
        if not written and name in _ACCUMULATED:
            written = [arguments[_ACCUMULATED[name]]]
        call = buffers.library(name, arguments, found[3], found[1])
        kernels.append(buffers.kernel(call, written))
    return kernels
