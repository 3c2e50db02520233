"""Training data: a team's own history, labelled recordings, synthetic telemetry and injected faults.

    spans       spans of time for training, validation and test
    parts       several processes that share the work
    store       telemetry on disk, resumable
    fetch       history out of Prometheus
    tables      history out of CSV and Parquet files
    incidents   time excluded from training: by hand, from silences, from past alerts
    quality     what is wrong with the data
    dataset     batches to learn from
    collect     the stage `fetch`: all of the above in order
    faults      faults to inject
    synthesis   synthetic telemetry
    labelled    labelled recordings, to measure on
"""

__all__ = ['collect', 'dataset', 'faults', 'fetch', 'incidents', 'labelled', 'parts', 'quality', 'spans', 'store', 'synthesis', 'tables']
