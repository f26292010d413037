"""Nobody's newer policy is lost: one is published in place of the version that it was made from, over every door."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from serving import OPERATOR

import aegis_core
from aegis_core import Settings
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.policy.loading import load_policy
from aegis_core.protocol.errors import ConfigurationError, ConflictError

AS_OPERATOR = {"Authorization": f"Bearer {OPERATOR}"}
Aegis = Callable[..., tuple[int, str, str]]


def rules(limit: int) -> dict[str, object]:
    return {"schema": 1, "rules": [{"name": "cap", "type": "max_cost", "limit_usd": limit}]}


def test_over_http_a_policy_names_the_version_that_it_was_made_from(http: httpx.Client) -> None:
    first = http.get("/policy", headers=AS_OPERATOR)
    tag = first.headers["etag"]
    assert tag == f'"{first.json()["version"]}"'
    bare = http.put("/policy", json=rules(1), headers=AS_OPERATOR)
    assert (bare.status_code, bare.json()["code"]) == (428, "version_needed")
    assert bare.headers["content-type"] == "application/problem+json"
    other = http.put("/policy", json=rules(2), headers=AS_OPERATOR | {"If-Match": tag})
    assert other.status_code == 200
    assert other.headers["etag"] == f'"{other.json()["version"]}"' != tag
    for method, path, body in (("PUT", "/policy", rules(3)), ("POST", "/policy/rollback", {"version": 1})):
        late = http.request(method, path, json=body, headers=AS_OPERATOR | {"If-Match": tag})
        assert (late.status_code, late.json()["code"]) == (412, "policy_replaced")
        assert late.json()["version"] == other.json()["version"]
    assert http.get("/policy", headers=AS_OPERATOR).json()["digest"] == other.json()["digest"]
    assert http.put("/policy", json=rules(4), headers=AS_OPERATOR | {"If-Match": "7"}).status_code == 422
    assert http.put("/policy", json=rules(4), headers=AS_OPERATOR | {"If-Match": "*"}).status_code == 200


async def test_in_a_program_and_from_a_file_a_newer_policy_stays(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(rules(1)))
    ruled = settings.model_copy(update={"policy_file": file})
    async with aegis_core.connect(settings=ruled) as governor:
        of = governor.port
        assert isinstance(of, ResourceGovernor)
        version, _ = await of.operator.policy_version()
        newer = await of.publish_policy(load_policy(json.dumps(rules(2))), author="bo", expected=version)
        with pytest.raises(ConflictError, match=f"Version {newer} of the policy is in force, not version {version}"):
            await of.publish_policy(load_policy(json.dumps(rules(3))), author="ada", expected=version)
        with pytest.raises(ConfigurationError, match=rf"would replace version {newer} .* which bo published"):
            async with aegis_core.connect(settings=ruled):
                pytest.fail("the file replaced what somebody published")
        assert (await of.operator.policy_version())[0] == newer
        async with aegis_core.connect(settings=ruled.model_copy(update={"policy_file_replaces": True})):
            assert (await of.operator.policy_version())[0] == newer + 1
        file.write_text(json.dumps(rules(5)))
        async with aegis_core.connect(settings=ruled):  # a file takes the place of a file
            assert (await of.operator.policy_version())[0] == newer + 2
