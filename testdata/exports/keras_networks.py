"""Owns the Keras networks that are converted to TFLite, each the counterpart of a PyTorch network of this folder."""

from collections.abc import Callable

import keras
import numpy as np
import tf_keras
from keras import layers, ops

CLASSES = 10
VOCABULARY = 200
STEPS = 16

Network = keras.Model | tf_keras.Model
Tensor = keras.KerasTensor


def convolution(x: Tensor, filters: int, stride: int = 1, kernel: int = 3) -> Tensor:
    """Convolution and BatchNorm."""
    x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


def resnet(extent: int = 32) -> keras.Model:
    """Four residual blocks of two convolutions each, two of them with a projection."""
    image = keras.Input((extent, extent, 3), batch_size=1, name="image")
    x = layers.ReLU()(convolution(image, 16))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for filters, stride in ((16, 1), (32, 2), (32, 1), (64, 2)):
        inner = layers.ReLU()(convolution(x, filters, stride))
        inner = convolution(inner, filters)
        if stride > 1 or x.shape[-1] != filters:
            x = convolution(x, filters, stride, 1)
        x = layers.ReLU()(layers.Add()([inner, x]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(CLASSES)(x))


def mobilenet_v2(extent: int = 64) -> keras.Model:
    """Keras' own, narrowed to half."""
    image = keras.Input((extent, extent, 3), batch_size=1, name="image")
    return keras.applications.MobileNetV2(
        alpha=0.5,
        weights=None,
        input_tensor=image,
        classes=CLASSES,
        classifier_activation=None,
    )


def transformer_block(x: Tensor, width: int, heads: int, causal: bool) -> Tensor:
    """LayerNorm, attention, LayerNorm, two Dense layers with GELU; each half added to what went in."""
    y = layers.LayerNormalization(epsilon=1e-5)(x)
    attention = layers.MultiHeadAttention(heads, width // heads)
    x = layers.Add()([x, attention(y, y, use_causal_mask=causal)])
    y = layers.LayerNormalization(epsilon=1e-5)(x)
    y = layers.Dense(2 * width, activation="gelu")(y)
    return layers.Add()([x, layers.Dense(width)(y)])


class Positions(layers.Layer):
    """Adds a learned vector for each step."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Makes the vectors."""
        self.vectors = self.add_weight(
            shape=shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.3)
        )

    def call(self, x: Tensor) -> Tensor:
        """`x + vectors`."""
        return x + self.vectors


class TiedHead(layers.Layer):
    """Logits by the transposed table of an embedding."""

    def __init__(self, embedding: layers.Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    def call(self, x: Tensor) -> Tensor:
        """`x table^T`."""
        return ops.matmul(x, ops.transpose(self.embedding.embeddings))


def vision_transformer(extent: int = 32) -> keras.Model:
    """Patches of 8 x 8, three blocks, mean over the patches."""
    image = keras.Input((extent, extent, 3), batch_size=1, name="image")
    x = layers.Conv2D(64, 8, 8)(image)
    x = Positions()(layers.Reshape((-1, 64))(x))
    for _ in range(3):
        x = transformer_block(x, 64, 4, causal=False)
    x = layers.LayerNormalization(epsilon=1e-5)(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(image, layers.Dense(CLASSES)(x))


def embedded() -> tuple[Tensor, Tensor, layers.Embedding]:
    """Token ids, their embeddings, and the layer that makes them."""
    tokens = keras.Input((STEPS,), batch_size=1, dtype="int32", name="tokens")
    initial = keras.initializers.RandomNormal(stddev=0.3)
    embedding = layers.Embedding(VOCABULARY, 64, embeddings_initializer=initial)
    return tokens, embedding(tokens), embedding


def encoder() -> keras.Model:
    """Two blocks over token ids, mean over the steps."""
    tokens, x, _ = embedded()
    x = Positions()(x)
    for _ in range(2):
        x = transformer_block(x, 64, 4, causal=False)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, layers.Dense(CLASSES)(x))


def decoder() -> keras.Model:
    """Two causal blocks; the output layer is the embedding.

    Keras masks scores with -1e9, which leaves them no resolution in int8: that variant is known to be bad.
    """
    tokens, x, embedding = embedded()
    x = Positions()(x)
    for _ in range(2):
        x = transformer_block(x, 64, 4, causal=True)
    x = layers.LayerNormalization(epsilon=1e-5)(x)
    return keras.Model(tokens, TiedHead(embedding)(x))


def lstm() -> tf_keras.Model:
    """Embedding, LSTM, and a Dense layer on its last step, in Keras 2, whose LSTM becomes one TFLite operator."""
    inner = tf_keras.layers
    tokens = tf_keras.Input((STEPS,), batch_size=1, dtype="int32", name="tokens")
    initial = tf_keras.initializers.RandomNormal(stddev=1.0)
    x = inner.Embedding(VOCABULARY, 64, embeddings_initializer=initial)(tokens)
    return tf_keras.Model(tokens, inner.Dense(CLASSES)(inner.LSTM(48)(x)))


def lstm_loop() -> keras.Model:
    """The same network in Keras 3, whose LSTM becomes a loop."""
    tokens, x, _ = embedded()
    return keras.Model(tokens, layers.Dense(CLASSES)(layers.LSTM(48)(x)))


def gru() -> keras.Model:
    """Embedding, GRU with its steps unrolled, and a Dense layer on the last step."""
    tokens, x, _ = embedded()
    return keras.Model(tokens, layers.Dense(CLASSES)(layers.GRU(32, unroll=True)(x)))


def unet(extent: int = 32) -> keras.Model:
    """Two steps down and two up, one by a transposed convolution, one by bilinear resizing; 3 classes a pixel."""

    def twice(x: Tensor, filters: int) -> Tensor:
        for _ in range(2):
            x = layers.LeakyReLU(negative_slope=0.1)(convolution(x, filters))
        return x

    image = keras.Input((extent, extent, 3), batch_size=1, name="image")
    first = twice(image, 16)
    second = twice(layers.MaxPooling2D()(first), 32)
    x = twice(layers.MaxPooling2D()(second), 48)
    x = layers.Conv2DTranspose(32, 2, 2)(x)
    x = twice(layers.Concatenate()([x, second]), 32)
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    x = twice(layers.Concatenate()([x, first]), 16)
    return keras.Model(image, layers.Conv2D(3, 1)(x))


NETWORKS: dict[str, Callable[[], Network]] = {
    "resnet": resnet,
    "mobilenet_v2": mobilenet_v2,
    "vit": vision_transformer,
    "lstm": lstm,
    "lstm_loop": lstm_loop,
    "gru": gru,
    "encoder": encoder,
    "decoder": decoder,
    "unet": unet,
}


def samples(model: Network, count: int, random: np.random.Generator) -> np.ndarray:
    """Token ids, or smooth random fields with noise: neighbouring pixels are alike, as in photographs."""
    _, *shape = model.inputs[0].shape
    if len(shape) == 1:
        return random.integers(1, VOCABULARY, (count, *shape), dtype=np.int32)
    coarse = random.standard_normal((count, 6, 6, 3)).astype(np.float32)
    smooth = ops.image.resize(coarse, shape[:2], interpolation="bicubic")
    noise = random.standard_normal((count, *shape))
    return (np.asarray(smooth) + 0.2 * noise).astype(np.float32)


def run(model: Network, inputs: np.ndarray) -> np.ndarray:
    """The model's outputs, sample by sample, for its batch is one."""
    return np.concatenate([np.asarray(model(sample[None])) for sample in inputs])


def settle(model: Network, random: np.random.Generator) -> None:
    """Gives BatchNorm scales, shifts and the statistics of a forward pass, and lets logits differ by about one.

    Small scales and positive shifts keep the many layers of random weights from blowing up rounding errors.
    """
    norms = [x for x in model.layers if isinstance(x, layers.BatchNormalization)]
    for norm in norms:
        width = norm.gamma.shape[0]
        norm.gamma.assign(random.uniform(0.3, 0.9, width))
        norm.beta.assign(random.uniform(0.0, 1.0, width))
        norm.momentum = 0.0  # one pass tells all
    if norms:
        model(samples(model, 32, random), training=True)
    head = model.layers[-1]
    if getattr(head, "units", None) == CLASSES:
        outputs = run(model, samples(model, 16, random))
        factor = 1.0 / outputs.std(0).mean()
        head.kernel.assign(head.kernel * factor)
        head.bias.assign((head.bias - outputs.mean(0)) * factor)
