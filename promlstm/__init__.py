"""promlstm: deep-learning anomaly detection for people who run Prometheus."""

__version__ = '0.1.0'
