"""Options of [service_user]."""

from __future__ import annotations

from oslo_config import cfg

from nova_lite.conf import keystone

GROUP = "service_user"

OPTS: list[cfg.Opt] = [
    cfg.BoolOpt(
        "send_service_user_token",
        default=False,
        help="Send the token of this service user beside the user's own: other services then "
        "accept a user's token that has expired during a long operation, and Cinder lets go of "
        "attachments only with it.",
    ),
]


def sample_opts() -> list[cfg.Opt]:
    """Credentials, shown in the sample configuration; registered at first use."""
    return keystone.sample_opts()
