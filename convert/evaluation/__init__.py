"""How good a model is: replayed through the code that serves it, beside baselines, on the same telemetry in the same run.

    replay           a model file over recorded telemetry
    measures         events, alarms, operating points
    baselines        simple detectors
    benchmark_sets   the telemetry that models are measured on
    benchmark        models and baselines on those sets
    evaluate         figures on labelled sets, for the manifest
    gates            whether a model may be released
    report           results as text, JSON and HTML
    charts           events as the exporter's pages draw them
    plots            SVG plots for the report
    document         the frame of a report as HTML
    portions         what several processes measure of one evaluation
    review           the stage `evaluate`: benchmark, gates, report
    figures          a model's own figures as Markdown tables
    healthy          false alarms on healthy metrics of many shapes
    alerts           what the shipped rules make of recorded scores
    shapes           these shapes
    spreading        fleets whose faults spread along known edges

The command `benchmark`, over labelled telemetry of others:

    scoring           the scores of a model or of the simple detectors, in worker processes
    isolation_forest  that of scikit-learn, where it is installed
    prophet_daily     Prophet, where it is installed
    optional          packages that such rows need: whether they are there, and quiet
    planting          faults planted into healthy time
    recurrence        which events recur
    events            events and false alarms of many entities at any threshold
    nab               NAB's own score
    volume            VUS-PR
    scorecard         the figures of all methods on a set
    mistakes          missed events and false alarms
    sheets            contact sheets of mistakes
    scoreboard        all of it as text, JSON and HTML

The command `benchmark --root-cause`, over incidents of which the cause is known:

    root_cause           how often each ranking names the cause
    root_cause_cases     the incidents
    root_cause_rankings  the rankings

The command `benchmark --forecast`, over series whose future is known:

    forecasting         forecasters measured side by side
    forecast_sets       what is forecast, and from when
    forecast_baselines  simple forecasts, and an interval from their own errors
    forecast_ridge      one linear forecast for all series
    forecast_packages   AutoETS, AutoTheta and Prophet, where they are installed
    forecast_measures   MASE, quantile loss, coverage
    forecast_board      the figures as text and JSON
"""

__all__ = [
    'alerts', 'baselines', 'benchmark', 'benchmark_sets', 'charts', 'document', 'evaluate', 'events', 'figures', 'forecast_baselines', 'forecast_board',
    'forecast_measures', 'forecast_packages', 'forecast_ridge', 'forecast_sets', 'forecasting', 'gates', 'healthy', 'isolation_forest', 'measures', 'mistakes',
    'nab', 'optional', 'planting', 'plots', 'portions', 'prophet_daily', 'recurrence', 'replay', 'report', 'review', 'root_cause', 'root_cause_cases',
    'root_cause_rankings', 'scoreboard', 'scorecard', 'scoring', 'shapes', 'sheets', 'spreading', 'volume',
]  # fmt: skip
