"""From an alert to who is told: the rules and routes that are shipped, with their waiting times shortened, and receivers that keep what they get."""

import re
from contextlib import contextmanager

import http_target
import servers
import yaml

RULES = servers.ROOT / 'rules'
FACTOR = 60  # a minute of the rules is a second of a test


def shortened(text):
    """Rules or routes with each duration divided by FACTOR: those in ranges, and those of the keys that wait."""

    def short(match):
        seconds = int(match[2]) * {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}[match[3]]
        return f'{match[1]}{max(1, round(seconds / FACTOR))}s'

    return re.sub(r'(\[|\b(?:for|keep_firing_for|group_wait|group_interval|repeat_interval): )(\d+)([smhd])\b', short, text)


def rule_files(directory, override=None):
    """The paths of ours, shortened, in a directory; `override`: the text of what a user records beside them."""
    if override:
        (directory / 'mine.yml').write_text(override)
        yield directory / 'mine.yml'
    for name in ('recording', 'alerts', 'self'):
        (directory / f'{name}.yml').write_text(shortened((RULES / f'{name}.yml').read_text()))
        yield directory / f'{name}.yml'


def alertmanager_config(address):
    """Ours, with one address in the place of all receivers, a path for each, and working hours all day and night."""
    shipped = yaml.safe_load(shortened((RULES / 'alertmanager/alertmanager.yml').read_text()))
    shipped['receivers'] = [{'name': one['name'], 'webhook_configs': [{'url': f'http://{address}/{one["name"]}'}]} for one in shipped['receivers']]
    shipped['time_intervals'][0]['time_intervals'] = [{'times': [{'start_time': '00:00', 'end_time': '24:00'}]}]
    shipped['templates'] = [str(RULES / 'alertmanager/promlstm.tmpl')]
    return shipped


class Receivers:
    """What the receivers were told, in order.

    told  (receiver, message as Alertmanager posts it)
    """

    def __init__(self):
        self.told = []

    def alerts(self, since=0, status='firing'):
        """The alerts that were told of after the n-th message, each as (receiver, labels, annotations)."""
        return [
            (receiver, one['labels'], one['annotations']) for receiver, message in self.told[since:] for one in message['alerts'] if one['status'] == status
        ]

    def wait_for(self, since, matches, what, status='firing', limit_seconds=90):
        """The first alert told of after the n-th message that matches(receiver, labels, annotations)."""
        return servers.wait_until(lambda: next((one for one in self.alerts(since, status) if matches(*one)), None), limit_seconds, what)


@contextmanager
def receiving():
    """(Receivers, the address that they listen on)."""
    receivers = Receivers()

    def keep(path, message):
        receivers.told.append((path.strip('/'), message))
        return {}

    with http_target.receiving(keep) as address:
        yield receivers, address


def held(alertmanager, name, severity, **labels):
    """The alerts of a name that Alertmanager holds."""
    wanted = {'alertname': name, 'severity': severity, **labels}
    return [one for one in alertmanager.alerts() if wanted.items() <= one['labels'].items()]
