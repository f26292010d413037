"""The loop that everybody writes first: OpenAI's SDK, chat completions, one tool, until the model says something."""

import json
import sys
from pathlib import Path

from openai import OpenAI

PARAMETERS = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TOOL = {"type": "function", "function": {"name": "read_file", "description": "Read a file.", "parameters": PARAMETERS}}

client = OpenAI()
messages = [{"role": "user", "content": sys.argv[1]}]
while True:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[TOOL]).choices[0].message
    if not answer.tool_calls:
        print(answer.content)
        break
    messages.append(answer.model_dump(exclude_none=True))
    for call in answer.tool_calls:
        text = Path(json.loads(call.function.arguments)["name"]).read_text()
        messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
