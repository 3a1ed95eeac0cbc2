"""The figures that Prometheus reads. Each app has a registry of its own, so that two in one process stay apart."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fulldeck.inference.model_file import ModelInfo
from fulldeck.inference.recognizer import Prediction
from fulldeck.monitoring.prediction_log import Figures

SHED = ("queue-full", "queue-timeout", "out-of-memory", "request-timeout", "too-many-connections")
"""Why requests are turned away; each is there from the start, so that its first increase shows as one."""

_STAGES = ("read", "queue", "decode", "infer", "total")

# From well under one small image's inference to a full request on a busy machine.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class _LogFigures(Collector):
    """The prediction log's own figures, as they are at the moment of the question."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        figures = self._figures()
        up = "1 while the prediction log's database takes what is written."
        yield GaugeMetricFamily("fulldeck_log_database_up", up, figures.database_up)
        yield GaugeMetricFamily("fulldeck_log_queue_entries", "Entries that no file has yet.", figures.queue_entries)
        yield GaugeMetricFamily("fulldeck_log_spill_bytes", "Bytes that wait for the database.", figures.spill_bytes)
        yield CounterMetricFamily("fulldeck_log_written", "Entries written to the database.", figures.written)
        yield CounterMetricFamily("fulldeck_log_failures", "Attempts to write that failed.", figures.failures)
        lost = CounterMetricFamily("fulldeck_log_lost", "Entries lost, by reason.", labels=("reason",))
        for reason, count in figures.lost.items():
            lost.add_metric((reason,), count)
        yield lost


class _Workers(Collector):
    """What the other processes use: the service's own figures are those of the one that speaks HTTP.

    Workers go by their numbers, and what keeps the prediction log by the name ``log``.
    """

    def __init__(self, metrics: "Metrics") -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """All of them, each worker by its number."""
        seconds = CounterMetricFamily("fulldeck_worker_cpu_seconds", "Processor time of a worker.", labels=("worker",))
        memory = GaugeMetricFamily(
            "fulldeck_worker_resident_memory_bytes", "Memory of a worker process.", labels=("worker",)
        )
        files = GaugeMetricFamily("fulldeck_worker_open_fds", "Open files of a worker process.", labels=("worker",))
        pids = self._metrics.workers()
        processes = {str(number): pid for number, pid in enumerate(pids)}
        if (keeper := self._metrics.log_process()) is not None:
            processes["log"] = keeper
        for worker, pid in processes.items():
            found = _used(pid)
            for family, name in (
                (seconds, "process_cpu_seconds"),
                (memory, "process_resident_memory_bytes"),
                (files, "process_open_fds"),
            ):
                if name in found:
                    family.add_metric((worker,), found[name])
        yield GaugeMetricFamily("fulldeck_workers", "Worker processes that are ready.", len(pids))
        yield from (seconds, memory, files)


def _used(pid: int) -> dict[str, float]:
    """What a process uses, by the names of prometheus_client; nothing of one that has ended."""
    figures = ProcessCollector(pid=lambda: pid, registry=None).collect()
    return {figure.name: figure.samples[0].value for figure in figures}


_TOGETHER = 256
"""So many values a histogram takes at once."""


class _Values:
    """What a histogram is to observe: many values at once, or when somebody asks.

    One now and then takes several times as long, as its code is in no cache then; and a request has eight of them.
    """

    __slots__ = ("_histogram", "_waiting")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._waiting: list[float] = []

    def observe(self, value: float) -> None:
        """Take one."""
        self._waiting.append(value)
        if len(self._waiting) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Let the histogram have them."""
        values, self._waiting = self._waiting, []
        for value in values:
            self._histogram.observe(value)


class _Flush(Collector):
    """Shows nothing, and lets all that stands behind it show what has come until now."""

    def __init__(self) -> None:
        self._values: list[_Values] = []

    def of(self, histogram: Histogram) -> _Values:
        """What is to be observed by this one."""
        self._values.append(values := _Values(histogram))
        return values

    def collect(self) -> Iterator[Metric]:
        """Nothing."""
        for values in self._values:
            values.flush()
        return iter(())


class _Stage:
    """Times what runs inside; a class, as a generator takes thrice the time."""

    __slots__ = ("_start", "_values")

    def __init__(self, values: _Values) -> None:
        self._values = values

    def __enter__(self) -> None:
        self._start = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._values.observe(perf_counter() - self._start)


class Metrics:
    """One app's figures.

    Attributes:
        registry: what ``/metrics`` shows.
        workers: tells the ids of the processes that work.
        log_process: tells the id of the process that keeps the prediction log, if there is one.
        in_flight: so many requests with images are in work.
        queued, pending_bytes: are to be told where to look when somebody asks, as requests come oftener than that.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(flush := _Flush())  # the first, and so asked before the histograms are
        ProcessCollector(registry=self.registry)
        # Each counter's series are found by their labels once, as that takes longer than to count.
        self._requests = cache(
            Counter(
                "fulldeck_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
            ).labels
        )
        stages = Histogram(
            "fulldeck_stage_seconds",
            f"Time of a request's stages: {', '.join(_STAGES)}.",
            ("stage",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._stages = {stage: flush.of(stages.labels(stage)) for stage in _STAGES}
        self._predictions = cache(
            Counter(
                "fulldeck_predictions", "Predictions by label, accepted or not.", ("label",), registry=self.registry
            ).labels
        )
        self._rejected = Counter("fulldeck_rejected", "Predictions that were not accepted.", registry=self.registry)
        self._bad_files = Counter(
            "fulldeck_bad_files", "Files that could not be used.", ("code",), registry=self.registry
        )
        self._confidence = flush.of(
            Histogram(
                "fulldeck_confidence",
                "Probabilities of the predictions.",
                buckets=[tenth / 10 for tenth in range(1, 10)] + [0.95, 0.99, 1.0],
                registry=self.registry,
            )
        )
        self._image_bytes = flush.of(
            Histogram(
                "fulldeck_image_bytes",
                "Sizes of the files that were sent.",
                buckets=[2**power for power in range(10, 26)],  # 1 KiB to 32 MiB
                registry=self.registry,
            )
        )
        self._batches = flush.of(
            Histogram(
                "fulldeck_batch_images",
                "Images that were inferred at once.",
                buckets=range(1, 17),
                registry=self.registry,
            )
        )
        self._problems = cache(
            Counter(
                "fulldeck_problems", "Requests that got no answer, by code.", ("code",), registry=self.registry
            ).labels
        )
        self._shed = cache(
            Counter(
                "fulldeck_shed",
                "Requests turned away for want of room or time, by code.",
                ("code",),
                registry=self.registry,
            ).labels
        )
        for code in SHED:
            self._shed(code)
        self.restarts = Counter(
            "fulldeck_restarts", "How often the service was started again, as it was killed.", registry=self.registry
        )
        self.worker_restarts = Counter(
            "fulldeck_worker_restarts", "Worker processes that ended, and were started again.", registry=self.registry
        )
        self.workers: Callable[[], Sequence[int]] = tuple
        self.log_process: Callable[[], int | None] = lambda: None
        self.registry.register(_Workers(self))
        self.queued = Gauge("fulldeck_queued", "Requests that wait for a worker.", registry=self.registry)
        self.pending_bytes = Gauge("fulldeck_pending_bytes", "Bytes of bodies in memory.", registry=self.registry)
        self.in_flight = 0
        in_flight = Gauge("fulldeck_in_flight", "Requests with images in work.", registry=self.registry)
        in_flight.set_function(lambda: self.in_flight)
        about_ready = "1 when the model can answer, and the service is not about to end."
        self._ready = Gauge("fulldeck_ready", about_ready, registry=self.registry)
        self._draining = False
        self._loads = Counter(
            "fulldeck_model_loads", "Models loaded, or refused.", ("outcome",), registry=self.registry
        )
        self._model = Info("fulldeck_model", "The model that serves.", registry=self.registry)

    def follow(self, figures: Callable[[], Figures], process: Callable[[], int | None]) -> None:
        """Show how the prediction log does, too, and what the process uses that keeps it, if one does."""
        self.registry.register(_LogFigures(figures))
        self.log_process = process

    def answered(self, method: str, route: str, status: int) -> None:
        """Count one request by its route's pattern."""
        self._requests(method, route, status).inc()

    def stage(self, name: str) -> "_Stage":
        """Time what runs inside of ``with``."""
        return _Stage(self._stages[name])

    def timed(self, stage: str, seconds: float) -> None:
        """Note how long a stage took."""
        self._stages[stage].observe(seconds)

    def predicted(self, predictions: list[Prediction]) -> None:
        """Count predictions."""
        for prediction in predictions:
            self._predictions(prediction.label).inc()
            self._confidence.observe(prediction.probability)
            if not prediction.accepted:
                self._rejected.inc()

    def received(self, sizes: Iterable[int]) -> None:
        """Note how many bytes each file of a request has."""
        for size in sizes:
            self._image_bytes.observe(size)

    def inferred(self, images: int) -> None:
        """Note how many images were inferred at once."""
        self._batches.observe(images)

    def problem(self, code: str) -> None:
        """Count one request that got no answer."""
        self._problems(code).inc()

    def shed(self, code: str) -> None:
        """Count one request that was turned away for want of room or time."""
        self._shed(code).inc()

    def refused(self, code: str) -> None:
        """Count one file that could not be used."""
        self._bad_files.labels(code).inc()

    def reloaded(self, outcome: str) -> None:
        """Count one load of a model: "done" or "refused"."""
        self._loads.labels(outcome).inc()

    def draining(self) -> None:
        """Tell that nothing new is to come, and that no model which is still being loaded changes that."""
        self._draining = True
        self._ready.set(0)

    def serving(self, info: ModelInfo) -> None:
        """Tell which model serves, from now on."""
        self._model.info({"name": info.name, "version": info.version, "data_hash": info.data_hash})
        self._ready.set(not self._draining)
        for label in info.labels:  # so that a rate is there from the first prediction on
            self._predictions(label)
