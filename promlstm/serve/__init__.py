"""Output: gauges as text, the exporter's own metrics, the web server. A scrape never computes anything.

    selection     which entities are on the page, and how much of each
    exposition    columns to text, once per step
    incidents     gauges of incidents as text
    page          the text that is on /metrics now
    telemetry     the exporter's own metrics
    messages      a request and its answer
    handling      how what is asked is read, and answered as JSON
    api           /api/v1/incidents: what may be asked, and the answer as JSON
    site          which page answers: /metrics, /api/v1/incidents, /-/healthy, /-/ready and the landing page
    connections   how many are open at once, which one gives way, and whose answer is sent now
    conversation  what is said on one connection
    passwords     bcrypt, once for each pair of user and password, in turn
    door          who is let in
    web_config    the web configuration file
    tls           certificates, keys and authorities
    web           the web configuration in force, read again when it changes
    server        listens, and holds the connections
"""

__all__ = [
    'api', 'connections', 'conversation', 'door', 'exposition', 'handling', 'incidents', 'messages', 'page', 'passwords', 'selection', 'server', 'site',
    'telemetry', 'tls', 'web', 'web_config',
]  # fmt: skip
