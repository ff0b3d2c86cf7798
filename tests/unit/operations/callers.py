"""Which step of an operation asked nova-conductor for what."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nova_lite.operations.base import Operation
from nova_lite.steps.base import Step


@contextmanager
def callers(conductor: Any) -> Iterator[list[str]]:
    """The calls that operations make while the block runs, each as ``who: method``; what the test
    itself asks is left out."""
    asked: list[str] = []
    class_call, object_call = conductor.class_call, conductor.object_call

    def of_class(context, method, *args, **more):
        _add(asked, method)
        return class_call(context, method, *args, **more)

    def of_object(context, obj, method, **more):
        _add(asked, f"{obj.name}.{method}")
        return object_call(context, obj, method, **more)

    conductor.class_call, conductor.object_call = of_class, of_object
    try:
        yield asked
    finally:
        del conductor.class_call, conductor.object_call


def _add(asked: list[str], method: str) -> None:
    who = _asking()
    if who is not None:
        asked.append(f"{who}: {method}")


def _asking() -> str | None:
    """The step that is at work in this thread, else the operation and what it does."""
    frame, operation = sys._getframe(2), None
    while frame is not None:
        owner, name = frame.f_locals.get("self"), frame.f_code.co_name
        if isinstance(owner, Step):
            return owner.name
        if isinstance(owner, Operation):
            operation = f"{type(owner).__name__}.{name}"
        if name in ("_start_event", "_finish_event"):
            return f"Run.{name}"
        frame = frame.f_back
    return operation
