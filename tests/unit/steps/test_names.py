"""Names of steps: the journal and the kill matrix identify a step by them."""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterator

from nova_lite import operations, steps
from nova_lite.steps.base import Step


def classes() -> Iterator[type[Step]]:
    """All classes of steps with a name of their own or of the class that they vary."""
    for package in (steps, operations):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    waiting = [Step]
    while waiting:
        for found in waiting.pop().__subclasses__():
            waiting.append(found)
            if found.__module__.startswith("nova_lite.") and hasattr(found, "name"):
                yield found


def test_no_two_steps_share_a_name() -> None:
    """But a class that varies another one, and says in its docstring what it does differently."""
    by_name: dict[str, set[type[Step]]] = defaultdict(set)
    for found in classes():
        by_name[found.name].add(found)
    assert len(by_name) > 50

    clashes = [
        (one.__name__, other.__name__)
        for sharing in by_name.values()
        for one in sharing
        for other in sharing
        if one is not other and not issubclass(one, other) and not issubclass(other, one)
    ]
    undocumented = [
        found.__name__
        for sharing in by_name.values()
        for found in sharing
        if len(sharing) > 1 and not found.__dict__.get("__doc__")
    ]

    assert ([], []) == (clashes, undocumented)


def test_steps_are_in_the_room_of_steps() -> None:
    """An operation is a plan; what it does is in ``steps/``."""
    assert {"steps"} == {found.__module__.split(".")[1] for found in classes()}
