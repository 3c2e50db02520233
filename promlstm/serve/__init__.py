"""Output: gauges as text, the exporter's own metrics, the web server. A scrape never computes anything.

    exposition    columns to text, once per step
    page          the text that is on /metrics now
    telemetry     the exporter's own metrics
    messages      a request and its answer
    site          which page answers: /metrics, /-/healthy, /-/ready and the landing page
    connections   how many are open at once, which one gives way, and whose answer is sent now
    conversation  what is said on one connection
    server        listens, and holds the connections
"""

__all__ = ['connections', 'conversation', 'exposition', 'messages', 'page', 'server', 'site', 'telemetry']
