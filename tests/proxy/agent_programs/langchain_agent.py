"""An agent of LangChain with one tool."""

import sys
from pathlib import Path

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def read_file(name: str) -> str:
    """Read a file."""
    return Path(name).read_text()


agent = create_agent(ChatOpenAI(model="gpt-4o-mini"), [read_file])
print(agent.invoke({"messages": [("user", sys.argv[1])]})["messages"][-1].text)
