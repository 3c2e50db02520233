"""What a configuration costs and what a model is, in words. For `check-config` and `check-model`.

Who calls it: __main__. What flows through: a Config or a Session; out go lines of text. It steps no detector.
"""

from promlstm.engine.detector import Detector
from promlstm.engine.entities import Entities
from promlstm.engine.session import load, resolve
from promlstm.errors import PromlstmError, SourceUnavailable
from promlstm.query.prometheus import Prometheus
from promlstm.query.selector import bare_counter

LABEL_BYTES = 2300  # of an entity: identity, tables, exposition text, the step at work (python -m bench memory prints it)


def check(config, *, online, say):
    """Say what each detector is, needs and costs; True where the exporter can run with it.

    online  try the expressions on Prometheus
    say     called with each line
    """
    source = Prometheus(config.prometheus, root=config.root)
    reachable = online and _reachable(source, say)
    good = True
    for detector in config.detectors:
        good &= _check_detector(config, detector, source if reachable else None, say)
    return good


def _reachable(source, say):
    try:
        version = source.build().get('version', 'of unknown version')
    except PromlstmError as error:
        say(f'prometheus: {error}; expressions are not tried')
        return False
    say(f'prometheus: reachable, {version}')
    return True


def _check_detector(config, detector, source, say):
    try:
        session = load(resolve(detector.model, config.root), sha256=detector.sha256)
        floor = session.bundle.calibration.floor(detector.step)
        live = Detector(detector, session, source)
    except PromlstmError as error:
        say(f'{detector.name}: {error}')
        return False
    bundle, features = session.bundle, len(detector.queries)
    per_entity = bundle.state_bytes(features) + bundle.season_bytes(features) + LABEL_BYTES
    say(
        f'{detector.name}: {features} {"query" if features == 1 else "queries"} every {detector.step:g} s, model {bundle.manifest.name} ({bundle.sha256[:12]})'
    )
    say(
        f'  memory: {per_entity / 1000:.1f} kB per entity; '
        f'history at start: {bundle.manifest.replay_steps} steps, and {detector.history / 86400:g} days of coarse samples'
    )
    say(f'  budget: {detector.false_alarms}; the calibration reaches down to {floor:.3g} alarms per entity-week')
    for name, expr in detector.queries.items():
        if counter := bare_counter(expr):
            say(f'  warning: {_key(name)} looks like a counter ({counter} without rate): ask for rate(…)')
    return source is None or _try(detector, live, source, per_entity, floor, say)


def _key(feature):
    return f'features.{feature}' if feature else 'expr'


def _try(detector, live, source, per_entity, floor, say):
    """Ask each expression once; a rejected one is an error, an empty result is worth a warning: it may fill later."""
    import time

    table = Entities(len(detector.queries), detector.by or None, detector.max_entities)
    try:
        answers = [source.instant(expr, time.time() - detector.delay) for expr in detector.queries.values()]
        table.commit(table.place([vector.keys for vector in answers]), time.time())
    except SourceUnavailable as error:
        say(f'  not tried: {error}')
        return True
    except PromlstmError as error:
        say(f'  {error}')
        return False
    for warning in (text for vector in answers for text in vector.warnings):
        say(f'  warning of the query API: {warning}')
    for name, vector in zip(detector.queries, answers, strict=True):
        if not vector.keys:
            say(f'  warning: {_key(name)} returns no series now: nothing {"of it " if name else ""}would be scored')
    entities = len(table)
    say(f'  now: {entities} entities, {entities * per_entity / 1e6:.1f} MB of memory')
    wanted = detector.false_alarms.per_entity_week(entities)
    if wanted < floor:
        say(
            f'  budget: shared among {entities} entities it is {wanted:.3g} per entity-week, '
            f'below the floor: up to {floor * entities:.3g} alarms a week in all may be false'
        )
    return True


def card(session):
    """The model card of a session whose proof was verified, as text."""
    bundle = session.bundle
    manifest, calibration, proof = bundle.manifest, bundle.calibration, bundle.proof
    any_number = manifest.features is None
    each = 1 if any_number else len(manifest.features)
    rows = {
        'model': manifest.name,
        'what': manifest.description,
        'family': manifest.family,
        'file': f'{bundle.source} ({bundle.size_bytes / 1e6:.2f} MB)',
        'sha256': bundle.sha256,
        'created': manifest.created,
        'features': 'any number' if any_number else ', '.join(manifest.features),
        'steps': f'{manifest.step_seconds[0]:g} s to {manifest.step_seconds[1]:g} s',
        'memory': f'{bundle.state_bytes(each)} bytes of state, {bundle.season_bytes(each)} of season, per entity'
        + (' and feature' if any_number else ''),
        'warm-up': f'{manifest.warmup_steps} samples; {manifest.replay_steps} steps of history are replayed at a start',
        'season': f'{manifest.season_slots} slots of {manifest.season_period_seconds / 86400:g} days' if manifest.season_slots else 'none',
        'views': ', '.join(manifest.views) or 'none',
        'trained on': _training(manifest.training),
        'made with': ', '.join(f'{name} {version}' for name, version in sorted(manifest.tools.items())),
        'calibration': f'{calibration.status}: {calibration.source}, {calibration.entity_weeks:.0f} entity-weeks',
        'proof': f'verified here: {proof.inputs["value"].shape[0]} steps, relative tolerance {proof.relative_tolerance:g} ({proof.reason})',
    }
    lines = [f'{name:12} {text}' for name, text in rows.items()]
    for name, figures in manifest.evaluation.items():
        lines.append(f'{"evaluation":12} {name}: ' + ', '.join(f'{measure} {value:.4g}' for measure, value in figures.items()))
    return '\n'.join(lines)


def _training(training):
    return (
        f'{training.data}; {training.entity_steps} samples in {training.seconds:.0f} s, '
        f'seed {training.seed}, data {training.digest[:12]}, recipe {training.recipe[:12]}'
    )
