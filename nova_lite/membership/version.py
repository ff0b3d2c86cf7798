"""Which service version to report.

The number is a promise: control services refuse to start when a compute is too old, and switch
features on when all computes are new enough. So this agent reports what the control plane itself is
(its nova-conductor records say so), within what it keeps the promises of.
"""

from __future__ import annotations

from nova_lite.errors import ServiceTooOld
from nova_lite.wire.releases import RELEASES

SUPPORTED = tuple(release.service for release in RELEASES)
# For when no conductor record tells: the one number that all four releases accept.
COMMON = 72


def choose(configured: int | None, control_plane: int | None, floor: int) -> int:
    """The version to report.

    :param configured: [nova_lite]service_version, None to choose
    :param control_plane: version of the newest nova-conductor, None when unknown
    :param floor: lowest version among the cell's nova-compute services, 0 when there is none
    :raises ServiceTooOld: the cell is newer than this agent
    """
    newest = SUPPORTED[-1]
    wanted = configured or min(control_plane or COMMON, newest)
    version = max(wanted, SUPPORTED[0]) if configured is None else wanted
    if version < floor:
        if configured is not None or floor > newest:
            raise ServiceTooOld(
                f"this host would join with service version {version}, but every nova-compute of "
                f"the cell is at {floor} or newer; "
                + ("raise or remove [nova_lite]service_version" if configured else
                   "upgrade nova_lite")
            )  # fmt: skip
        version = floor
    return version
