"""What can go wrong while a model is made, as one tree: the command line prints the message of any of these, and nothing else.

    ConvertError
    ├── WriteError              files.py: a file or folder cannot be written
    ├── LockError               lock.py: another process works in the folder
    ├── PlaceError              places.py: a file or folder is not there, or of another kind
    ├── RecipeError             recipe.py: the recipe cannot be used
    ├── DataError               data/spans.py: telemetry, spans or incidents cannot be used
    │   ├── SpanError           data/spans.py: spans overlap, are empty or run backwards
    │   ├── StoreError          data/store.py: a folder of telemetry is damaged, in use, or cannot be written
    │   ├── FetchError          data/fetch.py: some detectors could not be fetched
    │   ├── TableError          data/tables.py: a file is not a table of telemetry
    │   ├── IncidentError       data/incidents.py: silences or alerts cannot be read
    │   ├── DatasetError        data/dataset.py: a span has no samples
    │   ├── LabelledError       data/labelled.py: labelled telemetry is missing or damaged
    │   └── CollectError        data/collect.py: the data section asks for what is not there
    ├── TrainingError           families/learning.py: training diverged
    ├── NoLabels                families/classifier.py: all windows are of one kind
    ├── ExportError             export.py: the graph is not what the contract asks for
    ├── VerifyError             verify.py: TensorFlow and ONNX Runtime disagree
    ├── CalibrationError        calibrate.py: too little was replayed
    ├── ReleaseError            release.py: the file would be unfit to ship
    ├── Refused                 evaluation/gates.py: the gates refuse the model
    ├── WeightsError            weights.py: a file of weights is damaged, or of another network
    ├── StageMissing            job.py: a stage was asked for before the ones that it builds on
    ├── BenchmarkError          benchmark.py: it cannot be run as asked for, or one entity makes more than its share of the false alarms
    ├── ForecastError           evaluation/forecasting.py: no row of that name, or forecasts of another shape
    ├── ForecastSetError        evaluation/forecast_sets.py: nothing to forecast, or a damaged file
    ├── NoRule                  without_lstm.py: a model has no rule without its LSTM
    ├── QuantizeError           quantize.py: the model cannot be quantised
    └── WrapError               wrap.py: the model cannot be wrapped

What concerns a model file or a Prometheus is a promlstm.errors.PromlstmError.
"""


class ConvertError(Exception):
    """Something that the user can act on: the message says what, where, and what was expected."""
