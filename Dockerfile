# The server as an image. `make image` builds it; docs/how-to/run-in-containers.md says what it needs to run.
#
# A tag can be moved to other contents, a digest cannot. To build on exactly what you have looked at:
#   docker build --build-arg BASE=python:3.13.14-slim-trixie@sha256:… .
ARG BASE=python:3.13.14-slim-trixie

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# What others wrote changes least, so it comes first: by its hashes, and as wheels alone, so no compiler is needed.
COPY deploy/container/build.lock deploy/container/runtime.lock ./
RUN python -m venv tools \
    && python -m venv --without-pip /opt/tallystick \
    && tools/bin/pip install --require-hashes --only-binary :all: --no-deps --requirement build.lock \
    && tools/bin/pip --python /opt/tallystick install \
        --require-hashes --only-binary :all: --no-deps --no-compile --requirement runtime.lock

COPY pyproject.toml README.md LICENSE ./
COPY packages packages
COPY src src
RUN tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . ./packages/tlog \
    && tools/bin/pip --python /opt/tallystick install --no-index --no-deps --no-compile wheels/*.whl
COPY deploy/container/healthcheck.py /opt/tallystick/

# Compiled here, as a read-only file system keeps nothing that is compiled later, and known to be current: no look at
# the sources at each start.
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/tallystick


FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tallystick" \
    org.opencontainers.image.description="A self-hosted, multi-tenant audit log API" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"

# The base comes without the compiled files of the standard library, for the same reason; and nothing is installed here.
RUN python -m compileall -q -x '/(ensurepip|idlelib|site-packages|tkinter|turtledemo)/' --invalidation-mode unchecked-hash \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && python -m pip uninstall --yes --quiet --root-user-action ignore pip \
    && groupadd --gid 10001 tallystick \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/tallystick --shell /usr/sbin/nologin \
        tallystick \
    && install --directory --owner tallystick --group tallystick --mode 0700 /var/lib/tallystick
COPY --from=build /opt/tallystick /opt/tallystick

ENV PATH=/opt/tallystick/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TALLYSTICK_HOME=/var/lib/tallystick \
    TALLYSTICK_HOST=0.0.0.0 \
    TALLYSTICK_LOGGING__FORMAT=json

# By number, so that Kubernetes can see that it is not root. No VOLUME: an anonymous one would hide that keys are lost.
USER 10001:10001
WORKDIR /var/lib/tallystick
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "/opt/tallystick/healthcheck.py"]
ENTRYPOINT ["tallystick"]
CMD ["serve"]
