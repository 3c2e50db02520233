"""The query APIs of a configuration, by name: each on its own, so that one that hangs or fails delays nobody who asks another.

Who calls it: run, check, backtest and convert. What flows through: {name: config.Source}; out comes the API of a name. Connections, queries in
flight, memory for answers, the method that a server takes and the skew of its clock belong to one API and are never shared.

After a change of the configuration an API whose settings are the same is the same one: its connections stay, and its detectors do not notice.
"""

from collections.abc import Mapping
from pathlib import Path

from promlstm.query.interfaces import QuerySource
from promlstm.query.prometheus import Prometheus


class Sources:
    """The APIs of a configuration.

    named   {name: QuerySource}
    root    folder that their files are relative to
    before  the Sources that are replaced: of these are kept whose settings and folder are the same
    """

    def __init__(self, named: Mapping[str, QuerySource], *, root: str | Path = '.', before: 'Sources | None' = None) -> None:
        self._named, self._root, self._apis = dict(named), Path(root), dict[str, Prometheus]()
        for name, settings in named.items():
            kept = before and before._root == self._root and before._named.get(name) == settings
            self._apis[name] = before._apis[name] if before and kept else Prometheus(settings, root=root, where=_place(name))
        if not before:
            self.share_memory()

    def __getitem__(self, name: str) -> Prometheus:
        return self._apis[name]

    def share_memory(self) -> None:
        """Let each API take its share of the memory; those that replace others do so when they are in force."""
        for api in self._apis.values():
            api.share_memory(len(self._apis))


def _place(name: str) -> str:
    """Where a source stands in the configuration."""
    return name if name == 'prometheus' else f'sources.{name}'
