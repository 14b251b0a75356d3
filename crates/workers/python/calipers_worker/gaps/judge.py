"""The verdict, for stand-alone scripts: whether a layer is quantized as its path promises.

The program itself judges by `crates/gaps/src/verdict.rs`; both are tested on the same cases.
"""

from typing import Any


def judge(
    answer: dict[str, Any],
    scheme: str,
    explained: float,
    own_constants: list[int],
    smallest_constant: int,
    comparable: float | None,
) -> str:
    """The state of a probe that ran, from the operators that executed and from the errors.

    `scheme` is `static`, `dynamic` or `weight-only`; `explained` the share of the float range that
    the path's number formats explain as error; `own_constants` the sizes of the layer's weights;
    `comparable` the error that another engine shows with the same formats, as such a share.
    """
    if is_wrong(answer, explained, comparable):
        return "runs, numerically wrong"
    computing = [one for one in answer["operators"] if one["class"] not in ("convert", "move")]
    if scheme != "static":
        computing = [one for one in computing if one["weighted"]]
    counted = [one for one in computing if one["role"] == "layer"]
    if not counted:
        if scheme != "static" and not own_constants:
            return "nothing to quantize"
        counted = computing
    total = sum(one.get("count", 1) for one in counted)
    floating = sum(one.get("count", 1) for one in counted if one["class"] == "float")
    if floating == 0 and total > 0:
        classes = {one["class"] for one in counted}
        if "weight_only" in classes:
            return "weight-only"
        return "dynamic" if "dynamic" in classes else "quantized"
    if floating < total:
        return f"partial {total - floating} of {total}"
    if own_constants and all(count < smallest_constant for count in own_constants):
        return "nothing to quantize"
    return "silently float"


def is_wrong(answer: dict[str, Any], explained: float, comparable: float | None) -> bool:
    """Whether the error is far beyond `explained`, and a reference's or another engine's is not."""
    if not answer.get("float_range"):
        return False

    def share(name: str) -> float:
        return (answer.get(name) or 0.0) / answer["float_range"]

    if answer["finite"] and share("max_error") <= explained:
        return False
    if answer.get("reference") is not None:
        if answer["finite"] and share("reference_difference") > explained / 2:
            return True
        if not answer["finite"] and share("reference_error") <= explained:
            return True
    return comparable is not None and comparable < explained / 3
