"""Model files and simple detectors over folders of labelled telemetry, and over synthetic faults: the command `benchmark`.

    python -m convert benchmark builtin:default --data DIR

    arguments → run       what is to be measured: models, their rules without LSTM, Parts of sets; all is read once before minutes are spent
    scoring               replays, in worker processes, one task for each Part and Source (a model, or the simple detectors)
    scorecard, mistakes   figures of a set, as soon as all its scores are there
    scoreboard, sheets    text, JSON, HTML; written anew after each set, so that an interruption loses nothing that is finished
"""

import contextlib
import functools
import io
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from convert import compare, files, places, progress, without_lstm, workers
from convert.data import labelled
from convert.errors import ConvertError
from convert.evaluation import gates, isolation_forest, mistakes, prophet_daily, recurrence, scoreboard, scorecard, scoring, sheets
from promlstm.engine import session as sessions


class BenchmarkError(ConvertError):
    """The benchmark cannot be run as asked for, or an entity makes more than its share of the false alarms."""


class Options(NamedTuple):
    """What the command line asks for; see arguments.py."""

    models: list
    data: Path
    sets: tuple = ()                # of names; empty = all there are
    out: Path | None = None         # a folder, or a file that ends in .html
    json: Path | None = None
    errors: bool = False
    recurring_counts: bool = False
    standing_seconds: float = 14_400.0
    most_by_one_entity: float | None = None
    processes: int | None = None    # None = as many as there are cores, four at most


def run(options, say, log):
    """Measure, and give each set's text to `say` when it is finished; returns the scoreboard.Board.

    say     function of a text for standard output
    log     function of a line of text: how far it is
    raises  PromlstmError, LabelledError; BenchmarkError at the end where an entity makes more than --most-by-one-entity
    """
    targets = _targets(options)
    parts = _parts(options)
    models = {name: sessions.load(sessions.resolve(name), threads=1) for name in dict.fromkeys(options.models)}
    with tempfile.TemporaryDirectory(prefix='promlstm-benchmark-') as folder:
        sources, notes = _sources(models, Path(folder), options, log)
        board = scoreboard.Board(
            models={name: each.bundle.sha256 for name, each in models.items()}, standing_seconds=options.standing_seconds, sets=[],
            notes=[*notes, *isolation_forest.missing(), *prophet_daily.missing()],
        )
        say(_text(scoreboard.preface(board)))
        bundles, drawn = {source.name: models[source.name].bundle for source in sources if source.name in models}, {}
        with _workers(_processes(options.processes)) as submit:
            for name, pending in [(name, _tasks(submit, sources, group, bundles, log)) for name, group in parts.items()]:
                one, drawn[name] = _set(name, pending, bundles, options)
                board.sets.append(one)
                say(scoreboard.text(one))
                _write(targets, board, drawn)
        if options.errors:
            say(_next(targets))
    if reasons := hogs(board, options.most_by_one_entity):
        raise BenchmarkError('\n  '.join([f'more than {options.most_by_one_entity:g} of the false alarms by one entity:', *reasons]))
    return board


def hogs(board, most):
    """A sentence for each set of which one entity makes more than a share of the first method's false alarms; most None = none."""
    out = []
    for one in board.sets if most is not None else ():
        card = one.cards[0]
        worst = gates.largest_share(card.false, one.about.entities, most)
        if worst and worst[2] > most:
            out.append(f'{one.about.name}: {worst[0]} makes {worst[1]:g} of {sum(card.false.values()):g} ({worst[2]:.0%}) of {card.method}')
    return out


def _next(targets):
    """What to do with the mistakes: a sentence."""
    pictures = f'{targets["html"]} has pictures of them' if 'html' in targets else '--out DIR draws them'
    return f'{pictures}; docs/how-to/benchmark.md#look-at-the-mistakes says how to go on.\n'


def _targets(options):
    """{kind: file to write}, each checked before anything takes minutes."""
    out = {'json': options.json} if options.json else {}
    if options.out and options.out.suffix == '.html':
        out['html'] = options.out
    elif options.out:
        files.folder(options.out)
        out |= {'html': options.out / 'benchmark.html', 'txt': options.out / 'benchmark.txt'} | {'json': options.json or options.out / 'benchmark.json'}
    for path in out.values():
        places.to_write(path)
    return out


def _parts(options):
    """{set: its Parts} in the order of --sets, else the folders in --data, then the synthetic sets; BenchmarkError where one is not there."""
    folders = {folder.name: folder for folder in labelled.sets(options.data)}
    made = {part.name: [part] for part in map(scoring.synthetic, compare.TELEMETRY)}
    if unknown := [name for name in options.sets if name not in folders and name not in made]:
        raise BenchmarkError(f'--sets {",".join(unknown)}: no such set in {options.data}: there is {", ".join([*folders, *made])}')
    return {name: made[name] if name in made else scoring.parts(folders[name]) for name in dict.fromkeys(options.sets or [*folders, *made])}


def _sources(models, folder, options, log):
    """(Sources in the order of the tables, sentences on what could not be had)."""
    out, notes = [], []
    for number, (name, session) in enumerate(models.items()):
        model = scoring.Source(name, 'model', str(sessions.resolve(name)), options.errors and number == 0, model=name)
        out.append(model)
        try:
            path = folder / f'{number}.onnx'
            without_lstm.make(session.bundle, path)
            out.append(model._replace(name=f'{name} without LSTM', role='without LSTM', path=str(path), drawn=False))
        except without_lstm.NoRule as error:
            notes.append(f'{name}: no row without LSTM: {error}')
        remembers = any(table.name == recurrence.TABLE for table in session.bundle.manifest.tables)
        if options.recurring_counts and remembers:
            out.append(model._replace(name=f'{name}, recurring counts', role='recurring counts', drawn=False, forgetful=True))
        elif options.recurring_counts:
            notes.append(f'{name}: no row in which recurring counts: it does not know what came on the days before')
    for note in notes:
        log(f'  {note}')
    return [*out, scoring.Source('simple detectors', 'baseline')], notes


class _Pending(NamedTuple):
    """Scores that are on their way: of a Part, [(Source, function that waits for its scoring.Scores)], and why some are left out."""

    part: scoring.Part
    scores: list
    notes: list


def _tasks(submit, sources, parts, bundles, log):
    out = []
    for part in parts:
        unfit = {source.name: scoring.unfit(bundles[source.name], part) for source in sources if source.name in bundles}
        left_out = {name for name, why in unfit.items() if why}
        fit = [source for source in sources if source.model not in left_out]
        notes = [f'  {name}, {part.name} at {part.step_seconds:g} s: left out: {why}' for name, why in unfit.items() if why]
        out.append(_Pending(part, [(source, submit(_scored, source, part, log)) for source in fit], notes))
    return out


def _scored(source, part, log=progress.say):
    """A task: runs in a worker process."""
    what = f'{part.name} at {part.step_seconds:g} s, {source.name}'
    prepared = scoring.prepare(part)
    show = functools.partial(progress.track, what=f'{what}: steps', total=len(prepared.times), log=log, stream=io.StringIO())
    begun = time.monotonic()
    found = scoring.score(source, part, prepared, show)
    log(f'  {what}: {time.monotonic() - begun:.0f} s')
    return found


def _set(name, pending, bundles, options):
    """(scoreboard.Set, HTML of its sheets) of a set, as soon as its scores are there."""
    series, recurring, judged, roles = [], [], {}, {}
    for part in pending:
        own = scoring.prepare(part.part).series
        found = [(source, scores()) for source, scores in part.scores]
        again = next(scores.recurring for _, scores in found if scores.recurring is not None)
        series += own
        recurring += [again[each.name] for each in own]
        for source, scores in found:
            for method, of in scores.methods.items():
                roles[method] = source.role
                judged.setdefault(method, []).extend(of[each.name] for each in own)
    methods = [
        scorecard.Method(method, roles[method], each, bundles[method].calibration if method in bundles else None)
        for method, each in judged.items() if len(each) == len(series)
    ]  # fmt: skip
    partly = [f'  {method}: left out: it cannot judge all entities' for method, each in judged.items() if len(each) < len(series)]
    about, cards, field = scorecard.cards(name, series, recurring, methods, options.standing_seconds)
    found, drawn = None, ''
    if options.errors:
        first = methods[0]
        views = bundles[first.name].manifest.views if first.name in bundles else ()
        found = mistakes.mistakes(cards[0], series, recurring, field, first.judged, views)
        drawn = _sheets(found, cards[0], {each.name: each for each in series}, {s.name: j for s, j in zip(series, methods[0].judged, strict=True)})
    return scoreboard.Set(about=about, cards=cards, mistakes=found, notes=[*(note for each in pending for note in each.notes), *partly]), drawn


def _sheets(found, card, series, judged):
    missed = sheets.sheet(found.missed, series, judged, card.threshold)
    false = sheets.sheet(found.false, series, judged, card.threshold, false=True)
    return f'<h3>Missed ({len(found.missed)})</h3>{missed}<h3>False alarms ({len(found.false)})</h3>{false}'


def _write(targets, board, drawn):
    """All files anew, each whole or not at all."""
    texts = {
        'json': lambda: scoreboard.encoded(board), 'html': lambda: scoreboard.page(board, drawn).encode(),
        'txt': lambda: '\n'.join([_text(scoreboard.preface(board)), *map(scoreboard.text, board.sets)]).encode(),
    }  # fmt: skip
    for kind, path in targets.items():
        with files.atomically(path) as draft:
            draft.write_bytes(texts[kind]())


def _text(sentences):
    return '\n'.join(sentences) + '\n'


def _processes(wanted):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1      # macOS has no affinity
    return wanted or min(4, cores)


@contextlib.contextmanager
def _workers(processes):
    """A function that starts a task and returns a function that waits for its result; on the way out of an error workers are ended."""
    if processes == 1:
        yield functools.partial
        return
    context = multiprocessing.get_context('spawn')      # a fork of a process with threads may hang
    pool = ProcessPoolExecutor(processes, context, workers.begin)
    try:
        yield lambda task, *arguments: functools.partial(_result, pool.submit(task, *arguments[:-1]))
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _result(future):
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise BenchmarkError('a worker process was killed, perhaps because memory ran out: try --processes 1') from error
