"""/metrics read all the time, as a fast Prometheus would, and what a reader knows from it: which scores stood there, of when, and what is odd."""

import http.client
import re
import threading
import time
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from torture import source

EVERY_SECONDS = 0.25
PARSED = 20  # of so many pages one is read by the strict parser
LATE_SECONDS = 3.0  # that a sample on a busy machine may be older than by the rules
FAMILIES = ('promlstm_expected', 'promlstm_expected_lower', 'promlstm_expected_upper')
_LINE = re.compile(r'^(\w+)\{detector="([^"]*)",?(.*?)\} (\S+)$', re.MULTILINE)


def get(address, path='/metrics', timeout=5.0):
    """(status, text) of a page; (0, reason) where there is none."""
    connection = http.client.HTTPConnection(*address.split(':'), timeout=timeout)
    try:
        connection.request('GET', path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, repr(error)
    finally:
        connection.close()


def samples(text):
    """{family: {detector: {other labels: number}}} of a page.

    >>> samples('promlstm_observed{detector="a",instance="i"} 5.25\\npromlstm_detector_up{detector="a"} 1.0\\n')
    {'promlstm_observed': {'a': {'instance="i"': 5.25}}, 'promlstm_detector_up': {'a': {'': 1.0}}}
    """
    found = {}
    for family, detector, labels, number in _LINE.findall(text):
        found.setdefault(family, {}).setdefault(detector, {})[labels] = float(number)
    return found


@dataclass
class Page:
    """One page. at: when it was asked for; seen: {detector: age of its samples in seconds}; up: {detector: 0 or 1}; scores: see Reader."""

    at: float
    seen: dict = field(default_factory=dict)
    up: dict = field(default_factory=dict)
    there: bool = True


class Reader(threading.Thread):
    """Reads the pages of an exporter until it is stopped.

    steps   {detector: seconds}
    began   unix seconds of its start
    pages   all pages
    odd     [(when, what is wrong with a page)]
    scores  {(detector, labels, unix second of the sample): score}
    """

    def __init__(self, address, steps, delay_seconds):
        super().__init__(daemon=True, name='reader')
        self.address, self.steps, self.delay_seconds = address, steps, delay_seconds
        self.pages, self.odd, self.scores, self.began = [], [], {}, time.time()
        self.relaxed = threading.Event()  # set while the exporter is told a wrong time, or is away
        self._stopped = threading.Event()

    def run(self):
        number = 0
        while not self._stopped.wait(EVERY_SECONDS):
            at = time.time()
            status, text = get(self.address)
            number += 1
            if status != 200:
                self.pages.append(Page(at, there=False))
                self._note(at, f'no page: {status} {text[:80]}')
                continue
            if number % PARSED == 1:
                try:
                    list(text_string_to_metric_families(text))
                except ValueError as error:
                    self._note(at, f'a page that does not parse: {error}')
            self.pages.append(self._look(at, samples(text)))

    def stop(self):
        self._stopped.set()
        self.join(10)

    def since(self, at):
        """The pages that were asked for at an instant or later."""
        return [page for page in self.pages[-2000:] if page.at >= at]

    def _note(self, at, what):
        if not self.relaxed.is_set():
            self.odd.append((at, what))

    def _look(self, at, found):
        page = Page(at, up={name: next(iter(rows.values())) for name, rows in found.get('promlstm_detector_up', {}).items()})
        for name, rows in found.get('promlstm_anomaly_score', {}).items():
            observed = found.get('promlstm_observed', {}).get(name, {})
            ours = {labels: sample for labels, sample in observed.items() if _of_source(labels)}
            # A step has samples of one scrape, but for a scrape that fell into the query.
            ages = {round(source.age(sample, at), 2) for sample in ours.values()}
            if not ages:
                continue
            oldest = max(ages)
            page.seen[name] = oldest
            if max(ages) - min(ages) > self.steps[name]:
                self._note(at, f'{name}: samples of several steps on one page: {sorted(ages)} s old')
            if oldest > 2 * self.steps[name] + self.delay_seconds + 1 + LATE_SECONDS:
                self._note(at, f'{name}: scores of samples that are {oldest:.1f} s old')
            for family in FAMILIES:
                if found.get(family, {}).get(name, {}).keys() != rows.keys():
                    self._note(at, f'{name}: {family} has other entities than the scores')
            for labels, score in rows.items():
                if labels in ours:
                    self.scores[name, labels, round(at - source.age(ours[labels], at))] = score
        return page


def _of_source(labels):
    """Whether a series comes from the source as it is, and is none that the proxy added."""
    return 'copy=' not in labels and re.match(r'instance="i\d\d"', labels) is not None
