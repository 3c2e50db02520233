"""`promlstm demo` on a real pseudo-terminal, read by a terminal emulator (pyte), drawn as text in an SVG.

The screen is taken at the first moment at which FAULTS faults have been found and the last of them is still going on.
"""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

from pictures import svg

COLUMNS, ROWS = 140, 36  # the longest event fits
DURATION = '16s'  # at most, 60 times faster than life: the first three faults
FAULTS = 3  # found, and the last of them going on, when the screen is taken
LIMIT_SECONDS, STOP_SECONDS = 180.0, 20.0
FAINT, GREY = b'\x1b[2m', b'\x1b[90m'  # pyte knows no faint text
CELL, LINE, MARGIN, BAR = 8.43, 18, 16, 34
# A dark terminal is a dark terminal on a light page too; its frame keeps it apart from a dark one.
STYLE = (
    f'text{{font:14px {svg.MONO};fill:#d5dbe3;white-space:pre}}.title{{font:13px {svg.SANS};fill:#9aa5b1}}.paper{{fill:#151a21;stroke:#4b5563}}'
    '.bold{font-weight:700;fill:#fff}.brightblack{fill:#8b96a3}.red{fill:#ff6b64}.green{fill:#5fd38d}.brown,.yellow{fill:#f2c55c}'
)


def picture(root):
    """The SVG of the screen. Takes half a minute; TimeoutError where there is no such moment."""
    return drawn(
        _watched(root), '$ promlstm demo', 'The live table of promlstm demo: entities with the highest scores, anomalous ones in red'
    )


def _watched(root):
    """The rows of the screen at its best moment: [[(text, class)]]."""
    import pyte

    screen = pyte.Screen(COLUMNS, ROWS)
    stream, best, rest = pyte.ByteStream(screen), None, b''
    child, terminal = _started(root)
    ends = time.monotonic() + LIMIT_SECONDS
    while best is None and time.monotonic() < ends and (read := _read(terminal)) is not None:
        # A terminal hands over 4 KiB at most, which may end within an escape sequence.
        read = rest + read
        cut = read.rfind(b'\x1b')
        read, rest = (read[:cut], read[cut:]) if cut >= 0 and len(read) - cut < len(FAINT) else (read, b'')
        stream.feed(read.replace(FAINT, GREY))
        if _worth_showing(screen):
            best = rows(screen)
    child.terminate()  # where it has not ended
    child.wait(STOP_SECONDS)
    os.close(terminal)
    if best is None:
        raise TimeoutError(
            f'there was no moment with {FAULTS} faults found and an anomaly on the table; the screen shows:\n' + '\n'.join(screen.display)
        )
    return best


def _started(root):
    """(the demo, our end of its terminal)."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', ROWS, COLUMNS, 0, 0))
    command = [sys.executable, '-m', 'promlstm', 'demo', f'--for={DURATION}', '--web.listen-address=127.0.0.1:19855']
    environment = {**os.environ, 'TERM': 'xterm-256color', 'COLUMNS': str(COLUMNS), 'LINES': str(ROWS), 'PYTHONPATH': str(root)}
    child = subprocess.Popen(command, cwd=root, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    return child, ours


def _read(terminal):
    """What has come within a second, maybe nothing; None = the other end is closed."""
    if not select.select([terminal], [], [], 1.0)[0]:
        return b''
    try:
        return os.read(terminal, 65536) or None
    except OSError:  # Linux's way to say so
        return None


def _worth_showing(screen):
    """Whether faults enough have been found, and one of them is on the table."""
    found = sum(bool(re.match(r'[\d:]{8}  found ', line)) for line in screen.display)
    red = any(cell.fg == 'red' and cell.data == '█' for line in screen.buffer.values() for cell in line.values())
    return found >= FAULTS and red


def rows(screen):
    """The rows of a pyte screen, each [(text, class)]; blanks at the end are left out."""
    out = []
    for y in range(screen.lines):
        runs = []
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            kind = ' '.join(filter(None, ['bold' if cell.bold else '', '' if cell.fg == 'default' else cell.fg]))
            if runs and runs[-1][1] == kind:
                runs[-1][0] += cell.data
            else:
                runs.append([cell.data, kind])
        while runs and not runs[-1][0].strip():
            runs.pop()
        if runs:
            runs[-1][0] = runs[-1][0].rstrip()
        out.append([(words, kind) for words, kind in runs])
    return out


def drawn(lines, title, what):
    """The SVG of a terminal: lines [[(text, class)]]."""
    width, height = 2 * MARGIN + COLUMNS * CELL, BAR + len(lines) * LINE + MARGIN
    parts = [svg.element('rect', x=0.5, y=0.5, width=width - 1, height=height - 1, rx=8, class_='paper')]
    parts += [
        svg.element('circle', cx=20 + 18 * k, cy=17, r=5.5, fill=colour) for k, colour in enumerate(('#ff5f57', '#febc2e', '#28c840'))
    ]
    parts.append(svg.text(width / 2, 22, title, class_='title', text_anchor='middle'))
    for number, line in enumerate(lines):
        column = 0
        for words, kind in line:
            left = len(words) - len(words.lstrip())
            said = words.strip()
            if said:
                # Its width is given, so that columns stay aligned whatever font the reader has.
                place = {'x': MARGIN + (column + left) * CELL, 'textLength': len(said) * CELL, 'lengthAdjust': 'spacingAndGlyphs'}
                parts.append(svg.text(place.pop('x'), BAR + (number + 0.75) * LINE, said, class_=kind or None, **place))
            column += len(words)
    return svg.document(round(width), round(height), what, STYLE, parts)
