"""What is vendored: as it was published, with its licence, in the package and in the bill of materials."""

import configparser
import hashlib
import json
import subprocess
import sys

import pytest
from servers import ROOT, module

VENDORED = module(ROOT / '.ci/vendored.py').VENDORED
FILES = {name: digest for each in VENDORED for name, digest in each['files'].items()}


@pytest.mark.parametrize('name', FILES)
def test_a_vendored_file_is_the_one_that_was_published(name):
    assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == FILES[name]


def test_its_licence_lies_beside_it_and_goes_with_the_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    licences = [name for name in FILES if name.endswith('.LICENSE')]
    assert len(licences) == len(VENDORED) and set(licences) <= set(setup['metadata']['license_files'].split())
    assert all('The MIT License' in (ROOT / name).read_text() for name in licences)


def bill(*purls):
    given = {'bomFormat': 'CycloneDX', 'components': [{'type': 'library', 'name': purl, 'purl': purl} for purl in purls]}
    done = subprocess.run([sys.executable, ROOT / '.ci/vendored.py'], input=json.dumps(given), capture_output=True, text=True, check=True)
    return [each['purl'] for each in json.loads(done.stdout)['components']]


def test_the_bill_of_materials_of_promlstm_names_it_and_no_other_does():
    assert bill('pkg:pypi/promlstm@1.0') == ['pkg:pypi/promlstm@1.0', 'pkg:npm/uplot@1.6.32']
    assert bill('pkg:pypi/numpy@2.0') == ['pkg:pypi/numpy@2.0']
