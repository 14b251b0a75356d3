"""PT2E: graphs exported by torch.export, annotated for x86 by torchao, compiled by Inductor."""

import torch
from torch import nn
from torchao.quantization.pt2e import move_exported_model_to_eval, move_exported_model_to_train
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)


class InTraining(nn.Module):
    """An exported graph in training: exported modules refuse `train()` and `eval()`."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the graph computes."""
        return self.graph(x)

    def train(self, mode: bool = True) -> "InTraining":
        """Move the graph's batch norms and dropouts to training, or to evaluation."""
        (move_exported_model_to_train if mode else move_exported_model_to_eval)(self.graph)
        self.training = mode
        return self


def native(model: nn.Module) -> nn.Module:
    """The module that has the names of the native model, of any model in training."""
    return model.graph if isinstance(model, InTraining) else model


def exported_program(model: nn.Module, example: torch.Tensor) -> torch.export.ExportedProgram:
    """The model as a program for any number of samples; the example has two or more."""
    batch = torch.export.Dim("batch", min=1)
    return torch.export.export(model, (example,), dynamic_shapes=({0: batch},))


def pt2e_static(model: nn.Module, example: torch.Tensor) -> nn.Module:
    """PT2E, observers for static quantization."""
    graph = exported_program(model.eval(), example).module()
    config = get_default_x86_inductor_quantization_config()
    return prepare_pt2e(graph, X86InductorQuantizer().set_global(config))


def pt2e_dynamic(model: nn.Module, example: torch.Tensor) -> nn.Module:
    """PT2E, observers of weights; activations are quantized at run time."""
    graph = exported_program(model.eval(), example).module()
    config = get_default_x86_inductor_quantization_config(is_dynamic=True)
    prepared = prepare_pt2e(graph, X86InductorQuantizer().set_global(config))
    with torch.no_grad():
        prepared(example)
    return prepared


def pt2e_qat(model: nn.Module, example: torch.Tensor) -> nn.Module:
    """PT2E, fake quantization."""
    graph = exported_program(model.train(), example).module()
    config = get_default_x86_inductor_quantization_config(is_qat=True)
    prepared = prepare_qat_pt2e(graph, X86InductorQuantizer().set_global(config))
    return InTraining(prepared).train()


def pt2e_convert(prepared: nn.Module) -> nn.Module:
    """PT2E, the model with integer weights and conversions, before it is compiled."""
    converted = convert_pt2e(prepared)
    move_exported_model_to_eval(converted)
    return converted


def pt2e_convert_trained(prepared: InTraining) -> nn.Module:
    """PT2E, the same after training."""
    return pt2e_convert(prepared.eval().graph)
