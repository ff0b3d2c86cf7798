"""Which remote methods may be carried out twice: those are asked again when no answer comes.

A broker that is restarted loses what lies in its queues, questions and answers. Waiting for
rpc_response_timeout (60 s) until the next attempt would hold up every operation for that long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Seconds to wait for the first answers; then for rpc_response_timeout, so that a conductor that is
# only slow is asked three times at most.
FIRST_WAITS = (8.0, 16.0)

# Not here, because a second time is another effect: InstanceAction.action_start and
# BlockDeviceMapping.create (a second row), Service.create and ComputeNode.create (refused as a
# duplicate), TaskLog.begin_task and .end_task (compare-and-swaps without a way to tell ours).
REPEATABLE = frozenset(
    {
        # Saves of plain values. Instances.save tells its own first attempt from somebody else's.
        "BlockDeviceMapping.save",
        "ComputeNode.save",
        "Instance.save",
        "InstanceInfoCache.save",
        "Migration.save",
        "Service.save",
        "ShareMapping.save",
        "VolumeUsage.save",
        # What is gone already is success for those who ask.
        "BlockDeviceMapping.destroy",
        "ConsoleAuthToken.clean_console_auths_for_instance",
        "ConsoleAuthToken.clean_expired_console_auths",
        "Instance.destroy",
        "ShareMapping.delete",
        "VirtualInterface.delete_by_instance_uuid",
        "VirtualInterface.destroy",
        # A second end is the same end, a second fault row says the same (the API shows the latest),
        # a second token that nobody was told expires, a second port is refused as known already.
        "ConsoleAuthToken.authorize",
        "InstanceActionEvent.event_finish_with_failure",
        "InstanceFault.create",
        "VirtualInterface.create",
    }
)


def repeatable(name: str, method: str, arguments: Mapping[str, Any]) -> bool:
    """Whether ``method`` of class ``name`` may be carried out twice."""
    if method.lstrip("_").startswith("get_") or method == "get":
        return True
    if arguments.get("update_totals"):
        return False  # VolumeUsage.save adds its counters to the totals
    return f"{name}.{method}" in REPEATABLE


def waits(limit: float) -> tuple[float, ...]:
    """Seconds to wait for an answer, for each attempt.

    :param limit: rpc_response_timeout
    """
    return (*(wait for wait in FIRST_WAITS if wait < limit), limit)
