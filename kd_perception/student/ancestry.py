"""Which students a student was, before updates made it what it is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ancestor:
    """An earlier student: the model id of its file (Student.model_id), the domain that it had learnt last (of the
    first: its training data, in words), and the commit that trained it."""

    model: str
    domain: str
    commit: str
