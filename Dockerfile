# A glibc base: the embedded server's wheels need glibc 2.28 or newer (no Alpine).
FROM python:3.13-slim-bookworm

RUN useradd --create-home --uid 10001 aegis
WORKDIR /app
COPY pyproject.toml README.md LICENSE main.py ./
COPY aegis_core ./aegis_core
COPY integrations ./integrations
RUN pip install --no-cache-dir '.[server]'

USER aegis
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/api/v1/health', timeout=2)"]
CMD ["aegis", "serve"]
