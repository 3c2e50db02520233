"""When a series is known well enough to be judged, and how far one sample may move what is learnt of it: of `steps`, and of the detectors it is compared with.

It imports nothing, so that whoever measures simple detectors need not wait for TensorFlow.
"""

WARMUP = 40                     # samples before the first surprise, and before outliers are winsorised
WINSOR = 6.0                    # scales
