"""How long a call is expected to be, for comparing prices only; what it may cost at most, `metering` says."""

from __future__ import annotations

FORECAST_INPUT, FORECAST_OUTPUT = 1_000, 250
"""The mix by which models are compared when a request gives no sizes."""


def forecast(input_tokens: int | None, max_output_tokens: int | None) -> tuple[int, int]:
    """Input and output tokens to expect of a call with at most so many.

    A prompt has half of the tokens of its bound, which is four bytes for each; an answer is a quarter of its prompt, at
    least 250 tokens, at most its cap.
    """
    expected_input = FORECAST_INPUT if input_tokens is None else (input_tokens + 1) // 2
    expected_output = max(FORECAST_OUTPUT, expected_input // 4)
    return expected_input, expected_output if max_output_tokens is None else min(expected_output, max_output_tokens)
