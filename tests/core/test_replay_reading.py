"""What a trace file may look like, and what is said of one that cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.replay.reading import read_trace
from aegis_core.replay.trace import Trace

CSV = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
)


def read(tmp_path: Path, content: str | bytes, name: str = "trace.csv", **options: Any) -> Trace:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_trace(path, **options)


def refused(tmp_path: Path, content: str | bytes, name: str = "trace.csv", **options: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        read(tmp_path, content, name, **options)
    assert caught.value.code == "invalid_trace"
    return caught.value.message.removeprefix(str(tmp_path) + "/")


def run(*steps: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"steps": list(steps), **fields})


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: Any = "Yes.", *tools: tuple[str, str], **fields: Any) -> dict[str, Any]:
    calls = [{"id": "c", "name": name, "arguments": arguments} for name, arguments in tools]
    return {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {}), **fields}


def test_the_azure_columns_are_recognised(tmp_path: Path) -> None:
    trace = read(tmp_path, CSV)
    assert trace.format == "csv"
    assert [(call.line, call.input_tokens, call.output_tokens) for call in trace.calls] == [(2, 374, 44), (3, 396, 109)]
    assert trace.calls[0].at == 1_700_158_546_680
    assert {call.agent for call in trace.calls} == {"trace"}
    assert "one agent, trace" in trace.notes[0]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("created_at,prompt_tokens,completion_tokens", "2026-01-01T00:00:00Z,10,20"),
        ("Time;Input Tokens;Output Tokens", "2026-01-01 00:00:00;10;20"),
        ("ts\tinputTokens\toutputTokens", "1767225600\t10.0\t20"),
        ("start_time,request tokens,Response Tokens,note", '1767225600000,10,20,"a, b"'),
        ("timestamp,gen_ai.usage.input_tokens,gen_ai.usage.output_tokens", "2026-01-01T01:00:00+01:00,10,20"),
    ],
)
def test_common_names_delimiters_and_times_are_recognised(tmp_path: Path, header: str, row: str) -> None:
    (call,) = read(tmp_path, f"{header}\n{row}\n").calls
    assert (call.at, call.input_tokens, call.output_tokens) == (1_767_225_600_000, 10, 20)


def test_model_agent_and_cost_columns_are_optional_and_so_are_their_cells(tmp_path: Path) -> None:
    text = "time,input_tokens,output_tokens,model,user,cost\n0,1,2,gpt-4o-mini,ann,$0.5\n1,1,2,,,\n"
    first, second = read(tmp_path, text).calls
    assert (first.model, first.agent, first.cost) == ("gpt-4o-mini", "ann", 500_000_000)
    assert (second.model, second.agent, second.cost) == (None, "trace", None)


def test_rows_are_put_in_the_order_of_their_times(tmp_path: Path) -> None:
    trace = read(tmp_path, "time,input_tokens,output_tokens\n30,3,0\n10,1,0\n30,4,0\n20,2,0\n")
    assert [call.input_tokens for call in trace.calls] == [1, 2, 3, 4]


def test_a_gzipped_file_is_read_whatever_its_name(tmp_path: Path) -> None:
    assert len(read(tmp_path, gzip.compress(CSV.encode()), "trace.csv.gz").calls) == 2
    assert len(read(tmp_path, gzip.compress(CSV.encode()), "trace").calls) == 2


def test_a_byte_order_mark_blank_lines_and_carriage_returns_do_no_harm(tmp_path: Path) -> None:
    assert len(read(tmp_path, "\ufeff" + CSV.replace("\n", "\r\n\r\n")).calls) == 2


def test_the_limit_counts_rows(tmp_path: Path) -> None:
    assert len(read(tmp_path, CSV, limit=1).calls) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "2023-11-16 18:15:50,abc,1",
            "trace.csv:3: ContextTokens: 'abc' is not a count of tokens; expected a whole number",
        ),
        ("2023-11-16 18:15:50,-4,1", "trace.csv:3: ContextTokens: '-4' is not a count of tokens"),
        ("2023-11-16 18:15:50,1,", "trace.csv:3: GeneratedTokens: '' is not a count of tokens"),
        ("2023-11-16 18:15:50,1,1.5", "trace.csv:3: GeneratedTokens: '1.5' is not a count of tokens"),
        ("2023-11-16 18:15:50,1,200000000", "trace.csv:3: GeneratedTokens: '200000000' is beyond the largest count"),
        ("yesterday,1,1", "trace.csv:3: TIMESTAMP: 'yesterday' is not a time; expected ISO 8601"),
        ("1901-01-01,1,1", "trace.csv:3: TIMESTAMP: '1901-01-01' lies outside of the years 1970 to 9999"),
        ("2023-11-16 18:15:50,1", "trace.csv:3: has 2 columns, expected 3 as in the header"),
        ("\x1b[31m,1,1", r"trace.csv:3: TIMESTAMP: '\x1b[31m' is not a time"),
    ],
)
def test_a_malformed_row_names_line_column_and_what_was_expected(tmp_path: Path, row: str, message: str) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,1,1\n" + row + "\n"
    assert refused(tmp_path, text).startswith(message)
    skipped = read(tmp_path, text, skip_bad=True)
    assert len(skipped.calls) == 1
    assert [line.removeprefix(str(tmp_path) + "/")[: len(message)] for line in skipped.bad] == [message]


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("cost", "free", "'free' is not a cost; expected dollars"),
        ("cost", "NaN", "'NaN' is not a cost"),
        ("cost", "9000000", "'9000000' is not a cost; expected dollars from 0 to 8,000,000"),
        ("agent", "two words", "'two words' must be 1 to 128 letters, digits"),
    ],
)
def test_optional_cells_are_checked_too(tmp_path: Path, column: str, cell: str, message: str) -> None:
    text = f"time,input_tokens,output_tokens,{column}\n0,1,1,{cell}\n"
    assert refused(tmp_path, text).startswith(f"trace.csv:2: {column}: {message}")


def test_unknown_columns_are_listed_beside_what_is_needed(tmp_path: Path) -> None:
    message = refused(tmp_path, "when,how_many\n1,2\n")
    assert message.startswith("trace.csv:1: found the columns 'when', 'how_many'; needed as well: a time: timestamp")
    assert "prompt_tokens" in message
    assert "completion_tokens" in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "trace.csv: is empty; expected a CSV with a header, or one JSON object a line"),
        (b" \n\n", "trace.csv: is empty"),
        (b"time,input_tokens,output_tokens\n", "trace.csv: holds no calls"),
        (b"time,input_tokens,output_tokens\n1,\xff,2\n", "trace.csv:2: is not UTF-8 text (byte 0xff)"),
        (b"\x1f\x8bnonsense", "trace.csv: cannot be read"),
        (b'time,input_tokens,output_tokens\n1,"2"x,3\n', "trace.csv:2: is not CSV"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert refused(tmp_path, content).startswith(message)


def test_a_directory_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "is a directory"), (tmp_path / "nowhere.csv", "no such file or directory")):
        with pytest.raises(InvalidRequestError, match=reason):
            read_trace(path)


def test_when_every_row_is_bad_nothing_is_replayed(tmp_path: Path) -> None:
    text = "time,input_tokens,output_tokens\nx,1,1\n"
    assert "all of its 1 rows are malformed; the first:" in refused(tmp_path, text, skip_bad=True)


def test_every_assistant_message_is_a_call_and_every_tool_call_a_request(tmp_path: Path) -> None:
    steps = (
        user("Cancel my flight"), assistant(None, ("cancel", '{"reservation_id": "NO6JO3"}')),
        {"role": "tool", "name": "cancel", "content": "done"}, assistant("It is cancelled."),
    )  # fmt: skip
    trace = read(tmp_path, run(*steps), "runs.jsonl")
    first, tool, last = trace.calls
    assert trace.runs == 1
    assert (first.tool, first.intent, first.prompt_tokens) == (None, "Cancel my flight", 8)  # 16 bytes
    assert (first.input_tokens, first.output_tokens) == (4, 9)  # 16 bytes before it; 6 + 28 bytes of its own, by 4
    assert (tool.tool, tool.target, tool.intent) == ("cancel", "NO6JO3", 'cancel {"reservation_id": "NO6JO3"}')
    assert tool.arguments_hash
    assert last.prompt_tokens == (16 + 34 + 4) / 2
    assert (first.at, tool.at, last.at) == (1_767_225_600_000, 1_767_225_601_000, 1_767_225_602_000)


def test_runs_follow_each_other_a_minute_apart_and_are_sessions_of_one_agent(tmp_path: Path) -> None:
    text = "\n".join([run(user("a"), assistant()), "", run(user("b"), assistant())])
    first, second = read(tmp_path, text, "runs.jsonl").calls
    assert second.at - first.at == 60_000
    assert (first.agent, first.run, second.run) == ("trace", "run-0001", "run-0003")


def test_usage_times_agents_and_models_of_the_file_win_over_estimates(tmp_path: Path) -> None:
    answer = assistant("Yes.", usage={"prompt_tokens": 900, "completion_tokens": 8}, timestamp=1_767_300_000)
    text = json.dumps({"messages": [user("a"), answer], "agent": "airline", "model": "gpt-4o-mini"})
    (call,) = read(tmp_path, text, "runs.ndjson").calls
    assert (call.agent, call.model, call.input_tokens, call.output_tokens) == ("airline", "gpt-4o-mini", 900, 8)
    assert call.prompt_tokens == 900
    assert call.at == 1_767_300_000_000


def test_parts_of_content_and_the_function_form_of_tool_calls_are_understood(tmp_path: Path) -> None:
    message = {
        "role": "assistant", "content": [{"type": "text", "text": "four"}, {"type": "image_url"}],
        "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {"b": 1, "a": 2}}}],
    }  # fmt: skip
    _, tool = read(tmp_path, run(user("x"), message), "runs.jsonl").calls
    assert tool.intent == 'look {"a": 2, "b": 1}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{oops", "runs.jsonl:2: column 2: is not JSON: expecting property name"),
        ("[1]", "runs.jsonl:2: [1] was found; expected a JSON object"),
        ('{"id": 1}', "runs.jsonl:2: found 'id'; expected a list of messages under steps or messages"),
        ('{"steps": 3}', "runs.jsonl:2: steps: 3 was found; expected a list of messages"),
        ('{"steps": [3]}', "runs.jsonl:2: steps[0]: 3 was found; expected a message object"),
        (
            '{"steps": [{"content": "a"}]}',
            "runs.jsonl:2: steps[0].role: None was found; expected text: user, assistant",
        ),
        (
            '{"steps": [{"role": "user", "content": 5}]}',
            "runs.jsonl:2: steps[0].content: 5 was found; expected text, null",
        ),
        ('{"steps": []}', "runs.jsonl:2: steps: holds no assistant message"),
        (run(assistant("", ("a b", "{}"))), "runs.jsonl:2: steps[0].tool_calls[0].name: 'a b' must be 1 to 128"),
        (
            run(assistant("", usage={"input_tokens": "x"})),
            "runs.jsonl:2: steps[0].usage.input_tokens: 'x' is not a count",
        ),
        ('{"steps": [], "timestamp": "soon"}', "runs.jsonl:2: timestamp: 'soon' is not a time"),
    ],
)
def test_a_malformed_run_names_line_and_field(tmp_path: Path, line: str, message: str) -> None:
    text = run(user("a"), assistant()) + "\n" + line
    assert refused(tmp_path, text, "runs.jsonl").startswith(message)
    assert len(read(tmp_path, text, "runs.jsonl", skip_bad=True).bad) == 1


def test_an_intent_beyond_what_is_judged_loses_its_end_and_half_a_surrogate_its_harm(tmp_path: Path) -> None:
    text = (
        '{"steps": [{"role": "user", "content": "\\ud800' + "x" * 9_000 + '"}, {"role": "assistant", "content": "y"}]}'
    )
    (call,) = read(tmp_path, text, "runs.jsonl").calls
    assert len(call.intent) == 8_000
    assert call.intent.startswith("\\ud800xxx")
