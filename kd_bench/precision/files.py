"""Files of one student in several precisions: whether they belong together, and what tables call them."""

from collections import Counter
from collections.abc import Sequence

from kd_bench.precision.gate import ALLOWED
from kd_perception.errors import StudentError
from kd_perception.student.spec import Student

MADE_OF = ("quantised from", "halved from")  # of a file's origin
SHOWN = {  # of a file's origin, in the report
    "calibration": "calibration",
    "quantisation-aware training": "quantisation-aware training",
    "int8": "share",
}


def check_files(files: Sequence[Student]) -> None:
    """Raise StudentError unless the first file is FP32 and the others are the same student in another precision."""
    full = files[0]
    if full.spec.precision != "fp32":
        raise StudentError(f"{full.path} is in {full.spec.precision}; give the FP32 file with --student")
    for file in files[1:]:
        if file.spec.precision not in ALLOWED:
            raise StudentError(f"{file.path} is in {file.spec.precision}; there are gates for {', '.join(ALLOWED)}")
        same = ("grid", "view", "image_size", "classes", "heading", "memory")
        if any(getattr(file.spec, name) != getattr(full.spec, name) for name in same):
            raise StudentError(f"{file.path} is another student than {full.path}; compare precisions of one")
        made_of = next((file.spec.provenance[key] for key in MADE_OF if key in file.spec.provenance), full.model_id)
        if made_of != full.model_id:
            raise StudentError(
                f"{file.path} was made of {made_of}, not of {full.model_id}; give that file or make it of this one"
            )


def labels_of(files: Sequence[Student]) -> list[str]:
    """The precision of each file, numbered where several have the same one: int8 1, int8 2."""
    precisions = [file.spec.precision for file in files]
    among, count = Counter(precisions), Counter()
    labels = []
    for name in precisions:
        count[name] += 1
        labels.append(name if among[name] == 1 else f"{name} {count[name]}")
    return labels


def origins(files: Sequence[Student]) -> dict[str, str]:
    """Facts of a report: each file's id, then what it was made of, by the label of the file."""
    labels = labels_of(files)
    facts = {label: file.model_id for label, file in zip(labels, files, strict=True)}
    for label, file in zip(labels, files, strict=True):
        known = file.spec.provenance
        facts |= {f"{label}, {shown}": str(known[key]) for key, shown in SHOWN.items() if key in known}
    return facts
