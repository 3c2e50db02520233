"""Early signs of failing hardware: the rules on a real Prometheus and a real node_exporter, and the document's table of signs."""

import re

import pytest
import servers
import yaml
from http_target import serving
from rule_files import RULES, rules

PATH = RULES / 'node-health.yml'
DOCUMENT = (servers.ROOT / 'docs/how-to/alerts.md').read_text()
# As smartmon.sh writes it.
SMARTMON = """smartmon_current_pending_sector_raw_value{{disk="/dev/sda",type="sat",smart_id="197"}} {pending}
smartmon_reallocated_sector_ct_raw_value{{disk="/dev/sda",type="sat",smart_id="5"}} 312
"""


def test_the_document_has_each_sign_with_its_weight():
    """And no other; those that are found by a detector have one weight."""
    shown = dict(re.findall(r'^\| `(\w+)` \| .* \| (0\.\d+) \| ', DOCUMENT, re.MULTILINE))
    weights = [rule for rule in rules(PATH) if rule.get('record') == 'promlstm:server_failure_weight:default']
    fixed = {rule['labels']['sign']: rule['expr'] for rule in weights if 'labels' in rule}
    assert {sign: f'vector({weight})' for sign, weight in shown.items()} == fixed
    (of_detectors,) = [rule['expr'] for rule in weights if 'labels' not in rule]
    assert of_detectors.endswith('+ ' + re.search(r'^\| a detector of the preset \| .* \| (0\.\d+) \| ', DOCUMENT, re.MULTILINE)[1])


def test_every_sign_has_a_weight():
    """Each that a rule gives to a series, and each detector of the preset that a rule names."""
    text = PATH.read_text()
    given = set(re.findall(r'"sign", "([a-z]\w+)"', text))
    assert given == {rule['labels']['sign'] for rule in rules(PATH) if rule.get('record', '').endswith('weight:default') and 'labels' in rule}
    preset = yaml.safe_load((servers.ROOT / 'promlstm/presets/node-health.yml').read_text())
    (named,) = re.findall(r'detector=~"node_\((.*?)\)"', text)
    assert {f'node_{name}' for name in named.split('|')} == {one['name'] for one in preset['detectors']}


def machine(directory, *, rpm):
    """What a machine with a fan has under /sys."""
    hwmon = directory / 'class/hwmon/hwmon0'
    hwmon.mkdir(parents=True, exist_ok=True)
    for name, text in {'name': 'nct6775', 'fan1_input': str(rpm), 'fan1_min': '600', 'fan2_input': '0', 'fan2_min': '600'}.items():
        (hwmon / name).write_text(text + '\n')


@pytest.mark.real
def test_signs_are_seen_on_a_real_node_exporter(tmp_path):
    """A fan that stops and a sector that becomes pending, by the textfile and by smartctl_exporter: two signs, and not one more."""
    content = yaml.safe_load(PATH.read_text())
    content['groups'][0]['interval'] = '1s'
    (tmp_path / 'node-health.yml').write_text(yaml.safe_dump(content))
    textfile, pending = tmp_path / 'textfile', 0
    textfile.mkdir()
    machine(tmp_path / 'sys', rpm=4200)

    def write():
        (textfile / 'new').write_text(SMARTMON.format(pending=pending))
        (textfile / 'new').rename(textfile / 'smartmon.prom')

    def smartctl():
        page = (servers.ROOT / 'tests/recorded/rules/node-health.prom').read_text()
        return '\n'.join(
            re.sub(r'\S+$', str(pending), line) if 'Current_Pending_Sector' in line else line
            for line in page.splitlines() if line.startswith('smartctl_')
        ).encode() + b'\n'  # fmt: skip

    write()
    arguments = ['--collector.disable-defaults', '--collector.hwmon', '--collector.textfile', f'--path.sysfs={tmp_path / "sys"}']
    with (
        servers.NodeExporter([*arguments, f'--collector.textfile.directory={textfile}']) as node,
        serving(smartctl) as address,
        servers.Prometheus(
            tmp_path / 'prometheus', [node.scrape_config('node'), {'job_name': 'smart', 'static_configs': [{'targets': [address]}]}],
            [tmp_path / 'node-health.yml'],
        ) as prometheus,
    ):  # fmt: skip
        prometheus.wait_for('promlstm:fan_turned and on () count(promlstm:hardware_value{sign="pending_sectors"})')
        (risk,) = prometheus.wait_for('promlstm:server_failure_risk')
        assert (risk['metric']['host'], float(risk['value'][1])) == ('127.0.0.1', 0) and not prometheus.query('promlstm:hardware_sign')
        pending = 8
        write()
        machine(tmp_path / 'sys', rpm=0)
        seen = prometheus.wait_for('promlstm:hardware_sign', lambda found: len(found) >= 2)
        prometheus.wait_for('promlstm:hardware_sign offset 2s', lambda found: len(found) >= 2)
        seen = prometheus.query('promlstm:hardware_sign')
        assert {(one['metric']['part'], one['metric']['sign'], one['value'][1]) for one in seen} == {
            ('sda', 'pending_sectors', '8'),
            ('nct6775 fan1', 'fan_below_minimum', '1'),
        }
        (risk,) = prometheus.wait_for('round(promlstm:server_failure_risk, 0.001) > 0.3')
        assert float(risk['value'][1]) == pytest.approx(1 - 0.74 * 0.85, abs=1e-3)
        prometheus.wait_for('count(ALERTS{alertname="PromlstmHardwareSign",alertstate="pending"}) == 2')
