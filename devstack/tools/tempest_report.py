"""Tempest's results beside those of stock nova-compute.

    tempest_report.py [--record FILE] RESULTS STOCK EXPECTED

RESULTS is a subunit stream. STOCK has lines ``TEST ok|skip|fail``, which ``--record`` writes.
EXPECTED has lines ``REGEX  REASON``: tests that do not yet do what they do on stock, and why; the
regular expression, without blanks, is sought in the name of the test and in what it said.
The exit code is 1 when a test differs from stock for no such reason, 2 without results.
"""

import argparse
import re
import sys
from pathlib import Path

OUTCOMES = {"success": "ok", "skip": "skip", "fail": "fail"}
HEADER = "# What stock nova-compute did with these tests on this cloud: TEST ok|skip|fail."
NAMES = {"ok": "passed", "fail": "failed", "skip": "skipped"}
ID = re.compile(r"\[[^]]*\]")  # tags and the idempotent id, which is noise here


def results(stream):
    """{test: (outcome, reason)} of a subunit stream."""
    import subunit
    from testtools import StreamResult

    outcomes, reasons = {}, {}

    class Collector(StreamResult):
        def status(self, test_id=None, test_status=None, file_name=None, file_bytes=None, **_):
            if not test_id:
                return
            test = ID.sub("", test_id)
            if file_bytes and (file_name or "").startswith(("traceback", "reason")):
                text = bytes(file_bytes).decode(errors="replace")
                reasons[test] = reasons.get(test, "") + text
            if test_status in OUTCOMES:
                outcomes[test] = OUTCOMES[test_status]

    subunit.ByteStreamToStreamResult(stream, non_subunit_name="stdout").run(Collector())
    return {test: (outcome, reason(reasons.get(test, ""))) for test, outcome in outcomes.items()}


def reason(text):
    """What a skip or a traceback says in the end, after its last frame, in one line."""
    told = text.splitlines()
    frames = [number for number, line in enumerate(told) if line.startswith(" ")]
    return " ".join(told[frames[-1] + 1 if frames else 0 :]).strip()[:300]


def read_outcomes(path):
    lines = (line.split() for line in path.read_text().splitlines() if not line.startswith("#"))
    return {test: outcome for *words, outcome in lines for test in [" ".join(words)]}


def write_outcomes(path, found):
    old = read_outcomes(path) if path.exists() else {}
    merged = old | {test: outcome for test, (outcome, _) in found.items()}
    lines = [HEADER, *(f"{test} {outcome}" for test, outcome in sorted(merged.items()))]
    path.write_text("\n".join(lines) + "\n")


def read_expected(path):
    lines = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip())
    return [(re.compile(line[0]), line[1]) for line in lines if line[0] != "#"]


def compare(found, stock, expected):
    """Differences from stock: (unexplained, explained), each a list of lines; failures first.

    A test that stock skips or fails and that passes here is no difference; nor is one that is
    skipped here and not in the list.
    """
    unexplained, explained = [], []
    for test, (outcome, why) in sorted(found.items(), key=lambda item: (item[1][0], item[0])):
        there = stock.get(test, "unknown")
        if outcome in ("ok", there) or (outcome, there) == ("skip", "unknown"):
            continue
        line = f"{outcome:4} (stock: {there}) {test}\n       {why}"
        known = next(
            (text for pattern, text in expected if pattern.search(test) or pattern.search(why)),
            None,
        )
        if known:
            explained.append(f"{outcome:4} {test}: {known}")
        else:
            unexplained.append(line)
    return unexplained, explained


def main(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", type=Path, help="add these results to this list instead")
    parser.add_argument("results", type=Path)
    parser.add_argument("stock", type=Path)
    parser.add_argument("expected", type=Path)
    options = parser.parse_args(arguments)
    with options.results.open("rb") as stream:
        found = results(stream)
    if not found:
        print("Tempest has run no test: see run.log")
        return 2
    unexplained, explained = compare(
        found, read_outcomes(options.stock), read_expected(options.expected)
    )
    outcomes = [outcome for outcome, _ in found.values()]
    for title, lines in (("Unlike stock", unexplained), ("Unlike stock, as expected", explained)):
        if lines:
            print(f"{title}:", *lines, sep="\n  ")
    print(", ".join(f"{outcomes.count(name)} {text}" for name, text in NAMES.items()))
    if options.record:
        write_outcomes(options.record, found)
        return 0
    return int(bool(unexplained))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
