"""The web server with a page of one sample, in this process, for tests of what clients see."""

import logging
import os
import socket
import subprocess
from contextlib import closing

import bcrypt
import yaml
from credentials import PASSWORD
from servers import READY_SECONDS, http

from promlstm.live.status import Status
from promlstm.serve.connections import Limits
from promlstm.serve.page import Page
from promlstm.serve.server import Server
from promlstm.serve.site import Site
from promlstm.serve.telemetry import Telemetry
from promlstm.serve.web import Web

LIMIT = 20  # seconds, of every wait; the awaited events take milliseconds
BLOCK = b'promlstm_anomaly_score{detector="cpu",instance="a",job=""} 1.5\n'


def hashed(password=PASSWORD, cost=4):
    """A bcrypt hash."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def tls(pair, **settings):
    """A tls_server_config with the files of a pair."""
    return {'cert_file': str(pair[0]), 'key_file': str(pair[1]), **settings}


class _Serving:
    """Serves with `self.server` within a block."""

    def __enter__(self):
        self.server.start()
        self.url, self.port = self.server.url, self.server.server_port
        return self

    def __exit__(self, *_):
        self.server.stop()


class Exporter(_Serving):
    """A server with a page of one sample and two detectors.

    site  further arguments of the Site
    """

    def __init__(self, listen='127.0.0.1:0', site=None, **limits):
        self.gauges = Page(lambda: 0.0)
        self.gauges.publish('cpu', {'promlstm_anomaly_score': [BLOCK]}, expires=1)
        self.statuses, self.ready = {'cpu': Status(scored=True), '<b>"disk"</b>': Status(reason='query: no & route')}, True
        self.site = Site(
            page=self.gauges, telemetry=Telemetry(process=False), statuses=lambda: self.statuses, ready=lambda: self.ready, **(site or {})
        )  # fmt: skip
        self.server = Server(listen, self.site, Limits(**limits))

    def get(self, path='/metrics', method='GET', **headers):
        return http.request(method, self.url + path, headers={'Accept-Encoding': 'identity', **headers}, timeout=LIMIT)

    def connect(self):
        """A plain TCP connection."""
        return closing(socket.create_connection(('127.0.0.1', self.port), timeout=LIMIT))

    def send(self, data):
        """Send bytes; returns everything that is received until the connection is closed."""
        with self.connect() as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                return b''.join(iter(lambda: connection.recv(65536), b''))
            except ConnectionError:  # closed before all was read
                return b''


class Errors(logging.Handler):
    """Collects what is logged as an error."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.records = []

    def emit(self, record):
        self.records.append(record)


class Served(_Serving):
    """An exporter with a web configuration file in a folder.

    site  further arguments of the Site
    """

    def __init__(self, folder, site=None, **settings):
        self.file, self.telemetry = folder / 'web.yml', Telemetry(process=False)
        self.write(settings)
        self.page = page = Page(lambda: 0.0)
        page.publish('cpu', {'promlstm_anomaly_score': [BLOCK]}, expires=1)
        site = Site(page=page, telemetry=self.telemetry, statuses=lambda: {'cpu': Status(scored=True)}, ready=lambda: True, **(site or {}))
        self.web = Web(self.file, self.telemetry)
        self.server = Server('127.0.0.1:0', site, Limits(request_seconds=READY_SECONDS), self.web)

    def write(self, settings):
        fresh = self.file.with_suffix('.new')
        fresh.write_text(yaml.safe_dump(settings))
        os.replace(fresh, self.file)

    def successful(self):
        return self.telemetry.registry.get_sample_value('promlstm_web_config_last_reload_successful')

    def curl(self, path, *args):
        """(exit status of curl, HTTP status, body)."""
        command = ['curl', '--silent', '--noproxy', '*', '--max-time', str(READY_SECONDS), '--write-out', '\n%{http_code}', *map(str, args), self.url + path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        body, _, status = done.stdout.rpartition('\n')
        return done.returncode, int(status), body
