"""Questions about TensorFlow's profilers, each answered by reading what they wrote."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from calipers_worker.gaps.answers import Answer, answer
from calipers_worker.gaps.tensorflow.capabilities import network, network_samples
from calipers_worker.gaps.tensorflow.litert_profile import (
    KERNEL_ROW,
    KERNELS_IN_ORDER,
    litert_summary,
)
from calipers_worker.gaps.tensorflow.paths_tflite import (
    float_tflite,
    path_keras2_tflite_int8,
    path_tflite_int8,
)

PROFILED_RUNS = 200
SHOWN = 12
# A kernel's event is named after its node and its operator.
NODE_SEPARATOR = ":"
ALLOCATION = "Memory"


@dataclass
class Traced:
    """TensorFlow's trace: milliseconds by node and operator, and how many memory events."""

    operators: dict[str, float]
    allocations: int

    def longest(self) -> list[str]:
        """The operators that took the most time, one in a line."""
        ordered = sorted(self.operators.items(), key=lambda one: -one[1])
        return [f"{name}: {milliseconds:.3f} ms" for name, milliseconds in ordered[:SHOWN]]


def traced(folder: Path, action: Callable[[], object]) -> Traced:
    """What TensorFlow's profiler writes of an action."""
    tf.profiler.experimental.start(
        str(folder), tf.profiler.experimental.ProfilerOptions(host_tracer_level=3)
    )
    action()
    tf.profiler.experimental.stop()
    (file,) = folder.glob("**/*.xplane.pb")
    space = xplane_pb2.XSpace()
    space.ParseFromString(file.read_bytes())
    operators: dict[str, float] = defaultdict(float)
    allocations = 0
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                allocations += ALLOCATION in name
                if NODE_SEPARATOR in name and " " not in name and NODE_SEPARATOR * 2 not in name:
                    operators[name] += event.duration_ps / 1e9
    return Traced(dict(operators), allocations)


def litert_rows(file: Path) -> list[str]:
    """LiteRT's kernels with their mean milliseconds and their memory."""
    _, _, ordered = litert_summary(file, PROFILED_RUNS).partition(KERNELS_IN_ORDER)
    rows = map(KERNEL_ROW.match, ordered.split("\n\n")[0].splitlines())
    return [f"{row[1]}: {row[2]} ms, {row[3]} KB" for row in rows if row]


def capability_profile_float_inference(folder: Path) -> Answer:
    """Times of single operators of a float model, in Keras and in LiteRT."""
    model, samples = network(keras), network_samples()
    model.predict(samples[0]["x"], verbose=0)
    trace = traced(folder / "trace", lambda: model.predict(samples[0]["x"], verbose=0))
    file = folder / "float.tflite"
    file.write_bytes(float_tflite(model))
    rows = litert_rows(file)
    found = [any("Conv" in name for name in trace.operators), any("Conv" in row for row in rows)]
    return answer(
        "yes" if all(found) else "partly" if any(found) else "no",
        "TensorFlow: tf.profiler traces every kernel, to be read with the xprof package or from "
        "its protobuf; LiteRT: by the C interface of its library, Python has none",
        *(f"tf.profiler: {line}" for line in trace.longest()),
        *(f"LiteRT: {row}" for row in rows),
    )


def capability_profile_quantized_inference(folder: Path) -> Answer:
    """Times of single operators of an int8 model, and of one that keeps a state."""
    file = folder / "int8.tflite"
    file.write_bytes(path_tflite_int8(network(keras), network_samples(), folder).content)
    rows = litert_rows(file)
    x = tf_keras.Input((8, 64), batch_size=1)
    stateful = tf_keras.Model(x, tf_keras.layers.LSTM(64)(x))
    random = np.random.default_rng(1)
    sequences = [{"x": random.uniform(-1, 1, (1, 8, 64)).astype(np.float32)} for _ in range(4)]
    lstm = folder / "lstm.tflite"
    lstm.write_bytes(path_keras2_tflite_int8(stateful, sequences, folder).content)
    try:
        refused = "; ".join(litert_rows(lstm))
    except Exception as error:  # noqa: BLE001 - how it fails is the answer
        refused = f"{type(error).__name__}: {error}"
    integer = [row for row in rows if "QC8" in row or "QS8" in row]
    return answer(
        "partly" if integer else "no",
        "tflite, tfmot and aeq: LiteRT's profiler times every kernel of an int8 model, by the C "
        "interface of its library alone, in whole microseconds; it refuses models with a state",
        *rows,
        f"a fused LSTM: {refused}",
    )


def capability_profile_training(folder: Path) -> Answer:
    """Times of single operators of training with fake quantization."""
    model = tfmot.quantization.keras.quantize_model(network(tf_keras))
    model.compile(tf_keras.optimizers.SGD(1e-4), loss="mse")
    x, y = network_samples()[0]["x"], np.zeros((1, 64), np.float32)
    model.train_on_batch(x, y)
    trace = traced(folder / "trace", lambda: model.train_on_batch(x, y))
    backward = [name for name in trace.operators if "Backprop" in name or "gradient" in name]
    return answer(
        "yes" if backward else "no",
        "tfmot: tf.profiler traces every kernel of a training step, backward ones among them",
        f"{len(trace.operators)} operators, {len(backward)} of them backward",
        *trace.longest(),
    )


def session_memory() -> dict[str, int]:
    """Bytes that each operator of the float network asks for, by a full trace of a session."""
    model = network(keras)
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, 12, 12, 16), tf.float32)
    )
    frozen = convert_variables_to_constants_v2(function)
    metadata = tf.compat.v1.RunMetadata()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(frozen.graph.as_graph_def(), name="")
        session.run(
            frozen.outputs[0].name,
            {frozen.inputs[0].name: network_samples()[0]["x"]},
            options=tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE),
            run_metadata=metadata,
        )
    return {
        node.node_name: sum(memory.total_bytes for memory in node.memory)
        for device in metadata.step_stats.dev_stats
        for node in device.node_stats
        if any(memory.total_bytes for memory in node.memory)
    }


def capability_profile_memory(folder: Path) -> Answer:
    """Memory of single operators, in TensorFlow and in LiteRT."""
    model, samples = network(keras), network_samples()
    model.predict(samples[0]["x"], verbose=0)
    trace = traced(folder / "trace", lambda: model.predict(samples[0]["x"], verbose=0))
    file = folder / "int8.tflite"
    file.write_bytes(path_tflite_int8(model, samples, folder).content)
    rows = litert_rows(file)
    told = [row for row in rows if not row.endswith(" 0.000 KB")]
    sessions = session_memory()
    words = ["partly" if sessions or trace.allocations else "no", "yes"]
    return answer(
        words[bool(told)],
        "float: a full trace of a tf.compat.v1 session tells what each operator allocates; "
        "quantized: LiteRT's summary has a column for memory, "
        + ("which it fills" if told else "which is zero for every kernel"),
        f"LiteRT, int8: {len(told)} of {len(rows)} kernels with a number other than zero",
        f"tf.profiler: {trace.allocations} events about memory",
        *(f"session: {name}: {count} bytes" for name, count in list(sessions.items())[:SHOWN]),
    )
