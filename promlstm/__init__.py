"""promlstm: deep-learning anomaly detection for people who run Prometheus."""

import os

# ONNX Runtime reports its use to its maker unless it is told not to before it is loaded (its Privacy.md). Who wants that says so.
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')

__version__ = '0.2.0'
