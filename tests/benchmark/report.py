"""The results of two agents side by side."""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmark.live import NEIGHBOUR, PING, WRITERS
from tests.benchmark.measure import Plan, Result
from tests.benchmark.verbs import verbs
from tests.benchmark.volumes import MANY

LIVE = "live migrate"
AT_ONCE = "N live migrations at once"
MOVES = ("migrate", "confirm", "resize", "revert")
# What is shown, and what the ratio is meant to be at most (None: no target of its own).
ROWS: tuple[tuple[str, float | None], ...] = (
    ("memory after start: PSS MiB", 0.5),
    ("memory after start: RSS MiB", 0.5),
    ("memory after boots: PSS MiB", 0.5),
    ("memory after boots: RSS MiB", 0.5),
    ("start: seconds", 0.25),
    ("conductor calls per boot", 0.5),
    ("conductor calls per delete", 0.5),
    *((f"conductor calls per {verb.name}", 0.5) for verb in verbs("", "")),
    ("Neutron calls per boot", 0.5),
    ("Neutron calls per delete", None),
    *((f"Neutron calls per {verb.name}", None) for verb in verbs("", "")),
    ("Keystone calls per boot", None),
    ("Glance calls per boot", None),
    ("Placement calls per boot", None),
    ("Placement calls per delete", None),
    ("Neutron calls per attach interface", None),
    ("Neutron calls per detach interface", None),
    ("conductor calls per attach interface", 0.5),
    ("conductor calls per detach interface", 0.5),
    ("attach interface p50: seconds", None),
    ("detach interface p50: seconds", None),
    ("conductor calls per attach", 0.5),
    ("conductor calls per detach", 0.5),
    ("Cinder calls per attach", None),
    ("Cinder calls per detach", None),
    ("attach p50: seconds", None),
    ("detach p50: seconds", None),
    ("boot from volume p50: seconds", None),
    ("boot from image to volume p50: seconds", None),
    (f"{MANY} volumes on one server: seconds", None),
    (f"{MANY} volumes on one server: there", None),
    ("idle, 0 servers: messages", None),
    ("idle, N servers: messages", None),
    ("idle, 0 servers: CPU seconds", None),
    ("idle, N servers: CPU seconds", None),
    ("POST to ACTIVE p50: seconds", 0.6),
    ("RPC arrival to end of boot p50: seconds", None),
    ("network-vif-plugged to end of boot p50: seconds", None),
    ("N at once: seconds", 0.6),
    ("DELETE to gone p50: seconds", 0.6),
    ("restart with N: seconds", None),
    *((f"{verb} p50: seconds", None) for verb in MOVES),
    *((f"{verb}, guest unreachable p50: seconds", None) for verb in ("migrate", "resize")),
    *((f"conductor calls per {verb}", 0.5) for verb in MOVES),
    *((f"AMQP messages per {verb}", None) for verb in MOVES),
    ("migrate, stopped, sparse disk: seconds", None),
    ("migrate, stopped, full disk: seconds", None),
    ("N migrations at once: seconds", None),
    ("N confirmations at once: seconds", None),
    (f"{LIVE} p50: seconds", None),
    (f"{LIVE}, guest clock stood still p50: ms", None),
    (f"{LIVE}, longest pause between pings p50: seconds", 1.0),
    (f"{LIVE}, lost pings (every {PING} s) p50", 1.0),
    (f"{LIVE}, lost pings of another guest (every {NEIGHBOUR} s) p50", 1.0),
    (f"{LIVE}, longest pause of a TCP connection p50: seconds", 1.0),
    (f"{LIVE}, broken TCP connections", None),  # tests/cloud wants none
    (f"conductor calls per {LIVE}", 0.5),
    (f"AMQP messages per {LIVE}", None),
    (f"{LIVE}, CPU seconds of both agents p50", 0.5),
    (f"{AT_ONCE}: seconds", None),
    (f"{AT_ONCE}, CPU seconds of both agents", 0.5),
    (f"{AT_ONCE}: conductor calls", 0.5),
    (f"{AT_ONCE}: AMQP messages", None),
    *(
        (f"live, {name} guest ({rate} MiB/s){what}", None)
        for name, rate in WRITERS.items()
        for what in (": seconds", ", clock stood still: ms",
                     ", longest pause between pings: seconds")
    ),
)  # fmt: skip


def table(results: Mapping[str, Result], plan: Plan) -> str:
    """Aligned text; with two agents also the second's share of the first's, and the target."""
    names = list(results)
    header = ["", *names]
    if len(names) == 2:
        header += ["ratio", "target"]
    lines = [header]
    for row, target in ROWS:
        values = [results[name].values.get(row) for name in names]
        if values == [None] * len(names):
            continue
        label = row.replace("N servers", f"{plan.servers} servers").replace(
            "with N", f"with {plan.servers} servers"
        )
        label = label.replace("N at once", f"{plan.servers} at once").replace(
            "after boots", f"after {plan.boots} boots"
        )
        for moved in ("migrations", "confirmations", "live migrations"):
            label = label.replace(f"N {moved}", f"{plan.moves_at_once} {moved}")
        line = [label, *("-" if value is None else f"{value:.2f}" for value in values)]
        if len(names) == 2:
            line += [_ratio(*values), "" if target is None else f"{target:.0%}"]
        lines.append(line)
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def verdict(results: Mapping[str, Result]) -> str:
    """Which targets are met, when there are two agents to compare."""
    met, missed = 0, []
    if len(results) != 2:
        return ""
    stock, lite = results.values()
    for row, target in ROWS:
        if target is None or row not in stock.values or row not in lite.values:
            continue
        if lite.values[row] <= target * stock.values[row]:
            met += 1
        else:
            share = _ratio(stock.values[row], lite.values[row])
            missed.append(f"  not met: {row}: {share} instead of {target:.0%}")
    return "\n".join([f"{met} of {met + len(missed)} targets met", *missed])


def _ratio(stock: float | None, lite: float | None) -> str:
    if stock is None or lite is None:
        return "-"
    return f"{lite / stock:.0%}" if stock else "-"
