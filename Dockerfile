# docker build .                   the exporter: runs as nobody, holds no compiler and no TensorFlow
# docker build --target train .    what makes models
# The version that the tests run on, and that the hashes are of.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS wheels
WORKDIR /src
COPY .ci/image.txt .ci/constraints.txt .ci/
# Refuses a file whose hash is not in the list, and whatever would have to be compiled.
RUN pip download --no-cache-dir --require-hashes --only-binary :all: --dest /wheels --requirement .ci/image.txt
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY promlstm promlstm
RUN PIP_CONSTRAINT=.ci/constraints.txt PIP_BUILD_CONSTRAINT=.ci/constraints.txt pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
# From here on nothing comes from outside.
RUN python -m venv --without-pip /opt/promlstm \
    && pip --python /opt/promlstm/bin/python install --no-cache-dir --no-index --no-deps /wheels/*.whl

FROM python:${PYTHON}-slim AS train
COPY --from=wheels /wheels /wheels
COPY .ci/constraints.txt /opt/constraints.txt
RUN python -m venv /opt/promlstm \
    && /opt/promlstm/bin/pip install --no-cache-dir --constraint /opt/constraints.txt --find-links /wheels "$(echo /wheels/promlstm-*.whl)[train]"
COPY convert /opt/source/convert
# Nobody has no home, and Keras and others look for one to write to.
ENV PATH=/opt/promlstm/bin:$PATH PYTHONPATH=/opt/source PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp ORT_DISABLE_TELEMETRY=1
LABEL org.opencontainers.image.title="promlstm-train" \
    org.opencontainers.image.description="Makes models for promlstm" \
    org.opencontainers.image.licenses="Apache-2.0 AND MIT"
WORKDIR /work
USER 65532:65532
ENTRYPOINT ["python", "-m", "convert"]

# The last one, so that it is what is built where no target is named.
FROM python:${PYTHON}-slim AS runtime
COPY --from=wheels /opt/promlstm /opt/promlstm
# ONNX Runtime would tell Microsoft of its use.
ENV PATH=/opt/promlstm/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="promlstm" \
    org.opencontainers.image.description="A Prometheus exporter that scores series with an LSTM" \
    org.opencontainers.image.licenses="Apache-2.0 AND MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
WORKDIR /etc/promlstm
USER 65532:65532
EXPOSE 19855
ENTRYPOINT ["promlstm"]
CMD ["run", "--config.file=/etc/promlstm/promlstm.yml"]
