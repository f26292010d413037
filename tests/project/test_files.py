"""The files around the code say what the code does."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import yaml

from aegis_core.settings import Settings

ROOT = Path(__file__).parents[2]


def variables() -> set[str]:
    return {"USE_FAKE_REDIS" if name == "use_fake_redis" else f"AEGIS_{name.upper()}" for name in Settings.model_fields}


def test_the_env_example_knows_every_variable_and_no_other() -> None:
    text = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)) == variables()


def test_the_env_example_is_read_by_the_settings_with_its_defaults(tmp_path: Path) -> None:
    text = (ROOT / ".env.example").read_text()
    uncommented = re.sub(r"^#([A-Z_]+=)", r"\1", text, flags=re.MULTILINE).replace(
        "redis://127.0.0.1:6379", "embedded", 1
    )
    env = tmp_path / "example.env"
    env.write_text(uncommented)
    assert Settings(_env_file=env) == Settings(_env_file=None)  # pyright: ignore[reportCallIssue]


def test_compose_runs_a_redis_that_never_evicts_and_keeps_its_data() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    command = compose["services"]["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    assert command[command.index("--appendonly") + 1] == "yes"
    assert set(compose["services"]["governor"]["environment"]) <= variables()


def test_the_image_is_built_on_glibc_and_copies_what_the_build_needs() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    base = next(line for line in lines if line.startswith("FROM "))
    assert "alpine" not in base
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "only-include"
    ]
    assert {package.split("/")[0] for package in packages} <= copied
    assert {"pyproject.toml", "README.md", "LICENSE"} <= copied
    assert all((ROOT / name).exists() for name in copied)
    entry = json.loads(next(line for line in lines if line.startswith("CMD ")).removeprefix("CMD "))
    assert entry[0] in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def test_the_demonstration_installs_the_frameworks_that_it_shows(tmp_path: Path) -> None:
    def planned(*arguments: str) -> str:
        command = ["make", "-n", "demo", f"VENV={tmp_path}/venv", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    shown = "langchain,langgraph,crewai,autogen"
    assert f"-e '.[{shown}]'" in planned()
    assert f"show.py {shown}" in planned()
    assert planned().index("aegis demo") < planned().index("Installing")
    some = planned("FRAMEWORKS=langchain,autogen")
    assert "-e '.[langchain,autogen]'" in some
    assert "show.py langchain,autogen" in some
    for none in ("FRAMEWORKS=none", "FRAMEWORKS="):
        assert "aegis demo" in planned(none)
        assert "show.py" not in planned(none)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(shown.split(",")) <= set(extras)


def test_modules_and_functions_stay_small() -> None:
    import ast

    for path in [*(ROOT / "aegis_core").rglob("*.py"), *(ROOT / "integrations").rglob("*.py")]:
        text = path.read_text()
        most = 250 if path.is_relative_to(ROOT / "integrations") else 350  # an adapter only translates
        assert text.count("\n") <= most, f"{path.relative_to(ROOT)} has over {most} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {length} lines"
