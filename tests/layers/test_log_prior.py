import pytest
import torch
from torch import nn
from torch.nn import functional

from tltool.layers.log_prior import init_log_prior_


def test_the_first_loss_is_the_entropy_of_the_labels():
    counts = [700, 200, 90, 10]
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(counts))
    logits = init_log_prior_(nn.Linear(64, 4), counts)(torch.randn(len(labels), 64) * 5)
    shares = torch.tensor(counts) / sum(counts)
    entropy = -(shares * shares.log()).sum().item()
    assert functional.cross_entropy(logits, labels).item() == pytest.approx(entropy, abs=1e-5)


def test_the_log_prior_draws_no_random_number():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    layer = nn.utils.skip_init(nn.Linear, 8, 2)
    init_log_prior_(layer, [3, 1])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("counts", "remedy"),
    [
        ([3, 1], "2 class counts for an output layer of 3 classes. Pass one count for each"),
        ([3, 0, 1], "no training image of class 1.*Remove the class, or add images"),
    ],
)
def test_counts_that_do_not_fit_say_what_to_do(counts, remedy):
    with pytest.raises(ValueError, match=remedy):
        init_log_prior_(nn.Linear(8, 3), counts)


def test_an_output_without_a_bias_says_what_to_do():
    with pytest.raises(ValueError, match="build the output layer with `bias=True`"):
        init_log_prior_(nn.Linear(8, 2, bias=False), [3, 1])
