"""`klrl signal`: a loss by its name, a report, and claims that a continuous integration can make."""

from __future__ import annotations

import json

import pytest

from tests.cli.commands import klrl, refused, succeeded

RIGHT = "klrl_envs.signals:reinforce"
QUICK = ("--group", "1")
LOSS = """
def loss(batch):
    price = ((batch.log_probs - batch.reference_log_probs) * batch.mask).sum(dim=1).detach()
    paid = batch.rewards - batch.kl_coef * price
    return -(paid * (batch.log_probs * batch.mask).sum(dim=1)).mean()


def nothing(batch):
    return batch.rewards.mean()


answer = 42
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / f"{tmp_path.name}.py"  # no two modules may have one name
    path.write_text(LOSS)
    return str(path)


def test_a_loss_of_one_s_own_is_reported(file):
    out = succeeded(klrl("signal", f"{file}:loss", *QUICK))
    assert "cos E[r]" in out and "Right: on average it is the gradient of the objective" in out
    assert "It is the gradient of: E[r] - kl_coef KL(pi || pi0)" in out
    for name in ("pi0", "half way", "every reward + 3", "sampler 0.1 nats off", "E[r]"):
        assert name in out


def test_claims_decide_the_exit_code(file):
    result = klrl(
        "signal", f"{file}:loss", *QUICK, "--json", "--assert", "score>=.99", "--assert", "moved<.01"
    )
    report = json.loads(succeeded(result))
    assert report["numbers"]["score"] == pytest.approx(1, abs=1e-6) and report["verdict"].startswith("Right")
    result = klrl("signal", f"{file}:loss", *QUICK, "--assert", "score>=.99", "--assert", "kl<=.01")
    assert result.exit_code == 1
    assert "does not hold: kl<=.01: kl is 0.31" in result.stderr and "score" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((RIGHT, "--assert", "score"), "--assert takes claims as"),
        ((RIGHT, "--assert", "score>=much"), "--assert takes claims as"),
        (("klrl_envs.signals:nothing",), "has no 'nothing'"),
        (("reinforce",), "LOSS takes module:function or file.py:function, got 'reinforce'"),
        ((RIGHT, "--batch", "3"), "batch must be 1 or a multiple of the 2 prompts, got 3"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, message):
    refused(klrl("signal", *arguments), message)


def test_what_is_no_loss_is_one_line(file):
    refused(klrl("signal", f"{file}:answer"), "is no function: 42")
    refused(klrl("signal", f"{file}:nothing", *QUICK), "the loss has no gradient")
    refused(klrl("signal", f"{file}:loss", *QUICK, "--assert", "luck>1"), "--assert knows score, cosine")
