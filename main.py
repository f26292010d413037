"""The governor as an ASGI application: ``uvicorn main:app --port 8000``."""

from aegis_core.api.app import create_app

app = create_app()
