"""What changes for a host whose nova.conf was written for nova-compute."""

from __future__ import annotations

from oslo_config import cfg

from nova_lite.conf import unread
from nova_lite.conf.unread import Present
from nova_lite.conf.unsupported import Effect
from nova_lite.preflight.base import Check, Finding, Status, ok
from nova_lite.preflight.env import Env

STATUS = {
    Effect.REFUSED: Status.FAILURE,
    Effect.LOST: Status.WARNING,
    Effect.NONE: Status.OK,
}


def checks(conf: cfg.ConfigOpts) -> tuple[Check, ...]:
    """A check for each option that nova-compute would read and this agent does not.

    :param conf: parsed; its files are looked at
    """
    found = unread.present(conf)
    if not found:
        return (Check("nova.conf", _nothing, "name the files with --config-file"),)
    return tuple(_check(option) for option in found)


def _nothing(env: Env) -> Finding:
    return ok("the agent reads every option that nova-compute would read")


def _check(option: Present) -> Check:
    finding = Finding(STATUS[option.unread.effect], option.message, option.unread.remedy)
    return Check(option.option, lambda env: finding, option.unread.remedy)
