"""Agents of the command line as people install them: how each is told of the proxy, and to read one file."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from apart import URL
from fetching import AGENTS
from places import task


@dataclass(frozen=True)
class Agent:
    """One agent.

    Attributes:
        package: what it is in `AGENTS`.
        command: that does a task and ends, of the folder where its package is; the task follows.
        tool: what it calls to read a file, and the arguments for ``order.txt``; None: it reads what the model names.
        settings: what stands in files of its home, for a key.
        environment: likewise, beside where its home is.
        day: dollars of which its first call leaves too little for the next one.
        beside: calls that it makes before its task.
        free: requests that it makes before, of which none reaches a provider.
        terms: of its key.
        task: what it is asked.
        in_git: whether it looks for files in a repository only.
        fails: whether it ends with an error where it is stopped; else it waits for its person to go on.
    """

    package: str
    command: Callable[[Path], list[str | Path]]
    tool: tuple[str, Mapping[str, object]] | None
    settings: Callable[[str], dict[str, object]]
    environment: Callable[[str], dict[str, str]]
    day: str
    beside: int = 0
    free: int = 0
    terms: Mapping[str, Any] = field(default_factory=dict[str, Any])
    task: Callable[[Path], str] = task
    in_git: bool = False
    fails: bool = True

    def prepare(self, home: Path, key: str) -> dict[str, str]:
        """Write its files; answers its environment."""
        for name, value in self.settings(key).items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(value if isinstance(value, str) else json.dumps(value))
        if self.in_git:
            for act in (["init", "--quiet"], ["add", "order.txt"]):
                subprocess.run(["git", *act], cwd=home, check=True, env={"PATH": "/usr/bin:/bin", "HOME": str(home)})
        plain = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"}
        return plain | self.environment(key)


def program(folder: Path, *patterns: str) -> Path:
    """The program of a package for this machine, which its own start script would look for."""
    found = [path for pattern in patterns for path in sorted(folder.glob(f"node_modules/{pattern}")) if path.is_file()]
    if not found:
        pytest.skip(f"{folder.name} has no program for this machine")
    return found[0]


def _node(folder: Path, script: str) -> list[str | Path]:
    runs = shutil.which("node")
    if runs is None:
        pytest.skip("needs Node")
    return [runs, folder / "node_modules" / ".bin" / script]


def _codex(folder: Path) -> list[str | Path]:
    options = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
    return [*_node(folder, "codex"), "exec", *options]


CODEX_READS = ("exec_command", {"cmd": "cat order.txt"})
CODEX_CONFIG = f"""
model = "gpt-5.5"
model_provider = "aegis"
web_search = "disabled"
[model_providers.aegis]
name = "aegis"
base_url = "{URL}/v1"
env_key = "PROXY_KEY"
wire_api = "responses"
"""
CODEX_AT_OPENAI = f"""
model = "gpt-5.5"
openai_base_url = "{URL}/v1"
web_search = "disabled"
"""

COMMAND_LINE: dict[str, Agent] = {
    "claude-code": Agent(
        "claude-code",
        lambda folder: [
            program(folder, "@anthropic-ai/claude-code-*/claude"), "--model", "claude-opus-4-6",
            "--allowedTools=Read", "--print",
        ],
        ("Read", {"file_path": "order.txt"}),
        lambda _: {},
        lambda key: {"ANTHROPIC_BASE_URL": URL, "ANTHROPIC_API_KEY": key},
        "1.00",
        free=1,  # /api/hello: whether anybody is there
    ),
    "codex": Agent(
        "codex", _codex, CODEX_READS, lambda _: {".codex/config.toml": CODEX_CONFIG},
        lambda key: {"PROXY_KEY": key}, "0.70",
    ),
    "codex at OpenAI": Agent(
        "codex", _codex, CODEX_READS, lambda _: {".codex/config.toml": CODEX_AT_OPENAI},
        lambda key: {"CODEX_API_KEY": key}, "0.70",
        free=1,  # a WebSocket, which is answered 426
    ),
    "gemini-cli": Agent(
        "gemini-cli",
        lambda folder: [*_node(folder, "gemini"), "--model", "gemini-2.5-flash", "--approval-mode=yolo", "--prompt"],
        ("read_file", {"file_path": "order.txt"}),
        lambda _: {".gemini/settings.json": {"security": {"auth": {"selectedType": "gemini-api-key"}}}},
        lambda key: {"GOOGLE_GEMINI_BASE_URL": URL, "GEMINI_API_KEY": key, "GEMINI_CLI_TRUST_WORKSPACE": "true"},
        "0.045",
    ),
    "opencode": Agent(
        "opencode",
        lambda folder: [
            program(folder, "opencode-*-baseline/bin/opencode", "opencode-*/bin/opencode"), "run", "--model",
            "anthropic/claude-sonnet-4-5",
        ],
        ("read", {"filePath": "order.txt"}),
        lambda key: {
            "opencode.json": {
                "provider": {"anthropic": {"options": {"baseURL": f"{URL}/v1", "apiKey": key}}}, "permission": "allow",
            }
        },
        lambda _: {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
        "0.50",
        beside=1,  # a title
    ),
    "aider": Agent(
        "aider",
        lambda folder: [
            folder / "bin" / "python", folder / "bin" / "aider", "--model", "openai/gpt-5.5", "--yes-always",
            "--map-tokens=0", "--no-pretty", "--no-check-update", "--no-show-release-notes", "--analytics-disable",
            "--no-show-model-warnings", "--no-gitignore", "--message",
        ],
        None,
        lambda _: {},
        lambda key: {"OPENAI_API_BASE": f"{URL}/v1", "OPENAI_API_KEY": key},
        "0.70",
        terms={"refusal_status": 400},
        # The name of a file it would read at once.
        task=lambda folder: f"Tell what Ada ordered, as it is written in {folder}.",
        in_git=True,
        fails=False,
    ),
}  # fmt: skip
assert {agent.package for agent in COMMAND_LINE.values()} == AGENTS.keys()
