"""Which options of nova.conf this agent does not read, and what that means for a host.

Every option of nova belongs to one of four: registered in this package (honoured), in
``NOT_FOR_COMPUTE`` (read by other services only), of a library that reads nova.conf for itself
(``LIBRARIES``), or in ``unsupported.TABLE``: nova-compute reads it, and this agent does not.
tests/unit/conf holds the four to the options of an installed nova; doc/nova_options.py makes a page
of them.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oslo_config import cfg

from nova_lite.conf.unsupported import ALIASES, TABLE, Effect, Unread
from nova_lite.errors import InvalidConfiguration

DEFAULT = "DEFAULT"
ALL = ("*",)

# Group -> its options that only other services read, or that nobody reads any more.
NOT_FOR_COMPUTE: Mapping[str, tuple[str, ...]] = {
    DEFAULT: (
        "allow_resize_to_same_host", "cert", "console_host", "daemon", "default_availability_zone",
        "default_schedule_zone", "enable_new_services", "enabled_apis", "enabled_ssl_apis",
        "internal_service_availability_zone", "key", "max_local_block_devices", "metadata_listen",
        "metadata_listen_port", "metadata_workers", "migrate_max_retries",
        "non_inheritable_image_properties", "osapi_compute_listen", "osapi_compute_listen_port",
        "osapi_compute_unique_server_name_scope", "osapi_compute_workers", "password_length",
        "pybasedir", "record", "source_is_ipv6", "ssl_only", "web",
    ),
    "api": (
        "auth_strategy", "compute_link_prefix", "enable_instance_password", "glance_link_prefix",
        "instance_list_cells_batch_fixed_size", "instance_list_cells_batch_strategy",
        "instance_list_per_project_cells", "list_records_by_skipping_down_cells",
        "local_metadata_per_cell", "max_limit", "metadata_cache_expiration",
        "neutron_default_project_id", "neutron_default_tenant_id", "response_validation",
        "use_neutron_default_nets",
    ),
    "api_database": ALL,
    "cache": ALL,
    "conductor": ALL,
    "console": ALL,
    "consoleauth": ("enforce_session_timeout",),
    "cors": ALL,
    "database": ALL,
    "filter_scheduler": (
        "aggregate_image_properties_isolation_namespace",
        "aggregate_image_properties_isolation_separator", "available_filters",
        "build_failure_weight_multiplier", "cpu_weight_multiplier",
        "cross_cell_move_weight_multiplier", "disk_weight_multiplier", "enabled_filters",
        "host_subset_size", "hypervisor_version_weight_multiplier",
        "image_properties_default_architecture", "image_props_weight_multiplier",
        "image_props_weight_setting", "io_ops_weight_multiplier", "isolated_hosts",
        "isolated_images", "max_instances_per_host", "max_io_ops_per_host",
        "num_instances_weight_multiplier", "pci_in_placement", "pci_weight_multiplier",
        "ram_weight_multiplier", "restrict_isolated_hosts_to_isolated_images",
        "shuffle_best_same_weighed_hosts", "soft_affinity_weight_multiplier",
        "soft_anti_affinity_weight_multiplier", "weight_classes",
    ),
    "healthcheck": ALL,
    "image_cache": ("precache_concurrency",),  # of nova-conductor
    "ironic": ALL,
    "keystone": ALL,
    "keystone_authtoken": ALL,
    "libvirt": ("num_aoe_discover_tries",),
    "metrics": ALL,
    "mks": ALL,
    "neutron": ("default_floating_pool", "metadata_proxy_shared_secret", "service_metadata_proxy"),
    # Conductor and API tell of state changes, for it is there that an Instance is saved.
    "notifications": ("default_level", "notify_on_state_change"),
    "oslo_limit": ALL,
    "oslo_middleware": ALL,
    "oslo_middleware_tracing": ALL,
    "oslo_policy": ALL,
    "quota": ALL,
    "remote_debug": ALL,
    "scheduler": ALL,
    "serial_console": ("serialproxy_host", "serialproxy_port"),
    "spice": ("html5proxy_host", "html5proxy_port"),
    "vmware": ALL,
    "vnc": (
        "auth_schemes", "novncproxy_host", "novncproxy_port", "vencrypt_ca_certs",
        "vencrypt_client_cert", "vencrypt_client_key",
    ),
    "workarounds": (
        "disable_fallback_pcpu_query", "enable_numa_live_migration",
        "skip_hypervisor_version_check_on_lm", "skip_reserve_in_use_ironic_nodes",
        "unified_limits_count_pcpu_as_vcpu",
    ),
    "wsgi": ALL,
    "zvm": ALL,
}  # fmt: skip

# Groups that a library reads for itself here as it does in nova-compute.
LIBRARIES: Mapping[str, str] = {
    "barbican": "castellan",
    "barbican_service_user": "castellan",
    "vault": "castellan",
    "os_brick": "os-brick",
    "os_vif_*": "os-vif",
    "vif_plug_*": "os-vif",
    "oslo_concurrency": "oslo.concurrency",
    "oslo_messaging_*": "oslo.messaging",
    "privsep*": "oslo.privsep",
    "nova_sys_admin": "oslo.privsep",
}
# The same for single options in groups that hold others.
LIBRARY_OPTIONS: Mapping[str, str] = {"key_manager": "castellan"}


# Options of which the values of all files count together.
ADDED_UP = frozenset({("pci", "alias"), ("pci", "device_spec")})


@dataclass(frozen=True)
class Present:
    """An option in one of the files that nova-compute would read and this agent does not."""

    group: str
    name: str
    file: Path
    unread: Unread

    @property
    def option(self) -> str:
        return f"[{self.group}]{self.name}"

    @property
    def message(self) -> str:
        """One line without the remedy; the value is not shown, for it may be a secret."""
        verb = "is refused" if self.unread.effect is Effect.REFUSED else "is not read"
        return f"{self.option} in {self.file} {verb}: {self.unread.means}"


def present(conf: cfg.ConfigOpts) -> list[Present]:
    """The options in the configuration files that nova-compute would read and this agent does not.

    An option that has a value with which nova-compute does what this agent does is left out.

    :param conf: parsed; its --config-file and --config-dir say which files are meant
    """
    found: dict[tuple[str, str], Present | None] = {}
    for path in files(conf):
        for group, name, values in _options(path):
            group, name = ALIASES.get((group, name), (group, name))
            unread = find(group, name)
            if unread is None:
                continue
            if not unread.same_as(values):
                found[group, name] = Present(group, name, path, unread)
            elif (group, name) not in ADDED_UP:
                found[group, name] = None  # a later file overrides an earlier one
    return [option for option in found.values() if option is not None]


def find(group: str, name: str) -> Unread | None:
    """What the table says of an option, by its current name; None when it is not in there."""
    for pattern, rows in TABLE.items():
        if fnmatch.fnmatchcase(group, pattern):
            return rows.get(name) or rows.get("*")
    return None


def refuse(conf: cfg.ConfigOpts) -> None:
    """Refuse to start with options whose absence would cost data, safety or capacity.

    :raises InvalidConfiguration: names the options and the remedies
    """
    refused = [option for option in present(conf) if option.unread.effect is Effect.REFUSED]
    if refused:
        raise InvalidConfiguration(
            "; ".join(f"{option.message}; {option.unread.remedy}" for option in refused)
        )


def files(conf: cfg.ConfigOpts) -> list[Path]:
    """The configuration files, in the order in which they override each other."""
    found = [Path(name) for name in getattr(conf, "config_file", None) or ()]
    for folder in getattr(conf, "config_dir", None) or ():
        found += sorted(Path(folder).glob("*.conf"))
    return list(dict.fromkeys(found))


def _options(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Group, name and values of each option in a file."""
    sections: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(str(path), sections).parse()
    except (OSError, cfg.Error):
        return  # oslo.config has read it; what it could not read it has reported
    for section, options in sections.items():
        group = DEFAULT if section.upper() == DEFAULT else section.lower()
        for key, values in options.items():
            yield group, key.replace("-", "_"), values


def verdict(group: str, name: str) -> Any:
    """What becomes of an option: an Unread, or one of the words below; None: nobody says.

    :return: "not for nova-compute", "read by LIBRARY", an :class:`Unread`, or None where the option
        is honoured or unknown
    """
    unread = find(group, name)
    if unread is not None:
        return unread
    names = NOT_FOR_COMPUTE.get(group, ())
    if names == ALL or name in names:
        return "not for nova-compute"
    for pattern, library in LIBRARIES.items():
        if fnmatch.fnmatchcase(group, pattern):
            return f"read by {library}"
    library = LIBRARY_OPTIONS.get(group, "")
    return f"read by {library}" if library else None
