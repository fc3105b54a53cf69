"""What is told about each activation: its formula, its origin, and what is wrong with it."""

from typing import NamedTuple


class Facts(NamedTuple):
    """What a table of activations says of one of them."""

    formula: str
    problem: str
    verdict: str
    origin: str
    weakness: str
    paper: str
    url: str
    learned: str = "none"
    """What it learns besides the linear layer in front."""


_HE_2015 = "https://arxiv.org/abs/1502.01852"
_GELU_PAPER = ("Hendrycks & Gimpel, 2016", "https://arxiv.org/abs/1606.08415")
_SWISH_PAPER = ("Ramachandran et al., 2017", "https://arxiv.org/abs/1710.05941")
_MOBILENET_V3_PAPER = ("Howard et al., 2019", "https://arxiv.org/abs/1905.02244")
_GLOROT_PAPER = ("Glorot & Bengio, 2010", "https://proceedings.mlr.press/v9/glorot10a.html")

LECTURE: dict[str, Facts] = {
    "sigmoid": Facts(
        "1 / (1 + exp(-z))",
        "saturates on both sides; not zero-centered; needs exp",
        "not in hidden layers",
        "The logistic curve, long read as a neuron's firing rate; backpropagation began with it.",
        "Its slope is at most 1/4, so each layer takes three quarters of the gradient or more.",
        "Rumelhart, Hinton & Williams, 1986",
        "https://doi.org/10.1038/323533a0",
    ),
    "tanh": Facts(
        "(exp(z) - exp(-z)) / (exp(z) + exp(-z))",
        "saturates on both sides; needs exp",
        "not in hidden layers; better than sigmoid",
        "A sigmoid stretched to be zero-centered, which speeds up gradient descent.",
        "It still saturates: large inputs, positive or negative, get next to no gradient.",
        "LeCun et al., 1998",
        "https://doi.org/10.1007/3-540-49430-8_2",
    ),
    "relu": Facts(
        "max(0, z)",
        "not zero-centered; units can die",
        "start here, and mind the learning rate",
        "A half-wave rectifier, first used for restricted Boltzmann machines; it opened the way to "
        "deep supervised networks.",
        "A unit that is negative for every image gets no gradient and never comes back; a large "
        "learning rate makes such units.",
        "Nair & Hinton, 2010",
        "https://www.cs.toronto.edu/~hinton/absps/reluICML.pdf",
    ),
    "leaky_relu": Facts(
        "max(negative_slope * z, z), negative_slope = 0.01",
        "one more number to choose",
        "try it",
        "A relu with a small slope for negative inputs, made for acoustic models.",
        "The slope is a guess, and the best one differs from task to task.",
        "Maas, Hannun & Ng, 2013",
        "https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf",
    ),
    "prelu": Facts(
        "max(0, z) + a * min(0, z), a = 0.25 at first",
        "its slope may overfit, and must be spared weight decay",
        "try it",
        "A leaky relu that learns its slope, from the first network to beat people on ImageNet.",
        "Weight decay pulls the slope to 0, which is relu again.",
        "He et al., 2015",
        _HE_2015,
        learned="one slope, or one per channel with `per_channel: true`",
    ),
    "elu": Facts(
        "z if z > 0 else alpha * (exp(z) - 1), alpha = 1",
        "needs exp; saturates for negative inputs",
        "try it",
        "A relu with a smooth negative part that pulls the mean of the outputs towards zero.",
        "It is slower than relu, and its mean is near zero only, not zero.",
        "Clevert et al., 2015",
        "https://arxiv.org/abs/1511.07289",
    ),
    "selu": Facts(
        "1.0507 * (z if z > 0 else 1.6733 * (exp(z) - 1))",
        "needs exp; normalizes itself under conditions only",
        "try it, with lecun_normal, standardized inputs and no norm",
        "An elu scaled so that layers keep mean 0 and variance 1 by themselves.",
        "Any norm, other weights or other inputs void the proof that it normalizes itself.",
        "Klambauer et al., 2017",
        "https://arxiv.org/abs/1706.02515",
    ),
    "maxout": Facts(
        "max(w1 x + b1, ..., wk x + bk), k = 2",
        "k times as many weights",
        "try it",
        "The largest of k linear functions, invented to go with dropout; it includes relu and "
        "leaky relu.",
        "Weights and time grow with k, and so does the danger to overfit.",
        "Goodfellow et al., 2013",
        "https://arxiv.org/abs/1302.4389",
        learned="the weights of k linear pieces",
    ),
    "silu": Facts(
        "z * sigmoid(z)",
        "needs exp",
        "good in transformers and EfficientNets",
        "A sigmoid that gates its own input, proposed for reinforcement learning and found again "
        "as swish by a search over formulas.",
        "It is slower than relu, and not monotonic: below zero it falls and rises again.",
        "Elfwing et al., 2017",
        "https://arxiv.org/abs/1702.03118",
    ),
}

LATER: dict[str, Facts] = {
    "gelu": Facts(
        "z * Phi(z), Phi the normal distribution function",
        "needs erf",
        "good in transformers",
        "A relu whose gate is random, on average: the more a unit stands out, the more passes.",
        "It is slower than relu, and not monotonic; two variants are in use (see gelu_tanh).",
        *_GELU_PAPER,
    ),
    "mish": Facts(
        "z * tanh(softplus(z))",
        "needs exp, log and tanh",
        "as silu, at a higher cost",
        "A self-gated function like silu, found by trial, known from object detectors.",
        "It needs three costly functions for a shape close to that of silu.",
        "Misra, 2019",
        "https://arxiv.org/abs/1908.08681",
    ),
    "gelu_tanh": Facts(
        "z / 2 * (1 + tanh(sqrt(2 / pi) * (z + 0.044715 * z^3)))",
        "needs tanh",
        "where the weights were trained with it",
        "The approximation of gelu from the days when erf was slow; GPT-2 and BERT use it.",
        "Against gelu it is off by up to 5e-4, so it must match the weights.",
        *_GELU_PAPER,
    ),
    "swish_beta": Facts(
        "z * sigmoid(beta * z), beta = 1 at first",
        "needs exp; one more number to learn",
        "silu does nearly as well",
        "The form of swish that learns how sharp its gate is, between a line and relu.",
        "Many learned values lie near 1, which is silu at a higher cost.",
        *_SWISH_PAPER,
        learned="beta, one number",
    ),
    "celu": Facts(
        "max(0, z) + min(0, alpha * (exp(z / alpha) - 1)), alpha = 1",
        "needs exp; saturates for negative inputs",
        "as elu, to which it is equal at alpha = 1",
        "An elu whose slope has no jump at zero, whatever its alpha.",
        "It has the cost of elu and the same near-zero mean.",
        "Barron, 2017",
        "https://arxiv.org/abs/1704.07483",
    ),
    "softplus": Facts(
        "log(1 + exp(z))",
        "not zero-centered; needs exp and log",
        "for outputs that must be positive",
        "A smooth relu, made to price options; its slope is the sigmoid.",
        "Its outputs are all positive, more so than those of relu, and it is slower.",
        "Dugas et al., 2000",
        "https://proceedings.neurips.cc/paper/2000/hash/"
        "44968aece94f667e4095002d140b5896-Abstract.html",
    ),
    "softsign": Facts(
        "z / (1 + |z|)",
        "saturates on both sides, slowly",
        "not in hidden layers; milder than tanh",
        "A tanh without exp that nears its limits slowly.",
        "Its slope falls right from zero on, so signals shrink from layer to layer.",
        *_GLOROT_PAPER,
    ),
    "relu6": Facts(
        "min(max(0, z), 6)",
        "not zero-centered; units can die on both sides",
        "for networks in low precision",
        "A relu with a lid, which makes numbers fit few bits; MobileNets use it.",
        "Units above 6 get no gradient either.",
        "Krizhevsky, 2010",
        "https://www.cs.toronto.edu/~kriz/conv-cifar10-aug2010.pdf",
    ),
    "hardtanh": Facts(
        "min(max(-1, z), 1)",
        "no gradient outside -1 and 1",
        "not in hidden layers; for low precision",
        "A tanh of three straight lines, used for speed in early networks for language.",
        "Outside -1 and 1 there is no gradient at all, where tanh has a little.",
        "Collobert et al., 2011",
        "https://www.jmlr.org/papers/v12/collobert11a.html",
    ),
    "hardsigmoid": Facts(
        "min(max(0, z / 6 + 1/2), 1)",
        "no gradient outside -3 and 3; not zero-centered",
        "not in hidden layers; a gate for phones",
        "A sigmoid of three straight lines: the gate of MobileNetV3.",
        "Its slope is 1/6 at most, and nothing outside -3 and 3.",
        *_MOBILENET_V3_PAPER,
    ),
    "hardswish": Facts(
        "z * min(max(0, z / 6 + 1/2), 1)",
        "no gradient below -3",
        "for phones, in place of silu",
        "A silu without exp, for MobileNetV3.",
        "Units below -3 get no gradient, where silu has a little.",
        *_MOBILENET_V3_PAPER,
    ),
    "identity": Facts(
        "z",
        "a stack of linear layers is one linear layer",
        "for comparison",
        "No activation at all; deep linear networks show how learning works without one.",
        "However deep, such a head learns no more than a linear one.",
        "Saxe, McClelland & Ganguli, 2013",
        "https://arxiv.org/abs/1312.6120",
    ),
}

#: What is told about each activation, by its name in ``ACTIVATIONS``.
ACTIVATION_FACTS: dict[str, Facts] = LECTURE | LATER

#: The lecture's advice in one breath.
ADVICE = (
    "Start with relu, and mind the learning rate. Then try leaky_relu, maxout, elu or selu. gelu "
    "and silu are for transformers. No sigmoid or tanh in hidden layers."
)
