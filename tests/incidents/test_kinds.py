"""What kind of series a name speaks of."""

import doctest

import pytest

from promlstm.incidents import kinds


def test_doctests():
    assert doctest.testmod(kinds).failed == 0


@pytest.mark.parametrize(
    ('kind', 'names'),
    {
        'saturation': 'node_cpu_busy_ratio container_memory_working_set_bytes disk_io_util pod_cpu_saturation_ratio jvm_threads_live queue_size node_load1',
        'headroom': 'node_filesystem_avail_bytes node_memory_MemFree_bytes mem_available cpu_idle',
        'errors': 'http_request_errors_total web_error_ratio node_network_receive_drop_total requests_failed grpc_5xx_rate login_failures timeouts',
        'success': 'availability probe_success up request_success_ratio kube_pod_status_ready',
        'restarts': 'kube_pod_container_status_restarts_total pod_restarts_per_hour container_oom_events_total node_reboots',
        'latency': 'http_request_duration_seconds web_latency_seconds p99 kafka_consumer_lag scrape_duration_seconds probe_http_seconds',
        'traffic': 'http_requests_total node_network_receive_bytes_per_second messages_in qps requests',
        'other': 'value x temperature_celsius',
    }.items(),
)
def test_names_of_exporters_say_their_kind(kind, names):
    assert {name: kinds.NAMES[kinds.of(name)] for name in names.split()} == dict.fromkeys(names.split(), kind)


@pytest.mark.parametrize(
    ('kind', 'expression'),
    [
        ('errors', 'sum by (service) (rate(http_requests_total{status=~"5.."}[5m])) / sum by (service) (rate(http_requests_total[5m]))'),
        ('latency', 'histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))'),
        ('traffic', 'sum by (pod) (rate(http_requests_total[5m]))'),
        ('saturation', '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))'),
        ('saturation', '100 - node_filesystem_avail_bytes / node_filesystem_size_bytes * 100'),
        ('errors', '1 - probe_success'),
        ('other', 'avg by (room) (temperature_celsius)'),
    ],
)
def test_expressions_say_their_kind(kind, expression):
    """The functions around a metric say nothing: a rate is no traffic by itself."""
    assert kinds.NAMES[kinds.of(expression)] == kind


def test_the_first_text_that_says_something_decides():
    assert kinds.of('value', 'errors', 'latency') == kinds.ERRORS
    assert kinds.of() == kinds.of('', 'x') == kinds.OTHER


def test_every_kind_has_a_direction_and_a_family():
    assert len(kinds.NAMES) == len(kinds.HARM) == len(kinds.FAMILY)
    assert kinds.HARM[kinds.HEADROOM] == kinds.HARM[kinds.SUCCESS] == -1
