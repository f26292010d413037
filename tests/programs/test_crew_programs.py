"""Programs on CrewAI as users write them: its own client of OpenAI, and a provider on loopback."""

from __future__ import annotations

from typing import Any

import pytest
from aegis_crewai import govern_crew
from crewai import LLM, Agent, Crew, Process, Task
from crewai.flow.flow import Flow, listen, start
from crewai.tools import tool
from paid_model import MODEL, Provider, Said, check_books, last_of, provider, results

from aegis_core.client.sync import SyncGovernor


def llm(serves: Provider) -> LLM:
    return LLM(model=f"openai/{MODEL}", base_url=serves.url, api_key="none", max_tokens=300)


def agent(role: str, model: LLM, **more: Any) -> Agent:
    return Agent(role=role, goal="Do it well", backstory="You are good.", llm=model, verbose=False, **more)


def everything(messages: list[dict[str, Any]]) -> str:
    return " ".join(str(each.get("content")) for each in messages)


@tool("weigh")
def weigh(parcel: str) -> str:
    """Weigh a parcel."""
    return f"{parcel} weighs 4 kg"


def test_kickoff_for_each(governor: SyncGovernor) -> None:
    """One crew for three parcels; each is weighed for two cents."""

    def reply(messages: list[dict[str, Any]], _: dict[str, Any]) -> Said:
        if found := results(messages):
            return Said(f"The answer: {found[-1]}.")
        parcel = next(each for each in ("red", "green", "blue") if f"the {each} parcel" in everything(messages))
        return Said(calls=(("weigh", {"parcel": parcel}),))

    with provider(reply) as serves:
        clerk = agent("Clerk", llm(serves), tools=[weigh])
        task = Task(description="Weigh the {colour} parcel.", expected_output="Its weight", agent=clerk)
        crew = Crew(agents=[clerk], tasks=[task], verbose=False)
        govern_crew(crew, governor, costs={"weigh": "0.02"})
        said = crew.kickoff_for_each([{"colour": colour} for colour in ("red", "green", "blue")])
        assert [str(each) for each in said] == [f"The answer: {c} weighs 4 kg." for c in ("red", "green", "blue")]
        check_books(governor, serves, "0.06")


@pytest.mark.deep
def test_a_hierarchical_crew(governor: SyncGovernor) -> None:
    """The manager delegates; its model and the worker's are both asked for."""

    def reply(messages: list[dict[str, Any]], body: dict[str, Any]) -> Said:
        names = {each["function"]["name"]: each["function"] for each in body.get("tools", ())}
        delegate = next((name for name in names if name.startswith("delegate")), None)
        if delegate is None:
            return Said("The parcel goes by train.")
        if found := results(messages):
            return Said(f"Decided: {found[-1]}")
        words = {"task": "Choose a way", "context": "It weighs 4 kg", "coworker": "Shipper"}
        return Said(calls=((delegate, words),))

    with provider(reply) as serves:
        shipper = agent("Shipper", llm(serves))
        task = Task(description="Decide how the parcel goes.", expected_output="A way")
        crew = Crew(
            agents=[shipper], tasks=[task], process=Process.hierarchical, manager_llm=llm(serves), verbose=False
        )
        govern_crew(crew, governor)
        assert str(crew.kickoff()) == "Decided: The parcel goes by train."
        assert len(serves.requests) == 3
        check_books(governor, serves)


@pytest.mark.deep
def test_a_flow_of_two_crews(governor: SyncGovernor) -> None:
    """What the first crew found is the second one's task."""

    def reply(messages: list[dict[str, Any]], _: dict[str, Any]) -> Said:
        text = everything(messages)
        return Said("It is 4 kg.") if "Estimate" in text else Said("Stamp for 4 kg" if "4 kg" in text else "?")

    with provider(reply) as serves:

        def crew(role: str, asked: str) -> Crew:
            worker = agent(role, llm(serves))
            made = Crew(agents=[worker], tasks=[Task(description=asked, expected_output="An answer", agent=worker)])
            govern_crew(made, governor)
            return made

        class Posting(Flow):  # type: ignore[type-arg]
            @start()
            def estimate(self) -> str:
                return str(crew("Estimator", "Estimate the weight.").kickoff())

            @listen(estimate)
            def stamp(self, weight: str) -> str:
                return str(crew("Stamper", f"Stamp the parcel. {weight}").kickoff())

        assert Posting(suppress_flow_events=True).kickoff() == "Stamp for 4 kg"
        assert len(serves.requests) == 2
        check_books(governor, serves)


@pytest.mark.deep
def test_a_guardrail_in_words(governor: SyncGovernor) -> None:
    """A model judges the answer; it is wrong once, and the task is done again. All of it is asked for."""
    said = iter(["The parcel weighs a lot.", "The parcel weighs 4 kg."])

    def reply(messages: list[dict[str, Any]], body: dict[str, Any]) -> Said:
        text = everything(messages)
        if "guardrail" in text.lower():
            fits = "4 kg" in last_of(messages, "user")
            return Said(
                '{"valid": true, "feedback": null}' if fits else '{"valid": false, "feedback": "Name the kilograms."}'
            )
        return Said(next(said))

    with provider(reply) as serves:
        clerk = agent("Clerk", llm(serves))
        task = Task(
            description="Say what the parcel weighs.", expected_output="Its weight", agent=clerk,
            guardrail="The answer names a number of kilograms.",
        )  # fmt: skip
        crew = Crew(agents=[clerk], tasks=[task], verbose=False)
        govern_crew(crew, governor)
        assert str(crew.kickoff()) == "The parcel weighs 4 kg."
        assert len(serves.requests) == 4
        check_books(governor, serves)
