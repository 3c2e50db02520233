#!/usr/bin/env python3
"""What is vendored in promlstm, as components of a bill of materials (CycloneDX in JSON): reads one, and writes it with them where promlstm is in it."""

import json
import sys

# As the npm registry has them; a test compares the files with the digests. The licence of each lies beside it.
VENDORED = [
    {
        'name': 'uplot', 'version': '1.6.32', 'license': 'MIT',
        'files': {
            'promlstm/ui/static/uplot.js': '5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba',  # dist/uPlot.esm.js
            'promlstm/ui/static/uplot.css': 'df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04',  # dist/uPlot.min.css
            'promlstm/ui/static/uplot.LICENSE': '8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd',
        },
    },
]  # fmt: skip


def component(vendored):
    """A component of CycloneDX 1.6."""
    purl = f'pkg:npm/{vendored["name"]}@{vendored["version"]}'
    files = [
        {'type': 'file', 'name': name, 'hashes': [{'alg': 'SHA-256', 'content': digest}]} for name, digest in vendored['files'].items()
    ]
    return {
        'bom-ref': purl, 'type': 'library', 'name': vendored['name'], 'version': vendored['version'], 'purl': purl,
        'licenses': [{'license': {'id': vendored['license']}}], 'components': files,
    }  # fmt: skip


def main():
    """Standard input to standard output."""
    bill = json.load(sys.stdin)
    if any(each.get('purl', '').startswith('pkg:pypi/promlstm@') for each in bill.get('components', ())):
        bill['components'] += [component(each) for each in VENDORED]
    json.dump(bill, sys.stdout)


if __name__ == '__main__':
    main()
