"""What torch.load may raise on a file that is cut, empty or of another kind, and how that is said."""

import pickle

UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    pickle.UnpicklingError,
)


def reason_of(error: Exception) -> str:
    """The first line of what it says; the kind of error where it says nothing, as of an empty file."""
    return next(iter(str(error).splitlines()), type(error).__name__)
