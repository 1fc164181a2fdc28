"""Writes a synthetic data set in nuScenes format: the same bytes for a seed whatever the number of jobs."""

from collections.abc import Callable
from functools import partial

from kd_synthetic.dataset.card import read_facts, write_card
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.runner import run_scenes
from kd_synthetic.dataset.scene import render_scene
from kd_synthetic.dataset.tables import write_tables


def generate(config: SynthConfig, on_scene: Callable[[int, int], None] | None = None) -> None:
    """Render what is missing, then write the tables and the card; `on_scene(done, total)` reports progress.

    Interrupted at any moment, a second call continues and ends with the same bytes. Raises DataError if `out` holds
    other content.
    """
    files = run_scenes(config, render_scene, on_scene, partial(write_tables, config.out))
    write_tables(config.out, files)
    write_card(config.out, read_facts(files), {"scenes": config.scenes} | config.content)
