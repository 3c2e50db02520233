"""The command that puts faults to the real program: what it says of itself, and that a row which does not hold is a failure.

The faults themselves are tried by `make torture`, the short form of it in tests/test_accept.py.
"""

import subprocess
import sys

import pytest
from servers import ROOT
from torture.command import ExitStack, Run, World
from torture.faults import Fault, Impossible, Subject, subjects
from torture.rows import Attempt, table

SUBJECTS = subjects()


def torture(*args):
    return subprocess.run([sys.executable, 'tests/torture', *args], cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_fault_has_a_name_of_its_own():
    """A row of the table is found by its name, and no other has it."""
    names = [fault.name for subject in SUBJECTS for fault in subject.faults]
    assert len(names) == len(set(names)) > 100


def test_the_list_has_all_faults_below_their_subjects():
    """`--list` prints them and does nothing else; `--only` narrows it down."""
    printed = torture('--list').stdout.splitlines()
    assert printed == [line for subject in SUBJECTS for line in (subject.name, *(f'  {fault.name}' for fault in subject.faults))]
    assert torture('--list', '--only', 'gzip').stdout.splitlines() == ['transfers', '  gzip bomb']


@pytest.mark.parametrize(
    ('args', 'message'), [(['--only', 'nothing at all'], 'no fault has such a name'), (['--lanes', '0'], 'expected 1 or more')]
)
def test_wrong_usage_is_told(args, message):
    """With status 2, before a server is started."""
    done = torture(*args)
    assert done.returncode == 2 and message in done.stderr


def run(*faults, short=True):
    """The rows of a run of these faults, without servers."""

    class Nowhere(World):
        def opened(self):
            return ExitStack()

    subject = Subject('subject', lambda _world, _name: ExitStack(), faults)
    return Run(Nowhere('nowhere'), [(subject, faults)], short=short).all(1)


def fault(name, **attempt):
    return Fault(name, lambda _place: Attempt(**attempt), (1, 3))


@pytest.mark.parametrize(
    ('attempt', 'problem'),
    [
        ({'survived': False}, 'the process did not survive'),
        ({'seen': {'log': True, 'metric': False}}, 'the reason is not in metric'),
        ({'steps': [0.5, 99.0]}, '99.0 steps to recovery'),
        ({'compared': (40, 0.5)}, 'a score differs by 0.50 from that of the twin'),
        ({'problems': ['a traceback in the log']}, 'a traceback in the log'),
    ],
)
def test_what_does_not_hold_is_a_row_that_does_not(attempt, problem):
    """It is named below the table."""
    good, bad = run(fault('good', steps=[0.5], seen={'log': True}, compared=(40, 0.0)), fault('bad', **attempt))
    assert good.holds and not bad.holds and bad.problems == [problem]
    assert table([good, bad]).endswith(f'\nbad:\n  {problem}')


def test_an_exception_of_a_fault_is_a_row_that_does_not_hold():
    """And the others are tried all the same."""

    def broken(_place):
        raise TimeoutError('waited 60 s')

    bad, good = run(Fault('bad', broken, (1, 3)), fault('good'))
    assert bad.problems == ['TimeoutError: waited 60 s', 'the process did not survive'] and good.holds


def test_what_this_machine_cannot_do_is_said():
    """A row without tries, with the reason; it is no failure."""

    def impossible(_place):
        raise Impossible('no mount namespace')

    (row,) = run(Fault('names', impossible, (1, 3)))
    assert row.holds and row.cells()[-1] == 'not tried: no mount namespace'


def test_the_long_form_tries_more():
    """As often as the fault says."""
    assert [len(run(fault('x'), short=short)[0].attempts) for short in (True, False)] == [1, 3]
