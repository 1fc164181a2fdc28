"""The devkit starts without scikit-learn and matplotlib, and has them where it needs them."""

import subprocess
import sys

SCRIPT = """
import sys
from kd_perception.datasets.devkit import NuScenes, create_splits_scenes
assert not {"matplotlib", "sklearn"} & {name.partition(".")[0] for name in sys.modules}
assert NuScenes.__module__ == "nuscenes.nuscenes" and len(create_splits_scenes()["mini_val"]) == 2
from nuscenes.lidarseg import lidarseg_utils
from nuscenes.nuscenes import plt, rcParams, sklearn
assert sklearn.metrics.pairwise.euclidean_distances([[0.0, 3.0]], [[4.0, 0.0]]) == 5.0
import sklearn.metrics
assert sklearn.__version__ and sklearn.metrics.__file__
rcParams["font.family"] = "monospace"
import matplotlib
assert matplotlib.rcParams["font.family"] == ["monospace"]
figure, axes = plt.subplots()
assert isinstance(axes, matplotlib.axes.Axes)
assert isinstance(lidarseg_utils.FigureCanvas(figure), matplotlib.backends.backend_agg.FigureCanvasAgg)
assert isinstance(lidarseg_utils.mpatches.Patch(), matplotlib.patches.Patch)
"""


def test_what_its_pictures_need_is_loaded_when_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
