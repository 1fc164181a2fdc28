"""Errors a user can fix: every message is one sentence that states what is wrong, where, and how to fix it."""


class KdError(Exception):
    """Base of all errors caused by the user's input; commands print the sentence and exit with status 1."""


class DataError(KdError):
    """A data set, table, image, point cloud or bag is missing, truncated or inconsistent."""


class CalibrationError(KdError):
    """A camera calibration or a transform cannot be used (zero or NaN intrinsics, unknown distortion model ...)."""


class StudentError(KdError):
    """A student file is truncated, foreign, or does not fit the rig or the engine."""


class EngineError(KdError):
    """An inference engine is not available or refused the model."""


class EngineNotInstalledError(EngineError):
    """What an engine needs is not installed: one that is optional is then passed over without a word."""


class ConfigError(KdError):
    """A configuration has an unknown key, a wrong type or values that do not fit together."""


class InputError(EngineError):
    """An engine received inputs that its file does not have: the caller's mistake, the same with every engine."""


class MemoryLostError(EngineError):
    """The engine that held the temporal memory failed; run the frame again with an empty memory."""


def was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C caused an exception: libraries that are loading turn a KeyboardInterrupt into an ImportError."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
