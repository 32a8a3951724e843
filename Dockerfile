# Two stages: the first has pip's leavings and the build tools; what runs has Python and one
# virtual environment. Every download is held to the hashes of the lock files.
#
#   docker build -t streamapi .
#   docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges \
#     -e GOOGLE_API_KEY -v streamapi:/data -p 127.0.0.1:8000:8000 streamapi

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# The dependencies first: this layer is built again only when their lock changes. They are
# compiled here, because a read-only file system keeps no byte code later.
COPY requirements.lock ./
RUN python -m venv /opt/streamapi \
    && /opt/streamapi/bin/pip install --require-hashes -r requirements.lock

# The build back end is a part of the development lock, so it is held to its hashes too. Where a
# name is missing from this list, pip refuses the next one.
COPY requirements-dev.lock ./
RUN awk '/^[a-z]/ { keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } keep' \
        requirements-dev.lock > build.lock \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes -r build.lock

COPY pyproject.toml README.md hypercorn.toml ./
COPY streamapi streamapi
COPY static static
COPY docs docs
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/streamapi/bin/pip install --no-deps dist/streamapi-*.whl \
    && /opt/streamapi/bin/pip uninstall --yes pip


FROM python:3.13-slim
COPY --from=build /opt/streamapi /opt/streamapi

# Nothing is written but the database: no byte code, no home, no log files. Bound to all addresses
# of the container, the server asks for keys.
ENV PATH=/opt/streamapi/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    STREAMAPI_BIND=0.0.0.0:8000 \
    STREAMAPI_AUTH=keys \
    STREAMAPI_DATABASE_URL=sqlite:////data/streamapi.db

RUN install -d -o 10001 -g 10001 /data
VOLUME /data

# Numeric, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /
EXPOSE 8000

# The drain (STREAMAPI_DRAIN_TIMEOUT, 20 s) begins with this signal: give it 30 s before a KILL.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]

# Without GOOGLE_API_KEY it refuses to start, and says so: the emulator is for loopback only.
CMD ["streamapi", "serve"]
