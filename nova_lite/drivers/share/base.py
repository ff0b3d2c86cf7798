"""The share contract: mount a share of Manila on this host, for guests to get it from there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, Protocol

from nova_lite.model.share import Share


class ShareDriver(ABC):
    """Shares of one protocol; built with the agent's options.

    Nothing that a driver needs later may live in its memory alone: the agent can be killed between
    any two calls. Every call may be repeated. ``share.access_key`` is a secret and goes into no
    log, no message and no list of processes.

    ``needs_key``: a share cannot be mounted without ``access_key``.
    """

    needs_key: ClassVar[bool] = False

    @abstractmethod
    def mount(self, share: Share, server_uuid: str) -> None:
        """Have the share mounted for a server; one that is mounted stays as it is.

        :raises ShareMountFailed: says why
        """

    @abstractmethod
    def unmount(self, share: Share, server_uuid: str) -> None:
        """The server needs the share no more; what other servers use stays mounted.

        :raises ShareUnmountFailed: says why
        """

    @abstractmethod
    def mounted(self, share: Share) -> bool:
        """Whether it is mounted; never asks the share itself, which may hang."""

    @abstractmethod
    def directory(self, share: Share) -> Path:
        """Where it is or will be mounted; looks at nothing."""


class Shares(Protocol):
    """The share drivers of this host."""

    def of(self, protocol: str) -> ShareDriver:
        """The driver of a protocol as Manila calls it: NFS, CEPHFS.

        :raises ShareProtocolUnsupported: there is none; the message names those there are
        """

    def guard(self, share_id: str) -> AbstractContextManager[None]:
        """Hold off others that let this host at the share, or shut it out.

        :raises TimeoutError: others did not finish in time
        """
