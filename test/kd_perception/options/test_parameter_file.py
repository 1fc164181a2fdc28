"""A robot's parameter file: by the names of nodes that ROS 2 reads, below what a user gives."""

import pytest
import yaml

from kd_perception.bringup.graph import BEV_STUDENT_ARGUMENTS, bev_student_graph
from kd_perception.errors import ConfigError
from kd_perception.options.arguments import from_texts
from kd_perception.options.parameter_file import parameters_for


@pytest.mark.parametrize(
    "section, name, applies",
    [
        ("/**", "/fleet/robot1/bev_student", True),
        ("/*", "/bev_student", True),
        ("/*", "/robot1/bev_student", False),
        ("bev_student", "/bev_student", True),
        ("/bev_student", "/bev_student", True),
        ("bev_student", "/robot1/bev_student", False),
        ("/robot1/bev_student", "/robot1/bev_student", True),
        ("/**/bev_student", "/robot1/bev_student", True),
        ("/robot*/bev_student", "/robot1/bev_student", True),
        ("visualizer", "/bev_student", False),
    ],
)
def test_sections_apply_by_name(tmp_path, section, name, applies):
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump({section: {"ros__parameters": {"a": 1}}}))
    assert parameters_for(file, name) == ({"a": 1} if applies else {})


def test_names_may_be_nested_and_the_last_section_counts(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("robot1: {bev_student: {ros__parameters: {a: 1, b: 2}}}\n/**: {ros__parameters: {a: 3}}")
    assert parameters_for(file, "/robot1/bev_student") == {"a": 3, "b": 2}


@pytest.mark.parametrize("text, words", [(None, "cannot be read"), ("{", "cannot be read"), ("a: 1", "has no 'ros__")])
def test_a_file_that_is_none_is_refused(tmp_path, text, words):
    file = tmp_path / "p.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        parameters_for(file, "/bev_student")


def graph_of(file, content, **given):
    """The graph for a parameter file and arguments as a user types them."""
    file.write_text(yaml.safe_dump(content))
    texts = {item.argument: item.to_text(item.default) for part in BEV_STUDENT_ARGUMENTS for item in part.options}
    texts |= {"parameter_file": str(file), **given}
    return bev_student_graph(*from_texts(BEV_STUDENT_ARGUMENTS, texts.__getitem__, "launch argument"))


def test_a_graph_follows_the_file_and_arguments_override_it(tmp_path):
    stated = {"camera_names": ["a", "b"], "score_threshold": 0.3, "base_frame": "base", "use_sim_time": True}
    content = {"bev_student": {"ros__parameters": stated}, "visualizer": {"ros__parameters": {"rate_hz": 1.0}}}
    graph = graph_of(tmp_path / "p.yaml", content, score_threshold="0.5", visualize="true")
    student, visualizer = (node.parameters for node in graph.nodes)
    assert student["camera_names"] == visualizer["camera_names"] == ("a", "b")
    assert (student["score_threshold"], student["base_frame"], student["use_sim_time"]) == (0.5, "base", True)
    assert all(node.parameter_files[-1] == tmp_path / "p.yaml" for node in graph.nodes)


def test_a_value_of_the_file_that_is_not_allowed_is_named(tmp_path):
    with pytest.raises(ConfigError, match="parameter transport is 'film', but must be compressed or raw"):
        graph_of(tmp_path / "p.yaml", {"/**": {"ros__parameters": {"transport": "film"}}})
