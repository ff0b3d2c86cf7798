"""Shares of Manila: file systems of the network that guests get through their host."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Share:
    """A share as a server has it.

    ``protocol`` is Manila's (NFS, CEPHFS), ``export`` where it is mounted from, ``tag`` its name in
    the guest. ``access_type`` and ``access_to`` say whom Manila lets in: an address, or the name of
    an identity, whose secret ``access_key`` is.
    """

    id: str
    protocol: str
    export: str
    tag: str
    access_type: str
    access_to: str
    access_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class AccessRule:
    """Whom Manila lets at a share; ``state`` is active once the storage does so, too."""

    id: str
    state: str
    access_key: str | None = field(default=None, repr=False)
