"""A stranger's way from a notification to the cause, all real: Prometheus with our rules, Alertmanager, a receiver, promlstm, a browser."""

import pytest
import yaml
from browser import axe
from estate_bench import HOSTILE, Bench
from paging import receiving
from servers import ROOT, Alertmanager

pytestmark = [pytest.mark.real, pytest.mark.slow]

RULES = ROOT / 'rules'


def each_entity():
    """Rules with an alert for each hostile entity, which has the link of the one that we ship."""
    shipped = yaml.safe_load((RULES / 'alerts.yml').read_text())
    (link, *_) = [rule['annotations']['promlstm_url'] for rule in shipped['groups'][0]['rules'] if rule.get('alert') == 'PromlstmAnomaly']
    rule = {'alert': 'Each', 'expr': 'promlstm_anomaly_score{detector="visits"} >= 1', 'annotations': {'promlstm_url': link}}
    return {'groups': [{'name': 'each', 'rules': [rule]}]}


@pytest.fixture(scope='module')
def told(tmp_path_factory):
    """What the receiver is told, with the pages that links lead to."""
    directory = tmp_path_factory.mktemp('path')
    (directory / 'each.yml').write_text(yaml.safe_dump(each_entity()))
    with receiving() as (receivers, address):
        route = {'receiver': 'people', 'group_by': ['...'], 'group_wait': '0s', 'group_interval': '1s'}
        config = {'route': route, 'receivers': [{'name': 'people', 'webhook_configs': [{'url': f'http://{address}/people'}]}]}
        with Alertmanager(directory / 'alertmanager', config) as alertmanager:
            files = [RULES / 'recording.yml', RULES / 'alerts.yml', directory / 'each.yml']
            bench = Bench(directory, rule_files=files, alertmanagers=[alertmanager.address])
            bench.exporter.args.append(f'--web.external-url={bench.exporter.url}/')
            with bench:
                yield receivers


def link(told, name, **labels):
    """The link in the first notification of an alert with these labels."""
    _, _, notes = told.wait_for(0, lambda _, given, __: {'alertname': name, **labels}.items() <= given.items(), name)
    return notes['promlstm_url']


def test_from_an_incident_that_pages_to_its_cause_in_three_clicks(told, look):
    """The link, the likely cause, and the entity whose graph shows it; who clicks knows no more than what is on the page."""
    look.open(link(told, 'PromlstmIncident'))  # the first click
    assert 'The likely cause is service=database' in look.page.locator('.sentence').inner_text()
    assert look.page.locator('.causes tbody tr').first.locator('li').count() >= 2
    axe(look.page)
    look.page.locator('.sentence a').click()  # the second
    look.page.wait_for_url('**/entity?*')
    look.page.wait_for_selector('canvas')
    assert 'database' in look.page.locator('h1').inner_text() and 'above the band' in look.page.locator('main').inner_text()


def test_from_an_alert_on_an_entity_to_its_page_and_its_incident(told, look):
    """It is in an incident: what began before it is one click away."""
    look.open(link(told, 'PromlstmAnomaly', detector='cpu'))
    assert 'host-03:9100' in look.page.locator('h1').inner_text()
    look.page.locator('main a[href^="incident?"]').first.click()
    look.page.wait_for_url('**/incident?*')
    assert 'instance=host-03:9100' in look.page.locator('.sentence').inner_text()


def test_from_an_alert_on_a_detector_to_its_entities(told, look):
    look.open(link(told, 'PromlstmAnomalyInDetector', detector='visits'))
    assert look.page.locator('h1').inner_text() == 'visits' and look.page.locator('#rows tbody tr, main table tbody tr').count() >= len(HOSTILE)


@pytest.mark.parametrize('text', HOSTILE, ids=lambda text: ascii(text)[:20])
def test_links_find_entities_whose_labels_are_hostile(told, look, text):
    """Quoted by Prometheus's templates, escaped for a URL, and read back: the page is that of the entity with this label, and nothing of it runs."""
    look.page.on('dialog', lambda dialog: look.wrong.append(f'a label ran: {dialog.message}') or dialog.dismiss())
    look.open(link(told, 'Each', page=text))
    heading = ''.join(look.page.locator('h1').inner_text().split())
    assert ''.join(text.split())[:40] in heading
