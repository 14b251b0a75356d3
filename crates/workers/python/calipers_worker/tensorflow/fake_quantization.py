"""TensorFlow Model Optimization's quantization-aware training, and the int8 file that it ends in.

Its default scheme gives every activation a moving average of ranges that begins at -6 and 6 and
forgets a thousandth with each step: after 500 steps, three fifths of the beginning are left in it,
so that values of a range of 0.5 get an eighth of the 256 steps, and values of 20 are clipped. The
tuned scheme differs in this one point: its averages begin at the range of the first batch, and are
plain means until a hundred batches were seen, as in PyTorch's observers. It is what TFMOT offers
for such a change: a QuantizeScheme of one's own, whose QuantizeConfigs have a Quantizer of one's
own. AllValuesQuantizer, which begins at the first batch too, never forgets: one outlier of the
early steps widens the range for ever.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from calipers_worker.errors import UnsupportedOperator


def check(model: tf_keras.Model) -> None:
    """UnsupportedOperator where `model` has an operator that is no layer, on which TFMOT fails.

    A layer that it has no configuration for it refuses by itself, by name.
    """
    for layer in model.layers:
        if type(layer).__name__.endswith("OpLambda"):
            raise UnsupportedOperator(
                f"layer `{layer.name}` ({type(layer).__name__}) behind "
                f"`{layer.inbound_nodes[0].inbound_layers.name}`: TFMOT quantizes layers alone, "
                "and this is a function of TensorFlow that Keras has no layer for"
            )


def fake_quantized(model: tf_keras.Model) -> tf_keras.Model:
    """TFMOT's model for quantization-aware training, with a copy of `model`'s weights."""
    return tfmot.quantization.keras.quantize_model(model)


def fake_quantized_from_data(model: tf_keras.Model) -> tf_keras.Model:
    """As TFMOT's own model, but with ranges of activations that begin at those of the data."""
    annotated = tfmot.quantization.keras.quantize_annotate_model(model)
    return tfmot.quantization.keras.quantize_apply(annotated, scheme=ObservedScheme())


def convert_fake_quantized(model: tf_keras.Model) -> bytes:
    """The int8 model of a trained TFMOT model; float32 input and output."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


class ObservedQuantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """8 bits between moving averages of the least and the largest value of each batch.

    The averages begin at those of the first batch, and keep 99 % of what they were once a hundred
    were seen. Zero is always inside, as TFLite wants it.
    """

    def build(self, _shape: Any, name: str, layer: tf_keras.layers.Layer) -> dict[str, tf.Variable]:
        """The averages, and the number of batches that they are of."""
        return {
            part: layer.add_weight(f"{name}_{part}", initializer="zeros", trainable=False)
            for part in ("min", "max", "batches")
        }

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], **_: Any
    ) -> tf.Tensor:
        """`inputs` as 8 bits would have them; training takes the batch into the averages first."""
        least, largest = weights["min"], weights["max"]
        if training:
            batches = weights["batches"]
            kept = tf.minimum(0.99, batches / (batches + 1.0))
            found = tf.minimum(tf.reduce_min(inputs), 0.0), tf.maximum(tf.reduce_max(inputs), 0.0)
            least = least.assign(kept * least + (1.0 - kept) * found[0])
            largest = largest.assign(kept * largest + (1.0 - kept) * found[1])
            batches.assign_add(1.0)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, least, largest, num_bits=8)

    def get_config(self) -> dict[str, Any]:
        """Nothing, as there is nothing to set."""
        return {}


class ObservedConfig(tfmot.quantization.keras.QuantizeConfig):
    """TFMOT's configuration of a layer, with another quantizer for its moving averages."""

    def __init__(self, inner: tfmot.quantization.keras.QuantizeConfig) -> None:
        self.inner = inner

    def get_weights_and_quantizers(self, layer: tf_keras.layers.Layer) -> list[Any]:
        """TFMOT's own."""
        return self.inner.get_weights_and_quantizers(layer)

    def set_quantize_weights(self, layer: tf_keras.layers.Layer, quantize_weights: Any) -> None:
        """TFMOT's own."""
        self.inner.set_quantize_weights(layer, quantize_weights)

    def set_quantize_activations(self, layer: tf_keras.layers.Layer, activations: Any) -> None:
        """TFMOT's own."""
        self.inner.set_quantize_activations(layer, activations)

    def get_activations_and_quantizers(self, layer: tf_keras.layers.Layer) -> list[Any]:
        """TFMOT's activations, each with the quantizer of this scheme."""
        pairs = self.inner.get_activations_and_quantizers(layer)
        return [(activation, _observed(quantizer)) for activation, quantizer in pairs]

    def get_output_quantizers(self, layer: tf_keras.layers.Layer) -> list[Any]:
        """The quantizer of this scheme where TFMOT has a moving average."""
        return [_observed(quantizer) for quantizer in self.inner.get_output_quantizers(layer)]

    def get_config(self) -> dict[str, Any]:
        """The configuration that it stands on."""
        return {"inner": self.inner}


class ObservedRegistry(tfmot.quantization.keras.default_8bit.Default8BitQuantizeRegistry):
    """TFMOT's table of layers, in the words of this scheme."""

    def get_quantize_config(self, layer: tf_keras.layers.Layer) -> ObservedConfig:
        """The configuration of a layer that no pattern was found for."""
        return ObservedConfig(super().get_quantize_config(layer))


class ObservedLayout(tfmot.quantization.keras.default_8bit.Default8BitQuantizeLayoutTransform):
    """TFMOT's patterns of layers, such as a convolution with its normalization."""

    def apply(
        self, model: tf_keras.Model, layer_quantize_map: dict[str, dict[str, Any]]
    ) -> tuple[tf_keras.Model, dict[str, dict[str, Any]]]:
        """The model after TFMOT's patterns, with configurations in the words of this scheme."""
        changed, configurations = super().apply(model, layer_quantize_map)
        for configuration in configurations.values():
            if configuration.get("quantize_config") is not None:
                configuration["quantize_config"] = ObservedConfig(configuration["quantize_config"])
        return changed, configurations


class ObservedScheme(tfmot.quantization.keras.default_8bit.Default8BitQuantizeScheme):
    """TFMOT's 8-bit scheme, with ranges of activations that begin at those of the data."""

    def get_layout_transformer(self) -> ObservedLayout:
        """Its patterns."""
        return ObservedLayout()

    def get_quantize_registry(self) -> ObservedRegistry:
        """Its table."""
        return ObservedRegistry()


def _observed(quantizer: Any) -> Any:
    if isinstance(quantizer, tfmot.quantization.keras.quantizers.MovingAverageQuantizer):
        return ObservedQuantizer()
    return quantizer


RECIPES: dict[bool, tuple[Callable[..., Any], ...]] = {
    False: (fake_quantized, convert_fake_quantized),
    True: (
        fake_quantized_from_data,
        ObservedScheme,
        ObservedLayout,
        ObservedRegistry,
        ObservedConfig,
        _observed,
        ObservedQuantizer,
        convert_fake_quantized,
    ),
}
"""What makes the artefact, by whether it is tuned."""
