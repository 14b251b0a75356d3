"""Which operators really execute, with what work: a log of one inference, not what an API says."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torchao.utils import TorchAOBaseTensor

from calipers_worker.gaps.pytorch.paths_executed import (
    PRODUCTS,
    UNPACK_BY_CLASS,
    OperatorLog,
    TorchAOScope,
    called_by,
    flattened,
    operator_class,
)
from calipers_worker.gaps.pytorch.paths_quantized import held_type
from calipers_worker.operators import executed
from calipers_worker.pytorch.kinds import kind_of


@dataclass(frozen=True)
class Product:
    """The work of a convolution or matrix product: multiply-accumulates, and its constant."""

    macs: int
    weights: int = 0
    weight_bits: int = 0


def operators(model: nn.Module, example: torch.Tensor) -> list[dict[str, Any]]:
    """What executes in `model(example)`, in order."""
    with torch.no_grad():
        # The first calls of a TorchScript model optimize it.
        for _ in range(2):
            model(example)
        log = _WorkLog(model)
        with (
            profile(activities=[ProfilerActivity.CPU]) as profiled,
            _Scope(log),
            log,
        ):
            model(example)
    for event in profiled.events():
        if event.name.startswith(OperatorLog.mark):
            operator = log.operators[int(event.name.removeprefix(OperatorLog.mark))]
            operator.inside = list(called_by(event))
    found = []
    for operator, product in zip(log.operators, log.products, strict=True):
        computes = operator_class(operator)
        kind = {"convert": "conversion", "move": "movement"}.get(computes, kind_of(operator.name))
        work = {} if computes in ("convert", "move") or product is None else vars(product)
        found.append(executed(operator.name, kind, computes, **work))
    return found


class _WorkLog(OperatorLog):
    """An operator log that also knows the shapes of products and their constants."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.products: list[Product | None] = []
        self.torchao_weight: TorchAOBaseTensor | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = super().__torch_dispatch__(func, types, args, kwargs)
        name = func._schema.name.partition("::")[2]
        values = list(flattened([args, kwargs or {}]))
        is_product = any(word in name for word in PRODUCTS) and isinstance(output, torch.Tensor)
        self.products.append(self._product(name, values, output) if is_product else None)
        return output

    def _product(self, name: str, values: list[Any], output: torch.Tensor) -> Product:
        weight = self._weight(values)
        if "conv" in name:
            kernel = weight if weight is not None else values[1]
            macs = output.numel() * kernel.numel() // kernel.shape[0]
        else:
            matrices = [one for one in values if isinstance(one, torch.Tensor) and one.dim() >= 2]
            # Of the two factors the first has a row for each of the output's.
            macs = output.numel() * matrices[0].shape[-1]
        if weight is None:
            return Product(macs)
        return Product(macs, weight.numel(), bits_of(weight))

    def _weight(self, values: list[Any]) -> torch.Tensor | None:
        if self.torchao_depth > 0:
            return self.torchao_weight
        for value in values:
            if isinstance(value, torch.ScriptObject):
                return unpacked(value)[0]
            if isinstance(value, torch.Tensor) and value.dim() >= 2 and self.is_constant(value):
                return value
        return None


class _Scope(TorchAOScope):
    """Tells the log of which of torchao's weights an operator is part."""

    log: _WorkLog

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        for value in flattened([args, kwargs or {}]):
            if isinstance(value, TorchAOBaseTensor):
                self.log.torchao_weight = value
        return super().__torch_function__(func, types, args, kwargs)


def unpacked(packed: torch.ScriptObject) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The quantized weight and the bias of packed parameters."""
    name = packed._type().name()
    return getattr(torch.ops.quantized, UNPACK_BY_CLASS[name])(packed)


def bits_of(weight: torch.Tensor) -> int:
    """The bits in which an element of the weight is stored."""
    kind = held_type(weight)
    if kind in ("int4", "quint4x2"):
        return 4
    return 8 * getattr(torch, kind).itemsize
