# Builds the image of the service: one image for migrate, api, worker and emulator.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY pyproject.toml requirements.lock ./
COPY deploy/pick_locked.py deploy/
# Every package comes with its hash from the one lock; the parts for tests and embedded servers stay out.
RUN python deploy/pick_locked.py run > run.lock \
    && python deploy/pick_locked.py build > build.lock \
    && python -m venv --without-pip /opt/batch-release \
    && python -m venv --without-pip /opt/build \
    && pip --python /opt/batch-release install --require-hashes --no-deps -r run.lock \
    && pip --python /opt/build install --require-hashes --no-deps -r build.lock
COPY README.md LICENSE ./
COPY migrations migrations
COPY service service
RUN pip --python /opt/build wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && pip --python /opt/batch-release install --no-deps --no-index /dist/*.whl

FROM python:3.13-slim
RUN groupadd --gid 10001 release \
    && useradd --uid 10001 --gid 10001 --no-log-init --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin release
COPY --from=build /opt/batch-release /opt/batch-release
ENV PATH=/opt/batch-release/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    RELEASE_HTTP_HOST=0.0.0.0
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
# Not urllib: it would ask a proxy for our own address.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('RELEASE_HTTP_PORT') or 8080), timeout=3); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["batch-release"]
CMD ["api"]
