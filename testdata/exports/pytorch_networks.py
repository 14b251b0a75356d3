"""Owns the PyTorch networks that are exported: torchvision's own, and small ones built as their large kin are."""

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 10
VOCABULARY = 200
PADDING = 0


def resnet18() -> nn.Module:
    """Torchvision's, for 10 classes."""
    return torchvision.models.resnet18(num_classes=CLASSES)


def mobilenet_v2() -> nn.Module:
    """Torchvision's, for 10 classes."""
    return torchvision.models.mobilenet_v2(num_classes=CLASSES)


def vision_transformer() -> nn.Module:
    """Torchvision's class, with the structure of `vit_b_16` and less of everything."""
    network = torchvision.models.VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=3,
        num_heads=4,
        hidden_dim=64,
        mlp_dim=128,
        num_classes=CLASSES,
    )
    # The head and the class token start from zero, which would make every output zero.
    nn.init.normal_(network.heads.head.weight, std=0.2)
    nn.init.normal_(network.class_token, std=0.5)
    return network


def convnext() -> nn.Module:
    """Torchvision's ConvNeXt: depthwise convolutions of 7 x 7, LayerNorm over channels, layer scale."""
    block = torchvision.models.convnext.CNBlockConfig
    setting = [block(24, 48, 1), block(48, 96, 1), block(96, None, 1)]
    return torchvision.models.ConvNeXt(
        setting, stochastic_depth_prob=0.0, layer_scale=0.5, num_classes=CLASSES
    )


def mobilenet_v3() -> nn.Module:
    """Torchvision's small MobileNetV3, narrowed: squeeze and excitation, hard swish, hard sigmoid."""
    return torchvision.models.mobilenet_v3_small(num_classes=CLASSES, width_mult=0.5)


class RecurrentClassifier(nn.Module):
    """Token ids, embedding, recurrent layers, and a linear layer on the last step."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], directions: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 32)
        self.recurrent = kind(
            32, 48, num_layers=2, batch_first=True, bidirectional=directions == 2
        )
        with torch.no_grad():
            for parameter in self.recurrent.parameters():
                parameter.mul_(2.5)  # as lively as after training
        self.head = nn.Linear(48 * directions, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `[batch, classes]` of token ids `[batch, steps]`."""
        states, _ = self.recurrent(self.embedding(tokens))
        return self.head(states[:, -1])


def lstm() -> nn.Module:
    """Two layers, one direction."""
    return RecurrentClassifier(nn.LSTM, 1)


def bidirectional_lstm() -> nn.Module:
    """Two layers, both directions."""
    return RecurrentClassifier(nn.LSTM, 2)


def gru() -> nn.Module:
    """Two layers, one direction."""
    return RecurrentClassifier(nn.GRU, 1)


class Encoder(nn.Module):
    """PyTorch's Transformer encoder over token ids with padding; the mean of the states is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 64, padding_idx=PADDING)
        self.positions = nn.Parameter(torch.randn(1, 16, 64) * 0.3)
        layer = nn.TransformerEncoderLayer(
            64, 4, 128, dropout=0.1, activation="gelu", batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        for parameter in self.layers.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `[batch, classes]` of token ids `[batch, 16]`, of which those of padding count nothing."""
        padding = tokens == PADDING
        states = self.embedding(tokens) * 8.0 + self.positions
        states = self.layers(states, src_key_padding_mask=padding)
        kept = (~padding).to(states.dtype).unsqueeze(-1)
        return self.head((states * kept).sum(1) / kept.sum(1).clamp(min=1.0))


class DecoderBlock(nn.Module):
    """LayerNorm, causal attention, LayerNorm, two linear layers; each half added to what went in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.before_feedforward = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * width, width),
        )

    def forward(self, states: Tensor) -> Tensor:
        """States `[batch, steps, width]`."""
        batch, steps, width = states.shape
        parts = self.queries_keys_values(self.before_attention(states))
        parts = parts.view(batch, steps, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(
            queries, keys, values, is_causal=True
        )
        mixed = mixed.transpose(1, 2).reshape(batch, steps, width)
        states = states + self.projection(mixed)
        return states + self.feedforward(self.before_feedforward(states))


class Decoder(nn.Module):
    """A causal Transformer whose output layer is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, 64)
        self.positions = nn.Embedding(16, 64)
        self.blocks = nn.ModuleList([DecoderBlock(64, 4) for _ in range(2)])
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.2)
        nn.init.normal_(self.positions.weight, std=0.2)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `[batch, steps, vocabulary]` of token ids `[batch, steps]`."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        states = self.tokens(tokens) + self.positions(places)
        for block in self.blocks:
            states = block(states)
        return self.head(self.norm(states))


def double_convolution(inputs: int, outputs: int) -> nn.Module:
    """Twice convolution, BatchNorm and LeakyReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.1),
    )


class UNet(nn.Module):
    """Two steps down and two up, one by a transposed convolution, one by bilinear resizing; a mask of 3 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = double_convolution(3, 16)
        self.second = double_convolution(16, 32)
        self.bottom = double_convolution(32, 64)
        self.up_by_convolution = nn.ConvTranspose2d(64, 32, 2, stride=2)
        self.second_up = double_convolution(64, 32)
        self.first_up = double_convolution(48, 16)
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `[batch, 3, height, width]` of images with sides divisible by 4."""
        first = self.first(image)
        second = self.second(functional.max_pool2d(first, 2))
        bottom = self.bottom(functional.max_pool2d(second, 2))
        states = self.second_up(torch.cat([self.up_by_convolution(bottom), second], 1))
        states = functional.interpolate(
            states, scale_factor=2.0, mode="bilinear", align_corners=False
        )
        return self.head(self.first_up(torch.cat([states, first], 1)))


def images(count: int, extent: int) -> Tensor:
    """Smooth random fields with noise: neighbouring pixels are alike, as in photographs."""
    coarse = torch.randn(count, 3, 6, 6)
    smooth = functional.interpolate(coarse, size=(extent, extent), mode="bicubic")
    return smooth + 0.2 * torch.randn(count, 3, extent, extent)


def tokens(count: int, steps: int) -> Tensor:
    """Token ids; every second sequence ends in padding."""
    ids = torch.randint(1, VOCABULARY, (count, steps))
    ids[::2, steps - steps // 4 :] = PADDING
    return ids


def settle_batch_norm(network: nn.Module, extent: int) -> None:
    """Gives BatchNorm scales, shifts and the statistics of forward passes.

    Small scales and positive shifts keep the many layers of random weights from blowing up rounding errors.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.3, 0.9)
        nn.init.uniform_(norm.bias, 0.0, 1.0)
        norm.momentum = None  # the plain mean over all passes
    network.train()
    with torch.no_grad():
        for _ in range(8 if norms else 0):
            network(images(8, extent))
    network.eval()


def spread_logits(network: nn.Module, samples: Tensor) -> None:
    """Scales and shifts the layer of the classes such that these samples' logits differ by about one."""
    heads = [m for m in network.modules() if isinstance(m, nn.Linear)]
    if not heads or heads[-1].out_features != CLASSES:
        return
    with torch.no_grad():
        deviation, mean = torch.std_mean(network(samples), dim=0)
        factor = 1.0 / deviation.mean()
        heads[-1].bias.copy_((heads[-1].bias - mean) * factor)
        heads[-1].weight.mul_(factor)
