"""The saved model: a folder with one file.

A state_dict is `model.pt`, read with `weights_only`, and its modules are built again from the ONNX
file; a TorchScript file is `model.pt` too. An exported program is `model.pt2`, whose loader in
PyTorch unpickles what it cannot read with `weights_only`.
"""

from pathlib import Path

import torch
import torchao.quantization  # noqa: F401 - lets state_dicts with its tensors be loaded
from torch import nn

from calipers_worker.errors import BadData
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.pytorch import methods, quantize
from calipers_worker.pytorch.methods import Method
from calipers_worker.tensor_files import replace_file


def file_of(chosen: Method) -> str:
    """The name of the artefact's file."""
    return "model.pt2" if chosen.form == methods.PROGRAM else "model.pt"


def save(chosen: Method, model: nn.Module, graph: OnnxGraph, folder: Path) -> dict[str, str | int]:
    """Write the model into `folder`; gives the file's name, its bytes, and the recipe."""
    target = folder / file_of(chosen)
    example = methods.example_of(graph, 2)
    replace_file(target, lambda temporary: methods.SAVE[chosen.form](model, example, temporary))
    size = target.stat().st_size
    return {"file": target.name, "file_bytes": size, "recipe": chosen.source}


def load(chosen: Method, graph: OnnxGraph, folder: Path) -> nn.Module:
    """The model saved in `folder`, in evaluation mode; an exported program is not compiled yet."""
    source = folder / file_of(chosen)
    if not source.is_file():
        raise BadData(f"{source}: expected a saved model, found no file there")
    quantize.select_engine()
    if chosen.form == methods.SCRIPT:
        return torch.jit.load(source).eval()
    if chosen.form == methods.PROGRAM:
        return torch.export.load(source).module()
    model = methods.empty(chosen, graph)
    model.load_state_dict(torch.load(source, weights_only=True), assign=True)
    return model.eval()
