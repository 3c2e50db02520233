"""promlstm: deep-learning anomaly detection for people who run Prometheus."""

import os

# ONNX Runtime sends usage data to its maker unless this is set before it is loaded (see its Privacy.md). A user who wants that sets 0.
os.environ.setdefault('ORT_DISABLE_TELEMETRY', '1')

__version__ = '0.2.0'
