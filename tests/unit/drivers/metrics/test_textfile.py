"""Metrics for the textfile collector of node_exporter."""

from __future__ import annotations

import stat
import threading
from types import SimpleNamespace

import pytest

from nova_lite.drivers.metrics import textfile
from nova_lite.drivers.metrics.textfile import TextfileMetrics
from nova_lite.errors import InvalidConfiguration


def driver(name):
    return TextfileMetrics(SimpleNamespace(nova_lite=SimpleNamespace(metrics_file=name)))


@pytest.mark.parametrize("name", [None, "", "/var/lib/metrics/nova_lite.txt"])
def test_a_file_that_the_collector_ignores_is_refused(name):
    """The error names the option and says what is wanted."""
    with pytest.raises(InvalidConfiguration, match=r"metrics_file .*\.prom"):
        driver(name)


def test_the_file_is_whole_and_the_collector_may_read_it(tmp_path):
    """It is renamed into place, readable by others, with a type for each metric."""
    metrics = driver(str(tmp_path / "n.prom"))
    metrics.count("operations_total", {"method": "stop_instance"}, 2)
    metrics.close()

    assert [path.name for path in tmp_path.iterdir()] == ["n.prom"]
    assert (tmp_path / "n.prom").read_text() == (
        "# TYPE nova_lite_operations_total counter\n"
        'nova_lite_operations_total{method="stop_instance"} 2\n'
    )
    assert stat.S_IMODE((tmp_path / "n.prom").stat().st_mode) == 0o644


def test_it_is_written_by_itself_and_not_at_every_count(tmp_path, monkeypatch):
    """A burst of operations is one write; without news there is none."""
    monkeypatch.setattr(textfile, "SETTLE", 0.05)
    written, render = [], textfile.render
    done = threading.Event()

    def rendered(values):
        written.append(dict(values))
        done.set()
        return render(values)

    monkeypatch.setattr(textfile, "render", rendered)
    metrics = driver(str(tmp_path / "n.prom"))
    for _ in range(100):
        metrics.count("operations_total", {"method": "stop_instance"})

    assert done.wait(10)
    metrics.close()
    assert [sum(values.values()) for values in written] == [100]


def test_a_full_disk_hurts_nobody(tmp_path, caplog):
    """It is said in the log, and the agent works on."""
    metrics = driver(str(tmp_path / "missing" / "n.prom"))
    metrics.count("operations_total", {})
    metrics.close()

    assert "metrics_file" in caplog.text and "No such file" in caplog.text
