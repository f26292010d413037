"""An agent of Pydantic AI with one tool."""

import sys
from pathlib import Path

from pydantic_ai import Agent

agent = Agent("openai-chat:gpt-4o-mini")


@agent.tool_plain
def read_file(name: str) -> str:
    """Read a file."""
    return Path(name).read_text()


print(agent.run_sync(sys.argv[1]).output)
