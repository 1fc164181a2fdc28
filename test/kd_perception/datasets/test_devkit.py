"""The devkit starts without scikit-learn, and has it where it needs it."""

import subprocess
import sys

SCRIPT = """
import sys
from kd_perception.datasets.devkit import NuScenes, create_splits_scenes
assert not [name for name in sys.modules if name.partition(".")[0] == "sklearn"]
assert NuScenes.__module__ == "nuscenes.nuscenes" and len(create_splits_scenes()["mini_val"]) == 2
from nuscenes.nuscenes import sklearn
assert sklearn.metrics.pairwise.euclidean_distances([[0.0, 3.0]], [[4.0, 0.0]]) == 5.0
import sklearn.metrics
assert sklearn.__version__ and sklearn.metrics.__file__
"""


def test_scikit_learn_is_loaded_when_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
