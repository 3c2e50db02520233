"""The exporter of `promlstm run` on a clock that is faster than life: `python -m pictures.exporter CONFIG ADDRESS START BEGAN SPEED`.

It is a process of its own, so that its memory and CPU are the exporter's alone. START is an instant of the fleet (unix seconds), BEGAN
the reading of the machine's monotonic clock then, which all processes share.
"""

import signal
import sys
import time

from promlstm import config, logs
from promlstm.demo.exporter import Exporter
from promlstm.live.clock import Clock


def clock(start, began, speed):
    """Seconds of the fleet, the same in every process."""
    return Clock(start=start + (time.monotonic() - began) * speed, speed=speed)


def main(config_file, address, start, began, speed):
    """Run until SIGTERM."""
    logs.setup('info', 'logfmt')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Exporter(config.load(config_file), clock(float(start), float(began), float(speed)), address, lambda *_: None) as exporter:
        exporter.telemetry.set('promlstm_config_last_reload_successful', 1)  # what `run` does besides
        exporter.telemetry.set('promlstm_config_last_reload_success_timestamp_seconds', float(start))
        exporter.telemetry.set('promlstm_web_config_last_reload_successful', 1)
        while True:
            signal.pause()


if __name__ == '__main__':
    main(*sys.argv[1:])
