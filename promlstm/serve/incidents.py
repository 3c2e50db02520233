"""The gauges of incidents as text. Pure.

Who calls it: live.incidents, beside the steps. What flows through: numbers and the label text of entities; out come blocks as exposition makes them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from promlstm.serve.exposition import Block


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is on the page of one open incident.

    start      unix seconds
    entities, detectors  how many are anomalous or missing now
    members    label text of each, as exposition.prefix gives it
    causes     (label text, probability), the likeliest first; of several with the same text the first counts
    """

    id: str
    start: float
    entities: int
    detectors: int
    members: Sequence[bytes]
    causes: Sequence[tuple[bytes, float]]


def render(incidents: Iterable[Gauges]) -> dict[str, Block]:
    """{family: Block}; a family without lines is left out.

    >>> blocks = render([Gauges('20250615-151000-b001', 1750000200.0, 1, 1, [b'{detector="cpu",job=""'], [(b'{detector="cpu",job=""', 0.25)])])
    >>> print(b''.join(blocks['promlstm_incident_cause_score']).decode(), end='')
    promlstm_incident_cause_score{detector="cpu",job="",incident="20250615-151000-b001"} 0.25
    >>> print(b''.join(blocks['promlstm_incident_entities']).decode(), end='')
    promlstm_incident_entities{incident="20250615-151000-b001"} 1
    """
    blocks: dict[str, list[bytes]] = {}
    for each in incidents:
        label = f'incident="{each.id}"}} '.encode()
        for family, value in (('start_timestamp_seconds', f'{each.start:.16g}'), ('entities', each.entities), ('detectors', each.detectors)):
            blocks.setdefault(f'promlstm_incident_{family}', []).append(f'promlstm_incident_{family}{{'.encode() + label + str(value).encode())
        lines = [b'promlstm_incident_member' + prefix + b',' + label + b'1' for prefix in each.members]
        blocks.setdefault('promlstm_incident_member', []).extend(lines)
        causes: dict[bytes, float] = {}
        for prefix, score in each.causes:
            causes.setdefault(prefix, score)
        lines = [b'promlstm_incident_cause_score' + prefix + b',' + label + f'{score:.4g}'.encode() for prefix, score in causes.items()]
        blocks.setdefault('promlstm_incident_cause_score', []).extend(lines)
    return {family: [b'\n'.join(lines) + b'\n'] for family, lines in blocks.items() if lines}
