"""Each adapter loads its own framework only, names the extra when it is absent, and warns once of untested versions."""

from __future__ import annotations

import ast
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis_core.adapting import frameworks

ADAPTERS = Path(__file__).parents[2] / "integrations"

pytestmark = pytest.mark.timeout(330)  # CrewAI alone takes 15 seconds to import, and some tests import it twice

CLASSIC = (
    "from aegis_autogen import register_governor\n"
    "from autogen import ConversableAgent\n"
    "import aegis_core\n"
    "def use(aegis):\n"
    "    register_governor(ConversableAgent('a', llm_config=False), aegis)\n"
    "with aegis_core.connect_sync() as governor:\n"
    "    aegis = governor.handshake('a'); use(aegis); use(aegis)"
)


def run(code: str, home: object = "/nonexistent") -> str:
    command = [sys.executable, "-W", "ignore", "-c", code]
    environment = {"HOME": str(home), "AEGIS_DATA_DIR": f"{home}/data", "LANG": "C.UTF-8"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=160, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import aegis_langchain", ("langchain", "langgraph", "crewai", "autogen", "autogen_core")),
        ("from aegis_langchain import AegisMiddleware", ("crewai", "autogen", "autogen_core")),
        ("import aegis_langgraph", ("langchain", "crewai", "autogen", "autogen_core")),
        ("import aegis_crewai", ("crewai", "langchain_core", "autogen", "autogen_core")),
        ("from aegis_crewai import govern_crew", ("langchain_core", "langgraph", "autogen", "autogen_core")),
        ("import aegis_autogen", ("autogen", "autogen_core")),
        (CLASSIC, ("autogen_core", "langchain_core", "crewai")),
        ("import aegis_autogen.agentchat", ("autogen", "langchain_core", "crewai")),
    ],
)
def test_it_loads_no_other_framework_and_what_is_installed_is_tested(
    statement: str, absent: tuple[str, ...], tmp_path: Path
) -> None:
    strict = "import warnings\nwarnings.filterwarnings('error', message='.*Aegis was tested with')\n"
    found = f"\nimport sys; print([name for name in {absent!r} if name in sys.modules])"
    assert run(strict + statement + found, tmp_path) == "[]"


@pytest.mark.parametrize(
    ("statement", "missing", "adapter", "extra"),
    [
        ("import aegis_langchain", "langchain_core", "aegis_langchain", "langchain"),
        ("from aegis_langchain import AegisMiddleware", "langchain", "aegis_langchain.AegisMiddleware", "langchain"),
        ("import aegis_langgraph", "langgraph", "aegis_langgraph", "langgraph"),
        ("from aegis_crewai import govern_crew", "crewai", "aegis_crewai", "crewai"),
        ("from aegis_autogen import register_governor", "autogen", "aegis_autogen", "autogen"),
        ("import aegis_autogen.agentchat", "autogen_core", "aegis_autogen.agentchat", "agentchat"),
    ],
)
def test_a_missing_framework_is_named_in_one_sentence(statement: str, missing: str, adapter: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"try:\n    {statement}\nexcept Exception as error: print(type(error).__name__, error)"
    )
    said = f"{adapter} needs a framework that is not installed: pip install '.[{extra}]' in a checkout of Aegis"
    assert run(code) == f"ConfigurationError {said}"


def test_a_package_called_autogen_without_the_agent_is_no_framework() -> None:
    """Later distributions called pyautogen or ag2 have none."""
    code = (
        "import sys, types; sys.modules['autogen'] = types.ModuleType('autogen')\n"
        "try:\n    from aegis_autogen import register_governor\nexcept Exception as error: print(error)"
    )
    assert "pip install '.[autogen]' in a checkout of Aegis" in run(code)


OUTSIDE = [
    ("import aegis_langchain", "langchain-core", ">=1.0,<2", ("0.3.79", "2.0.1")),
    ("from aegis_langchain import AegisMiddleware", "langchain", ">=1.0,<2", ("0.3.27", "2.0")),
    ("import aegis_langgraph", "langgraph", ">=1.2,<2", ("1.1.9", "2.0.0")),
    ("from aegis_crewai import govern_crew, govern_tools", "crewai", ">=1.15,<2", ("1.14.2", "2.0.0a1")),
    (CLASSIC, "autogen", ">=0.14.1,<0.15", ("0.9.10", "0.15.0")),
    (CLASSIC, "pyautogen", ">=0.2.35,<0.3", ("0.2.34", "0.3.2")),
    ("import aegis_autogen.agentchat", "autogen-core", ">=0.7,<0.8", ("0.6.4", "0.8.0")),
]
"""How an adapter is loaded, of which distribution it was tested with which versions, and one below and above those."""


EACH = [(use, name, tested, found) for use, name, tested, outside in OUTSIDE for found in outside]


def test_the_adapters_say_these_ranges() -> None:
    """So that the test below, which loads no framework, speaks of what they do."""
    said = {name: f">={first},<{below}" for path in ADAPTERS.rglob("*.py") for name, first, below in ranges(path)}
    assert said == {name: tested for _, name, tested, _ in OUTSIDE}


def ranges(path: Path) -> Iterator[list[str]]:
    """What an adapter's module gives to `warn_outside`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "warn_outside":
            yield [ast.literal_eval(argument) for argument in node.args]


@pytest.mark.parametrize(("distribution", "tested", "found"), [each[1:] for each in EACH])
def test_a_version_outside_is_told_once(
    distribution: str, tested: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frameworks, "_warned", set())
    first, below = tested[2:].split(",<")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        monkeypatch.setattr(frameworks, "version", lambda _: first)
        frameworks.warn_outside(distribution, first, below)
        assert told == []
        monkeypatch.setattr(frameworks, "version", lambda _: found)
        frameworks.warn_outside(distribution, first, below)
        frameworks.warn_outside(distribution, first, below)
    assert [str(each.message) for each in told] == [sentence(distribution, found, tested)]


def sentence(distribution: str, found: str, tested: str) -> str:
    return (
        f"{distribution} {found} is outside the range that Aegis was tested with ({tested}); "
        "its extension points may have changed, and with them what is enforced."
    )


@pytest.mark.deep
@pytest.mark.parametrize(("use", "distribution", "tested", "found"), EACH)
def test_a_version_outside_the_tested_range_is_warned_of_once(
    use: str, distribution: str, tested: str, found: str, tmp_path: object
) -> None:
    code = (
        "import importlib.metadata as metadata, warnings\n"
        "installed = metadata.version\n"
        "def version(name):\n"
        f"    if name == {distribution!r}: return {found!r}\n"
        f"    return installed('pyautogen' if {distribution!r} == 'pyautogen' and name == 'autogen' else name)\n"
        "metadata.version = version\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    {use}\n"
        "told = [str(each.message) for each in said if 'Aegis was tested with' in str(each.message)]\n"
        "print(*told, sep='\\n')"
    ).replace("{use}", use.replace("\n", "\n    "))
    said = run(code, tmp_path)
    assert said == sentence(distribution, found, tested)
