"""Steps about Manila shares of a server: access rules, mounts and share mappings.

Attaching a share to a server that is off creates the access rule for this host. The share is
mounted before the guest starts and unmounted after it stops (``services/shares.py``).
"""

from __future__ import annotations

import logging

from nova_lite.errors import (
    NovaLiteError,
    ShareNotReady,
    ShareServiceUnavailable,
)
from nova_lite.services.shares import (
    ACTIVE,
    HALF_DONE,
    INACTIVE,
    grant,
    mappings,
    mount,
    possible,
    share_of,
    unmount_and_deny,
)
from nova_lite.services.work import Work
from nova_lite.steps.base import MappingStep, Step

LOG = logging.getLogger(__name__)


class GrantAccess(MappingStep):
    """Create Manila's access rule for this host."""

    name = "grant_access"

    def do(self) -> None:
        share = share_of(self.work, self._mapping)
        self.tools.shares.of(share.protocol)  # one that nobody here can mount is refused now
        with self.tools.shares.guard(share.id):
            grant(self.work, share)


class ReleaseShare(MappingStep):
    """Unmount a share that is detached from the server, and delete its access rule."""

    name = "release_share"

    def do(self) -> None:
        unmount_and_deny(self.work, self._mapping)


class RecordShare(MappingStep):
    """Save the share mapping as inactive: the guest gets the share at its next start."""

    name = "record_share"

    def do(self) -> None:
        self.tools.share_mappings.save(self.work.context, self._mapping, INACTIVE)


class ForgetShare(MappingStep):
    """Delete the share mapping."""

    name = "forget_share"

    def do(self) -> None:
        self.tools.share_mappings.delete(self.work.context, self._mapping)


class MountShares(Step):
    """Mount all shares of the server before its guest starts."""

    name = "mount_shares"

    def do(self) -> None:
        work = self.work
        for mapping in mappings(work):
            if mapping["status"] in HALF_DONE:
                raise ShareNotReady(mapping["share_id"], work.uuid, mapping["status"])
            mount(work, share_of(work, mapping))


class UnmountShares(Step):
    """Unmount all shares of a server whose guest is off."""

    name = "unmount_shares"

    def do(self) -> None:
        work = self.work
        for mapping in mappings(work):
            share = share_of(work, mapping)
            if mapping["status"] == ACTIVE:
                self.tools.share_mappings.save(work.context, mapping, INACTIVE)
            try:
                self.tools.shares.of(share.protocol).unmount(share, work.uuid)
            except NovaLiteError as error:
                LOG.warning("%s", error)  # the server is off all the same


class ReleaseShares(Step):
    """Unmount all shares of a deleted server and delete their access rules; failures are logged."""

    name = "release_shares"

    def do(self) -> None:
        work = self.work
        for mapping in mappings(work):
            try:
                unmount_and_deny(work, mapping)
            except ShareServiceUnavailable:
                raise
            except NovaLiteError as error:
                LOG.warning("Share %s is not released with server %s: %s",
                            mapping["share_id"], work.uuid, error)  # fmt: skip
            self.tools.share_mappings.delete(work.context, mapping)


def to_mount(work: Work) -> tuple[Step, ...]:
    """The steps to take before the guest is defined."""
    return (MountShares(work),) if possible(work) else ()


def to_unmount(work: Work) -> tuple[Step, ...]:
    """The steps to take after the guest was stopped."""
    return (UnmountShares(work),) if possible(work) else ()


def to_release(work: Work) -> tuple[Step, ...]:
    """The steps to take after the guest was removed for good."""
    return (ReleaseShares(work),) if possible(work) else ()
