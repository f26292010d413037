"""An agent of OpenAI's Agents SDK, which asks by Responses, with one tool."""

import sys
from pathlib import Path

from agents import Agent, Runner, function_tool, set_tracing_disabled


@function_tool
def read_file(name: str) -> str:
    """Read a file."""
    return Path(name).read_text()


set_tracing_disabled(True)
agent = Agent(name="Reader", instructions="Be exact.", model="gpt-4o-mini", tools=[read_file])
print(Runner.run_sync(agent, sys.argv[1]).final_output)
