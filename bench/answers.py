"""An HTTP server that answers with the samples of a fleet, in its own process: the cost of a query without the time of Prometheus."""

import json
import multiprocessing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import numpy as np
import orjson

from promlstm.query.prometheus import POINTS_PER_ANSWER, Matrix, Vector

ANOMALOUS = 1000  # one entity in so many is
DISTINCT = 250  # entities with a level and a rhythm of their own; equal texts are farther apart on the page than compression looks back


def keys(entities):
    """Raw labels of the fleet's series, six each, as Prometheus writes them."""
    return [
        f'{{"container":"app","instance":"10.{i >> 16}.{i >> 8 & 255}.{i & 255}:9100","job":"node","namespace":"team-{i % 50}",'
        f'"pod":"service-{i % 500}-{i:06x}","zone":"eu-{i % 3}"}}'.encode()
        for i in range(entities)
    ]


def samples(entities, time):
    """float64 [entities]: a daily rhythm with noise at an instant; the last of every ANOMALOUS entities has three times the usual."""
    row, like = np.arange(entities), np.arange(entities) % DISTINCT
    noise = np.random.default_rng(int(time)).normal(size=entities)  # of one seed: the first ones are those of a smaller fleet
    usual = 100 + like % 7 + 10 * np.sin(2 * np.pi * time / 86400 + like) + noise
    return np.where(row % ANOMALOUS == ANOMALOUS - 1, 3 * usual, usual)


def body(metrics, time):
    """An instant answer as Prometheus writes it, bytes (metrics: the result of `keys`)."""
    numbers = orjson.dumps(samples(len(metrics), time), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b',')
    pieces = [b'"]},{"metric":'] * (4 * len(metrics))
    pieces[1::4], pieces[3::4] = metrics, numbers
    pieces[2::4] = [f',"value":[{time},"'.encode()] * len(metrics)
    series = b''.join(pieces).removeprefix(b'"]},')
    return b'{"status":"success","data":{"resultType":"vector","result":[' + series + b'"]}]}}'


def _serve(entities, port):
    metrics = keys(entities)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'
        disable_nagle_algorithm = True  # head and body are two writes: without it each answer waits 40 ms for an acknowledgement

        def do_POST(self):
            asked = parse_qs(self.rfile.read(int(self.headers['Content-Length'])).decode())
            answer = body(metrics, float(asked['time'][0]))
            self.send_response(200)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    port.put(server.server_port)
    server.serve_forever()


class Answers:
    """The server, as a context manager: its URL."""

    def __init__(self, entities):
        self._context = multiprocessing.get_context('spawn')
        self._port = self._context.Queue()
        self._process = self._context.Process(target=_serve, args=(entities, self._port), daemon=True)

    def __enter__(self):
        self._process.start()
        return f'http://127.0.0.1:{self._port.get(timeout=120)}'

    def __exit__(self, *error):
        self._process.terminate()
        self._process.join(10)


def config(url, **keys):
    """A configuration of one detector against it."""
    from promlstm import config as configuration

    tree = {'prometheus': {'url': url}, 'detectors': [{'name': 'bench', 'expr': 'x'} | keys]}
    return configuration.parse(json.dumps(tree))


class Past:
    """A synthetic source with the interface of Prometheus (instant, range): a daily rhythm with noise, for any number of entities."""

    def __init__(self, entities):
        self._keys = [f'{{"instance":"10.0.{i >> 8}.{i & 255}:9100","job":"node"}}'.encode() for i in range(entities)]

    def instant(self, expr, time):
        """As Prometheus.instant."""
        return Vector(self._keys, np.zeros(len(self._keys)))

    def range(self, expr, start, end, step, series=1):
        """As Prometheus.range."""
        steps, at_once = round((end - start) / step) + 1, max(1, POINTS_PER_ANSWER // series)
        for first in range(0, steps, at_once):
            times = start + step * np.arange(first, min(first + at_once, steps))
            noise = np.random.default_rng(int(times[0])).normal(size=(len(times), len(self._keys)))
            yield Matrix(times, self._keys, np.round(100 + 10 * np.sin(2 * np.pi * times / 86400)[:, None] + noise, 3))
