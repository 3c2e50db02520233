"""The command line of the torture, and the run of all faults that were chosen."""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import servers

from torture.faults import Impossible, subjects
from torture.rows import Attempt, Row, table
from torture.world import Stopped, World

ABOUT = """\
Each fault is put to a real `promlstm run` that asks a real Prometheus, by way of a proxy that strikes its answers. Detectors at steps of 2 and
5 s ask for a series that is struck, others for one that is not. Meanwhile all pages of /metrics are read as a fast Prometheus would.
"""
COLUMNS = """\
columns of the table:
  tries              how often the fault was tried
  survived           how often the process lived, or ended as it should
  steps to recovery  from the end of the fault until fresh scores: least / median / most, in steps of the detector
  reason in          where the reason of the fault was seen: /-/ready, log, metric (a counter, and promlstm_detector_up), message
  same scores        whether the scores afterwards equal those of an undisturbed twin, and how many were compared; - = does not apply
  holds              whether all is as promised: no old or foreign score on any page, other detectors on time, no traceback, and the above

examples:
  make torture ARGS=--short              each fault once, in minutes; part of `make accept`
  make torture                           each fault up to five times, in half an hour
  make torture ARGS='--only bomb'        faults with a word in their name; repeatable
  make torture ARGS=--list               the names

exit status: 0 all rows hold, 1 one does not or the run was interrupted, 2 wrong usage
"""


def main(argv=None):
    """Run what is asked for; returns the exit status."""
    parser = argparse.ArgumentParser(
        'python tests/torture', description=ABOUT, epilog=COLUMNS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--short', action='store_true', help='each fault once')
    parser.add_argument(
        '--only', action='append', metavar='NAME', help='only faults whose name, or whose subject, contains this; repeatable'
    )
    parser.add_argument('--list', action='store_true', help='print the names of all faults by subject, and do nothing')
    parser.add_argument('--lanes', type=int, default=6, metavar='N', help='how many exporters are struck at the same time (default: 6)')
    parser.add_argument('--keep', action='store_true', help='keep the folder with configurations and logs, and print its name')
    args = parser.parse_args(argv)
    chosen = [(subject, faults) for subject in subjects() if (faults := selected(subject, args.only))]
    if args.list:
        for subject, faults in chosen:
            print(subject.name, *(f'  {fault.name}' for fault in faults), sep='\n')
        return 0
    if not chosen:
        parser.error(f'--only={" --only=".join(args.only)}: no fault has such a name; --list prints them')
    if args.lanes < 1:
        parser.error('--lanes: expected 1 or more')
    if missing := [name for name in ('prometheus', 'promtool') if not os.access(servers.TOOLS / name, os.X_OK)]:
        print(f'torture: {" and ".join(missing)} missing in {servers.TOOLS}: make tools', file=sys.stderr)
        return 1
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts it in the background ignores it
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with ExitStack() as stack:
        folder = (
            tempfile.mkdtemp(prefix='promlstm-torture-')
            if args.keep
            else stack.enter_context(tempfile.TemporaryDirectory(prefix='promlstm-torture-'))
        )
        try:
            rows = Run(World(folder), chosen, short=args.short).all(args.lanes)
        except KeyboardInterrupt:
            print('torture: interrupted, all processes are ended', file=sys.stderr)
            return 1
        finally:
            servers.stop_all()
    print(table(rows))
    if args.keep:
        print(f'\nconfigurations and logs: {folder}')
    held = sum(row.holds for row in rows)
    print(f'\n{held} of {len(rows)} rows hold')
    return 0 if held == len(rows) else 1


def selected(subject, words):
    """The faults of a subject that one of the words is in the name of, or of the subject; without words all."""
    return [fault for fault in subject.faults if not words or any(word in fault.name or word == subject.name for word in words)]


class Run:
    """All faults that were chosen, dealt out to lanes."""

    def __init__(self, world, chosen, *, short):
        self.world, self.short = world, short
        self.rows = {fault.name: Row(fault.name) for _, faults in chosen for fault in faults}
        self.jobs = [
            (subject, f'{subject.name}-{lane}', faults[lane :: subject.lanes])
            for subject, faults in chosen
            for lane in range(min(subject.lanes, len(faults)))
        ]
        self._done, self._lock, self._began = 0, threading.Lock(), time.monotonic()

    def all(self, lanes):
        """Run it; gives the rows."""
        self.say(f'{len(self.rows)} faults in {len(self.jobs)} lanes, {lanes} at a time; starting Prometheus and the undisturbed twin')
        with self.world.opened(), ThreadPoolExecutor(lanes, 'lane') as pool:
            try:
                for future in [pool.submit(self.lane, *job) for job in self.jobs]:
                    future.result()
            except BaseException:
                self.say('ending all processes, which may take half a minute')
                self.world.stopping.set()
                pool.shutdown(cancel_futures=True)
                raise
        return list(self.rows.values())

    def lane(self, subject, name, faults):
        """One lane: opened, and its faults one after the other."""
        try:
            with subject.open(self.world, name) as place:
                for fault in faults:
                    row = self.rows[fault.name]
                    for number in range(fault.tries[0 if self.short else 1]):
                        self.attempt(row, fault, place, number)
                    self.finished(row)
        except Stopped:
            pass
        except Exception as error:  # noqa: BLE001 (one lane that cannot be opened must not hide the others)
            for fault in faults:
                row = self.rows[fault.name]
                if not row.attempts and not row.skipped:
                    self.failed(row, error)
                    self.finished(row)

    def attempt(self, row, fault, place, number):
        """One try; what goes wrong in our own code is a row that does not hold."""
        try:
            row.attempts.append(fault.attempt(place))
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 (the others are tried all the same)
            self.failed(row, error)

    def failed(self, row, error):
        """Note an exception: a machine that cannot do it, or a fault that ended otherwise than it should."""
        if isinstance(error, Impossible):
            row.skipped = str(error)
        else:
            notes = '\n'.join(getattr(error, '__notes__', ())).splitlines()[-3:]
            row.attempts.append(Attempt(survived=False, problems=[f'{type(error).__name__}: {error}', *notes]))

    def finished(self, row):
        """Say how far it is."""
        with self._lock:
            self._done += 1
            outcome = f'not tried: {row.skipped}' if row.skipped else 'holds' if row.holds else 'DOES NOT HOLD'
            self.say(f'{self._done}/{len(self.rows)}  {row.fault}: {outcome}')

    def say(self, text):
        """Progress, with the time since the start."""
        if not self.world.stopping.is_set():
            passed = int(time.monotonic() - self._began)
            print(f'{passed // 60}:{passed % 60:02d}  {text}', file=sys.stderr, flush=True)
