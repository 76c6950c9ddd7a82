"""The machine while a stage runs: processor, memory, disk, network and GPU, from MLflow's monitors."""

from collections.abc import Iterable

import psutil
from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor


class Sampler:
    """MLflow's monitors, without the thread and the requests of its `SystemMetricsMonitor`."""

    def __init__(self) -> None:
        self._monitors: list[BaseMetricsMonitor] = [
            CPUMonitor(),
            DiskMonitor(),
            NetworkMonitor(),
            *_graphics(),
        ]
        psutil.cpu_percent()  # measured from the previous call

    def sample(self) -> dict[str, float]:
        """Return the figures since the last sample, by the names that MLflow's UI knows."""
        values: dict[str, float] = {}
        for monitor in self._monitors:
            monitor.collect_metrics()
            values |= {f"system/{key}": float(value) for key, value in monitor.aggregate_metrics().items()}
            monitor.clear_metrics()
        return values


def _graphics() -> Iterable[BaseMetricsMonitor]:
    for kind in (GPUMonitor, ROCMMonitor):
        try:
            return [kind()]
        except Exception:  # noqa: BLE001, S112  without library or device, MLflow's monitors raise various errors
            continue
    return []
