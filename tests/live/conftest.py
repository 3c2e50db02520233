"""What the tests of detectors in their threads share."""

import msgspec
import pytest

from promlstm.engine import session

REPLAYED = 120  # steps of history, three times the warm-up: the light model's own 400 are replayed in tests/engine and by every exporter that a test starts


@pytest.fixture(autouse=True)
def little_history(monkeypatch):
    """A start replays little history, whichever the model."""
    load = session.load

    def short(path, **options):
        loaded = load(path, **options)
        manifest = loaded.bundle.manifest
        manifest = msgspec.structs.replace(manifest, replay_steps=min(REPLAYED, manifest.replay_steps))
        loaded.bundle = msgspec.structs.replace(loaded.bundle, manifest=manifest)
        return loaded

    monkeypatch.setattr(session, 'load', short)
