"""The same loop with Anthropic's SDK, whose answers come as streams."""

import sys
from pathlib import Path

from anthropic import Anthropic

PARAMETERS = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TOOL = {"name": "read_file", "description": "Read a file.", "input_schema": PARAMETERS}

client = Anthropic()
messages = [{"role": "user", "content": sys.argv[1]}]
while True:
    with client.messages.stream(
        model="claude-haiku-4-5", max_tokens=4_000, messages=messages, tools=[TOOL]
    ) as stream:  # fmt: skip
        answer = stream.get_final_message()
    calls = [block for block in answer.content if block.type == "tool_use"]
    if not calls:
        print("".join(block.text for block in answer.content if block.type == "text"))
        break
    messages.append({"role": "assistant", "content": [each.model_dump(exclude_none=True) for each in answer.content]})
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": Path(call.input["name"]).read_text()}
        for call in calls
    ]
    messages.append({"role": "user", "content": results})
