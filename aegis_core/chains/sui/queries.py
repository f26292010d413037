"""What nodes of Sui are asked, in GraphQL that is valid by both of the schemas in use (npm: @mysten/sui 1 and 2).

JSON-RPC is retired there. Checks are on by default in a simulation, and one of the schemas has no arguments for them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from aegis_core.chains.sui.wire import SuiTransaction

_EFFECTS = """
  digest
  status
  checkpoint { sequenceNumber }
  executionError { message abortCode identifier }
  gasEffects { gasSummary { computationCost storageCost storageRebate } }
  balanceChanges(first: 50) { nodes { amount coinType { repr } owner { address } } pageInfo { hasNextPage } }
"""
_OWNER = """
  owner {
    __typename
    ... on AddressOwner { address { address } }
    ... on ConsensusAddressOwner { address { address } }
  }
"""
CHAIN = "query Chain { chainIdentifier }"
GAS = "query Gas { epoch { epochId referenceGasPrice } checkpoint { sequenceNumber timestamp } }"
SIMULATE = f"""query Simulate($transaction: JSON!) {{
  checkpoint {{ sequenceNumber }}
  simulateTransaction(transaction: $transaction) {{
    effects {{
      {_EFFECTS}
      objectChanges(first: 50) {{
        nodes {{
          inputState {{ {_OWNER} asMoveObject {{ contents {{ type {{ repr }} }} }} }}
          outputState {{ {_OWNER} }}
        }}
        pageInfo {{ hasNextPage }}
      }}
    }}
  }}
}}
"""
TRANSACTION = "query Landed($digest: String!) { transaction(digest: $digest) { digest effects {" + _EFFECTS + "} } }"
OBJECT = "query Object($address: SuiAddress!) { object(address: $address) { version } }"
EXECUTE = (
    "mutation Execute($data: Base64!, $signatures: [Base64!]!) "
    "{ executeTransaction(transactionDataBcs: $data, signatures: $signatures) { effects { digest status } } }"
)
QUERIES = (CHAIN, GAS, SIMULATE, TRANSACTION, OBJECT, EXECUTE)
"""All of them."""


def simulated(transaction: SuiTransaction) -> Mapping[str, Any]:
    """The variables of `SIMULATE`."""
    return {"transaction": {"bcs": {"value": b64encode(transaction.data).decode()}}}


def executed(transaction: SuiTransaction) -> Mapping[str, Any]:
    """The variables of `EXECUTE`."""
    signatures = [b64encode(each).decode() for each in transaction.signatures]
    return {"data": b64encode(transaction.data).decode(), "signatures": signatures}
