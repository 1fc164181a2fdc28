"""nuscenes-devkit without what takes longest to load: scikit-learn, which only its maps and its tracking metric use.

Import the devkit's tables and splits from here: every command that reads a data set starts more than a second sooner.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


class _Deferred(ModuleType):
    """Stands for a module of the same name, which is loaded when something of it is used."""

    def __getattr__(self, name: str) -> object:
        if (module := import_module(self.__name__)) is self:  # while the devkit is imported
            raise AttributeError(f"module {self.__name__} is not loaded yet, and has no {name}")
        return getattr(module, name)


def _devkit() -> ModuleType:
    """The devkit, whose modules keep the stand-in; everybody else imports scikit-learn itself."""
    if "sklearn" in sys.modules:
        return import_module("nuscenes")
    whole, part = _Deferred("sklearn"), _Deferred("sklearn.metrics")
    whole.__spec__, whole.metrics = find_spec("sklearn"), part
    sys.modules |= {module.__name__: module for module in (whole, part)}
    try:
        return import_module("nuscenes")
    finally:
        for module in (whole, part):
            del sys.modules[module.__name__]


NuScenes = _devkit().NuScenes
create_splits_scenes = import_module("nuscenes.utils.splits").create_splits_scenes
