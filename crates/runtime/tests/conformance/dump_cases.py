"""Writes the test cases that the `onnx` package carries to a folder: `dump_cases.py FOLDER`.

NAME.onnx is the model; NAME.N.onnx holds the tensors of its Nth data set as constants called input_I and output_I.
cases.json lists the cases: name, suite, tolerances, names of inputs, number of data sets, and why a case that cannot be
stored so was left out (its inputs or outputs are no tensors). Needs onnx and numpy.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests

SUITES = ["simple", "pytorch-operator", "pytorch-converted"]


def tensor(value: object, name: str) -> TensorProto | None:
    """A value of a test case as a named tensor; None when it is a list, a map or nothing."""
    if isinstance(value, TensorProto):
        copy = TensorProto()
        copy.CopyFrom(value)
        copy.name = name
        return copy
    if isinstance(value, (list, dict, tuple)) or value is None:
        return None
    return numpy_helper.from_array(np.asarray(value), name)


def save(values: dict[str, list[object]], path: Path) -> str | None:
    """Writes a data set as the constants of a model; says why when that is not possible."""
    tensors = []
    for kind, entries in values.items():
        for index, value in enumerate(entries):
            named = tensor(value, f"{kind}_{index}")
            if named is None:
                return "sequences or optional values"
            tensors.append(named)
    outputs = [
        helper.make_tensor_value_info(entry.name, entry.data_type, list(entry.dims))
        for entry in tensors
    ]
    graph = helper.make_graph([], "data", [], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path.write_bytes(model.SerializeToString())
    return None


def protos(folder: Path, kind: str, types: list[onnx.ValueInfoProto]) -> list[object]:
    """The stored inputs or outputs of a data set; lists stand for what is no tensor."""
    values: list[object] = []
    for index, value in enumerate(types):
        if not value.type.HasField("tensor_type"):
            values.append([])
            continue
        entry = TensorProto()
        entry.ParseFromString((folder / f"{kind}_{index}.pb").read_bytes())
        values.append(entry)
    return values


def main() -> None:
    """Writes all cases to the folder that the command line names."""
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    cases = [("node", case) for case in collect_testcases(None)]
    cases += [
        (suite, case) for suite in SUITES for case in load_model_tests(kind=suite)
    ]
    table = []
    for suite, case in cases:
        if case.model is not None:
            model = case.model
            sets = [tuple(data) for data in case.data_sets]
        else:
            source = Path(case.model_dir)
            model = onnx.load(source / "model.onnx")
            sets = [
                (
                    protos(
                        data,
                        "input",
                        list(model.graph.input)[: len(list(data.glob("input_*.pb")))],
                    ),
                    protos(data, "output", list(model.graph.output)),
                )
                for data in sorted(source.glob("test_data_set_*"))
            ]
        name = f"{suite}.{case.name}"
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
        reason = None
        for index, (inputs, outputs) in enumerate(sets):
            values = {"input": list(inputs), "output": list(outputs)}
            reason = reason or save(values, folder / f"{name}.{index}.onnx")
        table.append(
            {
                "name": name,
                "suite": suite,
                "rtol": case.rtol,
                "atol": case.atol,
                "inputs": [value.name for value in model.graph.input],
                "sets": len(sets),
                "left_out": reason,
            }
        )
    (folder / "cases.json").write_text(json.dumps(table))


if __name__ == "__main__":
    main()
