"""Two agents that do the same work.

Definition: two agents whose sets of prompt hashes have a Jaccard index of at least 0.8. Formula: what the smaller
one's calls with those prompts cost. Unit: nano-dollars spent. Minimum: 50 different prompts of each. Source: Jaccard,
"The distribution of the flora in the alpine zone" (1912).
"""

from __future__ import annotations

from collections import defaultdict

from aegis_core.kaizen.facts import Day
from aegis_core.kaizen.findings import Detector, Found, Loss

LEAST, ALIKE_PERCENT = 50, 80


def find(day: Day) -> Found:
    """Look for agents that ask the same."""
    prompts: dict[str, set[str]] = defaultdict(set)
    for call in day.calls:
        if call.is_model and call.prompt is not None:
            prompts[call.agent].add(call.prompt)
    sizes = sorted(map(len, prompts.values()), reverse=True)
    large = sorted(agent for agent, each in prompts.items() if len(each) >= LEAST)
    spent = {agent: sum(call.spent for call in day.calls if call.agent == agent) for agent in large}
    twice: dict[str, set[str]] = {}
    for at, one in enumerate(large):
        for other in large[at + 1 :]:
            both = prompts[one] & prompts[other]
            if 100 * len(both) >= ALIKE_PERCENT * len(prompts[one] | prompts[other]):
                twice.setdefault(min(one, other, key=lambda each: (spent[each], each)), set()).update(both)
    losses = [
        Loss.of(call, call.spent)
        for call in day.calls
        if call.spent and call.prompt is not None and call.prompt in twice.get(call.agent, ())
    ]
    unknown = None if prompts else "no call says a hash of its prompt"
    return Found(sizes[1] if len(sizes) > 1 else 0, losses, unknown, {"pairs": len(twice)})


DETECTOR = Detector(
    "duplicate-agents", "Agents that do the same work", "spent", LEAST, "prompts of the second largest agent", find
)
