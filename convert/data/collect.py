"""The data of a recipe, in order: fetch or import, incidents, quality; afterwards `load` reads it back from disk.

    data/DETECTOR-…/        telemetry (store)
    data/parts/0-of-5/…     telemetry that one of several processes has fetched, until it is put together with that of the others
    data/incidents.json     silences and alerts that any run has seen
    data/quality.json       what is wrong with it, and what was done; quality.txt the same for people

Who calls it: the command `fetch` and stages (`stage`), train and evaluate (`load`).
"""

import contextlib
import dataclasses
import shutil
from pathlib import Path

import msgspec

from convert.data import dataset, fetch, incidents, quality, spans, store, tables
from convert.data.spans import DataError
from promlstm import config as configuration
from promlstm.errors import PromlstmError
from promlstm.query.sources import Sources


class CollectError(DataError):
    """The data section asks for what is not there."""


def stage(path, data, work, *, log, part=None):
    """The stage `fetch`: `collect` into WORK/data, where the recipe has a data section; or what one of several processes does of it (parts.Part)."""
    if data is None:
        log('  the recipe has no data section: nothing to fetch, all is synthesised')
        return
    if part and part.number is not None:
        _fetch_part(path, data, Path(work) / 'data', part, log)
        return
    for each in collect(path, data, Path(work) / 'data', log=log, part=part):
        log(f'  detector {each.detector}: sha256 {each.digest()}')


def collect(path, data, folder, *, log, sources=None, part=None):
    """Fetch what a recipe's data section wants, and report its quality.

    path    of the recipe: relative files start at its folder
    data    recipe.Data
    folder  where telemetry is kept
    sources {name: anything with `instant` and `range`}; None = those of the configuration
    part    parts.Part without a number: what all parts have fetched is put together first, and is an error where something is lacking
    returns the Datasets, one a detector
    raises  DataError with the reason; what was fetched until then stays and is not fetched again
    """
    path, folder = Path(path), Path(folder)
    config, chosen = _config(path, data)
    sources = sources or Sources(config.named_sources, root=config.root)
    with store.locked(folder):
        asked = [detector for detector in chosen if detector.name not in data.files]
        if part:
            _put_together(config, asked, data.spans, folder, part, log)
        if asked:
            fetch.fetch(config, asked, data.spans, folder, sources=sources, log=log)
        for detector in chosen:
            if detector.name in data.files:
                tables.read(detector, _files(path, data, detector), folder, log=log)
        _incidents(path, data, config, chosen, folder, sources)
        found = [_open(path, data, config, detector, folder) for detector in chosen]
        pairs = zip(found, chosen, strict=True)
        reports = [quality.inspect(each, max_entities=detector.max_entities)[0] for each, detector in pairs]
        store.write(folder / 'quality.json', msgspec.json.format(msgspec.json.encode(reports), indent=1) + b'\n')
        store.write(folder / 'quality.txt', (quality.table(reports) + '\n').encode())
    log(quality.table(reports))
    return load(path, data, folder)


def _fetch_part(path, data, folder, part, log):
    """Fetch what is one part's own."""
    config, chosen = _config(Path(path), data)
    asked = [detector for detector in chosen if detector.name not in data.files]
    with store.locked(part.folder(folder)):
        fetch.fetch(config, asked, data.spans, folder, sources=Sources(config.named_sources, root=config.root), log=log, part=part)


def _put_together(config, asked, wanted, folder, whole, log):
    """Take over what all parts have fetched; CollectError naming the parts that have not fetched all of theirs, and then nothing has changed."""
    there = [each for each in whole.all() if each.folder(folder).exists()]
    with contextlib.ExitStack() as stack:
        for each in there:
            stack.enter_context(store.locked(each.folder(folder)))
        lacking = {each: [one.name for one in asked if any(fetch.lacking(config, one, wanted, folder, each).values())] for each in whole.all()}
        if missing := {each: names for each, names in lacking.items() if names}:
            why = ''.join(f'\n  part {each}: {", ".join(names)}' for each, names in missing.items())
            raise CollectError(f'{folder}: {len(missing)} of {whole.of} parts are not completely fetched; run them, then run this again:{why}')
        for detector in asked:
            target = store.Store(folder, fetch.about(config, detector))
            target.prepare()
            for one in [store.Store(each.folder(folder), target.about) for each in there]:
                target.take(one)
                shutil.rmtree(one.folder, ignore_errors=True)
    log(f'  {whole.of} parts put together')


def load(path, data, folder):
    """The Datasets of what was collected, one a detector in the order of the recipe; DataError where something is missing."""
    path, folder = Path(path), Path(folder)
    config, chosen = _config(path, data)
    reports = {each.detector: each for each in reports_of(folder)}
    out = []
    for detector in chosen:
        found = _open(path, data, config, detector, folder)
        wanted = spans.wanted(data.spans, detector.step, 0)['fine']
        if detector.name not in reports or (detector.name not in data.files and spans.without(wanted, found.store.covered('fine'))):
            raise CollectError(f'detector {detector.name!r}: {found.store.folder} does not have all of its spans: run fetch first')
        dropped = frozenset(name.encode() for name in reports[detector.name].dropped)
        out.append(dataclasses.replace(found, dropped=dropped))
    return out


def reports_of(folder):
    """The quality.Reports of what was collected, for the model card; CollectError where there are none."""
    file = Path(folder) / 'quality.json'
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[quality.Report])
    except (OSError, msgspec.DecodeError) as error:
        raise CollectError(f'{file}: cannot be read: {error}: run fetch first') from error


def _config(path, data):
    """(Config, the Detectors that the recipe wants)."""
    file = path.parent / data.config
    try:
        config = configuration.load(file)
    except PromlstmError as error:
        raise CollectError(f'{path}: data.config: {error}') from error
    known = {detector.name: detector for detector in config.detectors}
    for key, names in (('detectors', data.detectors), ('files', tuple(data.files))):
        if unknown := [name for name in names if name not in known]:
            raise CollectError(f'{path}: data.{key}: {unknown[0]!r} is not a detector of {file}, which has {", ".join(known)}')
    return config, [known[name] for name in data.detectors or known]


def _files(path, data, detector):
    return [path.parent / name for name in data.files[detector.name]]


def _incidents(path, data, config, chosen, folder, sources):
    """Read silences and alerts, and add them to those of earlier runs."""
    found, exclude = [], data.exclude
    if exclude.silences:
        found += incidents.silences(exclude.silences, path.parent)
    if exclude.alerts:
        known = [name for name, each in config.named_sources.items() if each.kind == 'prometheus']
        name = exclude.alerts.source or next(iter(sorted(known, key=lambda name: name != configuration.DEFAULT_SOURCE)), '')
        if name not in known:
            raise CollectError(f'data.exclude.alerts: source: {name!r} is not a source of the kind prometheus, which has past alerts')
        try:
            found += incidents.alerts(exclude.alerts, data.spans, max(detector.history for detector in chosen), sources[name])
        except PromlstmError as error:
            raise CollectError(f'data.exclude.alerts: {error}') from error
    incidents.save(folder / 'incidents.json', found)


def _open(path, data, config, detector, folder):
    """A Dataset without anything dropped."""
    about = tables.about(detector, _files(path, data, detector)) if detector.name in data.files else fetch.about(config, detector)
    exclusions = incidents.applied(data.exclude, incidents.load(folder / 'incidents.json'))
    labelled = tuple(incidents.by_hand(data.labels, 'labels'))
    zero = float(detector.forget) if detector.absent == 'zero' else 0.0
    return dataset.Dataset(store.Store(folder, about), data.spans, detector.history, exclusions, labelled=labelled, zero_seconds=zero)
