"""check-config with several sources: each is asked, named where something is wrong with it, and harms none of the others."""

import time

from wire import Wire

from promlstm import config as configuration
from promlstm.check import check

VECTOR = '{"status":"success","data":{"resultType":"%s","result":[{"metric":{"instance":"a"},%s}]}}'


def prometheus(peer, number):
    """One series for ever."""
    now = f'[{time.time():.0f},"1"]'
    while request := peer.request():
        ranged = 'range' in request.target
        body = VECTOR % (('matrix', f'"values":[{now}]') if ranged else ('vector', f'"value":{now}'))
        peer.answer(b'{"data":{"version":"3.1"}}' if 'status' in request.target else body.encode())


def closed(peer, number):
    """A password is wanted."""
    while peer.request():
        peer.answer(b'no', 401)


def checked(text):
    """(whether it can run, the lines)."""
    lines = []
    return check(configuration.parse(text), online=True, say=lines.append), lines


def test_each_source_is_asked_and_named():
    """One that says no, and one that is not there: the expressions of the third are tried all the same."""
    with Wire(prometheus) as good, Wire(closed) as bad:
        status, lines = checked(
            f'prometheus: {{url: "{good.url}"}}\n'
            f'sources: {{tenant: {{url: "{bad.url}"}}, away: {{url: "http://127.0.0.1:1"}}, spare: {{url: "{good.url}"}}}}\n'
            'detectors: [{name: a, expr: up}, {name: b, expr: up, source: tenant}, {name: c, expr: up, source: away}]'
        )
    text = '\n'.join(lines)
    assert not status
    assert lines[0].startswith('prometheus: reachable, 3.1, ') and 'sources.spare: reachable, 3.1, ' in text
    assert 'sources.away: http://127.0.0.1:1 cannot be reached' in text and 'error: sources.tenant: ' in text and 'answered 401' in text
    assert 'warning: sources.spare: no detector uses it' in text
    asked = [request.form.get('query') for request in good.requests]
    assert 'up' in asked
    rows = {line.split()[0]: line for line in lines if line.split()[:1] and line.split()[0] in 'abc'}
    assert rows['a'].split()[-2] != '–' and rows['b'].endswith('–') and rows['c'].endswith('–')


def test_one_source_under_a_name_is_enough():
    """It is everybody's; its place in the file stands before what is said of it."""
    with Wire(prometheus) as good:
        status, lines = checked(f'sources: {{vm: {{url: "{good.url}"}}}}\ndetectors: [{{name: a, expr: up}}]')
    assert status and lines[0].startswith('sources.vm: reachable, 3.1, ')


def test_the_alertmanager_is_asked_for_its_silences():
    """How many are in force; one that says no is an error, one that is away is none, and nobody is asked offline."""
    silences = []

    def alertmanager(peer, number):
        while request := peer.request():
            silences.append(request.target)
            peer.answer(b'[]')

    text = 'prometheus: {{url: "http://127.0.0.1:1"}}\nalertmanager: {{url: "{}"}}\ndetectors: [{{name: a, expr: up}}]'
    with Wire(alertmanager) as good:
        status, lines = checked(text.format(good.url))
        assert status and 'alertmanager: reachable, 0 silences for false alarms in force' in lines
        assert check(configuration.parse(text.format(good.url)), online=False, say=lines.append) and silences == ['/api/v2/silences']
    with Wire(closed) as bad:
        status, lines = checked(text.format(bad.url))
    assert not status and lines[-1].startswith(f'error: alertmanager: {bad.url}/api/v2/silences answered 401: no')
    status, lines = checked(text.format('http://127.0.0.1:1'))
    assert status and any(line.startswith('alertmanager: http://127.0.0.1:1 cannot be reached') for line in lines)
