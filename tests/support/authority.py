"""Certificates for tests: an authority, and what it signs. Made by openssl, with keys of a curve, which take milliseconds."""

import subprocess


def openssl(*args):
    """Run openssl; CalledProcessError where it fails."""
    return subprocess.run(['openssl', *map(str, args)], check=True, capture_output=True)


class Authority:
    """An authority in a folder of its own."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file, self._key = folder, folder / 'ca.crt', folder / 'ca.key'
        new = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', self._key)
        openssl('req', '-x509', *new, '-days', 2, '-subj', f'/CN={folder.name}', '-out', self.file)

    def sign(self, name, san='IP:127.0.0.1', *, expired=False):
        """(certificate, key): files of a new pair with this name."""
        certificate, key, request = (self.folder / f'{name}.{end}' for end in ('crt', 'key', 'csr'))
        extensions = self.folder / f'{name}.ext'
        extensions.write_text(f'subjectAltName={san}\n')
        new = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key)
        openssl('req', '-new', *new, '-subj', f'/CN={name}', '-out', request)
        days = -1 if expired else 2
        signer = ('-CA', self.file, '-CAkey', self._key, '-CAcreateserial', '-days', days, '-extfile', extensions)
        openssl('x509', '-req', '-in', request, *signer, '-out', certificate)
        return certificate, key
