"""What may leave this host: objects that the control plane knows, in versions that it knows.

nova-conductor answers an object that is too new for it by asking a conductor, itself, to make it
older, with the object in the question: a loop that keeps all its workers busy for ever, while the
caller sees a time-out. One of an unknown class it cannot read at all. Other agents ask a conductor,
too. So nothing leaves unchecked, what was only received and is sent on included.
"""

from __future__ import annotations

import logging
from typing import Any

from nova_lite.errors import ObjectUnknown
from nova_lite.wire.objects import CHANGES, DATA, NAME, VERSION, is_object, unwrap
from nova_lite.wire.releases import OLDEST, YOUNGER_FIELDS, Release, of_service
from nova_lite.wire.versions import numbers

LOG = logging.getLogger(__name__)


class Outgoing:
    """Makes messages fit the control plane found; the oldest release until one was found."""

    def __init__(self, release: Release = OLDEST) -> None:
        self.release = release

    def learn(self, service_version: int | None) -> None:
        """Take over what was found.

        :param service_version: of the oldest nova-conductor: another one may get the message
        """
        found = of_service(service_version)
        if found is not self.release:
            LOG.info("Messages are for a control plane of %s from now on", found.name)
            self.release = found

    def fitting(self, value: Any) -> Any:
        """What is sent of an argument or a result: plain data, with objects that are understood.

        What is newer leaves in the version known, without the fields that are younger, as
        nova-conductor makes it older. The value itself stays what it is.

        :raises ObjectUnknown: a class, or a major version of one, that the release does not have
        """
        return _fitting(unwrap(value), self.release)


def _fitting(value: Any, release: Release) -> Any:
    """The same value where nothing in it changes, for it may be large."""
    if isinstance(value, dict):
        made = {key: _fitting(item, release) for key, item in value.items()}
        if is_object(value):
            _fit_object(made, release)
        # A field that went, or an object that became another one.
        same = len(made) == len(value) and all(made[key] is value[key] for key in value)
        return value if same else made
    if isinstance(value, (list, tuple)):
        items = [_fitting(item, release) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    return value


def _fit_object(made: dict[str, Any], release: Release) -> None:
    """Change a copy of an object, whose data are those of the original, to what is known."""
    name, version = made[NAME], str(made.get(VERSION))
    known = release.objects.get(name)
    if known is None or version.partition(".")[0] != known.partition(".")[0]:
        raise ObjectUnknown(
            f"a message has a {name} {version}, and the control plane ({release.name}) "
            f"{f'has version {known}' if known else 'has no such object'}: it was not sent; use a "
            "nova_lite that was tested with this control plane"
        )
    if numbers(version) <= numbers(known):
        return
    made[VERSION] = known
    younger = {
        field
        for field, since in YOUNGER_FIELDS.get(name, {}).items()
        if numbers(since) > numbers(known)
    }
    if younger:
        made[DATA] = {key: item for key, item in made[DATA].items() if key not in younger}
        if CHANGES in made:
            made[CHANGES] = [field for field in made[CHANGES] if field not in younger]
