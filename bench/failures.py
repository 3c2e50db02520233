"""How early the rules of node-health announce failing disks, and how many alerts are false: simulated SMART counts, the real rules.

No open history of SMART counts comes with the project, so these are made up, with public shares: of disks that fail within a month, which show a
count above 0 (SIGNS); how many of all disks fail in a month (MONTHLY); how many of those that show a sign do, which are the weights of the rules
(SnapRAID from Backblaze's disks of 2014). The share of healthy disks with a sign follows from these three, and all of them together are 4 %, as
Backblaze wrote in 2016. When the first sign comes before a failure is assumed: one to ten weeks, for most. So this shows what the rules make of
such disks, and not how disks are.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).parent.parent
DAYS, STEP_HOURS = 120, 6
STEPS = DAYS * 24 // STEP_HOURS
HOSTS, DISKS, FAILING = 600, 4, 150  # of the hosts, so many have one disk that fails, at a random time of the second half
MONTHLY = 0.004
# attribute: (name, share of failing disks that show it, of those that show it the share that fails within a month)
SIGNS = {
    5: ('Reallocated_Sector_Ct', 0.40, 0.07),
    187: ('Reported_Uncorrect', 0.35, 0.12),
    197: ('Current_Pending_Sector', 0.35, 0.26),
    198: ('Offline_Uncorrectable', 0.25, 0.42),
}
LEAD_DAYS, LEAD_SPREAD = 14.0, 1.2  # lognormal: median, standard deviation of the logarithm
AGE_DAYS = 1000  # of the disks: what a healthy one shows has come at any time of it
PENDING_DAYS = 10  # after which a healthy disk has written a pending sector anew, on average
TOGETHER = 25  # hosts in one test: promtool reads at most 10 000 samples in a query
ALERTS = ('PromlstmHardwareSign', 'PromlstmServerFailureRisk')


def main():
    """Print a row for each alert."""
    failed, series = fleet(np.random.default_rng(1))
    shown = sum(1 for host in failed if any(name[0] == host and name[2] for name in series))
    print(f'  {HOSTS} servers of {DISKS} disks for {DAYS} days; {len(failed)} disks fail, {shown} of these show a sign before')
    print('  alert                       announced   days before: median (quarter, three quarters)   false, per 100 servers and month')
    began = fired(series)
    for alert in ALERTS:
        starts = {host: times for (name, host), times in began.items() if name == alert}
        lead = [end - min(starts[host]) for host, end in failed.items() if host in starts and min(starts[host]) <= end]
        wrong = sum(len(times) for host, times in starts.items() if host not in failed)
        quarters = np.quantile(lead, [0.5, 0.25, 0.75])
        rate = wrong / (HOSTS - FAILING) * 100 / (DAYS / 30)
        print(f'  {alert:27} {len(lead) / len(failed):8.0%}    {quarters[0]:10.1f} ({quarters[1]:.1f}, {quarters[2]:.1f}) {rate:38.1f}')


def fleet(rng):
    """({host: day of its failure}, {(host, disk, whether it fails): {attribute: counts int [STEPS]}}); -1 = the disk is gone."""
    failed = {f'h{n}': rng.uniform(DAYS / 2, DAYS) for n in range(FAILING)}
    series = {}
    for n in range(HOSTS):
        for disk in range(DISKS):
            end = failed.get(f'h{n}') if disk == 0 else None
            made = failing(rng, end) if end else healthy(rng)
            if any(counts.any() for counts in made.values()):
                series[f'h{n}', f'sd{"abcd"[disk]}', bool(end and any((counts > 0).any() for counts in made.values()))] = made
        series.setdefault((f'h{n}', 'sde', False), {197: np.zeros(STEPS, int)})  # so that each host has something to read
    return failed, series


def failing(rng, end):
    """Counts of a disk that fails on a given day: each of its counts begins at its own time and doubles ever faster."""
    made, lead, at = {}, np.exp(np.log(LEAD_DAYS) + LEAD_SPREAD * rng.standard_normal()), np.arange(STEPS) * STEP_HOURS / 24
    for attribute, (_, share, _) in SIGNS.items():
        counts = np.zeros(STEPS, int)
        if rng.random() < share:
            start = end - min(lead * rng.uniform(0.3, 1), DAYS)
            counts = np.where(at >= start, np.ceil(2 ** (8 * np.clip((at - start) / (end - start), 0, 1))).astype(int), 0)
        made[attribute] = np.where(at >= end, -1, counts)
    return made


def healthy(rng):
    """Counts of a disk that does not fail: mostly 0, else errors of long ago or of one day."""
    made = {}
    for attribute, (_, share, weight) in SIGNS.items():
        counts = np.zeros(STEPS, int)
        if rng.random() < share * MONTHLY / weight * (1 - weight):
            start = round((DAYS - rng.uniform(0, AGE_DAYS)) * 24 / STEP_HOURS)
            if attribute == 197:  # the share is of those that have one now: as many come as go
                start = rng.integers(-PENDING_DAYS * 24 // STEP_HOURS, STEPS)
            counts[max(start, 0) :] = rng.integers(1, 30)
            if attribute == 197:
                counts[max(start + round(rng.exponential(PENDING_DAYS) * 24 / STEP_HOURS), 0) :] = 0
        made[attribute] = counts
    return made


def fired(series):
    """{(alert, host): days at which it began to fire} by promtool: the shipped rules, evaluated every six hours."""
    hosts = list(dict.fromkeys(host for host, _, _ in series))
    groups = [set(hosts[at : at + TOGETHER]) for at in range(0, len(hosts), TOGETHER)]
    # A wrong expectation makes promtool print what it got: the time of each firing, as a label.
    seen = 'count_values by (alertname, host) ("at", timestamp(ALERTS{alertstate="firing"}))'
    asked = [{'expr': seen, 'eval_time': f'{step * STEP_HOURS}h', 'exp_samples': [{'labels': 'never{}', 'value': -1}]} for step in range(STEPS)]
    tests = [
        {
            'interval': f'{STEP_HOURS}h',
            'input_series': [one for key, made in series.items() if key[0] in group for one in lines(key, made)],
            'promql_expr_test': asked,
        }
        for group in groups
    ]
    content = {'rule_files': [str(ROOT / 'rules/node-health.yml')], 'evaluation_interval': f'{STEP_HOURS}h', 'tests': tests}
    tool = shutil.which('promtool', path=f'{ROOT}/.cache/tools/bin') or 'promtool'
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / 'test.yml').write_text(yaml.safe_dump(content))
        done = subprocess.run([tool, 'test', 'rules', f'{directory}/test.yml'], capture_output=True, text=True, check=False)
    found = {}
    for labels in re.findall(r'\{([^{}]*at="[^{}]*)\}', (done.stdout + done.stderr).replace('\\"', '"')):
        of = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        found.setdefault((of['alertname'], of['host']), []).append(float(of['at']) / 86400)
    if not found:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    step = STEP_HOURS / 24
    return {key: [at for at in sorted(set(days)) if at - step not in days] for key, days in found.items()}


def lines(key, made):
    """The input series of a disk, in promtool's notation."""
    host, disk, _ = key
    for attribute, counts in made.items():
        labels = f'job="smart",instance="{host}:9633",device="{disk}",attribute_id="{attribute}",attribute_value_type="raw"'
        edges = np.flatnonzero(np.diff(counts, prepend=counts[0] - 1))
        words = [
            f'_x{length - 1}' if counts[at] < 0 and length > 1 else '_' if counts[at] < 0 else f'{counts[at]}x{length - 1}'
            for at, length in zip(edges, np.diff([*edges, len(counts)]), strict=True)
        ]
        yield {'series': f'smartctl_device_attribute{{{labels},attribute_name="{SIGNS[attribute][0]}"}}', 'values': ' '.join(words)}
