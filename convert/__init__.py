"""How models are made: history in, one verified ONNX file out (`python -m convert --help`). The heavy side: promlstm never imports it."""
