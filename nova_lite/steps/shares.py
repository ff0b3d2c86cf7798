"""Shares of Manila that servers have: this host mounts them, and the guest gets them by virtiofs.

A share is attached to a server that is off: Manila lets this host at it, nothing else happens. It
is mounted when the guest starts and unmounted when it stops. Whom Manila lets in for a server, and
where it is mounted, follows from the share mapping and this host: nothing is noted in the journal.
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
    release,
    share_of,
)
from nova_lite.services.work import Work
from nova_lite.steps.base import MappingStep, Step

LOG = logging.getLogger(__name__)


class GrantAccess(MappingStep):
    """Have Manila let this host at a share."""

    name = "grant_access"

    def do(self) -> None:
        share = share_of(self.work, self._mapping)
        self.tools.shares.of(share.protocol)  # one that nobody here can mount is refused now
        with self.tools.shares.guard(share.id):
            grant(self.work, share)


class ReleaseShare(MappingStep):
    """Take a share that the server is to lose from this host."""

    name = "release_share"

    def do(self) -> None:
        release(self.work, self._mapping)


class RecordShare(MappingStep):
    """The server has the share, and gets it with its next start."""

    name = "record_share"

    def do(self) -> None:
        self.tools.share_mappings.save(self.work.context, self._mapping, INACTIVE)


class ForgetShare(MappingStep):
    """The server does not have the share any more."""

    name = "forget_share"

    def do(self) -> None:
        self.tools.share_mappings.delete(self.work.context, self._mapping)


class MountShares(Step):
    """Have all shares of the server mounted before its guest starts."""

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
    """Let go of all shares of a server that is deleted; what cannot be let go of is logged."""

    name = "release_shares"

    def do(self) -> None:
        work = self.work
        for mapping in mappings(work):
            try:
                release(work, mapping)
            except ShareServiceUnavailable:
                raise
            except NovaLiteError as error:
                LOG.warning("Share %s is not let go of with server %s: %s",
                            mapping["share_id"], work.uuid, error)  # fmt: skip
            self.tools.share_mappings.delete(work.context, mapping)


def to_mount(work: Work) -> tuple[Step, ...]:
    """What has to be done before the guest is defined."""
    return (MountShares(work),) if possible(work) else ()


def to_unmount(work: Work) -> tuple[Step, ...]:
    """What has to be done after the guest was stopped."""
    return (UnmountShares(work),) if possible(work) else ()


def to_release(work: Work) -> tuple[Step, ...]:
    """What has to be done after the guest was removed for good."""
    return (ReleaseShares(work),) if possible(work) else ()
