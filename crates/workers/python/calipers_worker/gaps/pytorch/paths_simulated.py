"""The reference form of eager mode: a prepared model that rounds in float as convert would."""

import copy

import torch
from torch import nn

RANGES = {torch.quint8: (0, 255), torch.qint8: (-128, 127)}
WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd, nn.Embedding, nn.EmbeddingBag)


class Rounding(nn.Module):
    """Rounds to the scale of an observer, in the whole range of its type.

    Observers for 7 bits choose the scale for half of the range; the integers have all of it.
    """

    def __init__(self, observer: nn.Module) -> None:
        super().__init__()
        self.scale, zero_point = observer.calculate_qparams()
        self.zero_point = zero_point if zero_point.is_floating_point() else zero_point.int()
        self.axis = getattr(observer, "ch_axis", -1)
        self.low, self.high = RANGES[observer.dtype]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The nearest values that the type can hold."""
        if self.axis >= 0 and self.scale.numel() > 1:
            return torch.fake_quantize_per_channel_affine(
                x, self.scale, self.zero_point, self.axis, self.low, self.high
            )
        scale, zero_point = float(self.scale), int(self.zero_point)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero_point, self.low, self.high)


def simulated(prepared: nn.Module) -> nn.Module:
    """A copy of the calibrated or trained model with roundings in place of its observers."""
    copied = copy.deepcopy(prepared).eval()
    with torch.no_grad():
        for module in list(copied.modules()):
            for name in ("activation_post_process", "weight_fake_quant"):
                observer = getattr(module, name, None)
                if getattr(observer, "dtype", None) in RANGES:
                    setattr(module, name, Rounding(observer))
            if isinstance(module, WEIGHTED) and not hasattr(module, "weight_fake_quant"):
                observer = module.qconfig.weight() if module.qconfig else None
                if getattr(observer, "dtype", None) in RANGES:
                    observer(module.weight)
                    module.weight.copy_(Rounding(observer)(module.weight))
    return copied
