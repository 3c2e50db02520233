"""What each detector of a preset sees on a calm day, and what each cause does to it. Series are those that the expressions return.

A cause strikes one host, or what the services depend on. Where a preset is not named under a cause, its detectors see nothing of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BUSY, FULL, LOST, SLOW = 'busy CPU', 'full disk', 'lost host', 'slow dependency'
CAUSES = (BUSY, FULL, LOST, SLOW)
HOSTS = {'capacity': 6, 'node': 6, 'node-health': 6, 'network': 6, 'mysql': 2, 'postgres': 2, 'redis': 3, 'prometheus': 1, 'rabbitmq': 3, 'kafka': 1}
STRUCK = 0  # the host that a cause strikes


@dataclass(frozen=True, slots=True)
class Calm:
    """A feature of a detector on a calm day.

    kind    whose number it is: `host`, `job`, or the labels of the entities beside that
    level   in the unit of the expression
    spread  standard deviation of its noise; 0 = constant
    """

    level: float
    spread: float = 0.0
    kind: str = 'host'


@dataclass(frozen=True, slots=True)
class Effect:
    """What a cause does to a feature of the entity that it strikes: it goes to a level, within some minutes, and stays there for some.

    minutes  until the new level is reached
    lasts    minutes after which it is as before; the default outlasts what is looked at
    """

    level: float
    minutes: float = 1.0
    lasts: float = 1e9


# detector, or `detector/feature`: Calm. Absent: the expression returns nothing, as on virtual machines without sensors.
CALM = {
    'node_cpu': Calm(0.2, 0.02),
    'node_memory': Calm(0.4, 0.005),
    'node_disk_free': Calm(5e10, 1e8, 'mountpoint=/,/var'),
    'node_disk_busy': Calm(0.05, 0.01, 'device=sda'),
    'node_disk_latency': Calm(0.002, 0.0002, 'device=sda'),
    'node_load': Calm(0.3, 0.03),
    'node_blocked': Calm(0),
    'capacity_disk': Calm(5e10, 1e8, 'mountpoint=/,/var'),
    'capacity_inodes': Calm(2e6, 100, 'mountpoint=/,/var'),
    'capacity_memory': Calm(1e10, 1e8),
    'capacity_certificate': Calm(4e6),
    'capacity_postgres_connections': Calm(40, 1),
    'capacity_mysql_connections': Calm(40, 1),
    'capacity_quota': Calm(0.4, 0.005, 'namespace'),
    'network_link_receive': Calm(2e7, 1e6, 'device=eth0'),
    'network_link_transmit': Calm(2e7, 1e6, 'device=eth0'),
    'network_interface_in': Calm(2e7, 1e6, 'ifName=1'),
    'network_interface_out': Calm(2e7, 1e6, 'ifName=1'),
    'node_link_changes': Calm(0, 0, 'device=eth0'),
    'node_clock_offset': Calm(1e-4, 2e-5),
    'node_clock_frequency': Calm(8, 0.02),
    'node/cpu': Calm(0.2, 0.02),
    'node/memory': Calm(0.4, 0.005),
    'node/disk_busy': Calm(0.05, 0.01),
    'network_receive': Calm(2e7, 1e6),
    'network_egress': Calm(2e7, 1e6),
    'network_drops': Calm(0),
    'network_retransmits': Calm(0.001, 0.0002),
    'network_connections': Calm(200, 5),
    'network_opens': Calm(50, 3),
    'network_syn_flood': Calm(0),
    'network_refusals': Calm(1, 0.2),
    'network_datagrams': Calm(20, 2),
    'http_requests': Calm(100, 4, 'job'),
    'http_errors': Calm(0.001, 0.0003, 'job'),
    'http_seconds': Calm(0.05, 0.002, 'job'),
    'http_seconds_p99': Calm(0.2, 0.01, 'job'),
    'kafka_messages': Calm(500, 20, 'topic=orders,payments'),
    'kafka_lag': Calm(60, 10, 'consumergroup=billing'),
    'kafka_brokers': Calm(3),
    'kafka_under_replicated': Calm(0, 0, 'job'),
    'container_cpu': Calm(0.5, 0.03, 'container=web,worker'),
    'container_memory': Calm(4e8, 4e6, 'container=web,worker'),
    'container_network': Calm(1e6, 4e4, 'namespace'),
    'container_restarts': Calm(0, 0, 'container=web,worker'),
    'pods_pending': Calm(0, 0, 'namespace'),
    'deployment_unavailable': Calm(0, 0, 'deployment=web'),
    'apiserver_requests': Calm(50, 2, 'job'),
    'apiserver_errors': Calm(0, 0, 'job'),
    'apiserver_seconds': Calm(0.02, 0.002, 'job'),
    'mysql_queries': Calm(300, 10),
    'mysql_slow_queries': Calm(0),
    'mysql_running': Calm(3, 0.5),
    'mysql_connections': Calm(40, 1),
    'mysql_refused': Calm(0),
    'mysql_lock_waits': Calm(0.1, 0.02),
    'mysql_disk_tables': Calm(1, 0.1),
    'postgres_transactions': Calm(200, 8, 'datname=shop'),
    'postgres_rollbacks': Calm(0.1, 0.02, 'datname=shop'),
    'postgres_connections': Calm(40, 1),
    'postgres_longest_transaction': Calm(1, 0.2),
    'postgres_locks': Calm(20, 2, 'datname=shop'),
    'postgres_deadlocks': Calm(0),
    'postgres_cache_misses': Calm(10, 2, 'datname=shop'),
    'postgres_size': Calm(1e10, 0, 'datname=shop'),
    'prometheus_samples': Calm(5000, 20),
    'prometheus_series': Calm(1e5, 100),
    'prometheus_memory': Calm(1e9, 1e7),
    'prometheus_query_seconds': Calm(0.02, 0.002),
    'prometheus_rule_seconds': Calm(0.1, 0.01),
    'scrape_seconds': Calm(0.05, 0.004, 'job'),
    'scrape_samples': Calm(6000, 5, 'job'),
    'targets_up': Calm(6, 0, 'job'),
    'rabbitmq_received': Calm(100, 4, 'job'),
    'rabbitmq_delivered': Calm(100, 4, 'job'),
    'rabbitmq_unroutable': Calm(0, 0, 'job'),
    'rabbitmq_ready': Calm(50, 8, 'job'),
    'rabbitmq_connections': Calm(300, 3, 'job'),
    'rabbitmq_consumers': Calm(60, 0, 'job'),
    'rabbitmq_memory': Calm(0.3, 0.01),
    'rabbitmq_disk_free': Calm(5e10, 1e8),
    'redis_commands': Calm(1000, 30),
    'redis_command_seconds': Calm(2e-5, 1e-6),
    'redis_memory': Calm(1e9, 1e6),
    'redis_misses': Calm(0.1, 0.005),
    'redis_evictions': Calm(0),
    'redis_clients': Calm(100, 2),
    'redis_refused': Calm(0),
}

# cause: {preset: {detector or detector/feature: Effect}}. A lost host also takes away all entities that have it as their instance.
EFFECTS: dict[str, dict[str, dict[str, Effect]]] = {
    BUSY: {
        'node': {'node_cpu': Effect(0.97, 2), 'node/cpu': Effect(0.97, 2), 'node_load': Effect(1.5, 10)},
        'http': {'http_seconds': Effect(0.08), 'http_seconds_p99': Effect(0.9)},
        'kubernetes': {'container_cpu': Effect(3, 2)},
        'mysql': {'mysql_running': Effect(40, 3), 'mysql_slow_queries': Effect(1, 3)},
        'postgres': {'postgres_connections': Effect(80, 5)},
        'prometheus': {'prometheus_query_seconds': Effect(0.6, 2), 'prometheus_rule_seconds': Effect(3, 2)},
        'rabbitmq': {'rabbitmq_delivered': Effect(40, 3), 'rabbitmq_ready': Effect(60_000, 20)},
        'redis': {'redis_command_seconds': Effect(5e-4, 2), 'redis_commands': Effect(400, 2)},
    },
    FULL: {
        'capacity': {'capacity_disk': Effect(1e8, 20)},
        'node': {'node_disk_free': Effect(1e8, 20)},
        'http': {'http_errors': Effect(0.15, 3)},
        'kafka': {'kafka_brokers': Effect(2), 'kafka_under_replicated': Effect(40)},
        'kubernetes': {'pods_pending': Effect(6, 3), 'deployment_unavailable': Effect(3, 3)},
        'mysql': {'mysql_running': Effect(60, 5), 'mysql_queries': Effect(60, 5), 'mysql_connections': Effect(120, 10)},
        'postgres': {'postgres_transactions': Effect(40, 3), 'postgres_rollbacks': Effect(20, 3)},
        'prometheus': {'prometheus_samples': Effect(0, 3)},
        'rabbitmq': {'rabbitmq_disk_free': Effect(5e7, 20), 'rabbitmq_received': Effect(0, 20), 'rabbitmq_delivered': Effect(0, 20)},
    },
    LOST: {
        'kafka': {'kafka_brokers': Effect(2), 'kafka_under_replicated': Effect(40)},
        'kubernetes': {'pods_pending': Effect(8, 1, 12), 'deployment_unavailable': Effect(4, 1, 12)},
        'prometheus': {'targets_up': Effect(5), 'scrape_seconds': Effect(10)},
        'rabbitmq': {'rabbitmq_connections': Effect(200), 'rabbitmq_consumers': Effect(40)},
    },
    SLOW: {
        'network': {'network_connections': Effect(700, 5)},
        'http': {
            'http_seconds': Effect(1.2, 3), 'http_seconds_p99': Effect(5, 3), 'http_errors': Effect(0.15, 5), 'http_requests': Effect(55, 5),
        },
        'kafka': {'kafka_lag': Effect(50_000, 30)},
        'kubernetes': {'container_restarts': Effect(3, 10), 'deployment_unavailable': Effect(3, 10)},
        'mysql': {'mysql_running': Effect(60, 3), 'mysql_slow_queries': Effect(3, 3), 'mysql_lock_waits': Effect(10, 5), 'mysql_connections': Effect(120, 10)},
        'postgres': {
            'postgres_longest_transaction': Effect(1800, 30), 'postgres_connections': Effect(120, 10), 'postgres_locks': Effect(200, 10),
        },
        'prometheus': {'scrape_seconds': Effect(6)},
        'rabbitmq': {'rabbitmq_delivered': Effect(20, 3), 'rabbitmq_ready': Effect(100_000, 20)},
        'redis': {'redis_clients': Effect(400, 5)},
    },
}  # fmt: skip


def entities(preset: str, kind: str) -> list[dict[str, str]]:
    """The label sets that an expression returns; the one that a cause strikes is the last of the struck host, or of all."""
    name, _, values = kind.partition('=')
    if name in ('container', 'deployment', 'namespace'):
        return [{'namespace': 'shop', name: value} for value in values.split(',')] if values else [{'namespace': 'shop'}]
    if kind == 'job':
        return [{'job': preset, 'namespace': 'shop'} if preset == 'http' else {'job': preset}]
    hosts = [{'job': preset, 'instance': f'{preset}-{k}:9100'} for k in range(HOSTS[preset])]
    return [{**host, name: value} for host in hosts for value in values.split(',')] if values else hosts


def struck(preset: str, kind: str) -> dict[str, str]:
    """The entity that a cause strikes."""
    of = entities(preset, kind)
    return [labels for labels in of if labels.get('instance', of[-1].get('instance')) == of[STRUCK].get('instance')][-1]


def value(calm: Calm, seed: int, *, effect: Effect | None = None, since: float = np.inf, lost: bool = False) -> Callable[[float], float]:
    """A feature of one entity as a function of unix seconds; NaN = gone."""

    def at(time: float) -> float:
        minutes = (time - since) / 60
        if lost and minutes >= 0:
            return float('nan')
        level = calm.level
        if effect and 0 <= minutes < effect.lasts:
            level += (effect.level - calm.level) * min(1.0, (minutes + 1) / max(effect.minutes, 1))
        noise = calm.spread * np.random.default_rng([seed, round(time)]).normal() if calm.spread else 0.0
        return max(0.0, level + noise * (level / calm.level if calm.level else 1.0))

    return at
