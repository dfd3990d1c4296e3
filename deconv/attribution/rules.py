"""How a layer shares relevance out among its inputs: the rules of layer-wise relevance propagation (LRP).

Output k of a layer is a sum of contributions, `z_k = sum_j c_jk` with `c_jk = a_j w_jk`, and of its bias. A rule says
in which proportion the inputs j get the relevance of k; c+ and c- are the positive and negative part of c:

| rule         | share of input j in output k                                  | source                              |
|--------------|---------------------------------------------------------------|-------------------------------------|
| `zero`       | c / z                                                         | Bach et al., PLOS ONE 2015          |
| `epsilon`    | c / (z + eps sign z)                                          | Bach et al., PLOS ONE 2015          |
| `gamma`      | (c + g c+) / sum of all (c + g c+)                            | Montavon et al. 2019                |
| `alpha_beta` | alpha c+ / sum of all c+ - beta c- / sum of all c-            | Bach et al., PLOS ONE 2015          |
| `w2`         | w^2 / sum of all w^2                                          | Montavon et al., arXiv:1512.02479   |
| `flat`       | 1 / number of inputs                                          | Lapuschkin et al., arXiv:1902.10178 |
| `z_box`      | (a w - low w+ - high w-) / sum of all (a w - low w+ - high w-)| Montavon et al., arXiv:1512.02479   |

In the first four the bias takes part in the sums, as one more input, and keeps its share; in the others it has no
part. An output whose sum is zero gives nothing to anyone. Montavon et al. 2019 is "Layer-wise relevance propagation:
an overview", with the tutorial that belongs to it.
"""

from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Rule(NamedTuple):
    """A rule of LRP.

    Attributes:
        name: With its constants.
        shares: `shares(linear, maps, *constants)`, for `maps` that a `Linear` takes, returns a list of
            `(factor, parts)`: every factor times the relevance is shared out in proportion to the contributions of its
            parts. None if what an output has passes to the input at its place.
        constants: Numbers for it.
        epsilon: Added to every sum, away from zero.
        relative: Whether that is in units of the root mean square of the sums of an image.
        needs_bounds: Whether it is for layers that pixels feed, and for no other.
    """

    name: str
    shares: Callable | None
    constants: tuple = ()
    epsilon: float = 0.0
    relative: bool = False
    needs_bounds: bool = False

    def __str__(self):
        return self.name


class Part(NamedTuple):
    """Contributions: what stands for the inputs, for the weights and for the bias."""

    maps: Any
    kernel: Any
    bias: Any = 0.0


def zero():
    """LRP-0: in proportion to the contributions. All through a net of ReLUs it is the input times the gradient."""
    return Rule("zero", _contributions)


def epsilon(size=0.25, relative=True):
    """LRP-epsilon: as `zero`, but an epsilon keeps a part, the larger the more the contributions cancel.

    Args:
        size: Number of at least 0.
        relative: Whether epsilon is `size` times the root mean square of z over the layer, image by image, so that no
            map depends on the others of a batch. The code of Montavon's tutorial does so with all that it is given,
            one image for VGG-16, where it takes 0.25 (0.1 for digits); its text says standard deviation. False for
            `size` itself, as in Bach et al.
    """
    size = _check("epsilon: size", size)
    return Rule(f"epsilon {size:g}{' rms' if relative else ''}", _contributions, epsilon=size, relative=relative)


def gamma(share=0.25):
    """LRP-gamma: contributions for an output count more than those against it.

    Montavon's formula is for inputs of at least zero and outputs above zero, and there ours is the same. Elsewhere we
    favour the contributions that have the sign of the output, so that no sum of them cancels, as Zennit does.
    Bias included. His tutorial has 0.1 for digits and 0.25 for VGG-16.
    """
    share = _check("gamma: share", share)

    return Rule(f"gamma {share:g}", _favouring, (share,))


def alpha_beta(alpha=2.0, beta=1.0):
    """LRP-alpha-beta: what speaks for an output and what speaks against it, each by itself.

    `alpha_beta(1, 0)` is the z+ rule, which looks at what speaks for it only. An output that has contributions of one
    sign only gives away that side's part, alpha or -beta of its relevance, and so does not conserve it.

    Raises:
        ValueError: If they are negative, or `alpha - beta` is not 1.
    """
    alpha, beta = _check("alpha_beta: alpha", alpha), _check("alpha_beta: beta", beta)
    if not np.isclose(alpha - beta, 1):
        raise ValueError(
            f"alpha_beta: alpha - beta must be 1, so that relevance is conserved; received alpha={alpha:g} and "
            f"beta={beta:g}. Take for example alpha=2, beta=1, or alpha=1, beta=0."
        )

    return Rule(f"alpha {alpha:g} beta {beta:g}", _apart, (alpha, beta))


def w2():
    """The squares of the weights alone: for inputs of any size, whatever their value."""
    return Rule("w2", _squares)


def flat():
    """All inputs that an output sees alike, weights of zero included; a border of padding gets nothing."""
    return Rule("flat", _alike)


def z_box():
    """The z-B rule, for pixels between two bounds: what an input adds over the worst that it could be.

    Bounds come from the call (`bounds=` of `lrp`). A border of padding gets nothing.
    """

    return Rule("z_box", _above_the_worst, needs_bounds=True)


def passes():
    """What an output has goes to the input at its place, unchanged: for layers of one input, of its shape."""
    return Rule("passes", None)


RULES = {rule.__name__: rule for rule in (zero, epsilon, gamma, alpha_beta, w2, flat, z_box, passes)}
"""{name: function that makes the rule}"""


def share_out(rule, linear, maps, relevance):
    """Lead relevance from the outputs of a layer to its inputs.

    Args:
        rule: A `Rule` that shares out.
        linear: A `Linear`.
        maps: Tensor, its inputs.
        relevance: Tensor shaped like its sums.

    Returns:
        `(below, biases, lost)`: the relevance of the inputs, shaped like `maps`; and `(n,)` what the biases and what
        nobody got, because a rule has an epsilon, an output has no contributions, or both signs do not occur. What came
        in is the sum of the three.
    """
    below, biases, given = 0.0, 0.0, 0.0
    for factor, parts in rule.shares(linear, maps, *rule.constants):
        sums = _total(linear, parts)
        signal = tf.math.divide_no_nan(factor * relevance, _away_from_zero(sums, rule))
        below += sum(part.maps * linear.down(signal, part.kernel) for part in parts)
        biases += sum(_sum(signal * part.bias) for part in parts)
        given += _sum(signal * sums)
    return below, biases, _sum(relevance) - given


def _total(linear, parts):
    return sum(linear.up(part.maps, part.kernel) + part.bias for part in parts)


def _away_from_zero(sums, rule):
    if not rule.epsilon:
        return sums
    size = tf.constant(rule.epsilon, sums.dtype)
    if rule.relative:
        size *= tf.sqrt(tf.reduce_mean(tf.square(sums), axis=range(1, len(sums.shape)), keepdims=True))
    return sums + tf.where(sums < 0, -size, size)


def _contributions(linear, maps):
    return [(1.0, [Part(maps, linear.kernel, linear.bias)])]


def _favouring(linear, maps, share):
    positive, negative = _by_sign(linear, maps)
    above = tf.cast(_total(linear, _contributions(linear, maps)[0][1]) > 0, maps.dtype)
    return [(above, _more(linear, share, positive)), (1 - above, _more(linear, share, negative))]


def _apart(linear, maps, alpha, beta):
    positive, negative = _by_sign(linear, maps)
    return [(alpha, positive), (-beta, negative)] if beta else [(alpha, positive)]


def _squares(linear, maps):
    return [(1.0, [Part(tf.ones_like(maps) * linear.inside, tf.square(linear.kernel))])]


def _alike(linear, maps):
    return [(1.0, [Part(tf.ones_like(maps) * linear.inside, tf.ones_like(linear.kernel))])]


def _above_the_worst(linear, maps):
    (low, high), kernel = linear.bounds, linear.kernel
    return [(1.0, [Part(maps, kernel), Part(-low, tf.nn.relu(kernel)), Part(-high, -tf.nn.relu(-kernel))])]


def _by_sign(linear, maps):
    """Parts whose contributions are the positive ones, and parts with the negative ones."""
    up, down = tf.nn.relu(linear.kernel), -tf.nn.relu(-linear.kernel)
    bias = tf.convert_to_tensor(linear.bias, maps.dtype)
    positive, negative = [Part(maps, up, tf.nn.relu(bias))], [Part(maps, down, -tf.nn.relu(-bias))]
    if linear.signed:
        over, under = tf.nn.relu(maps), -tf.nn.relu(-maps)
        positive = [positive[0]._replace(maps=over), Part(under, down)]
        negative = [negative[0]._replace(maps=over), Part(under, up)]
    return positive, negative


def _more(linear, share, favoured):
    """All contributions, and of the favoured ones, which are split by the sign of the inputs, `share` more."""
    return [
        Part(part.maps, linear.kernel + share * part.kernel, (0.0 if place else linear.bias) + share * part.bias)
        for place, part in enumerate(favoured)
    ]


def _sum(maps):
    return tf.reduce_sum(maps, axis=range(1, len(maps.shape)))


def _check(name, value):
    if not isinstance(value, Real) or isinstance(value, bool) or not np.isfinite(value) or value < 0:
        raise ValueError(f"{name} must be a number of at least 0; received {value!r}.")
    return float(value)
