"""Loading drivers by name from their entry points."""

from __future__ import annotations

from typing import Any

from nova_lite.errors import InvalidConfiguration


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
