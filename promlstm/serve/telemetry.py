"""The exporter's own metrics: one table, a registry of its own, aggregated by detector and never by series.

Who calls it: scheduler (counts and gauges of each step), server (collect). It never decides anything.
"""

from contextlib import contextmanager
from time import perf_counter

import prometheus_client
from prometheus_client.core import CollectorRegistry

from promlstm import __version__
from promlstm.engine.columns import STATUS_NAMES

STATES = (*STATUS_NAMES, 'dropped')

# name: (kind, help, labels). Counters get `_total` from the library.
METRICS = {
    'promlstm_build_info': ('gauge', 'Always 1: the version of the exporter.', ('version',)),
    'promlstm_config_last_reload_successful': ('gauge', '1 = the configuration file in force is the one that was read last.', ()),
    'promlstm_config_last_reload_success_timestamp_seconds': ('gauge', 'When a configuration was taken into force last, unix seconds.', ()),
    'promlstm_model_info': ('gauge', 'Always 1: the model that a detector runs.', ('detector', 'model', 'family', 'sha256')),
    'promlstm_model_created_timestamp_seconds': ('gauge', 'When the model of a detector was made, unix seconds.', ('detector',)),
    'promlstm_model_reload_successful': ('gauge', '1 = the model file as it lies now is the one that the detector runs.', ('detector',)),
    'promlstm_model_reload_failures': ('counter', 'Changed model files that were found wrong, so that the old model went on.', ('detector',)),
    'promlstm_detector_up': ('gauge', '1 = the last step of the detector was computed and its gauges are on the page.', ('detector',)),
    'promlstm_detector_entities': ('gauge', 'Entities by state: ready, warming, missing (no sample now), dropped (over max_entities).', ('detector', 'state')),
    'promlstm_detector_anomalous_entities': ('gauge', 'Entities with a score of 1 or more.', ('detector',)),
    'promlstm_detector_step_seconds': ('gauge', 'The step of the detector, so that rules can count in steps.', ('detector',)),
    'promlstm_detector_last_step_timestamp_seconds': ('gauge', 'The aligned time of the last step that was computed, unix seconds.', ('detector',)),
    'promlstm_detector_last_step_duration_seconds': ('gauge', 'How long the last step took, queries included.', ('detector',)),
    'promlstm_detector_budget_alarms_per_entity_week': ('gauge', 'False alarms that one entity may raise in a week, as scores assume it.', ('detector',)),
    'promlstm_detector_memory_bytes': ('gauge', 'Memory of all entities: states of the graph, seasonal slots, alarms held.', ('detector',)),
    'promlstm_detector_alarms': ('counter', 'Anomalies that began: what the false-alarm budget is to be compared with.', ('detector',)),
    'promlstm_detector_steps': ('counter', 'Steps computed, replayed ones included.', ('detector',)),
    'promlstm_detector_missed_steps': ('counter', 'Steps given up because the detector was too slow or the source was gone for too long.', ('detector',)),
    'promlstm_detector_failures': ('counter', 'Steps that failed, by stage: load, warm, query and on to render.', ('detector', 'stage')),
    'promlstm_detector_stage_seconds': ('counter', 'Time spent in each stage of live steps.', ('detector', 'stage')),
    'promlstm_detector_empty_results': ('counter', 'Steps at which the expression returned no series at all.', ('detector',)),
    'promlstm_detector_nonfinite_samples': ('counter', 'Samples of +Inf or -Inf, which are taken as missing.', ('detector',)),
    'promlstm_detector_query_warnings': ('counter', 'Warnings in answers of the query API: data may be partial.', ('detector',)),
    'promlstm_detector_clock_backwards': ('counter', 'Times that the clock moved back, so that steps had to wait or memory was made anew.', ('detector',)),
}  # fmt: skip


class _Registry(CollectorRegistry):
    """Without the `…_created` that the library adds to counters: the classic format has them as gauges that stand in no table."""

    def collect(self):
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith('_created')]
            yield family


class Telemetry:
    """The metrics of one running exporter."""

    def __init__(self, *, process=True):
        self.registry = _Registry()
        kinds = {'gauge': prometheus_client.Gauge, 'counter': prometheus_client.Counter}
        self._metrics = {name: kinds[kind](name, text, labels, registry=self.registry) for name, (kind, text, labels) in METRICS.items()}
        self._metrics['promlstm_build_info'].labels(__version__).set(1)
        if process:
            prometheus_client.ProcessCollector(registry=self.registry)
            prometheus_client.PlatformCollector(registry=self.registry)

    def set(self, name, value, *labels):
        """Set a gauge."""
        self._metrics[name].labels(*labels).set(value) if labels else self._metrics[name].set(value)

    def count(self, name, labels, amount=1):
        """Add to a counter; 0 makes it appear, so that a first failure is an increase."""
        self._metrics[name].labels(*labels).inc(amount)

    def drop(self, name, *labels):
        """Take the gauges that begin with these labels off the page, where they would tell of what is no more."""
        self._metrics[name].remove_by_labels(dict(zip(METRICS[name][2], labels, strict=False)))

    @contextmanager
    def stage(self, detector, name):
        """Time a stage."""
        start = perf_counter()
        try:
            yield
        finally:
            self.count('promlstm_detector_stage_seconds', (detector, name), perf_counter() - start)
