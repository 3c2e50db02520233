"""How good a model is: replayed through the code that serves it, beside baselines, on the same telemetry in the same run.

    replay           a model file over recorded telemetry
    measures         events, alarms, operating points
    baselines        simple detectors
    benchmark_sets   the telemetry that models are measured on
    benchmark        models and baselines on those sets
    evaluate         figures on labelled sets, for the manifest
    gates            whether a model may be released
    report           results as text, JSON and HTML
    plots            SVG plots for the report
    review           the stage `evaluate`: benchmark, gates, report
    figures          a model's own figures as Markdown tables
"""

__all__ = ['baselines', 'benchmark', 'benchmark_sets', 'evaluate', 'figures', 'gates', 'measures', 'plots', 'replay', 'report', 'review']
