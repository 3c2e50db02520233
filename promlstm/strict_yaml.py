"""YAML as people and tools write it: a key stands once, and 1e-05 is a number.

Who calls it: config, and convert for recipes, so that a number means the same in every file of ours. What flows through: a text; out comes the
tree of dicts, lists and scalars. It knows no key.
"""

import re
from typing import Any

import yaml


def load(text: str | bytes) -> Any:
    """The tree of a YAML text; yaml.YAMLError says what is wrong and where.

    >>> load('{a: 1e-05, b: 2E3, c: 1.5e7, d: e5, e: "1e5", f: 0x1e5}')
    {'a': 1e-05, 'b': 2000.0, 'c': 15000000.0, 'd': 'e5', 'e': '1e5', 'f': 485}
    """
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f'key {key.value!r} appears twice', key.start_mark)
            seen |= {key.value} if isinstance(key, yaml.ScalarNode) else set()
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # what int, float and date say of a scalar that only looks like one
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        text = super().construct_scalar(node)
        if isinstance(text, str) and any('\ud800' <= character <= '\udfff' for character in text):
            raise yaml.constructor.ConstructorError(None, None, 'half of a surrogate pair is not text', node.start_mark)
        return text


# 1e-05, as JSON and helm write it: a number to YAML 1.2, and text to YAML 1.1, which asks for a point and a sign.
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float', re.compile(r'[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+\Z'), list('-+.0123456789')
)
