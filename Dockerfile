# One image, three roles: the API (its default command), the worker and the Valkey server; docker-compose.yml gives
# each its command. It builds from any Debian-like base that has `python3` >= 3.11 with venv: the official Python
# image (Python under /usr/local) and Debian's own Python (under /usr) both do.
ARG PYTHON_IMAGE=python:3.11-slim

# -- dependencies: the hash lock alone, so that a change of code does not install anything again ---------------------
FROM ${PYTHON_IMAGE} AS dependencies
# EXTRA names a lock in requirements/: `server`, or `gpu` (server + CuPy + the CUDA libraries that it loads).
ARG EXTRA=server
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements/${EXTRA}.txt /build/requirements.txt
# pip stays in the build stage: the environment that is shipped cannot install anything. Tests of the numeric
# packages are a fifth of their size. Byte code carries a hash of its source instead of a time, so that the layer
# does not depend on when it was made, and `unchecked` because a read-only root never changes it.
RUN python3 -m venv /build/pip \
 && python3 -m venv --without-pip /opt/venv \
 && /build/pip/bin/python -m pip --python /opt/venv/bin/python install --quiet --no-compile --require-hashes \
        --only-binary :all: -r /build/requirements.txt \
 && find /opt/venv/lib/python3*/site-packages/scipy /opt/venv/lib/python3*/site-packages/sklearn \
        -type d -name tests -prune -exec rm -r {} + \
 && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib

# -- code: the `mlpq` wheel as it is published, and the rooms that only a checkout has -------------------------------
FROM dependencies AS code
COPY pyproject.toml README.md LICENSE /build/source/
COPY mlpq /build/source/mlpq
RUN /build/pip/bin/python -m pip --python /opt/venv/bin/python install --quiet --no-compile --no-deps --no-index \
        --no-build-isolation --prefix /build/overlay /build/source
COPY kernels /app/kernels
COPY nets /app/nets
# The CPU kernels, compiled for the processor of this machine; on another one a worker compiles its own when it starts.
# What numba keeps is known by the place of its source: generated sources must lie where workers will look for them.
RUN cd /app && MLPQ_COMPILED_DIR=/var/lib/mlpq/compiled PYTHONDONTWRITEBYTECODE=1 /opt/venv/bin/python -m nets.warm
COPY store /app/store
COPY service /app/service
COPY worker /app/worker
COPY containers/health.py /build/overlay/bin/mlpq-health
RUN site=$(echo /build/overlay/lib/python3*/site-packages) \
 && echo /app > "$site/mlpq-rooms.pth" \
 && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash -s /build/overlay -p /opt/venv "$site" \
 && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app \
 && chmod 0755 /build/overlay/bin/* \
 && PYTHONPATH=$site /opt/venv/bin/python -c "import os, mlpq.embedded; \
        os.symlink(mlpq.embedded.find_server_binary(), '/build/overlay/bin/valkey-server')"

# -- runtime: the base, one unprivileged user, the environment, the code ---------------------------------------------
FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="mlpq" \
      org.opencontainers.image.description="Train fully connected networks over HTTP" \
      org.opencontainers.image.licenses="MIT"
# A number that no distribution hands out, fixed so that volumes keep their owner across versions of the image.
# Both folders are mount points of named volumes, which take the owner of the folder that they cover.
RUN groupadd --system --gid 10001 mlpq \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin mlpq \
 && install -d -o mlpq -g mlpq -m 0700 /var/lib/mlpq /var/lib/valkey
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=code /build/overlay /opt/venv
COPY --from=code /app /app
# Under the mount point, since numba loads only from a folder that it can write: a new named volume starts as a copy of
# what it covers. In a volume that is older than these kernels a worker compiles them when it starts.
COPY --from=code --chown=10001:10001 /var/lib/mlpq/compiled /var/lib/mlpq/compiled
# The root is meant to be read-only and /tmp a tmpfs: nothing is written beside the data directory.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    CUPY_CACHE_DIR=/tmp/cupy \
    MLPQ_COMPILED_DIR=/var/lib/mlpq/compiled \
    MLPQ_DATA_DIR=/var/lib/mlpq
WORKDIR /app
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["mlpq-health", "api"]
CMD ["python", "-m", "service", "--host", "0.0.0.0", "--port", "8000"]
