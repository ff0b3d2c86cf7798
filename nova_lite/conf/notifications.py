"""What is told on the notification topics, [notifications].

Whether anything is told, and where to, are oslo.messaging's own options in
[oslo_messaging_notifications]: without a driver there, nothing is sent.
"""

from __future__ import annotations

from oslo_config import cfg

GROUP = "notifications"

OPTS: list[cfg.Opt] = [
    cfg.StrOpt(
        "notification_format",
        default="unversioned",
        choices=["both", "versioned", "unversioned"],
        deprecated_group="DEFAULT",
        help="Form of the notifications. Ceilometer reads the unversioned ones.",
    ),
    cfg.ListOpt(
        "versioned_notifications_topics",
        default=["versioned_notifications"],
        help="Topics of the versioned notifications.",
    ),
    cfg.BoolOpt(
        "bdms_in_notifications",
        default=False,
        help="Whether versioned notifications list the volumes of the server.",
    ),
    cfg.BoolOpt(
        "include_share_mapping",
        default=False,
        help="Whether versioned notifications list the shares of the server.",
    ),
]
