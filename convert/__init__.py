"""How models are made: history in, one verified ONNX file out (`python -m convert --help`). The heavy side: promlstm never imports it."""

import promlstm as promlstm  # before anything loads ONNX Runtime, which it keeps from reporting
