"""Output: gauges as text, the exporter's own metrics, the web server. A scrape never computes anything.

    exposition   columns to text, once per step
    page         the text that is on /metrics now
    telemetry    the exporter's own metrics
    connections  how many are served at once, and which one gives way
    server       /metrics, /-/healthy, /-/ready and the landing page
"""

__all__ = ['connections', 'exposition', 'page', 'server', 'telemetry']
