"""What the chains that are not of the EVM have in common here."""

from __future__ import annotations

from abc import abstractmethod

from aegis_core.chains.book import Chain
from aegis_core.chains.described import DescribedTransaction
from aegis_core.chains.sent import SentTransaction


class OtherChain(Chain):
    """A chain whose transactions are described by itself."""

    @abstractmethod
    async def describe(self, raw: bytes, wallet: str) -> DescribedTransaction:
        """Read a transaction of a wallet, and look what it would do.

        Raises:
            InvalidRequestError: it cannot be read, or is of another wallet.
            ChainError: what has to be known of it is not.
        """

    @abstractmethod
    async def renewed(self, raw: bytes, sent: SentTransaction) -> int:
        """See that signed bytes are what a grant was given for. Answers the height after which they cannot happen any
        more; 0: there is none.

        Raises:
            InvalidRequestError: they are something else.
        """

    @abstractmethod
    def wallets_of(self, raw: bytes) -> tuple[str, ...]:
        """Whose money signed bytes may be about, who pays for them first. Raises `InvalidRequestError`."""
