"""The kind of an operator or generated kernel, from its name in PyTorch."""

import re

_KINDS = (
    ("conversion", r"^(fake_quantize|quantize_|dequantize|choose_qparams|q_|qscheme)"),
    ("convolution", r"conv2d|convolution|conv_pointwise"),
    ("recurrent", r"lstm|gru|rnn"),
    ("embedding", r"embedding"),
    ("matrix-product", r"linear|addmm|matmul|gemm|\bmm\b"),
    ("pooling", r"pool|\bmean\b"),
    ("normalization", r"batch_norm|layer_norm|group_norm|softmax"),
    ("elementwise", r"\b(add|mul|sub|div)\b"),
    ("activation", r"relu|clamp|hardtanh|hardswish|hardsigmoid|sigmoid|tanh|silu"),
    ("conversion", r"quantize|qparams|\bto\b|\bitem\b|amin|amax|local scalar dense"),
    (
        "movement",
        r"\bcat\b|view|reshape|flatten|permute|transpose|clone|copy|contiguous|slice|expand|squeeze"
        r"|\bpad\b|\bt\b|as_strided|empty|detach|select|^cpp fused \d+$",
    ),
)


def kind_of(name: str) -> str:
    """The kind of `name`, such as `aten::addmm` or `cpp_fused_mean_quantize_per_tensor_3`.

    A generated kernel that does several things is of the kind of its heaviest part.
    """
    stem = name.partition("::")[2] or name
    words = stem.replace("_", " ").strip()
    for kind, pattern in _KINDS:
        if re.search(pattern, stem) or re.search(pattern, words):
            return kind
    return "other"
