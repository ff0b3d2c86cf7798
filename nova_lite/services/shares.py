"""Manila shares of servers: access rules, mounts, and the virtiofs devices of the guest.

A share is attached to a server that is off, which only creates an access rule for this host. It is
mounted when the guest starts and unmounted when it stops. The share
mapping and this host determine access rule and mount point: nothing is noted in the journal.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace

from nova_lite.errors import (
    ShareAccessGrantError,
    ShareNotFound,
    ShareProtocolUnsupported,
    ShareServiceUnavailable,
)
from nova_lite.model.domain import ShareSpec
from nova_lite.model.share import AccessRule, Share
from nova_lite.services.work import Interrupted, Work
from nova_lite.wire.objects import WireObject

LOG = logging.getLogger(__name__)

ATTACHING, INACTIVE, ACTIVE = "attaching", "inactive", "active"

DETACHING, ERROR = "detaching", "error"

HALF_DONE = (ATTACHING, DETACHING)


def possible(work: Work) -> bool:
    """Whether the server may have shares, so that asking is worth a call.

    The API lets a server have some only where its memory can be shared with virtiofsd: all guests'
    on a host with file_backed_memory, else those whose flavor asks for pages of a size.
    """
    flavor = work.instance.get("flavor")
    if flavor is None or work.tools.policy.file_backed_memory_mb > 0:
        return True
    return "hw:mem_page_size" in (flavor.get("extra_specs") or {})


def mappings(work: Work) -> list[WireObject]:
    """The server's share mappings, asked for once in an operation."""
    with work.reading:
        if work.shares is None:
            read = work.tools.share_mappings.of_server
            work.shares = read(work.context, work.uuid) if possible(work) else []
        return work.shares


def share_of(work: Work, mapping: WireObject) -> Share:
    """The share of a mapping, with the identity that its access rule has for this host.

    NFS identifies the host by its address. CephFS has an identity for each server on each host,
    with the name that nova-compute gives it, so that each server's access is revoked on its own.

    :raises ShareProtocolUnsupported: it is neither NFS nor CephFS
    """
    protocol = str(mapping["share_proto"])
    if protocol == "NFS":
        access = ("ip", str(work.tools.conf.my_shared_fs_storage_ip))
    elif protocol == "CEPHFS":
        name = f"{mapping['instance_uuid']}:{work.tools.host}"
        access = ("cephx", f"nova-{hashlib.sha256(name.encode()).hexdigest()[:16]}")
    else:
        raise ShareProtocolUnsupported(f"Share protocol {protocol} is not supported.")
    share_id, export = str(mapping["share_id"]), str(mapping["export_location"])
    return Share(share_id, protocol, export, str(mapping["tag"]), *access)


def guest_shares(work: Work) -> tuple[ShareSpec, ...]:
    """The virtiofs devices of the guest."""
    shares = [share_of(work, mapping) for mapping in mappings(work)]
    drivers = work.tools.shares
    return tuple(
        ShareSpec(str(drivers.of(share.protocol).directory(share)), share.tag) for share in shares
    )


def grant(work: Work, share: Share) -> AccessRule:
    """Create the access rule for this host and wait for it; call it with the share guarded.

    :raises ShareAccessGrantError: Manila refuses, or the rule is not active in time
    """
    tools, patience = work.tools, work.tools.conf.manila.share_apply_policy_timeout
    waited = 0.0
    while True:
        rule = _rule(work, share)
        if rule is None:
            reason = f"Lock by nova for instance {work.uuid}"
            tools.manila.allow(
                work.context, share.id, share.access_type, share.access_to, reason
            )
            rule = _rule(work, share)
        if rule is not None and (rule.state == "active" or not patience):
            return rule
        if rule is not None and rule.state == "error":
            raise ShareAccessGrantError(share.id, f"its storage does not let {share.access_to} in")
        if waited >= patience:
            raise ShareAccessGrantError(
                share.id, f"its storage did not let {share.access_to} in within {patience} s; "
                "[manila]share_apply_policy_timeout may be longer",
            )  # fmt: skip
        if tools.clock.wait(work.cancelled, tools.pace.share_poll):
            raise Interrupted
        waited += tools.pace.share_poll


def _rule(work: Work, share: Share) -> AccessRule | None:
    return work.tools.manila.access_rule(
        work.context, share.id, share.access_type, share.access_to
    )


def mount(work: Work, share: Share) -> None:
    """Mount a share for the server; Manila is asked only if no server here has it mounted."""
    driver = work.tools.shares.of(share.protocol)
    with work.tools.shares.guard(share.id):
        if not driver.mounted(share):
            try:
                share = replace(share, access_key=grant(work, share).access_key)
            except ShareServiceUnavailable as error:
                if driver.needs_key:
                    raise
                LOG.warning("%s; trying to mount share %s all the same", error, share.id)
        driver.mount(share, work.uuid)


def unmount_and_deny(work: Work, mapping: WireObject) -> None:
    """Unmount a share that is detached from the server, and delete this host's access rule unless
    another server here uses it; may be repeated."""
    share, tools = share_of(work, mapping), work.tools
    with tools.shares.guard(share.id):
        tools.shares.of(share.protocol).unmount(share, work.uuid)
        if share.access_type == "ip" and _used_by_others(work, share):
            return
        try:
            rule = _rule(work, share)
        except ShareNotFound:
            return
        if rule is not None:
            tools.manila.deny(work.context, share.id, rule.id)


def _used_by_others(work: Work, share: Share) -> bool:
    """Whether another server of this host has the share."""
    everybody = work.context.elevated()
    others = [
        mapping["instance_uuid"]
        for mapping in work.tools.share_mappings.of_share(everybody, share.id)
        if mapping["instance_uuid"] != work.uuid and mapping["status"] != DETACHING
    ]
    here = {"uuid": others, "host": work.tools.host, "deleted": False}
    return bool(others and work.tools.instances.by_filters(everybody, here, []))
