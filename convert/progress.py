"""How far a long run is: a bar on a terminal, a plain line now and then where there is none.

    for batch in progress.track(batches, 'batches', log=log):
        ...

Who calls it: whatever takes minutes (fetch, training, replay). `log` is the function of a line of text that every stage gets; the command
line's is `say`, which writes above a bar. tqdm draws the bars; it comes with the extra `train`, and without it there are plain lines only.
"""

import contextlib
import sys
import time

EVERY_SECONDS = 10.0        # between two plain lines


def track(items, what, *, log, total=None, stream=None, now=time.monotonic):
    """Yield the items one by one and show how many of them are done.

    items   any iterable
    what    what is counted, for people: 'chunks', 'training windows'
    log     function of a line of text; it gets a line each EVERY_SECONDS at most where the stream is no terminal
    total   number of items; None = their len, or unknown
    stream  where a bar is drawn; None = standard error
    now     clock in seconds

    >>> import io
    >>> clock = iter([0, 4, 12, 13])
    >>> list(track('abc', 'letters', log=print, stream=io.StringIO(), now=lambda: next(clock)))
      letters: 2 of 3, about 6 s left
    ['a', 'b', 'c']
    """
    stream = stream or sys.stderr
    total = len(items) if total is None and hasattr(items, '__len__') else total
    bar = bars(stream)
    if bar:
        return bar(items, f'  {what}', total, leave=False, file=stream, dynamic_ncols=True)
    return _lines(items, what, total, log, now)


def say(text, stream=None):
    """Write a line (to standard error by default), above the bar where one is shown.

    A line that cannot be written, since the disk of a log is full or its reader has gone, is lost: it is no reason to lose the work.
    """
    stream = stream or sys.stderr
    bar = bars(stream)
    with contextlib.suppress(OSError):
        if bar:
            bar.write(text, file=stream)
        else:
            print(text, file=stream, flush=True)


def bars(stream):
    """The class that draws a bar on a stream, or None: it is no terminal, or tqdm is not installed."""
    if not stream.isatty():
        return None
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return None
    return tqdm


def _lines(items, what, total, log, now):
    started = shown = now()
    for done, item in enumerate(items, 1):
        yield item
        moment = now()
        if moment - shown >= EVERY_SECONDS and done != total:
            shown = moment
            of = f'{done} of {total}, about {(moment - started) / done * (total - done):.0f} s left' if total else str(done)
            log(f'  {what}: {of}')
