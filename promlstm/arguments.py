"""The commands of the command line and their flags, with the texts of `--help`.

Who calls it: __main__, with the function of each command. Flags are written as Prometheus writes them (`--config.file=…`). What is wrong with
flags beside each other is a usage error here, before anything is read.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promlstm import __version__, logs
from promlstm.durations import seconds

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Command = Callable[[argparse.Namespace], int]
CHECKPOINT_SECONDS = 300.0
CONNECTIONS = 512
LISTEN = ':19855'  # outside 9100-9999, which is allocated to other exporters in full


def parse(argv: Sequence[str], commands: Mapping[str, Command]) -> argparse.Namespace:
    """The arguments of one command; SystemExit with status 2 where they are wrong or there is none.

    commands  {name: function}; that of the chosen one is `command` of what is returned
    """
    parser = _parser(commands, demo='demo' in argv[:1])
    args = parser.parse_args(argv)
    if not args.command:
        parser.print_help()
        raise SystemExit(2)
    if 'preset' in args:
        _check_sources(parser, args)
    if 'storage_path' in args:
        if args.checkpoint_interval and not args.storage_path:
            parser.error('--storage.checkpoint-interval is for --storage.path only: without a folder nothing is written')
        args.checkpoint_interval = args.checkpoint_interval or CHECKPOINT_SECONDS
    if getattr(args, 'enable_actions', False) and not args.ui:
        parser.error('--web.enable-actions is for the pages, which --web.ui=false turns off')
    if 'shard' in args:
        _check_shards(parser, args)
    if getattr(args, 'incidents', False) and args.format == 'openmetrics':
        parser.error('--incidents is for --format=table, json and html: a file of scores cannot have them')
    return args


def _check_sources(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Presets and a file exclude each other, and so do flags of the one beside the other; none of them may be without effect."""
    if args.preset and args.config_file:
        parser.error(f'--preset and the configuration file {args.config_file}: give one of them; a preset is used instead of a file')
    for flag, value in (('--prometheus.url', args.prometheus_url), ('--preset.without', args.preset_without)):
        if value and not args.preset:
            parser.error(f'{flag} is for --preset only: a configuration file names the Prometheus and the detectors itself')
    args.config_file = args.config_file or 'promlstm.yml'


def _check_shards(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """What belongs to `--shard` stands beside it only."""
    for flag, value in (('--shard.replicas', args.shard_replicas), ('--shard.previous', args.shard_previous)):
        if value is not None and not args.shard:
            parser.error(f'{flag} is for --shard only: without it the process has all detectors')
    if args.shard_replicas is not None and not args.shard.startswith('auto/'):
        parser.error(f'--shard.replicas is for --shard=auto/SHARDS only: --shard={args.shard} contains the number')
    args.shard_replicas = args.shard_replicas or 1


def _parser(functions: Mapping[str, Command], *, demo: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        'promlstm',
        description='LSTM anomaly detection for people who run Prometheus.',
        epilog='examples:\n  promlstm demo\n  promlstm run --preset=node --prometheus.url=http://localhost:9090\n'
        '  promlstm COMMAND --help\n',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'promlstm {__version__}')
    parser.set_defaults(command=None, log_level='info', log_format='logfmt')
    commands = parser.add_subparsers(metavar='COMMAND')
    _add_run(commands, functions['run'])
    _add_demo(commands, functions['demo'], demo)
    _add_presets(commands, functions['presets'])
    _add_check_config(commands, functions['check-config'])
    _add_check_web_config(commands, functions['check-web-config'])
    _add_check_model(commands, functions['check-model'])
    _add_backtest(commands, functions['backtest'])
    return parser


def _add(
    commands: 'Commands', name: str, command: Command, *, summary: str, description: str, examples: Sequence[str]
) -> argparse.ArgumentParser:
    """Add a command to the parser, with the flags that all commands have."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog='\n  '.join(['examples:', *examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--log.level', dest='log_level', choices=list(logs.LEVELS), default='info', help='lowest level to log (default: info)')
    parser.add_argument(
        '--log.format', dest='log_format', choices=('logfmt', 'json'), default='logfmt', help='format of log lines (default: logfmt)'
    )
    parser.set_defaults(command=command)
    return parser


def _add_config_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--config.file', dest='config_file', type=_config_file, metavar='FILE', help='configuration file (default: promlstm.yml)'
    )
    _add_preset(parser)


def _add_preset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--preset', action='append', metavar='NAME', help='use ready-made detectors instead of a file, see `promlstm presets`; repeatable'
    )
    parser.add_argument(
        '--preset.without', dest='preset_without', action='append', metavar='DETECTOR', help='a detector of the presets to leave out; repeatable'
    )
    parser.add_argument(
        '--prometheus.url', dest='prometheus_url', metavar='URL', help='the Prometheus that presets query (default: http://localhost:9090)'
    )


def _add_run(commands: 'Commands', command: Command) -> None:
    parser = _add(
        commands,
        'run',
        command,
        summary='query Prometheus, score every entity, serve the scores as metrics',
        description='Run the detectors of a configuration against Prometheus and serve the results on /metrics.\n\n'
        'A minimal configuration:\n\n'
        '  prometheus:\n    url: http://localhost:9090\n  detectors:\n    - name: node_cpu\n'
        '      expr: 1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))\n      direction: above\n\n'
        'Scrape it with honor_labels: true. Otherwise entities lose their own job and instance labels.',
        examples=[
            'promlstm run --config.file=promlstm.yml', 'promlstm run --preset=node --preset=prometheus --prometheus.url=http://prometheus:9090',
            'promlstm run --config.file=promlstm.yml --shard=0/5',
        ],
    )
    _add_config_file(parser)
    parser.add_argument(
        '--web.listen-address', dest='listen', default=LISTEN, metavar='HOST:PORT', help=f'address to serve on (default: {LISTEN})'
    )
    parser.add_argument(
        '--web.config.file', dest='web_config_file', metavar='FILE', help='TLS, client certificates and passwords of the server (default: none)'
    )
    parser.add_argument(
        '--web.external-url', dest='external_url', metavar='URL', help='URL under which a proxy serves it; its path is the default of --web.route-prefix'
    )
    parser.add_argument(
        '--web.route-prefix', dest='route_prefix', metavar='PATH', help='prefix of all paths (default: the path of --web.external-url, else none)'
    )
    parser.add_argument(
        '--web.ui', dest='ui', type=_switch, default=True, metavar='BOOL', help='serve web pages beside /metrics (default: true)'
    )
    parser.add_argument(
        '--web.enable-actions', dest='enable_actions', action='store_true',
        help='let people run what-if replays and make silences in Alertmanager from the pages (default: no)',
    )  # fmt: skip
    parser.add_argument(
        '--web.grafana-url', dest='grafana_url', type=_address, metavar='URL', help='Grafana that pages link to, its dashboards and Explore (default: none)'
    )
    parser.add_argument(
        '--web.runbook-url', dest='runbook_url', type=_address, metavar='URL', help='folder in which you publish runbook.md, for links to it (default: none)'
    )
    parser.add_argument(
        '--web.enable-lifecycle', dest='enable_lifecycle', action='store_true', help='let POST /-/reload read the configuration again (default: no)'
    )
    parser.add_argument(
        '--web.max-connections', dest='max_connections', type=_places, default=CONNECTIONS, metavar='N',
        help=f'maximum number of open connections; one more closes the one that was idle for longest (default: {CONNECTIONS})',
    )  # fmt: skip
    parser.add_argument(
        '--web.max-connections-per-client', dest='max_connections_per_client', type=_places, metavar='N',
        help='the same per client address; behind a proxy all clients share one address (default: half of --web.max-connections)',
    )  # fmt: skip
    parser.add_argument(
        '--shard', type=_shard, metavar='NUMBER/SHARDS',
        help='run one of several parts, such as 0/5 to 4/5; auto/5 takes the number from the name of a StatefulSet pod (default: everything)',
    )  # fmt: skip
    parser.add_argument(
        '--shard.replicas', dest='shard_replicas', type=_count, metavar='N', help='with auto: number of pods that run the same part (default: 1)'
    )
    parser.add_argument(
        '--shard.previous', dest='shard_previous', type=_count, metavar='SHARDS',
        help='while the number of shards changes: the previous number; its part is run, too (default: none)',
    )  # fmt: skip
    parser.add_argument(
        '--storage.path', dest='storage_path', metavar='FOLDER', help='folder that keeps memory over a restart (default: none, memory is built from history)'
    )
    parser.add_argument(
        '--storage.checkpoint-interval', dest='checkpoint_interval', type=_interval, metavar='DURATION',
        help='how often memory is written there; it is also written at a clean stop (default: 5m)',
    )  # fmt: skip


def _config_file(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError('is empty; expected the path of a configuration file')
    return text


def _switch(text: str) -> bool:
    if text not in ('true', 'false'):
        raise argparse.ArgumentTypeError(f'expected true or false, got {text!r}')
    return text == 'true'


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ('http', 'https') and bool(parts.hostname) and not parts.query and not parts.fragment and parts.username is None
    except ValueError:
        good = False
    if not good:
        raise argparse.ArgumentTypeError('expected http://HOST/PATH or https://HOST/PATH, without a user, a query and a fragment')
    return text


def _places(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 8 <= int(text) <= 65536:
        raise argparse.ArgumentTypeError(f'expected a number from 8 to 65536, got {text!r}')
    return int(text)


def _shard(text: str) -> str:
    from promlstm.live.shards import parsed

    try:
        parsed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f'expected a number from 1 to 1000, got {text!r}')
    return int(text)


def _interval(text: str) -> float:
    try:
        value = seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if value <= 0:
        raise argparse.ArgumentTypeError(f'expected more than 0, got {text!r}')
    return value


def _add_demo(commands: 'Commands', command: Command, wanted: bool) -> None:
    parser = _add(
        commands,
        'demo',
        command,
        summary='see it work on built-in telemetry, without a Prometheus',
        description='Run the exporter against built-in telemetry of a small fleet: hours pass in minutes, and injected faults have to be found.',
        examples=['promlstm demo', 'promlstm demo --for=20s --plain', 'promlstm demo --print-config > promlstm.yml'],
    )
    if wanted:  # an exporter does not load what only the demo needs
        from promlstm.demo.run import arguments

        arguments(parser)


def _add_presets(commands: 'Commands', command: Command) -> None:
    _add(
        commands,
        'presets',
        command,
        summary='list the ready-made detectors and how each was tested',
        description='List the presets: what each watches, which exporter it needs, and what it was tested on.',
        examples=['promlstm presets', 'promlstm run --preset=node --preset=prometheus --prometheus.url=http://localhost:9090'],
    )


def _add_check_config(commands: 'Commands', command: Command) -> None:
    parser = _add(
        commands,
        'check-config',
        command,
        summary='validate a configuration and show what it costs',
        description='Read a configuration, load its models and show what it costs. If Prometheus can be reached, its expressions are tried.\n'
        'Exit status 1 if the exporter could not run with it. That Prometheus cannot be reached is only reported.\n\n'
        'Columns:\n\n'
        '  QUERIES     expressions that each step sends to Prometheus\n'
        '  STEP        time between two steps\n'
        '  MODEL       name of the model, from its manifest\n'
        '  PER ENTITY  memory of one entity\n'
        '  BUDGET      false alarms that are acceptable, `each` entity or `in all`\n'
        '  FLOOR       lowest budget that the model is calibrated for, false alarms per entity-week\n'
        '  ENTITIES    entities that the expressions return now (with Prometheus)\n'
        '  MEMORY      memory of all these entities (with Prometheus)\n'
        '  FIRST SCORE AFTER      how long an entity without history waits for its first score\n'
        '  HISTORY READ AT START  what a start asks Prometheus for; the seasonal memory is filled from coarse samples',
        examples=['promlstm check-config promlstm.yml', 'promlstm check-config --preset=node --prometheus.url=http://prometheus:9090'],
    )
    parser.add_argument('config_file', nargs='?', type=_config_file, metavar='FILE', help='configuration file (default: promlstm.yml)')
    _add_preset(parser)
    parser.add_argument('--offline', action='store_true', help='do not query Prometheus')
    parser.add_argument('--shards', type=_count, metavar='SHARDS', help='show how detectors and entities would be divided among this number of shards')


def _add_check_web_config(commands: 'Commands', command: Command) -> None:
    parser = _add(
        commands,
        'check-web-config',
        command,
        summary='validate a web configuration file, with its certificates and keys',
        description='Read the file of --web.config.file and all that it names. It has the format of the Prometheus ecosystem.\n'
        'Exit status 1 if the exporter could not serve with it.',
        examples=['promlstm check-web-config web.yml'],
    )
    parser.add_argument('web_config_file', metavar='FILE', help='web configuration file')


def _add_check_model(commands: 'Commands', command: Command) -> None:
    parser = _add(
        commands,
        'check-model',
        command,
        summary="verify a model file and print its model card",
        description='Read a model file, verify on this machine that it computes the numbers it was made with, and print its card:\n'
        'what it is, the surprise that each budget of false alarms allows, and its measures beside a model without LSTM and the best baseline.',
        examples=['promlstm check-model builtin:default', 'promlstm check-model models/own.onnx --sha256=DIGEST'],
    )
    parser.add_argument('model', metavar='FILE', help='a model file, or builtin:default')
    parser.add_argument('--sha256', help='the digest that the file must have')


def _add_backtest(commands: 'Commands', command: Command) -> None:
    parser = _add(
        commands,
        'backtest',
        command,
        summary='list the alarms that the detectors would have raised in the past',
        description='Replay history from Prometheus through the detectors of a configuration and list the anomalies.\n\n'
        'To see past scores in Prometheus itself:\n\n'
        '  promlstm backtest --from=-2d --format=openmetrics --output=scores.om\n'
        '  promtool tsdb create-blocks-from openmetrics scores.om DATA_DIR',
        examples=[
            'promlstm backtest --from=-2d', 'promlstm backtest --from=-2d --incidents', 'promlstm backtest --from=-7d --format=html --output=report.html',
            'promlstm backtest --from=2026-01-30T00:00:00Z --to=2026-01-31T00:00:00Z --detector=node_cpu --format=json',
        ],
    )
    _add_config_file(parser)
    parser.add_argument(
        '--from', dest='start', default='-1d', metavar='TIME', help='begin: -2d, unix seconds, or 2026-01-31T12:00:00Z (default: -1d)'
    )
    parser.add_argument('--to', dest='end', default='now', metavar='TIME', help='end, written the same way, or now (default: now)')
    parser.add_argument('--detector', action='append', metavar='NAME', help='replay only this detector; repeatable')
    parser.add_argument(
        '--format', choices=('table', 'json', 'html', 'openmetrics'), default='table', help='output format; html is one file with charts (default: table)'
    )
    parser.add_argument('--incidents', action='store_true', help='list the incidents of all these detectors together, with their likeliest causes')
    parser.add_argument('--output', metavar='FILE', help='write to a file instead of standard output')
