"""Loading drivers by name from their entry points."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from nova_lite.errors import InvalidConfiguration, NovaLiteError


def load(kind: str, name: str, *arguments: Any) -> Any:
    """Build the driver ``name`` of the entry-point namespace ``nova_lite.<kind>``.

    :raises InvalidConfiguration: nothing of that name is installed, or it cannot be imported
    """
    from stevedore import driver
    from stevedore.exception import NoMatches

    namespace = f"nova_lite.{kind}"
    try:
        plugin: Any = driver.DriverManager(namespace, name).driver
    except NoMatches as error:
        raise InvalidConfiguration(
            f"no {kind} driver {name!r} is installed (entry points {namespace}): {error}"
        ) from None
    except ImportError as error:
        raise InvalidConfiguration(
            f"the {kind} driver {name!r} (entry points {namespace}) cannot be imported: {error}"
        ) from None
    return plugin(*arguments)


class OnDemand:
    """The drivers of one kind whose names are known at run time only, each built when first needed.

    :param kind: they are the entry points of ``nova_lite.<kind>``
    :param arguments: handed to every driver
    """

    def __init__(self, kind: str, *arguments: Any) -> None:
        self._kind, self._arguments = kind, arguments
        self._lock = threading.Lock()
        self._built: dict[str, Any] = {}

    def get(self, name: str, unknown: Callable[[str], NovaLiteError]) -> Any:
        """The driver ``name``.

        :param unknown: makes the error for a name that nobody has installed, of what there is
        """
        from importlib import metadata

        with self._lock:
            if name not in self._built:
                namespace = f"nova_lite.{self._kind}"
                installed = metadata.entry_points(group=namespace).names
                if name not in installed:
                    raise unknown(f"{', '.join(sorted(installed))} (entry points {namespace})")
                self._built[name] = load(self._kind, name, *self._arguments)
            return self._built[name]
