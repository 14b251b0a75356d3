"""The errors that a worker raises by itself; an answer's `type` is the class name."""


class WorkerError(Exception):
    """An error whose message says where, what was expected, what was found and what to do."""


class BadArgument(WorkerError):
    """A request lacks an argument, or an argument has the wrong type or range."""


class BadModel(WorkerError):
    """The ONNX file breaks a rule of the format or of the part of it that workers build."""


class UnsupportedOperator(WorkerError):
    """A node's operator, or one of its attributes, has no native form in the worker."""


class BadWeights(WorkerError):
    """A weights file does not fit the model, or holds values that are not finite."""


class BadData(WorkerError):
    """A data file lacks a tensor, or a tensor has the wrong type, shape or range."""


class NonFiniteLoss(WorkerError):
    """The training loss became infinite or not a number."""


class UnknownHandle(WorkerError):
    """A request names a trainer or a loaded model that this worker does not hold."""


class Unsupported(WorkerError):
    """A command, a path or a variant that this framework does not have."""
