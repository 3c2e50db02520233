"""The exporter as a child process, for tests at its real edges."""

import re
import sys

import yaml
from servers import ROOT, Process, answers, free_port

RUNTIME = ROOT / '.venv/bin/python'  # what users install: no TensorFlow, no test tools
LIGHT = 'builtin:forecaster'  # the model of detectors that name none
HURRIED = """
import sys
from promlstm.incidents import members, spans
members.SCRAPE_SECONDS /= 60
spans.QUIET_SECONDS /= 60
from promlstm.__main__ import main
sys.exit(main())
"""


class Exporter(Process):
    """`promlstm run` with a configuration of these detectors, or with the presets among the arguments; ready when it serves, not when it has scored.

    Detectors that name no model have the light one, which starts from a few hundred steps.

    settings  more keys of the configuration
    hurried   incidents count seconds where they count minutes, as rules that paging.shortened made do
    """

    def __init__(self, directory, prometheus_url, detectors, *args, prometheus=None, settings=None, hurried=False, **options):
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / 'promlstm.yml'
        named = [{'model': LIGHT} | detector for detector in detectors]
        everything = {'prometheus': {'url': prometheus_url, **(prometheus or {})}, 'detectors': named, **(settings or {})}
        self.config.write_text(yaml.safe_dump(everything))
        self.address = f'127.0.0.1:{free_port()}'
        self.url = f'http://{self.address}'
        python = RUNTIME if RUNTIME.exists() else sys.executable
        source = [] if any(arg.startswith('--preset=') for arg in args) else [f'--config.file={self.config}']
        program = ['-c', HURRIED] if hurried else ['-m', 'promlstm']
        command = [python, *program, 'run', *source, f'--web.listen-address={self.address}', *args]
        super().__init__(command, answers(self.url + '/-/healthy'), log=directory / 'promlstm.log', **options)

    def scrape_config(self):
        """What README tells people to write, for this address."""
        (shown,) = re.findall(r'```yaml\n(scrape_configs:.*?)```', (ROOT / 'README.md').read_text(), re.DOTALL)
        (job,) = yaml.safe_load(shown)['scrape_configs']
        return {**job, 'static_configs': [{'targets': [self.address]}]}
