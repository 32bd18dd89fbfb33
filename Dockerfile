# Two stages: the first installs hash-checked packages, the second carries the result and no tools.
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 UV_NO_CACHE=1 UV_LINK_MODE=copy VIRTUAL_ENV=/app
COPY requirements/build.txt requirements/run.txt requirements/
RUN python -m venv /app \
    && /app/bin/pip install --quiet --require-hashes --requirement requirements/build.txt \
    && /app/bin/uv pip install --quiet --require-hashes --requirement requirements/run.txt
COPY pyproject.toml celeryconfig.py README.md ./
COPY campaign campaign
COPY workers workers
RUN /app/bin/pip install --quiet --no-deps --no-build-isolation --no-index . \
    && /app/bin/uv pip uninstall --quiet setuptools uv

FROM python:3.11.14-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin campaign
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /tmp
CMD ["campaign", "--help"]
