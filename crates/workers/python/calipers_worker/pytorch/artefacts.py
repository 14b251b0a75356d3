"""The saved model: a folder with the state_dict as `model.pt`, read back without pickle.

The modules themselves are not saved: they are built again from the ONNX file.
"""

from pathlib import Path

import torch
from torch import nn

from calipers_worker.errors import BadData
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.pytorch.build import build
from calipers_worker.pytorch.quantize import convert_empty
from calipers_worker.tensor_files import replace_file

FILE = "model.pt"
VARIANTS = ("float", "float-finetuned", "ptq-static", "qat")


def save(model: nn.Module, folder: Path) -> dict[str, str | int]:
    """Write the state_dict into `folder`; gives the file's name and its bytes."""
    target = folder / FILE
    replace_file(target, lambda temporary: torch.save(model.state_dict(), temporary))
    return {"file": FILE, "file_bytes": target.stat().st_size}


def load(graph: OnnxGraph, folder: Path, path: str, variant: str) -> nn.Module:
    """The model saved in `folder`, in evaluation mode; `path` and `variant` say how it was made."""
    source = folder / FILE
    if not source.is_file():
        raise BadData(f"{source}: expected a saved state_dict, found no file there")
    if variant in ("float", "float-finetuned"):
        model: nn.Module = build(graph, stubs=False)
    else:
        model = convert_empty(graph, path, qat=variant == "qat")
    model.load_state_dict(torch.load(source, weights_only=True))
    return model.eval()
