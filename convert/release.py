"""The last stage: graph, manifest, calibration and proof become one file, read back by the code that serves it.

The only writer of metadata, and of the digest over the whole file. The file gets its name whole and proven, or not at all: a draft is written, loaded with
promlstm.engine.session (which parses strictly and replays the proof), then renamed.
"""

from pathlib import Path

import onnx

from convert import files
from convert.errors import ConvertError
from promlstm.engine import bundle, digest, session

LARGEST_BYTES = 2_000_000


class ReleaseError(ConvertError):
    """The file would be unfit to ship: it was not written."""


def release(model, manifest, calibration, proof, path, largest_bytes=LARGEST_BYTES):
    """Write one model file and return the Session that read it back; BundleError or ReleaseError, and no file, if anything is wrong."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    del whole.metadata_props[:]
    onnx.helper.set_model_props(whole, bundle.metadata(manifest, calibration, proof))
    data = digest.appended(whole.SerializeToString(deterministic=True))
    if len(data) > largest_bytes:
        raise ReleaseError(f'{path}: {len(data)} bytes, expected at most {largest_bytes}')
    path = Path(path)
    files.folder(path.parent)
    with files.atomically(path) as draft:
        draft.write_bytes(data)
        return session.load(draft)
