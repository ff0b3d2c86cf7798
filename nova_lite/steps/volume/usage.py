"""Steps that record the volume usage (bytes and requests) of a volume that is detached."""

from __future__ import annotations

import logging
from dataclasses import asdict

from nova_lite.errors import DomainNotFound
from nova_lite.model.diagnostics import DiskStats
from nova_lite.services.notes import VolumeNotes
from nova_lite.services.volume_usage import counters, record
from nova_lite.services.work import Work
from nova_lite.steps.base import Step
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)


class _UsageStep(Step):
    def __init__(self, work: Work, mapping: WireObject) -> None:
        super().__init__(work)
        self._volume_id = str(mapping["volume_id"])


class ReadUsage(_UsageStep):
    """Note a volume's counters while the guest still has it."""

    name = "read_usage"

    def do(self) -> None:
        try:
            stats = counters(self.tools, self.work.uuid).get(self._volume_id)
        except DomainNotFound:
            stats = None
        if stats is not None:
            self.work.note(usage=asdict(stats))


class RecordUsage(_UsageStep):
    """Record the noted counters after the disk was detached from the guest.

    At most once: usage that is added twice is worse than a missing last reading.
    """

    name = "record_usage"

    def done(self) -> bool:
        LOG.info("The last counters of volume %s may not have been recorded", self._volume_id)
        return True

    def do(self) -> None:
        work, noted = self.work, VolumeNotes.of(self.work.notes).usage
        if noted is not None:
            stats = DiskStats(**noted)
            record(
                self.tools, work.context, work.instance, self._volume_id, stats, ended=True
            )
