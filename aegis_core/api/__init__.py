"""The HTTP face of a governor: FastAPI, the prefix ``/api/v1``, and nothing that decides."""
