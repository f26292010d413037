"""Names of tools that nobody has are refused, or warned of where tools come later; and so is what is no tool at all."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from aegis_core.adapting import tool_list
from aegis_core.adapting.tool_names import ToolNames
from aegis_core.protocol.errors import ConfigurationError


def names(**settings: Any) -> ToolNames:
    return ToolNames(**{"costs": {}, "locks": {}, **settings})


@pytest.mark.parametrize(
    ("costs", "tools", "said"),
    [
        ({"fetsch": "0.01"}, ["fetch"], "costs={'fetsch': …} names no tool: the nearest is 'fetch'."),
        (
            {"fetsch": "0.01"},
            ["mail", "fetch"],
            "costs={'fetsch': …} names no tool: the tools here are fetch, mail; the nearest is 'fetch'.",
        ),
        ({"xyz": 1}, ["mail", "fetch"], "costs={'xyz': …} names no tool: the tools here are fetch, mail."),
        ({"xyz": 1}, [], "costs={'xyz': …} names no tool: there is none here."),
        ({"xyz": 1}, [f"t{n}" for n in range(20)], "the tools here are t0, t1, t10, t11, t12, t13, t14, t15, …"),
    ],
)  # fmt: skip
def test_a_name_of_no_tool_is_refused_with_the_nearest(costs: Any, tools: list[str], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        names(costs=costs).check(tools)
    assert said in caught.value.message
    assert caught.value.code == "unknown_tool"


def test_names_of_tools_pass_and_functions_have_none() -> None:
    names(costs={"mail": 1}, locks={"fetch": "desk"}).check(["mail", "fetch", "read"])
    names(costs=lambda tool, _: 1, locks=lambda tool, _: None).check([])
    names().check([])
    with pytest.raises(ConfigurationError, match=r"^locks="):
        names(costs={"mail": 1}, locks={"mial": "desk"}).check(["mail"])


def test_where_tools_come_later_it_is_a_warning_once() -> None:
    told = names(costs={"mial": 1})
    with pytest.warns(UserWarning, match=r"'mial'.*the nearest is 'mail'"):
        told.warn(["mail"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told.warn(["mail"])
        names(costs={"mail": 1, "later": 1}).warn(["mail"])  # each of these costs something, so none runs free
    with pytest.warns(UserWarning, match="there is none here"):
        names(costs={"mail": 1}).warn([])


def test_of_one_tool_that_is_called_only_a_likeness_is_told() -> None:
    told = names(costs={"send_mial": 1, "fetch": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told.warn_of("read")
        told.warn_of("fetch")
    with pytest.warns(UserWarning, match=r"'send_mial'.*'send_mail'"):
        told.warn_of("send_mail")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("search", "takes a list of tools and then an agent of Aegis; the first is the text 'search'"),
        (None, "the first is None"),
        (print, "the first is of type builtins.builtin_function_or_method"),
        ({"search": print}, "the first is of type builtins.dict"),
        (["search"], "takes functions; among them is the text 'search'"),
        ([print, dict], "among them is the class dict, not an object of it"),
    ],
)
def test_what_is_no_tool_is_said_in_one_sentence(given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        tool_list("govern_tools", given, lambda each: callable(each) and not isinstance(each, type), "functions")
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_any_iterable_of_tools_is_a_list() -> None:
    assert tool_list("x", (each for each in (print, len)), callable, "functions") == [print, len]
