"""The image, built and run without a daemon: buildah, umoci and runc of `.ci/install-image-tools`, as root.

    with oci.built('runtime', 'promlstm') as bundle:
        bundle.settle(pod, container, {'/etc/promlstm': (folder, 'ro')}, network=server.child.pid)
        with bundle.process(ready):
            ...

What a container may do is read from the pod that the chart renders, and told to runc as a kubelet tells it.
"""

import contextlib
import copy
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path

import servers
from dockerfile import plain

CACHE = servers.ROOT / '.cache/image-tools'
NAMES = ('buildah', 'umoci', 'runc', 'debootstrap')
SCHEMAS = CACHE / 'python/cyclonedx/schema/_res'

# Brings up the loopback of a new network and becomes the program.
INSIDE_A_NEW_NETWORK = """
import fcntl, os, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 1))  # SIOCSIFFLAGS, IFF_UP
os.execv(sys.argv[1], sys.argv[1:])
"""
PAGE = 'import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1], timeout=10).read())'


def reason_against():
    """Why the image cannot be built and run here; none if it can."""
    if os.geteuid():
        return 'only root can build and run the image'
    if missing := [name for name in NAMES if not os.access(CACHE / 'bin' / name, os.X_OK)]:
        return f'no {", ".join(missing)} in .cache/image-tools/bin: make accept fetches them (or .ci/install-image-tools)'
    done = subprocess.run([CACHE / 'bin/buildah', 'info'], capture_output=True, text=True, check=False)
    return f'buildah does not run here: {done.stderr.strip()}' if done.returncode else None


def run(*args, **options):
    """The standard output of one of the tools (or a path) run to its end; RuntimeError with all it printed where it fails."""
    program = CACHE / 'bin' / args[0] if args[0] in NAMES else args[0]
    done = subprocess.run([program, *map(str, args[1:])], cwd=servers.ROOT, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f'{" ".join(map(str, args))}: status {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-8000:]}')
    return done.stdout


def pip_settings(folder):
    """buildah's options that give pip in a build this machine's certificates and package index, which the image does not keep."""
    asked = run(sys.executable, '-m', 'pip', 'config', 'list')
    settings = dict(line.split('=', 1) for line in asked.splitlines() if line.startswith(('global.', ':env:.')))
    known = {name.split('.')[-1]: value.strip("'") for name, value in settings.items()}
    lines, options = ['[global]'], []
    if known.get('cert'):
        lines.append('cert = /etc/ssl/certs/ca-certificates.crt')
        options += ['--volume', f'{known["cert"]}:/etc/ssl/certs/ca-certificates.crt:ro']
    lines += [f'{name} = {known[name]}' for name in ('index-url', 'proxy', 'timeout', 'default-timeout') if name in known]
    (folder / 'pip.conf').write_text('\n'.join(lines) + '\n')
    return [*options, '--volume', f'{folder}/pip.conf:/etc/pip.conf:ro']


@contextlib.contextmanager
def built(target, name, *options):
    """A Bundle of a target of the Dockerfile, built as it is on the stand-in for the public base; all of it is gone when left."""
    run(servers.ROOT / '.ci/image-base')
    with tempfile.TemporaryDirectory(dir=CACHE / 'tmp') as place:
        folder = Path(place)
        run('buildah', 'bud', '--pull-never', '--target', target, '--tag', name, *pip_settings(folder), *options, '.')
        run('buildah', 'push', '--quiet', name, f'oci:{folder}/layout:{name}')
        run('buildah', 'rmi', '--force', name)
        with Layout(folder / 'layout', name).unpacked() as bundle:
            yield bundle


class Layout:
    """An image as files: its configuration and what it adds to the base."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        (found,) = json.loads((folder / 'index.json').read_text())['manifests']
        self.manifest = json.loads(self._path(found).read_text())
        self.config = json.loads(self._path(self.manifest['config']).read_text())

    def _path(self, descriptor):
        return self.folder / 'blobs' / descriptor['digest'].replace(':', '/')

    def added_bytes(self):
        """The compressed size of the layers beyond the base's only one."""
        return sum(layer['size'] for layer in self.manifest['layers'][1:])

    def added(self):
        """{path: size} of what the layers beyond the base's hold."""
        found = {}
        for layer in self.manifest['layers'][1:]:
            with tarfile.open(self._path(layer)) as archive:
                found |= {item.name.rstrip('/'): item.size for item in archive}
        return found

    @contextlib.contextmanager
    def unpacked(self):
        """A Bundle, gone when left."""
        with tempfile.TemporaryDirectory(dir=CACHE / 'tmp') as folder:
            run('umoci', 'unpack', '--image', f'{self.folder}:{self.name}', f'{folder}/bundle')
            bundle = Bundle(self, Path(folder) / 'bundle')
            try:
                yield bundle
            finally:
                bundle.delete()


class Bundle:
    """An image unpacked for runc; `settle` writes how it is run."""

    def __init__(self, layout, folder):
        self.layout, self.folder, self.root = layout, folder, folder / 'rootfs'
        self.state = folder.parent / 'state'
        self.name = f'promlstm-{folder.parent.name}'  # control groups know containers of all folders by it
        self.made = json.loads((folder / 'config.json').read_text())

    def settle(self, pod, container, mounts, network=None):
        """Writes runc's configuration of a container of a pod (both as the chart renders them).

        mounts   {path inside: (path outside, 'ro' or 'rw')}
        network  a process that lives in the network to join; none = a new one with nothing but a loopback
        """
        user, security = pod['securityContext'], container['securityContext']
        told, image = copy.deepcopy(self.made), self.layout.config['config']
        program = container.get('command', image['Entrypoint'])
        arguments = container.get('args', [] if 'command' in container else image.get('Cmd', []))
        told['process'] |= {
            'terminal': False,
            'args': [*program, *arguments],
            'env': [*image['Env'], *(f'{each["name"]}={each["value"]}' for each in container.get('env', []))],
            'user': {'uid': user['runAsUser'], 'gid': user['runAsGroup'], 'additionalGids': [user['fsGroup']]},
            'noNewPrivileges': not security['allowPrivilegeEscalation'],
            'capabilities': capabilities(security['capabilities']),
        }
        told['root'] = {'path': 'rootfs', 'readonly': security['readOnlyRootFilesystem']}
        told['mounts'] += [
            {'destination': inside, 'type': 'bind', 'source': str(outside), 'options': ['rbind', mode]}
            for inside, (outside, mode) in mounts.items()
        ]
        for inside, (outside, _) in mounts.items():
            place = self.root / inside.lstrip('/')  # runc would make it, and who looks for changes would find it
            (place if outside.is_dir() else place.parent).mkdir(parents=True, exist_ok=True)
            place.touch()
        linux = told['linux']
        linux['namespaces'] = [{'type': kind} for kind in ('pid', 'mount', 'ipc', 'uts')]
        linux['namespaces'].append({'type': 'network', **({'path': f'/proc/{network}/ns/net'} if network else {})})
        assert user['seccompProfile'] == {'type': 'RuntimeDefault'}
        linux['seccomp'] = seccomp()
        linux.setdefault('resources', {})['memory'] = {'limit': size_bytes(container['resources']['limits']['memory'])}
        (self.folder / 'config.json').write_text(json.dumps(told))

    def _command(self):
        return [CACHE / 'bin/runc', '--root', self.state, 'run', '--bundle', self.folder, self.name]

    def process(self, ready, **options):
        """Its run, as a real.Process; runc hands signals on."""
        return servers.Process(self._command(), ready, **options)

    def finish(self, **options):
        """Its run to the end, as a done process."""
        return subprocess.run(self._command(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options)

    def pid(self):
        """The first process inside, as this machine counts."""
        return json.loads(run('runc', '--root', self.state, 'state', self.name))['pid']

    def delete(self):
        """Whatever a failed test left running."""
        run('runc', '--root', self.state, 'delete', '--force', self.name)

    def files(self):
        """{path: (mode, owner, size, time of the last change)} of the root."""
        found = {}
        for folder, _, names in os.walk(self.root):
            for path in [Path(folder), *(Path(folder) / name for name in names)]:
                stat = path.lstat()
                found[str(path)] = (stat.st_mode, stat.st_uid, stat.st_size, stat.st_ctime_ns)
        return found


def size_bytes(quantity):
    """As Kubernetes writes sizes of memory.

    >>> size_bytes('300Mi')
    314572800
    """
    number, unit = quantity[:-2], quantity[-2:]
    return int(number) << {'Ki': 10, 'Mi': 20, 'Gi': 30}[unit]


def capabilities(asked):
    """What is left after a pod's `drop`, for each of runc's five sets."""
    assert asked == {'drop': ['ALL']}
    return {kind: [] for kind in ('bounding', 'effective', 'inheritable', 'permitted', 'ambient')}


def seccomp():
    """RuntimeDefault of Debian's container runtimes, as it is for a process without capabilities, in runc's own form."""
    path = next(path for root in (CACHE / 'packages', Path('/')) if (path := root / 'usr/share/containers/seccomp.json').exists())
    profile, machine = json.loads(path.read_text()), os.uname().machine
    short = {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine)
    conditions = [rule.get('includes') or {} for rule in profile['syscalls']]
    rules = [
        {key: rule[key] for key in ('names', 'action', 'errnoRet', 'args') if rule.get(key)}
        for rule, wanted in zip(profile['syscalls'], conditions, strict=True)
        if not wanted.get('caps') and short in wanted.get('arches', [short])
    ]
    told = {key: profile[key] for key in ('defaultAction', 'defaultErrnoRet')}
    return told | {'architectures': [f'SCMP_ARCH_{machine.upper()}'], 'syscalls': rules}


def in_new_network(*command):
    """A command line that runs a program in a network of its own, of which it holds the only end."""
    return ['unshare', '--net', sys.executable, '-c', INSIDE_A_NEW_NETWORK, *command]


def in_network(pid, *command):
    """A command line that runs a program in the network of a process."""
    return ['nsenter', f'--net=/proc/{pid}/ns/net', *command]


def page(pid, url):
    """What a URL answers inside of that network; '' where it does not."""
    told = {key: value for key, value in os.environ.items() if not key.lower().endswith('_proxy')}
    return subprocess.run(in_network(pid, sys.executable, '-c', PAGE, url), env=told, capture_output=True, text=True, check=False).stdout


def without_shells(root):
    """Takes every shell out of an unpacked image; returns where there was one."""
    found = [path for folder in ('usr/bin', 'bin') for name in ('sh', 'dash', 'bash') if os.path.lexists(path := root / folder / name)]
    for path in found:
        path.unlink(missing_ok=True)  # /bin is /usr/bin
    return found


def volumes(pod, maps, folder):
    """{path inside: (path outside, 'ro' or 'rw')} of the first container of a rendered pod, as a kubelet makes them below `folder`.

    maps  {name of a ConfigMap: {file: text}}
    """
    places = {}
    for volume in pod.get('volumes', []):
        place = places[volume['name']] = Path(tempfile.mkdtemp(dir=folder, prefix=volume['name'] + '-'))
        place.chmod(0o2775)
        os.chown(place, 0, pod['securityContext']['fsGroup'])
        sources = volume['projected']['sources'] if 'projected' in volume else [volume]
        for name, text in [item for each in sources if 'configMap' in each for item in maps[each['configMap']['name']].items()]:
            (place / name).write_text(text)
    mounts = pod['containers'][0].get('volumeMounts', [])
    return {mount['mountPath']: (places[mount['name']], 'ro' if mount.get('readOnly') else 'rw') for mount in mounts}


def debian_packages(root):
    """{(name, version)} of what dpkg has installed in an unpacked image."""
    stanzas = (root / 'var/lib/dpkg/status').read_text().split('\n\n')
    fields = [dict(re.findall(r'^(\S+): (.*)$', stanza, re.MULTILINE)) for stanza in stanzas]
    return {(each['Package'], each['Version']) for each in fields if each.get('Status') == 'install ok installed'}


def python_packages(folder):
    """{(name, version)} of what is installed anywhere below a folder of an unpacked image, names as package indexes write them."""
    notes = [path for pattern in ('*.dist-info/METADATA', '*.egg-info/PKG-INFO') for path in folder.glob(f'**/{pattern}')]
    found = [metadata.PathDistribution(path.parent) for path in notes]
    return {(plain(each.name), each.version) for each in found}
