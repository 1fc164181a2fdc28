"""The ROS 2 package kd_perception: four Python packages, launch files, configurations and models."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "kd_perception"


def shared_files(*folders: str) -> list[tuple[str, list[str]]]:
    """Every file below the folders, kept at its own path under share/kd_perception."""
    found = [path for folder in folders for path in Path(folder).rglob("*")]
    files = sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)
    parents = sorted({path.parent for path in files})
    return [(f"share/{NAME}/{parent}", [str(path) for path in files if path.parent == parent]) for parent in parents]


def pinned(name: str) -> list[str]:
    """The requirements of requirements/<name>.txt and those it names; colcon runs a link to this file elsewhere."""
    lines = (Path(__file__).resolve().parent / "requirements" / f"{name}.txt").read_text().splitlines()
    given = [line.partition("#")[0].strip() for line in lines if not line.startswith("#")]
    others = [line.removeprefix("-r ").removesuffix(".txt") for line in given if line.startswith("-r ")]
    return [line for line in given if not line.startswith("-r ")] + [line for other in others for line in pinned(other)]


setup(
    name=NAME,
    version="0.1.0",
    description="LiDAR-taught multi-camera 3D detection: trained offline, run as ROS 2 nodes, evaluated from bags.",
    maintainer="kd_perception maintainers",
    maintainer_email="maintainers@kd-perception.invalid",
    license="Apache-2.0",
    packages=find_packages(include=["kd_*"], exclude=["kd_msgs*"]),
    package_data={"kd_perception.drawing": ["templates/*.html"], "kd_perception.geometry": ["*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *shared_files("launch", "config", "models"),
    ],
    python_requires=">=3.11,<3.13",
    install_requires=["setuptools"],
    extras_require={
        "test": ["pytest"],  # colcon looks for pytest here before it runs any test
        "viewer": pinned("viewer"),  # `kd view`
        "av2": pinned("av2"),  # `kd import av2`, and reading what it wrote
        "spconv": pinned("spconv"),  # voxel teachers on a GPU
        "gpu": pinned("gpu"),  # the engine onnxruntime-rtx
    },
    zip_safe=True,
    entry_points={
        "console_scripts": [
            "kd = kd_perception.cli:main",
            "bev_student = kd_perception.nodes.bev_student.node:main",
            "hard_sample_recorder = kd_perception.nodes.hard_sample_recorder.node:main",
            "lidar_teacher = kd_perception.nodes.lidar_teacher.node:main",
            "replay = kd_perception.nodes.replay.node:main",
            "evaluator = kd_perception.nodes.evaluator.node:main",
            "visualizer = kd_perception.nodes.visualizer.node:main",
            "lifecycle_manager = kd_perception.nodes.lifecycle_manager:main",
        ],
        "kd.commands": [
            "demo = kd_bench.demo:demo",
            "synth = kd_synthetic.cli:synth",
            "train = kd_training.cli:train",
            "label = kd_training.unlabelled.command:label",
            "continual = kd_training.continual.cli:app",
            "eval = kd_perception.evaluation.offline:evaluate",
            "kitti-ap = kd_perception.evaluation.kitti_command:kitti_command",
            "compare = kd_perception.evaluation.comparison:compare",
            "export = kd_training.cli:export",
            "quantise = kd_training.quantise.command:quantise_command",
            "import = kd_perception.imports.command:app",
            "data = kd_perception.data_check.command:app",
            "bag = kd_perception.bags.nuscenes_bag:bag",
            "replay = kd_perception.commands.play:replay",
            "view = kd_bench.view:view",
            "up = kd_perception.commands.up:up",
            "swap = kd_perception.commands.swap:swap",
            "parity = kd_perception.parity.command:parity",
            "rig = kd_perception.rig_check.command:app",
            "bench = kd_bench.cli:bench",
        ],
        "kd.imports": [
            "checkpoint = kd_training.published.command:checkpoint",
        ],
        "kd.benchmarks": [
            "pipeline = kd_bench.stages.cli:pipeline",
            "parity = kd_bench.stages.cli:parity",
            "latency = kd_bench.latency.cli:latency",
            "scaling = kd_bench.latency.scaling_command:scaling",
            "precision = kd_bench.precision.command:precision",
            "temporal = kd_bench.temporal:temporal",
            "scheduling = kd_bench.scheduling.cli:scheduling",
            "soak = kd_bench.soak.cli:soak",
            "rigs = kd_bench.shifts.rigs:rigs",
            "robustness = kd_bench.shifts.conditions:robustness",
            "rigcheck = kd_bench.rig_check.cli:rigcheck",
            "steps = kd_bench.steps.command:steps",
            "update = kd_bench.steps.update:update",
            "gpu = kd_bench.gpu.session:gpu",
            "tensorrt = kd_bench.gpu.matrix:tensorrt",
            "tables = kd_bench.large_tables.command:tables",
            "transfer = kd_bench.transfer:transfer",
            "distill = kd_bench.distill.cli:distill",
            "report = kd_bench.distill.cli:report",
            "continual = kd_bench.continual.cli:continual",
        ],
        "kd.engines": [
            "tensorrt = kd_perception.engines.tensorrt:TensorRtEngine",
            "onnxruntime-rtx = kd_perception.engines.onnxruntime_gpu:TensorRtRtxEngine",
            "onnxruntime-cuda = kd_perception.engines.onnxruntime_gpu:CudaEngine",
            "openvino = kd_perception.engines.openvino:OpenVinoEngine",
            "openvino-bf16 = kd_perception.engines.openvino_bf16:OpenVinoBfloat16Engine",
            "onnxruntime = kd_perception.engines.onnxruntime:OnnxRuntimeEngine",
            "torch = kd_training.evaluation.torch_engine:TorchEngine",
        ],
    },
)
