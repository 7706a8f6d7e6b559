"""`klrl signal`: a loss by its name, a report, and claims that a continuous integration can make."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import pytest

from klrl_envs.signals import Batch
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


class Trainer:
    def loss(self, batch):
        return loss(batch)

    __call__ = loss


class Learnt:
    def __init__(self, network): ...


def misspelt(batch):
    return batch.logprobs.sum()


trainer = Trainer()
"""
NONE = ("--changes", "none")


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
    right = ("--assert", "score >= 9.9e-1", "--assert", "moved<1e-2", "--assert", "ratio<2.")
    result = klrl("signal", f"{file}:loss", *QUICK, *NONE, "--json", *right)
    report = json.loads(succeeded(result))
    assert report["numbers"]["score"] == pytest.approx(1, abs=1e-6) and report["verdict"].startswith("Right")
    result = klrl("signal", f"{file}:loss", *QUICK, *NONE, "--assert", "score>=.99", "--assert", "kl<=.01")
    assert result.exit_code == 1
    assert "does not hold: kl<=.01: kl is 0.31" in result.stderr and "score" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((RIGHT, "--assert", "score"), "--assert takes claims as"),
        ((RIGHT, "--assert", "score>=much"), "--assert takes claims as"),
        ((RIGHT, "--assert", "score>=1-1e-6"), "--assert takes claims as"),
        ((RIGHT, "--assert", "score>=1e"), "--assert takes claims as"),
        (("no_module:loss", "--assert", "luck>1"), "--assert knows score, cosine, ratio"),
        ((RIGHT, "--changes", "padding"), "changes must be of ['every reward + 3'"),
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
    refused(klrl("signal", f"{file}:Learnt"), "Learnt is a class that is not made without arguments")
    refused(klrl("signal", f"{file}:trainer.nothing"), "has no 'trainer.nothing'")


def test_an_error_in_the_loss_is_told_with_its_place(file, tmp_path):
    line = LOSS[: LOSS.index("return batch.logprobs")].count("\n") + 1
    refused(
        klrl("signal", f"{file}:misspelt"),
        "raised AttributeError: 'Batch' object has no attribute 'logprobs'",
    )
    refused(klrl("signal", f"{file}:misspelt"), f"({file}, line {line})")
    broken = tmp_path / f"broken_{tmp_path.name}.py"
    broken.write_text("import math\n\nloss = math.nothing\n")
    refused(
        klrl("signal", f"{broken}:loss"),
        f"raised AttributeError: module 'math' has no attribute 'nothing' ({broken}, line 3)",
    )


@pytest.mark.parametrize("name", ["trainer.loss", "trainer", "Trainer"])
def test_a_loss_may_be_a_method_an_object_or_a_class(file, name):
    out = succeeded(klrl("signal", f"{file}:{name}", *QUICK, "--changes", "a word cloned"))
    assert "Right: " in out and "a word cloned" in out and "every reward + 3" not in out


def test_a_number_that_is_not_there_fails_its_claim(tmp_path):
    path = tmp_path / f"{tmp_path.name}.py"
    path.write_text("def zero(batch):\n    return 0 * batch.log_probs.sum()\n")
    result = klrl("signal", f"{path}:zero", *QUICK, "--json", "--assert", "cosine>=-1")
    assert result.exit_code == 1 and "cosine>=-1: there is no such number" in result.stderr
    assert json.loads(result.stdout)["numbers"]["cosine"] is None


def test_the_help_names_all_that_a_batch_has():
    out = succeeded(klrl("signal", "--help"))
    assert all(re.search(rf"\b{field.name}\b", out) for field in fields(Batch))
