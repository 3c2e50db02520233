"""The exporter's own metrics: one table, a registry of its own, aggregated by detector and never by series.

Who calls it: scheduler (counts and gauges of each step), server (collect). It never decides anything.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from time import perf_counter
from typing import Literal

import prometheus_client
from prometheus_client import Counter, Gauge
from prometheus_client.core import CollectorRegistry, Metric

from promlstm import __version__
from promlstm.engine.columns import STATUS_NAMES

STATES = (*STATUS_NAMES, 'dropped')

# name: (kind, help, labels). Counters get `_total` from the library.
METRICS: dict[str, tuple[Literal['gauge', 'counter'], str, tuple[str, ...]]] = {
    'promlstm_build_info': ('gauge', 'Always 1: the version of the exporter.', ('version',)),
    'promlstm_web_info': ('gauge', 'Always 1: the URL of --web.external-url, which annotations of alerts link to.', ('external_url',)),
    'promlstm_shard_info': ('gauge', 'Always 1: the number of this shard, from 0; a process without shards is shard 0.', ('shard',)),
    'promlstm_shards': ('gauge', 'Number of shards that the detectors are divided among; 1 = not divided.', ()),
    'promlstm_config_last_reload_successful': ('gauge', '1 = the last read of the configuration file succeeded, and its content is in use.', ()),
    'promlstm_config_last_reload_success_timestamp_seconds': ('gauge', 'When the configuration in use was read, unix seconds.', ()),
    'promlstm_web_config_last_reload_successful': ('gauge', '1 = the last read of the web configuration succeeded, and its content is in use.', ()),
    'promlstm_web_config_last_reload_success_timestamp_seconds': ('gauge', 'When the web configuration in use was read, unix seconds.', ()),
    'promlstm_alertmanager_last_read_successful': ('gauge', '1 = the last read of the silences of the Alertmanager succeeded.', ('alertmanager',)),
    'promlstm_dependency_edges': ('gauge', 'Edges in the last answer to a query of `root_cause.edges`.', ('edges',)),
    'promlstm_dependency_remembered_edges': ('gauge', 'Known edges of all queries; an edge is remembered for a day after it was last in an answer.', ()),
    'promlstm_dependency_last_success_timestamp_seconds': ('gauge', 'When a query for edges was last answered, unix seconds.', ('edges',)),
    'promlstm_dependency_failures': ('counter', 'Failed queries for edges; known edges are kept.', ('edges',)),
    'promlstm_model_info': ('gauge', 'Always 1: the model that a detector runs.', ('detector', 'model', 'family', 'sha256')),
    'promlstm_model_created_timestamp_seconds': ('gauge', 'When the model of a detector was made, unix seconds.', ('detector',)),
    'promlstm_model_reload_successful': ('gauge', '1 = the detector runs the present version of the model file.', ('detector',)),
    'promlstm_model_reload_failures': ('counter', 'Changed model files that could not be loaded, so that the old model stayed in use.', ('detector',)),
    'promlstm_checkpoint_last_success_timestamp_seconds': ('gauge', 'When memory was last written to the storage, unix seconds.', ('detector',)),
    'promlstm_checkpoint_duration_seconds': ('gauge', 'How long writing the last checkpoint took; steps do not wait for it.', ('detector',)),
    'promlstm_checkpoint_size_bytes': ('gauge', 'Size of the last checkpoint.', ('detector',)),
    'promlstm_checkpoint_failures': ('counter', 'Checkpoints that could not be written; the previous file is kept.', ('detector',)),
    'promlstm_detector_restored': ('gauge', '1 = at the start the detector continued from its checkpoint, 0 = it started from history.', ('detector',)),
    'promlstm_detector_up': ('gauge', '1 = the last step of the detector succeeded and its gauges are exported.', ('detector',)),
    'promlstm_detector_unscored': ('gauge', 'Always 1: why no entity of the detector has a score now; absent while one has.', ('detector', 'reason')),
    'promlstm_detector_entities': ('gauge', 'Entities by state: ready, warming, missing (no sample now), dropped (over max_entities).', ('detector', 'state')),
    'promlstm_detector_part_time_entities': ('gauge', 'Entities that are absent at some time of most days, and are present now or missing.', ('detector',)),
    'promlstm_detector_anomalous_entities': ('gauge', 'Entities with a score of 1 or more.', ('detector',)),
    'promlstm_detector_step_seconds': ('gauge', 'The step of the detector, so that rules can count in steps.', ('detector',)),
    'promlstm_detector_range_lower': ('gauge', 'The lower end of the valid `range` of the detector, if one is set.', ('detector',)),
    'promlstm_detector_range_upper': ('gauge', 'The upper end of the valid `range` of the detector, if one is set.', ('detector',)),
    'promlstm_detector_last_step_timestamp_seconds': ('gauge', 'The aligned time of the last successful step, unix seconds.', ('detector',)),
    'promlstm_detector_last_step_duration_seconds': ('gauge', 'How long the last step took, queries included.', ('detector',)),
    'promlstm_detector_budget_alarms_per_entity_week': ('gauge', 'The false-alarm budget behind the scores: alarms of one entity in a week.', ('detector',)),
    'promlstm_detector_page_bytes': ('gauge', 'Text of the detector on /metrics before compression, by part: scores, forecasts.', ('detector', 'part')),
    'promlstm_detector_unexported_entities': ('gauge', 'Entities that are watched but not exported: there are more than `max_exported`.', ('detector',)),
    'promlstm_detector_memory_bytes': ('gauge', 'Memory of all entities: states of the graph, seasonal memory, held alarms, times of presence.', ('detector',)),
    'promlstm_detector_alarms': ('counter', 'Anomalies that began; compare them with the false-alarm budget.', ('detector',)),
    'promlstm_detector_accepted_alarms': ('counter', 'Anomalies that were accepted as normal, because a silence called them a false alarm.', ('detector',)),
    'promlstm_detector_restored_alarms': ('counter', 'Accepted anomalies that were taken back, because the silence was expired early.', ('detector',)),
    'promlstm_detector_steps': ('counter', 'Computed steps, including replayed ones.', ('detector',)),
    'promlstm_detector_missed_steps': ('counter', 'Steps skipped because the detector was too slow or the source was unavailable for too long.', ('detector',)),
    'promlstm_detector_failures': ('counter', 'Failed steps, by stage: load, warm, or a stage from query to render.', ('detector', 'stage')),
    'promlstm_detector_stage_seconds': ('counter', 'Time spent in each stage of live steps.', ('detector', 'stage')),
    'promlstm_detector_empty_results': ('counter', 'Steps at which the expression returned no series.', ('detector',)),
    'promlstm_detector_nonfinite_samples': ('counter', 'Samples of NaN, +Inf or -Inf, which count as missing.', ('detector',)),
    'promlstm_detector_query_warnings': ('counter', 'Warnings in answers of the query API: data may be partial.', ('detector',)),
    'promlstm_detector_partial_answers': ('counter', 'Partial answers for steps or history; entities absent from them are not missing.', ('detector',)),
    'promlstm_detector_unread_series': ('counter', 'Ignored series: labels or samples that cannot be read, native histograms.', ('detector',)),
    'promlstm_detector_mistimed_answers': ('counter', 'Answers whose samples have another time than the query asked for.', ('detector',)),
    'promlstm_forecast_model_info': ('gauge', 'Always 1: the model that a detector forecasts with.', ('detector', 'model', 'sha256')),
    'promlstm_forecast_error_ratio': (
        'gauge', 'Recent error of the forecasts divided by that of repeating the day before.',
        ('detector', 'horizon'),
    ),
    'promlstm_forecast_coverage_ratio': (
        'gauge', 'Share of the samples that were between lower and upper of their forecast; 0.8 is promised.', ('detector', 'horizon'),
    ),
    'promlstm_forecast_last_success_timestamp_seconds': ('gauge', 'The aligned time of the step of the last forecast, unix seconds.', ('detector',)),
    'promlstm_forecast_duration_seconds': ('gauge', 'How long the last forecast took; steps do not wait for it.', ('detector',)),
    'promlstm_forecast_unlimited_entities': ('gauge', 'Entities with a forecast but without a limit in the answer to `limit_expr`.', ('detector',)),
    'promlstm_forecast_failures': ('counter', 'Failed forecasts; the gauges of forecasts are absent until the next one, scores continue.', ('detector',)),
    'promlstm_incident_failures': ('counter', 'Failures of incidents by stage: observe (a step), show, write; scores continue.', ('stage',)),
    'promlstm_detector_clock_backwards': ('counter', 'How often the clock went backwards, so that steps had to wait or the memory was reset.', ('detector',)),
}  # fmt: skip


class _Registry(CollectorRegistry):
    """Omits the `…_created` samples that the library adds to counters: in the classic format they are gauges that METRICS does not list."""

    def collect(self) -> Iterator[Metric]:
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith('_created')]
            yield family


class Telemetry:
    """The metrics of one running exporter."""

    def __init__(self, *, process: bool = True) -> None:
        self.registry = _Registry()
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        for name, (kind, text, labels) in METRICS.items():
            if kind == 'gauge':
                self._gauges[name] = Gauge(name, text, labels, registry=self.registry)
            else:
                self._counters[name] = Counter(name, text, labels, registry=self.registry)
        self.set('promlstm_build_info', 1, __version__)
        if process:
            prometheus_client.ProcessCollector(registry=self.registry)
            prometheus_client.PlatformCollector(registry=self.registry)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        gauge = self._gauges[name]
        (gauge.labels(*labels) if labels else gauge).set(value)

    def count(self, name: str, labels: Sequence[str], amount: float = 1) -> None:
        """Add to a counter. Adding 0 makes it appear on the page, so that the first failure is visible as an increase."""
        self._counters[name].labels(*labels).inc(amount)

    def drop(self, name: str, *labels: str) -> None:
        """Take all series of a metric whose first labels have these values off the page."""
        (self._gauges.get(name) or self._counters[name]).remove_by_labels(dict(zip(METRICS[name][2], labels, strict=False)))

    def forget(self, detector: str, prefix: str = '', kinds: Collection[str] = ('gauge', 'counter')) -> None:
        """Take all series of a detector off the page, or those of metrics of these kinds whose names begin so."""
        for name, (kind, _, labels) in METRICS.items():
            if 'detector' in labels and name.startswith(prefix) and kind in kinds:
                metric = self._gauges[name] if kind == 'gauge' else self._counters[name]
                metric.remove_by_labels({'detector': detector})

    def stage(self, detector: str, name: str) -> AbstractContextManager[None]:
        """Measure the time of a stage."""
        return timed(self.count, detector, name)


@contextmanager
def timed(count: Callable[[str, Sequence[str], float], None], detector: str, name: str) -> Iterator[None]:
    """Add the time of a stage to what was counted; count(name of a counter, its labels, seconds)."""
    start = perf_counter()
    try:
        yield
    finally:
        count('promlstm_detector_stage_seconds', (detector, name), perf_counter() - start)
