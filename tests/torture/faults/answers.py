"""Answers that are no query result, or one with other content than was asked for."""

import json
import os
import re
import time
from functools import partial

from torture.faults import Fault, Subject
from torture.lane import CALM, STRUCK, Lane, held, recover, trial
from torture.rows import Attempt

HOUR_SECONDS = 3600
NO_RESULT = 'not a query result'
NO_NUMBER = 'a sample is not a number|has an unknown shape'
TOLD_SECONDS = 30


def saying(body):
    """A strike that answers with these bytes."""
    return lambda peer, _request, _answer: peer.answer(body)


def changed(change):
    """A strike that answers with what `change` makes of the answer's tree."""

    def strike(peer, _request, answer):
        tree = json.loads(answer.body)
        peer.answer(json.dumps(change(tree) or tree).encode())

    return strike


def result(tree):
    return tree['data']['result']


def data_is_a_list(tree):
    tree['data'] = result(tree)


def samples(tree):
    """All [time, value] of an answer; steps that failed are asked for again as a range."""
    return [sample for each in result(tree) for sample in samples_of(each)]


def matrix(tree):
    tree['data'] = {'resultType': 'matrix', 'result': [{'metric': each['metric'], 'values': samples_of(each)} for each in result(tree)]}


def samples_of(series):
    return series.get('values') or [series['value']]


def values(tree, number):
    for sample in samples(tree):
        sample[1] = number


def times(tree, change):
    for sample in samples(tree):
        sample[0] = change(sample[0])


def twins(tree):
    result(tree).extend(result(tree)[:1])


def no_result(tree):
    tree['data']['result'] = None


def fifty_times(tree):
    copies = [{**each, 'metric': {**each['metric'], 'copy': str(copy)}} for each in result(tree) for copy in range(50)]
    result(tree).extend(copies)


def long_label(tree):
    result(tree).append({**result(tree)[0], 'metric': {'instance': 'long', 'path': 'x' * 1_000_000}})


def refused(name, strike, reason):
    """A fault that costs the step: the reason is seen, and afterwards the scores are as if nothing had been."""
    return Fault(name, lambda lane: trial(lane, lambda: lane.proxy.begin(strike), lane.proxy.heal, reason=reason))


def taken(name, strike):
    """An answer that is right for those who were there before: their scores go on, and are the same."""

    def attempt(lane):
        tried, began, odd = Attempt(), time.time(), len(lane.reader.odd)
        lane.proxy.begin(strike)
        for struck in STRUCK:
            lane.proxy.await_struck(struck.split('_')[0], 4, lane.world.until)
        healed = time.time()
        lane.proxy.heal()
        tried.survived = lane.alive
        recover(lane, tried, STRUCK, healed)
        held(lane, tried, (*STRUCK, *CALM), began, odd)
        tried.compared = lane.world.compared(lane.reader, began, time.time())
        return tried

    return Fault(name, attempt)


def told(name, strike, metric, *, reason=None, log=None):
    """An answer that is used in part or not at all, so that the scores cannot be those of the twin: /-/ready (`reason`), log and metric say it."""

    def attempt(lane):
        tried, odd, began, position = Attempt(), len(lane.reader.odd), time.time(), lane.log_size()
        before = {each: lane.metric(metric, each) for each in STRUCK}
        lane.reader.relaxed.set()
        lane.proxy.begin(strike)

        def places():
            there = {'ready': all(re.search(rf'^{each}: .*{reason}', lane.ready(), re.MULTILINE) for each in STRUCK)} if reason else {}
            if log:
                there['log'] = all(re.search(rf'{log}.* detector={each}\b', lane.logged(position)) for each in STRUCK)
            return there | {'metric': all(lane.metric(metric, each) > before[each] for each in STRUCK)}

        try:
            lane.world.until(lambda: all(places().values()), TOLD_SECONDS, 'the reason')
        except TimeoutError:
            tried.problems.append(f'/-/ready says {lane.ready().splitlines()[1:3]}, the log {lane.logged(position).splitlines()[:2]}')
        tried.seen = places()
        healed = time.time()
        lane.proxy.heal()
        tried.survived = lane.alive
        recover(lane, tried, STRUCK, healed)
        lane.reader.relaxed.clear()
        held(lane, tried, CALM, began, odd)
        return tried

    return Fault(name, attempt)


def cached(lane):
    """A cache answers each query at an instant as it did the first time."""
    first = {}

    def strike(peer, request, answer):
        if request.target.endswith('/query'):
            answer = first.setdefault(request.form['query'], answer)
        peer.answer(answer.body, answer.status)

    return trial(lane, lambda: lane.proxy.begin(strike), lane.proxy.heal, reason='a cache, or something that replaces the time')


EMPTY = 'promlstm_detector_empty_results_total'
NONFINITE = 'promlstm_detector_nonfinite_samples_total'
MISTIMED = 'promlstm_detector_mistimed_answers_total'
NO_SERIES, OFF = 'the expression returns no series', '1h (before|after) the requested time'

SUBJECT = Subject(
    'answers',
    Lane,
    (
        refused('a login page with 200', saying(b'<!doctype html><title>Sign in</title><form></form>'), NO_RESULT),
        refused('an empty body', saying(b''), NO_RESULT),
        refused('random bytes', lambda peer, _request, _answer: peer.answer(b'\x00' + os.urandom(5000)), NO_RESULT),
        refused('100 000 brackets', saying(b'[' * 100_000), NO_RESULT),
        refused('null', saying(b'null'), NO_RESULT),
        refused('no status', saying(b'{}'), NO_RESULT),
        refused('an error with 200', saying(b'{"status":"error","errorType":"internal","error":"out of luck"}'), 'out of luck'),
        refused('data is a list', changed(data_is_a_list), NO_RESULT),
        refused('a matrix for a vector', changed(matrix), 'gives a matrix, expected a vector'),
        refused('numbers that are no text', changed(partial(values, number=1.5)), NO_NUMBER),
        refused('numbers that are words', changed(partial(values, number='many')), NO_NUMBER),
        refused('times that are text', changed(partial(times, change=str)), NO_NUMBER),
        refused('twice the same series', changed(twins), 'two series would be the same entity'),
        Fault('a cache gives old answers', cached),
        taken('50 times as many series', changed(fifty_times)),
        taken('a label of 1 MB', changed(long_label)),
    ),
    lanes=3,
)

# What promlstm takes in part it remembers: after these its scores are its own, so they have an exporter to themselves.
CONTENTS = Subject(
    'contents',
    Lane,
    (
        told('result is null', changed(no_result), EMPTY, reason=NO_SERIES, log=NO_SERIES),
        told('all samples NaN', changed(partial(values, number='NaN')), NONFINITE, reason='all samples NaN', log='all samples NaN'),
        told('all samples +Inf', changed(partial(values, number='+Inf')), NONFINITE, log='treated as missing|all samples'),
        told(
            'samples an hour ahead',
            changed(partial(times, change=lambda at: at + HOUR_SECONDS)),
            MISTIMED,
            reason=OFF,
            log='not of the instant',
        ),
        # Said in the log for samples of an hour ahead, and not again within five minutes.
        told('samples an hour behind', changed(partial(times, change=lambda at: at - HOUR_SECONDS)), MISTIMED, reason=OFF),
    ),
)
