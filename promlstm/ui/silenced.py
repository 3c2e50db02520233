"""Which silences of an Alertmanager are about an entity, past ones too.

Who calls it: entity. What flows through: the configuration and labels; out come spans, or a sentence on why nothing is known. All silences are read at most
every 30 s, whoever looks.
"""

from collections.abc import Mapping

from promlstm.config import Config
from promlstm.errors import PromlstmError
from promlstm.query import silences
from promlstm.query.http import Http
from promlstm.query.silences import Silence
from promlstm.ui.asking import Asking, Busy
from promlstm.ui.past import Silenced
from promlstm.ui.window import Window

KEPT_SECONDS = 30.0
WAIT_SECONDS = 3.0
MOST = 50


def about(asking: Asking, config: Config, labels: Mapping[str, str], window: Window) -> tuple[list[Silenced], str]:
    """(silences that are about an entity and touch the window or last, what is to be said if they are not known).

    labels  its exported labels, and `detector`
    """
    settings = config.alertmanager
    if settings is None:
        return [], ''

    def read() -> list[Silence]:
        http = Http(settings.source, root=config.root, where='alertmanager')
        return silences.read(http, min(settings.timeout, WAIT_SECONDS))[0]

    try:
        known = asking.answer(('silences', settings.url), read, keep_seconds=KEPT_SECONDS, wait_seconds=WAIT_SECONDS)
    except (PromlstmError, Busy) as error:
        return [], f'Silences are not shown: {error}'
    found = [each for each in known if each.end >= window.start and each.concerns(labels) and each.singles_out(labels)]
    found.sort(key=lambda each: (each.state != 'active', -each.start))
    return [Silenced(each.id, each.state, each.start, each.end, each.comment) for each in found[:MOST]], ''
