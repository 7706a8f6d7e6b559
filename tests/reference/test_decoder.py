"""Writing token by token gives what the whole network gives, however lanes start, stop and are taken out."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from klrl_envs.reference.decoder import Decoder, DecoderWeights
from klrl_envs.reference.draws import draw_tokens
from klrl_envs.reference.nano import Nano, NanoConfig
from klrl_envs.reference.transformer import load_nano

CONFIG = NanoConfig(vocab_size=50, width=24, layers=2, heads=3, hidden=40, context=16)


@pytest.fixture(scope="module")
def model() -> Nano:
    """A small network with gains that differ from one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = Nano(CONFIG)
        for name, weight in model.named_parameters():
            if "norm" in name:
                torch.nn.init.uniform_(weight, 0.5, 2.0)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    """Texts [5, 12]."""
    return torch.randint(0, 50, (5, 12), generator=torch.Generator().manual_seed(2))


def started(model: Nano, tokens: Tensor, lengths: Tensor, fixed: bool) -> tuple[Decoder, Tensor]:
    """A decoder at the first tokens of texts [N, T], lengths [N] of them, and its states."""
    decoder = Decoder(DecoderWeights.of(model), len(tokens), tokens.shape[1], fixed=fixed)
    return decoder, decoder.start(tokens, lengths)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("lengths", [[3, 3, 3, 3, 3], [1, 5, 2, 7, 4]])
def test_steps_equal_the_parallel_pass(model: Nano, tokens: Tensor, lengths: list[int], fixed: bool) -> None:
    whole, at = model.hidden(tokens), torch.tensor(lengths)
    decoder, states = started(model, tokens, at, fixed)
    every = torch.arange(5)
    for step in range(5):
        torch.testing.assert_close(decoder.hidden(states), whole[every, at + step - 1], rtol=1e-4, atol=1e-5)
        logits = model.unembed(whole[every, at + step - 1])
        torch.testing.assert_close(decoder.logits(states), logits, rtol=1e-4, atol=1e-5)
        states = decoder.step(tokens[every, at + step])


@pytest.mark.parametrize("fixed", [False, True])
def test_lanes_rest_restart_and_are_taken_out(model: Nano, tokens: Tensor, fixed: bool) -> None:
    whole = model.hidden(tokens)
    decoder, _ = started(model, tokens, torch.full((5,), 4), fixed)
    active = torch.tensor([True, False, True, False, False])
    decoder.step(tokens[:, 4], active)
    decoder.step(tokens[:, 4], torch.tensor([False, False, False, True, False]))
    again = torch.tensor([2, 3])
    states = decoder.start(
        tokens[:1, :6], lanes=again, rows=torch.tensor([0, 0]), lengths=torch.tensor([6, 2])
    )
    torch.testing.assert_close(decoder.hidden(states), whole[0, [5, 1]], rtol=1e-4, atol=1e-5)
    states = decoder.step(torch.stack([tokens[0, 5], tokens[1, 4], tokens[0, 6], tokens[0, 2], tokens[4, 4]]))
    expected = torch.stack([whole[0, 5], whole[1, 4], whole[0, 6], whole[0, 2], whole[4, 4]])
    torch.testing.assert_close(decoder.hidden(states), expected, rtol=1e-4, atol=1e-5)
    decoder.keep(torch.tensor([4, 0]))
    states = decoder.step(torch.stack([tokens[4, 5], tokens[0, 6]]))
    expected = torch.stack([whole[4, 5], whole[0, 6]])
    torch.testing.assert_close(decoder.hidden(states), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [[0] * 8, [0, 0, 1, 1, 2, 2], [2, 0, 1, 1, 0, 2, 2, 1, 0, 2]])
def test_prefixes_that_lanes_share_are_as_their_own(model: Nano, tokens: Tensor, rows: list[int]) -> None:
    """Of one length or several, in groups of one size or several; lanes rest, go, and begin anew."""
    of, generator = torch.tensor(rows), torch.Generator().manual_seed(4)
    at = torch.tensor([2, 5, 3])[of]
    texts = torch.randint(0, 50, (len(rows), 12), generator=generator)
    texts = torch.where(torch.arange(12) < at[:, None], tokens[of], texts)
    whole = model.hidden(texts)
    decoder = Decoder(DecoderWeights.of(model), len(rows), 12)
    used = len(set(rows))
    states = decoder.start(tokens[:used, :5], at, rows=of)
    assert decoder._shared is not None  # pyright: ignore[reportPrivateUsage]
    lanes = torch.arange(len(rows))
    torch.testing.assert_close(decoder.hidden(states), whole[lanes, at - 1], rtol=1e-4, atol=1e-5)
    for step in range(4):
        active = torch.arange(len(lanes)) % 3 != step
        if step == 2:  # few of them
            active = ~active & (torch.arange(len(lanes)) > 0)
        states = decoder.step(texts[lanes, at], None if step == 3 else active)
        at += 1 if step == 3 else active.long()
        right = torch.ones_like(active) if step == 3 else active
        expected = whole[lanes, at - 1][right]
        torch.testing.assert_close(decoder.hidden(states)[right], expected, rtol=1e-4, atol=1e-5)
        if step == 1:  # the lanes of row 0 go, where there are others
            kept = torch.flatten(torch.nonzero(of[lanes] > 0)) if used > 1 else torch.tensor([5, 1, 2])
            decoder.keep(kept)
            lanes, at = lanes[kept], at[kept]
    again = torch.tensor([1])
    at[1] = 4
    states = decoder.start(texts[lanes[1:2], :4], at[again], lanes=again)
    torch.testing.assert_close(
        decoder.hidden(states), whole[lanes[again], at[again] - 1], rtol=1e-4, atol=1e-5
    )
    for _ in range(2):
        states = decoder.step(texts[lanes, at])
        at += 1
        torch.testing.assert_close(decoder.hidden(states), whole[lanes, at - 1], rtol=1e-4, atol=1e-5)


def test_the_shipped_network_is_followed_to_the_fifth_digit() -> None:
    model = load_nano()
    tokens = torch.randint(0, 2048, (4, 33), generator=torch.Generator().manual_seed(3))
    rows = model(tokens).log_softmax(-1)
    decoder, states = started(model, tokens, torch.full((4,), 9), fixed=False)
    for step in range(9, 33):
        found = decoder.logits(states).log_softmax(-1)
        assert (found - rows[:, step - 1]).abs().max() < 5e-5
        states = decoder.step(tokens[:, step])


def test_a_text_beyond_the_context_is_refused(model: Nano) -> None:
    with pytest.raises(ValueError, match="need 17 positions with the start token"):
        Decoder(DecoderWeights.of(model), 1, 17)


def test_fixed_shapes_stay_on_their_device_and_wait_for_nothing() -> None:
    """Tensors without numbers tell mixed devices and whatever would ask for a number."""
    with FakeTensorMode():
        with torch.device("meta"):
            weights = DecoderWeights.of(Nano(CONFIG))
        decoder = Decoder(weights, 4, 12)
        lanes = torch.arange(4, device="meta")
        prompts = torch.zeros((2, 3), dtype=torch.int64, device="meta")
        states = decoder.start(prompts, torch.full_like(lanes, 3), rows=lanes // 2)
        for _ in range(3):
            drawn, log_probs = draw_tokens(decoder.logits(states), torch.empty(4, device="meta"))
            assert drawn.device.type == log_probs.device.type == "meta"
            states = decoder.step(drawn, lanes > 1)
        growing = Decoder(weights, 4, 12, fixed=False)
        with pytest.raises(DataDependentOutputException):
            growing.step(lanes)  # its shapes follow the texts: here the check itself is checked
        with pytest.raises(RuntimeError, match="same device"):
            decoder.logits(torch.empty((4, 24)))
