"""``model_override``: some requests may use some models only, whatever their logic density."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from aegis_core.policy.case import Case
from aegis_core.policy.rules.base import Conditions, NarrowedRule
from aegis_core.protocol.fields import Identifier


class ModelOverride(NarrowedRule, frozen=True):
    """`model`, or any of `models`, for the requests that are given and for `task_types`.

    Where several such rules match, only the models of all of them are left; none left is a refusal.
    """

    type: Literal["model_override"] = "model_override"
    effect: Literal["observe", "allow"] = "allow"
    model: Identifier | None = None
    models: Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=64)] | None = None
    task_types: Annotated[tuple[Identifier, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> ModelOverride:
        if (self.model is None) == (self.models is None):
            raise ValueError("models: give either model or models")
        return self

    def compile(self) -> Conditions:
        """A list of models."""
        types = frozenset(self.task_types or ())
        models = tuple(dict.fromkeys(self.models or (self.model or "",)))

        def test(case: Case) -> bool:
            return not types or case.request.task_type in types

        def account(case: Case) -> str:
            if not test(case):
                said = case.request.task_type
                return f'task type "{said}" is not listed' if said else "no task type is stated"
            return f"only {', '.join(models)} may be used"

        return replace(self.compile_with(test, account), models=models)


RULE = ModelOverride
