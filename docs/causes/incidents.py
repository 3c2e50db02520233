"""The incidents in the gauges of a scenario, as promlstm forms them where there is no graph: alarms that share a thing and began close together."""

import re

import numpy as np

from causes.scores import MINUTES, Gauges
from convert.evaluation import alerts

LINKS = ('service', 'pod', 'node', 'instance', 'host', 'workload', 'deployment', 'container')  # root_cause.labels, by default
STEP_SECONDS = 60.0


def of_gauges(gauges: Gauges) -> Gauges:
    """The gauges of the incidents; who is to blame is not in them."""
    entities = [series.removeprefix('promlstm_anomaly_score') for series in gauges if series.startswith('promlstm_anomaly_score{')]
    found = alerts.Alarms(len(entities))
    for minute in range(MINUTES):
        column = lambda family: np.array([gauges.get(f'promlstm_{family}{of}', {}).get(minute, np.nan) for of in entities])  # noqa: B023, E731
        found.add(STEP_SECONDS * minute, column('anomaly_score'), column('anomaly_start_timestamp_seconds'))
    made: Gauges = {}
    for rows in _together([_things(of) for of in entities]):
        mine = [alarm for alarm in found.found if alarm.row in rows]
        for members in alerts.incidents(mine, STEP_SECONDS):
            start = mine[members[0]].onset
            name = f'incident="{start:.0f}-{min(rows)}"'
            for member in members:
                for minute in (round(time / STEP_SECONDS) for time in mine[member].times):
                    made.setdefault(f'promlstm_incident_member{{{name},{entities[mine[member].row][1:]}', {})[minute] = 1
                    made.setdefault(f'promlstm_incident_start_timestamp_seconds{{{name}}}', {})[minute] = start
                    size = made.setdefault(f'promlstm_incident_entities{{{name}}}', {})
                    size[minute] = size.get(minute, 0) + 1
    return made


def _things(entity: str) -> set[str]:
    """What an entity shares with others: the values of its linking labels, and if it has none all of its labels but the detector."""
    labels = sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', entity))
    linked = {f'{name}={value}' for name, value in labels if name in LINKS}
    return linked or {str([label for label in labels if label[0] != 'detector'])}


def _together(things: list[set[str]]) -> list[set[int]]:
    """Sets of rows that hang together by things."""
    groups: list[tuple[set[str], set[int]]] = []
    for row, of in enumerate(things):
        joined = [group for group in groups if group[0] & of]
        groups = [group for group in groups if not group[0] & of]
        groups.append((of.union(*(group[0] for group in joined)), {row}.union(*(group[1] for group in joined))))
    return [rows for _, rows in groups]
