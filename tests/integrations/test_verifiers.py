"""An environment as a taskset of verifiers: a rollout by its own machinery, with a scripted model."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import klrl_envs

pytest.importorskip("verifiers", reason="verifiers is not installed: pip install 'klrl-envs[verifiers]'")

import httpx
import verifiers.v1 as vf

from klrl_envs.integrations.verifiers import EnvironmentConfig, EnvironmentTask, EnvironmentTaskset

LINE = " a wonderful film"


class Scripted(BaseHTTPRequestHandler):
    """The endpoint of a model that always writes the same."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": LINE}
        body = json.dumps(
            {
                "id": "1", "object": "chat.completion", "created": 0, "model": "scripted",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        ).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing is written."""


class AsksOnce(vf.Harness[vf.HarnessConfig]):
    """The program of an agent: it sends the prompt, once."""

    EXECUTES_CODE = NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: Any,
        trace: Any,
        runtime: Any,
        endpoint: str,
        secret: str,
        mcp_urls: Any,
        data: Any,
        *_: Any,
    ) -> vf.ProgramResult:
        body = {"model": ctx.model, "messages": [{"role": "user", "content": data.prompt}]}
        async with httpx.AsyncClient(trust_env=False) as client:
            reply = await client.post(
                f"{endpoint}/chat/completions", json=body, headers={"Authorization": f"Bearer {secret}"}
            )
        return vf.ProgramResult(exit_code=0 if reply.is_success else 1, stdout="", stderr=reply.text)


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()


def rolled_out(task: EnvironmentTask, endpoint: str) -> vf.Trace:
    config = vf.AgentConfig(
        model="scripted",
        client=vf.EvalClientConfig(base_url=endpoint, api_key_var="SCRIPTED_KEY"),
        runtime=vf.SubprocessConfig(),
    )
    agent = vf.Agent(config)
    agent.harness = AsksOnce(agent.harness.config)
    return asyncio.run(agent.run(task))


@pytest.mark.parametrize("env_id", ["klrl/Sentiment-v0", "klrl/Keywords-v0"])
def test_a_rollout_is_paid_what_the_environment_pays(
    env_id: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPTED_KEY", "none")
    task = next(iter(EnvironmentTaskset(EnvironmentConfig(env_id=env_id))))
    trace = rolled_out(task, endpoint)
    assert trace.ok, trace.errors
    assert trace.last_reply == LINE.strip()
    paid = klrl_envs.as_reward_fn(env_id)([task.data.begun], [trace.last_reply])
    assert [reward.value for reward in trace.rewards.values()] == pytest.approx(paid)


def test_each_prompt_is_a_task_that_survives_the_wire() -> None:
    tasks = list(EnvironmentTaskset(EnvironmentConfig(arguments={"prompts": "evaluation"})).take(3))
    shown = klrl_envs.make_task("Sentiment-v0", prompts="evaluation")
    assert [each.data.prompt for each in tasks] == [shown.text(row) for row in shown.prompts.tokens[:3]]
    assert tasks[0].data.kl_coef == shown.kl_coef
    again = type(tasks[0].data).model_validate_json(tasks[0].data.model_dump_json())
    assert again == tasks[0].data and EnvironmentTask(again).key == tasks[0].key
