"""Which operators executed in an uncompiled model, fed with which types, and what they did inside.

What no API tells, a log of dispatched operators does; and since some operators take quantized
tensors but dequantize them inside, a profile of the same run says what each of them called.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torchao.utils import TorchAOBaseTensor

Sample = tuple[torch.Tensor, ...]
Trace = Callable[[nn.Module, Sample], dict[str, Any]]

MOVES = (
    "_reshape_alias",
    "squeeze_",
    "unsqueeze_",
    "detach_",
    "_unsafe_view",
    "arange",
    "clone",
    "copy_",
    "fill_",
    "zero_",
)
CREATIONS = ("empty", "full", "new_", "ones", "zeros")
CONVERTS = ("_local_scalar_dense", "_to_copy", "aminmax", "dequantize", "int_repr")
CONVERT_STARTS = ("choose_qparams", "_choose_qparams", "fake_quantize", "q_", "quantize_per_")
DEQUANTIZE = "aten::dequantize"
PRODUCTS = ("conv", "mm", "matmul", "linear", "embedding", "lstm", "gru", "rnn")
FLOAT_TABLES = ("quantized::embedding", "aten::_weight_int", "quantized::linear_dynamic_fp16")


@dataclass
class Operator:
    """One executed operator; `inside` are the operators that it called."""

    name: str
    role: str
    is_view: bool
    inputs: list[str]
    outputs: list[str]
    constant: bool
    in_torchao: bool
    inside: list[str] = field(default_factory=list)


def trace_executed(model: nn.Module, sample: Sample) -> dict[str, Any]:
    """The operators of one inference in order of execution, classified."""
    log = OperatorLog(model)
    handles = [
        module.register_forward_hook(log.left_before)
        for name, module in model.named_modules()
        if name == "before"
    ]
    handles += [
        module.register_forward_pre_hook(log.entered_after)
        for name, module in model.named_modules()
        if name == "after"
    ]
    with (
        torch.no_grad(),
        profile(activities=[ProfilerActivity.CPU]) as profiled,
        TorchAOScope(log),
        log,
    ):
        model(*sample)
    for handle in handles:
        handle.remove()
    for event in profiled.events():
        if event.name.startswith(OperatorLog.mark):
            operator = log.operators[int(event.name.removeprefix(OperatorLog.mark))]
            operator.inside = list(called_by(event))
    operators = [described(operator) for operator in log.operators]
    if log.starts_in == "layer":
        for operator in entry_of(operators):
            operator["role"] = "before"
    elif log.role == "before":
        give_roles_by_order(operators)
    return {"operators": operators, "kernels": []}


def entry_of(operators: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The operators up to the quantization of the input, where that comes first."""
    for index, operator in enumerate(operators):
        if operator["name"] == "aten::quantize_per_tensor":
            return operators[: index + 1]
        if operator["class"] != "convert":
            break
    return []


def give_roles_by_order(operators: list[dict[str, Any]]) -> None:
    """Roles where no module was called: the first product is `before`, the last `after`."""
    products = [index for index, operator in enumerate(operators) if operator["weighted"]]
    for index, operator in enumerate(operators):
        if index > products[0]:
            operator["role"] = "after" if index >= products[-1] else "layer"


def called_by(event: Any) -> Iterator[str]:
    """Names of the operators below a profiler's event, without the dispatched operator itself."""
    for dispatched in event.cpu_children:
        pending = list(dispatched.cpu_children)
        while pending:
            child = pending.pop(0)
            yield child.name
            pending += child.cpu_children


class OperatorLog(TorchDispatchMode):
    """Writes down every dispatched operator, and marks it for a profiler."""

    mark = "operator "

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.operators: list[Operator] = []
        self.dequantized: list[torch.Tensor] = []
        self.torchao_depth = 0
        self.starts_in = "before" if hasattr(model, "before") else "layer"
        self.role = self.starts_in
        self.constants = {
            tensor.untyped_storage().data_ptr()
            for tensor in [*model.parameters(), *model.buffers()]
            if tensor.dim() >= 2 and not isinstance(tensor, TorchAOBaseTensor)
        }

    def left_before(self, *_: Any) -> None:
        """Forward hook of `before`."""
        self.role = "layer"

    def entered_after(self, *_: Any) -> None:
        """Forward pre-hook of `after`."""
        self.role = "after"

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        values = list(flattened([args, kwargs or {}]))
        tensors = [value for value in values if isinstance(value, torch.Tensor)]
        packed = [value for value in values if isinstance(value, torch.ScriptObject)]
        operator = Operator(
            name=func._schema.name,
            role=self.role,
            is_view=any(
                one.alias_info is not None and not one.alias_info.is_write
                for one in func._schema.returns
            ),
            inputs=[type_name(value) for value in values if value is not None],
            outputs=[],
            constant=self.torchao_depth > 0
            or bool(packed)
            or any(self.is_constant(tensor) for tensor in tensors),
            in_torchao=self.torchao_depth > 0,
        )
        operator.inputs = [name for name in operator.inputs if name]
        with record_function(f"{self.mark}{len(self.operators)}"):
            self.operators.append(operator)
            output = func(*args, **(kwargs or {}))
        if operator.name == "quantized_decomposed::dequantize_per_channel" and operator.constant:
            # Kept, so that no other tensor comes to lie where it lies.
            self.dequantized.append(output)
            self.constants.add(output.untyped_storage().data_ptr())
        operator.outputs = [type_name(value) for value in flattened(output) if value is not None]
        operator.outputs = [name for name in operator.outputs if name]
        return output

    def is_constant(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor is, or is a view of, a parameter or buffer with two or more axes."""
        if isinstance(tensor, TorchAOBaseTensor):
            return True
        plain = tensor.layout == torch.strided
        return plain and tensor.untyped_storage().data_ptr() in self.constants


class TorchAOScope(TorchFunctionMode):
    """Knows what executes inside of an operator on torchao's tensors."""

    def __init__(self, log: OperatorLog) -> None:
        super().__init__()
        self.log = log

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        inside = any(
            isinstance(value, TorchAOBaseTensor) for value in flattened([args, kwargs or {}])
        )
        self.log.torchao_depth += inside
        output = func(*args, **(kwargs or {}))
        self.log.torchao_depth -= inside
        return output


def flattened(value: Any) -> Iterator[Any]:
    """The leaves of nested lists, tuples and dicts."""
    if isinstance(value, list | tuple):
        for one in value:
            yield from flattened(one)
    elif isinstance(value, dict):
        yield from flattened(list(value.values()))
    else:
        yield value


def type_name(value: Any) -> str:
    """The element type of a tensor or of packed weights, else the empty string."""
    if isinstance(value, torch.ScriptObject):
        return packed_type(value)
    if isinstance(value, TorchAOBaseTensor):
        return type(value).__name__
    return str(value.dtype).removeprefix("torch.") if isinstance(value, torch.Tensor) else ""


UNPACK_BY_CLASS = {
    "LinearPackedParamsBase": "linear_unpack",
    "Conv2dPackedParamsBase": "conv2d_unpack",
    "Conv3dPackedParamsBase": "conv3d_unpack",
    "EmbeddingPackedParamsBase": "embedding_bag_unpack",
}


def packed_type(packed: torch.ScriptObject) -> str:
    """The element type of the weights in a packed object, or the name of its class."""
    name = packed._type().name()
    if name not in UNPACK_BY_CLASS:
        return name
    try:
        unpacked = getattr(torch.ops.quantized, UNPACK_BY_CLASS[name])(packed)
    except RuntimeError:
        # What an engine has packed for itself it cannot always unpack.
        return name
    weight = unpacked[0] if isinstance(unpacked, tuple) else unpacked
    return str(weight.dtype).removeprefix("torch.")


def described(operator: Operator) -> dict[str, Any]:
    """The operator as the answer tells it."""
    product = any(word in operator.name for word in PRODUCTS)
    kind = operator_class(operator)
    answer = {
        "name": operator.name,
        "role": operator.role,
        "class": kind,
        "weighted": product and kind not in ("convert", "move") and operator.constant,
        "inputs": operator.inputs,
        "outputs": operator.outputs,
    }
    if kind == "float" and DEQUANTIZE in operator.inside:
        answer["kernel"] = f"calls {', '.join(dict.fromkeys(operator.inside))}"
    return answer


def operator_class(operator: Operator) -> str:
    """How the operator computed, by what it was fed and what it called."""
    namespace, _, name = operator.name.partition("::")
    if operator.is_view or name in MOVES or name.startswith(CREATIONS):
        return "move"
    if name in CONVERTS or name.startswith(CONVERT_STARTS) or namespace == "quantized_decomposed":
        return "convert"
    if name == "_int_mm" or (name.endswith("_dynamic") and namespace == "quantized"):
        return "dynamic"
    if name in ("quantized_lstm", "quantized_gru"):
        return "dynamic"
    if operator.name.startswith(FLOAT_TABLES):
        return "weight_only"
    if operator.in_torchao:
        return "weight_only" if any(word in name for word in PRODUCTS) else "convert"
    quantized = namespace == "quantized" or any(
        kind.startswith(("qint", "quint")) for kind in operator.inputs
    )
    # A kernel that makes a float tensor of its input computes in float, whatever its name.
    return "integer" if quantized and DEQUANTIZE not in operator.inside else "float"
