"""The stats API of VictoriaLogs over lines that a test has, by the rules of its parseCommonArgs and ProcessStatsQueryRangeRequest:

    start, end, time    unix seconds; `end` is not in the window any more
    step, offset        buckets begin at multiples of the step less the offset, are named by their start, and cover the question whole;
                        no lines, no bucket

https://github.com/VictoriaMetrics/VictoriaLogs, app/vlselect/logsql/logsql.go. It knows one query: the count of lines by level.
"""

import json
import math
import re

from wire import Wire

QUERY = '* | stats by (level) count() lines'


class Lines:
    """lines: [(unix seconds, level)]; offset_known = False: a server from before that parameter was known."""

    def __init__(self, lines, *, offset_known=True):
        self.lines, self.offset_known = lines, offset_known

    def serve(self):
        """A Wire that answers."""

        def script(peer, number):
            while request := peer.request():
                form = request.form or request.url
                peer.answer(*self.answer(request.target.partition('?')[0], form))

        return Wire(script)

    def answer(self, path, form):
        """(body, status) of a question."""
        start, end = float(form.get('start', '-inf')), float(form.get('end', 'inf'))
        if form['query'] != QUERY:
            refused = {'status': 'error', 'errorType': '422', 'error': f'cannot parse query [{form["query"]}]: unexpected token'}
            return json.dumps(refused).encode(), 422
        if path.endswith('stats_query'):
            return self._found(start, end, lambda time: float(form['time']), 'vector'), 200
        assert path.endswith('stats_query_range')
        step = _duration(form['step'])
        offset = _duration(form.get('offset', '0s')) if self.offset_known else 0.0
        start = math.floor((start + offset) / step) * step - offset
        end = math.ceil((end + offset) / step - 1e-9) * step - offset
        return self._found(start, end, lambda time: math.floor((time + offset) / step) * step - offset, 'matrix'), 200

    def _found(self, start, end, place, kind):
        counts = {}
        for time, level in self.lines:
            if start <= time < end:
                of_level = counts.setdefault(level, {})
                of_level[place(time)] = of_level.get(place(time), 0) + 1
        result = [
            {'metric': {'__name__': 'lines', 'level': level}}
            | ({'value': next(iter(found.items()))} if kind == 'vector' else {'values': sorted(found.items())})
            for level, found in sorted(counts.items())
        ]
        text = json.dumps({'status': 'success', 'data': {'resultType': kind, 'result': result}})
        return re.sub(r'\[([-0-9.e]+), (\d+)\]', r'[\1, "\2"]', text).encode()


def _duration(text):
    return float(re.fullmatch(r'([0-9.]+)s', text)[1])
