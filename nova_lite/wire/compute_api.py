"""The compute RPC API as control planes and hosts speak it: newest version, and topics."""

from __future__ import annotations

NEWEST = (6, 5)  # of the minor versions 6.x that this agent knows
# 2026.1 and later send the methods that end something begun to the second one.
TOPIC, TOPIC_ALT = "compute", "compute-alt"
TOPICS = (TOPIC, TOPIC_ALT)
