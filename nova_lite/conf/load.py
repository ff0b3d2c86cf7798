"""From command line and configuration files to a ConfigOpts of our own."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from oslo_config import cfg

from nova_lite import conf as options
from nova_lite.errors import InvalidConfiguration

STOCK = "nova-compute"  # the program whose configuration files these are


def load(arguments: Sequence[str], program: str) -> cfg.ConfigOpts:
    """Parse ``arguments`` (--config-file, --config-dir, logging options) and the files they name.

    Without --config-file and --config-dir, the files that nova-compute reads then: nova.conf,
    nova-compute.conf and their .conf.d directories, of the usual places.

    :raises InvalidConfiguration: a file is missing or an option has a bad value; the message names
        file, group and option
    """
    from oslo_log import log

    conf = cfg.ConfigOpts()
    options.register_opts(conf)
    log.register_options(conf)
    try:
        conf(
            list(arguments),
            project="nova",
            prog=program,
            version=metadata.version("nova-lite"),
            default_config_files=cfg.find_config_files("nova", STOCK),
            default_config_dirs=cfg.find_config_dirs("nova", STOCK),
        )
    except cfg.Error as error:
        raise InvalidConfiguration(f"configuration: {error}") from None
    conf.set_default("host", socket.gethostname())
    conf.set_default("my_ip", _address())
    check(conf)
    return conf


def check(conf: cfg.ConfigOpts) -> None:
    """Read every registered option once, so that a bad value is found at start and by name.

    :raises InvalidConfiguration: names the option and what it accepts
    """
    for module in options.MODULES:
        for opt in module.OPTS:
            group = conf if module.GROUP is None else conf[module.GROUP]
            name = f"[{module.GROUP or 'DEFAULT'}]{opt.dest}"
            try:
                getattr(group, opt.dest)
            except (cfg.Error, ValueError) as error:
                raise InvalidConfiguration(f"{name} has a bad value: {error}") from None
    for name in ("state_path", "instances_path"):
        if not Path(conf[name]).is_absolute():
            raise InvalidConfiguration(
                f"[DEFAULT]{name} is {conf[name]!r}; it must be an absolute path"
            )
    for method, permit in (("post-copy", "post_copy"), ("auto-converge", "auto_converge")):
        wanted = conf.nova_lite.live_migration_method == method
        if wanted and not conf.libvirt[f"live_migration_permit_{permit}"]:
            raise InvalidConfiguration(
                f"[nova_lite]live_migration_method is {method}, which [libvirt]"
                f"live_migration_permit_{permit} does not permit; set that to true"
            )
    for name in ("my_ip", "my_block_storage_ip", "my_shared_fs_storage_ip"):
        _check_address(name, conf[name])


def _check_address(name: str, address: str) -> None:
    """A name is allowed if it means anything; a name server that is away proves nothing."""
    try:
        socket.getaddrinfo(address, None)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            return
        raise InvalidConfiguration(
            f"[DEFAULT]{name} is {address!r}, neither an address nor a name that can be resolved; "
            "set it to the address of this host"
        ) from None


def setup_logging(conf: cfg.ConfigOpts) -> None:
    """Log as nova.conf says."""
    from oslo_log import log

    log.setup(conf, "nova_lite")


def _address() -> str:
    """Address of the interface with the default route; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1: nobody's address
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
