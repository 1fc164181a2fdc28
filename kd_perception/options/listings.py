"""Options written out: the parameter file of a node, and its table for the documentation."""

import yaml

from kd_perception.options.detector import DetectorOptions
from kd_perception.options.evaluator import EvaluatorOptions
from kd_perception.options.option import Option, options_of
from kd_perception.options.recorder import RecorderOptions
from kd_perception.options.replay import ReplayOptions
from kd_perception.options.teacher import TeacherOptions
from kd_perception.options.visualizer import VisualizerOptions

NODES = {
    "bev_student": DetectorOptions,
    "lidar_teacher": TeacherOptions,
    "hard_sample_recorder": RecorderOptions,
    "replay": ReplayOptions,
    "evaluator": EvaluatorOptions,
    "visualizer": VisualizerOptions,
}


def parameter_file(node: str) -> str:
    """The text of config/nodes/<node>.yaml: every parameter with its default, its meaning as a comment."""
    kind = NODES[node]
    lines = [
        f"# Default parameters of {node}, written by `make options` from {kind.__module__}.",
        "# `kd up` and the launch files read this file and override it with their arguments.",
        "/**:",
        "  ros__parameters:",
    ]
    for option in options_of(kind):
        lines += [f"    # {option.summary}", f"    {option.name}: {_yaml_value(option)}"]
    return "\n".join(lines) + "\n"


def parameter_table(node: str) -> str:
    """A Markdown table of the parameters: name, default, allowed values, meaning."""
    rows = ["| parameter | default | values | meaning |", "|---|---|---|---|"]
    for option in options_of(NODES[node]):
        default = option.to_text(option.default)
        shown = f"`{default}`" if default else ""
        live = " *Live.*" if option.live else ""
        rows.append(f"| `{option.name}` | {shown} | {option.values} | {option.description}{live} |")
    return "\n".join(rows) + "\n"


def _yaml_value(option: Option) -> str:
    """The default on one line; YAML ends a plain scalar with a line of dots."""
    value = option.to_parameter(option.default)
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("...\n").strip()
