"""nuscenes-devkit without what takes longest to load: scikit-learn and matplotlib, which only its pictures need.

Import the devkit's tables and splits from here: every command that reads a data set starts almost two seconds sooner.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

DEFERRED = (
    "matplotlib",
    "matplotlib.axes",
    "matplotlib.backends",
    "matplotlib.backends.backend_agg",
    "matplotlib.patches",
    "matplotlib.pyplot",
    "sklearn",
    "sklearn.metrics",
)


class _Deferred(ModuleType):
    """Stands for a module, or for a name of one, that is loaded when something of it is used."""

    def __getattr__(self, name: str) -> object:
        if not isinstance(sys.modules.get(_package(self.__name__)), _Deferred):
            return getattr(self._loaded(), name)
        if name.startswith("__"):
            raise AttributeError(f"{self.__name__} is not loaded yet, and has no {name}")
        return _Deferred(f"{self.__name__}.{name}")  # while the devkit is imported: `from module import name`

    def __call__(self, *args: object, **named: object) -> object:
        return self._loaded()(*args, **named)

    def __setitem__(self, key: str, value: object) -> None:
        self._loaded()[key] = value

    def _loaded(self) -> object:
        if self.__name__ in DEFERRED:
            return import_module(self.__name__)
        module, _, name = self.__name__.rpartition(".")
        return getattr(import_module(module), name)


def _package(name: str) -> str:
    return name.partition(".")[0]


@contextmanager
def _deferred() -> Iterator[None]:
    """What is imported here keeps stand-ins for packages that nobody has loaded; everybody else imports them."""
    standins = {name: _Deferred(name) for name in DEFERRED if _package(name) not in sys.modules}
    for name, module in standins.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(standins[parent], last, module)
        else:
            module.__spec__ = find_spec(name)
    sys.modules |= standins
    try:
        yield
    finally:
        for name in standins:
            del sys.modules[name]


with _deferred():
    NuScenes = import_module("nuscenes").NuScenes
create_splits_scenes = import_module("nuscenes.utils.splits").create_splits_scenes
