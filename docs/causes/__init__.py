"""What the presets send when something goes wrong: real scores, real rules, a real Alertmanager; the series are made up.

    telemetry   what each detector of a preset sees on a calm day, and what each cause does to it
    scores      the gauges of promlstm for these series, minute by minute
    incidents   the incidents in these gauges
    told        the alerts that promtool finds in them, and which of them Alertmanager lets through, to whom

`python docs/causes` prints the table of docs/how-to/alerts.md.
"""
