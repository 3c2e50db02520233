"""What pages say of the shipped model, out of its file: generate.py puts it between `<!-- figures NAME -->` and `<!-- end -->`, and numbers into lines.

A new model changes README and docs by `python docs/generate.py`, and a test fails until it was run. Remarks in the last column of a table are
written by hand and kept.
"""

import json
import re
from functools import cache
from pathlib import Path

KINDS = {'shift': 'level shift', 'drift': 'drift over ten hours', 'variance': 'changed variance'}  # where the file's name is not the reader's
FAMILIES = Path(__file__).parent / 'explanation/families.json'  # what `record` wrote, of families without a shipped model
SHIPPED = {'forecaster': 'builtin:forecaster', 'ensemble': 'builtin:default'}
COLUMNS = {
    'forecaster': 'forecaster', 'ensemble': 'ensemble', 'autoencoder': 'autoencoder', 'classifier': 'classifier', 'best_baseline': 'best simple baseline',
}  # fmt: skip
MINUTE, FIVE = 'injected_60s', 'injected_300s'
TOLD = '_recall_at_1_per_week'
WORDS = ((0.75, 'most'), (0.5, 'more than half'), (0.25, 'a quarter to a half'), (0.0, 'less than a quarter'))
SECTION = re.compile(r'<!-- figures (\w+) -->\n(.*?)<!-- end -->\n', re.DOTALL)


@cache
def shipped(model='builtin:default'):
    """The bundle.Bundle of a shipped model."""
    from promlstm.engine import session

    return session.load(session.resolve(model), prove=False).bundle


def with_figures(text):
    """A page with its sections, and the numbers in its lines, as the file has them."""
    text = SECTION.sub(lambda match: f'<!-- figures {match[1]} -->\n{SECTIONS[match[1]](match[2])}<!-- end -->\n', text)
    for pattern, figure in LINES.items():
        text = re.sub(pattern, lambda match, figure=figure: match[1] + figure() + match[2], text)
    return text


def recalls():
    """{kind of fault: (recall at a minute, at five minutes)} at one false alarm per entity-week, the largest first."""
    sets = shipped().manifest.evaluation
    kinds = [key.removesuffix(TOLD) for key in sets[MINUTE] if key.endswith(TOLD)]
    found = {kind.replace('_', ' '): tuple(sets[name][kind + TOLD] for name in (MINUTE, FIVE)) for kind in kinds}
    return dict(sorted(found.items(), key=lambda item: sum(item[1]), reverse=True))


def found_table(before):
    """The recall of each kind of fault, with the remarks that were there."""
    remarks = dict(re.findall(r'^\| ([a-z ]+) \| [^|]* \| ?(.*?) ?\|$', before, re.MULTILINE))
    lines = ['| fault | recall | remark |', '|---|---|---|']
    for kind, both in recalls().items():
        name = KINDS.get(kind, kind)
        remark = remarks.get(name, '')
        lines.append(f'| {name} | {both[0]:.2f}, {both[1]:.2f} | {remark + " " if remark else ""}|')
    return '\n'.join([*lines, ''])


def words(share):
    """A share in words, which promise no more than it is.

    >>> words(0.8), words(0.51), words(0.5), words(0.49), words(0.1)
    ('most', 'more than half', 'a quarter to a half', 'a quarter to a half', 'less than a quarter')
    """
    return next(word for least, word in WORDS if share > least or not least)


def found_words(_before):
    """What is found of each kind at both steps, in words: kinds of the same words together."""
    groups = {}
    for kind, both in recalls().items():
        groups.setdefault(words(min(both)), []).append(KINDS.get(kind, kind))
    order = [word for _, word in WORDS if word in groups]
    return ''.join(f'- {word} of: {", ".join(groups[word])}\n' for word in order)


def labelled():
    """{labelled set: its figures} of those with a recall, by name."""
    sets = shipped().manifest.evaluation
    return {name: sets[name] for name in sorted(sets) if 'recall_at_1_per_week' in sets[name]}


def summary(_before):
    """The figures of injected faults in two sentences, and those of the labelled sets where the file has them."""
    found = recalls()
    least, most = ([pick(found, key=lambda kind, n=n: found[kind][n]) for n in (0, 1)] for pick in (min, max))
    ranges = [f'{found[least[n]][n]:.2f} ({KINDS.get(least[n], least[n])}) to {found[most[n]][n]:.2f} ({KINDS.get(most[n], most[n])})' for n in (0, 1)]
    rival = {name: shipped().manifest.evaluation[name] for name in (MINUTE, FIVE)}
    kinds = [key for key in rival[MINUTE] if key.endswith(TOLD)]
    injected, simple = (
        sum(figures[key] > figures[f'{key}{suffix}'] for figures in rival.values() for key in kinds) for suffix in ('_without_lstm', '_best_baseline')
    )
    lines = [
        f'- At one false alarm per entity-week it finds, of injected faults of a kind, {ranges[0]} at a minute',
        f'  and {ranges[1]} at five minutes: [Limits](limits.md#what-it-finds) has the list.',
        f'- With the LSTM recall is higher than by the same rule without it in {injected} of {2 * len(kinds)} rows of injected faults,',
        f'  and higher than that of the best of five simple detectors in {simple}.',
        *_labelled_lines(),
    ]
    return '\n'.join([*lines, ''])


def _labelled_lines():
    sets, promised = labelled(), 'false_alarms_promised_1_per_week'
    if not sets:
        return []
    counted = {name: figures[promised] for name, figures in sets.items() if promised in figures}
    few, many = min(counted, key=counted.get), max(counted, key=counted.get)
    shares = [f'{round(100 * figures["recall_at_1_per_week"])} % in {name}' for name, figures in sets.items()]
    return [
        f'- One false alarm per entity-week was promised; the labelled sets had from {counted[few]:.1f} ({few}) to {counted[many]:.1f} ({many}).',
        f'- Of the labelled events of public sets it finds {", ".join(shares[:-1])} and {shares[-1]}.',
    ]


def everything(_before):
    """All tables, as `python -m convert figures` prints them."""
    from convert.evaluation import figures

    return figures.markdown(shipped())


def families_table(_before):
    """The recall of each family at both steps, from the shipped files or as recorded; bold where one is ahead of the other families at both."""
    found = json.loads(FAMILIES.read_text()) | {family: _by_kind(shipped(model).manifest) for family, model in SHIPPED.items()}
    found['best_baseline'] = _by_kind(shipped().manifest, '_best_baseline')
    lines = [f'| fault | {" | ".join(COLUMNS.values())} |', '|---' * (len(COLUMNS) + 1) + '|']
    for kind in found['forecaster']:
        if not all(kind in of_family for of_family in found.values()):
            continue
        cells = []
        for column in COLUMNS:
            others = [found[other][kind] for other in COLUMNS if other not in (column, 'best_baseline')]
            text = ' / '.join(f'{share:.2f}'.lstrip('0') for share in found[column][kind])
            best = [max(shares) for shares in zip(*others, strict=True)]
            ahead = column != 'best_baseline' and all(mine > most for mine, most in zip(found[column][kind], best, strict=True))
            cells.append(f'**{text}**' if ahead else text)
        name = kind.replace('_', ' ')
        lines.append(f'| {KINDS.get(name, name)} | {" | ".join(cells)} |')
    return '\n'.join([*lines, ''])


def _by_kind(manifest, rival=''):
    """{kind: [recall at a minute, at five minutes]} of a model, or of what it was compared with."""
    kinds = [key.removesuffix(TOLD) for key in manifest.evaluation[MINUTE] if key.endswith(TOLD)]
    return {kind: [round(manifest.evaluation[name][kind + TOLD + rival], 2) for name in (MINUTE, FIVE)] for kind in kinds}


def record(paths):
    """Write what the manifests of released models say, one of each family without a shipped model."""
    from promlstm.engine import session

    found = {}
    for path in paths:
        manifest = session.load(path, prove=False).bundle.manifest
        found[manifest.family] = _by_kind(manifest)
    if missing := COLUMNS.keys() - SHIPPED.keys() - {'best_baseline'} - found.keys():
        raise SystemExit(f'docs/generate.py: --families: no model of {", ".join(sorted(missing))}')
    lines = [f'  {json.dumps(column)}: {json.dumps(found[column])}' for column in found]
    FAMILIES.write_text('{\n' + ',\n'.join(lines) + '\n}\n')


def threshold_at_1_per_week():
    """The surprise of one alarm per entity-week of one feature, at steps of one and of five minutes: '2.7 and 2.4'."""
    calibration = shipped().calibration
    return ' and '.join(f'{calibration.threshold(1.0, step_seconds=step, klass=0):.1f}' for step in (60, 300))


def per_entity():
    """What `check-config` prints as the memory of an entity with one feature."""
    from promlstm import config as configuration
    from promlstm.check import check

    lines, tree = [], {'prometheus': {'url': 'http://x'}, 'detectors': [{'name': 'x', 'expr': 'x'}]}
    check(configuration.parse(str(tree)), online=False, say=lines.append, width=None)
    return re.search(r'\d+\.\d+ KiB', '\n'.join(lines))[0]


SECTIONS = {'found': found_table, 'words': found_words, 'summary': summary, 'all': everything, 'families': families_table}
# {text before and after a number, with a group for each: what stands in between}
LINES = {
    r'(ONNX file of )\d+ KiB()': lambda: f'{shipped().size_bytes / 1024:.0f} KiB',
    r'(at\s+steps of one and five minutes, is )[\d. a-z]+?( in the shipped file)': threshold_at_1_per_week,
    r'(memory per entity with one feature \| )\d+\.\d+ KiB()': per_entity,
    r'(\| )\d+\.\d+ KiB( × entities × features)': per_entity,
    r'(an entity with one feature )\d+\.\d+ KiB( \(`promlstm check-config`\))': per_entity,
    r'(needs )\d+( samples before its first score)': lambda: str(shipped().manifest.warmup_steps),
    r'(of an entity needs )\d+( samples: )': lambda: str(shipped().manifest.warmup_steps),
}
