"""The error tree. An error carries facts, so that a program need not read its text.

::

    AegisError
    ├── AegisDenied (ValueError)          a refusal, raised only by `permit`; carries the verdict
    ├── InvalidRequestError (ValueError)  a field that cannot be accepted
    ├── NotFoundError (LookupError)       an agent, session, grant or budget that is not there
    │   └── UnknownModelError             a model without a known price
    ├── ConflictError                     an id reused with other content, a grant already closed otherwise
    │   ├── LockTimeoutError (TimeoutError)  a lock was not free in time
    │   ├── LockLostError             a lease that is no more: expired, given back, or taken
    │   │   └── LockPreemptedError    taken for a higher priority, or to end a cycle of waits
    │   └── LeaseLostError            another process serves a channel now
    ├── AuthError (PermissionError)       a wrong credential, or somebody else's property
    ├── PolicyError (ValueError)          a policy document that cannot be loaded
    ├── ChainError                        the nodes of a chain cannot be asked, or do not agree
    ├── ChannelError                      a channel to operators could not deliver; it is tried again
    ├── ConfigurationError                settings or a server that Aegis must not run on
    └── StoreError                        Redis is down, slow, read-only or out of memory
        ├── AnswerLostError               asked, and no answer came: whether it decided is unknown
        ├── StateLostError                Redis came back empty; nothing is decided on it
        └── StaleError                    the same control answer twice in a row

A denial is a ``ValueError`` because retry policies of the agent frameworks leave that type alone.
"""

from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import (
    AegisError,
    AnswerLostError,
    AuthError,
    ChainError,
    ChannelError,
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    LeaseLostError,
    LockLostError,
    LockPreemptedError,
    LockTimeoutError,
    NotFoundError,
    PolicyError,
    StaleError,
    StateLostError,
    StoreError,
    UnknownModelError,
)

__all__ = [
    "AegisDenied",
    "AegisError",
    "AnswerLostError",
    "AuthError",
    "ChainError",
    "ChannelError",
    "ConfigurationError",
    "ConflictError",
    "InvalidRequestError",
    "LeaseLostError",
    "LockLostError",
    "LockPreemptedError",
    "LockTimeoutError",
    "NotFoundError",
    "PolicyError",
    "StaleError",
    "StateLostError",
    "StoreError",
    "UnknownModelError",
]
