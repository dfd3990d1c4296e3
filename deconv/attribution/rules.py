"""Rules of layer-wise relevance propagation (LRP), which redistribute the relevance of a layer to its inputs.

Output k of a layer is a sum of contributions, `z_k = sum_j c_jk` with `c_jk = a_j w_jk`, plus its bias. A rule
determines the share of each input j in the relevance of k; c+ and c- are the positive and negative part of c:

| rule         | share of input j in output k                                  | source                              |
|--------------|---------------------------------------------------------------|-------------------------------------|
| `zero`       | c / z                                                         | Bach et al., PLOS ONE 2015          |
| `epsilon`    | c / (z + eps sign z)                                          | Bach et al., PLOS ONE 2015          |
| `gamma`      | (c + g c+) / sum of all (c + g c+)                            | Montavon et al. 2019                |
| `alpha_beta` | alpha c+ / sum of all c+ - beta c- / sum of all c-            | Bach et al., PLOS ONE 2015          |
| `w2`         | w^2 / sum of all w^2                                          | Montavon et al., arXiv:1512.02479   |
| `flat`       | 1 / number of inputs                                          | Lapuschkin et al., arXiv:1902.10178 |
| `z_box`      | (a w - low w+ - high w-) / sum of all (a w - low w+ - high w-)| Montavon et al., arXiv:1512.02479   |

In the first four rules the bias is included in the sums as one more input, and absorbs its share; the others ignore it.
The relevance of an output whose sum is zero is lost. Montavon et al. 2019 is "Layer-wise relevance propagation: an
overview", with its tutorial.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from deconv.attribution.lrp_linear import Linear


class Rule(NamedTuple):
    """A rule of LRP.

    Attributes:
        name: Its name, with its constants.
        shares: `shares(linear, maps, *constants)`, for the inputs `maps` of a `Linear`, returns a list of `(factor,
            parts)`: the factor times the relevance is redistributed in proportion to the contributions of the parts.
            None if relevance passes unchanged from each output to the input at the same place.
        constants: Further arguments of `shares`.
        epsilon: Stabiliser that is added to every sum, away from zero.
        relative: Whether `epsilon` is in units of the root mean square of the sums of an image.
        needs_bounds: Whether the rule is only for layers that pixels feed.
    """

    name: str
    shares: Callable | None
    constants: tuple[float, ...] = ()
    epsilon: float = 0.0
    relative: bool = False
    needs_bounds: bool = False

    def __str__(self) -> str:
        return self.name


class Part(NamedTuple):
    """Substitutes for the inputs, the weights and the bias, whose products are the contributions."""

    maps: Any
    kernel: Any
    bias: Any = 0.0


def zero() -> Rule:
    """LRP-0: in proportion to the contributions. In a network of ReLUs only, this is the input times the gradient."""
    return Rule("zero", _contributions)


def epsilon(size: float = 0.25, relative: bool = True) -> Rule:
    """LRP-epsilon: as `zero`, with an epsilon that absorbs more relevance the more the contributions cancel.

    Args:
        size: Number of at least 0.
        relative: Whether epsilon is `size` times the root mean square of z over the layer, for each image, so that no
            map depends on the others of a batch. The code of Montavon's tutorial takes it over the whole batch, which
            is one image for VGG-16, with 0.25 (0.1 for digits); its text says standard deviation. False for `size`
            itself, as in Bach et al.
    """
    size = _check("epsilon: size", size)
    return Rule(f"epsilon {size:g}{' rms' if relative else ''}", _contributions, epsilon=size, relative=relative)


def gamma(share: float = 0.25) -> Rule:
    """LRP-gamma: contributions with the sign of the output have more weight.

    Montavon's formula is for non-negative inputs and positive outputs, for which this rule is equal to it. Elsewhere
    the contributions with the sign of the output are favoured, so that their sum does not cancel, as in Zennit. The
    bias is included. The tutorial uses 0.1 for digits and 0.25 for VGG-16.
    """
    share = _check("gamma: share", share)
    return Rule(f"gamma {share:g}", _gamma_parts, (share,))


def alpha_beta(alpha: float = 2.0, beta: float = 1.0) -> Rule:
    """LRP-alpha-beta: positive and negative contributions are normalised separately.

    `alpha_beta(1, 0)` is the z+ rule, which uses positive contributions only. An output with contributions of one sign
    only redistributes the part of that sign, alpha or -beta times its relevance, so relevance is not conserved there.

    Raises:
        ValueError: If they are negative, or `alpha - beta` is not 1.
    """
    alpha, beta = _check("alpha_beta: alpha", alpha), _check("alpha_beta: beta", beta)
    if not np.isclose(alpha - beta, 1):
        raise ValueError(
            f"alpha_beta: alpha - beta must be 1, so that relevance is conserved; received alpha={alpha:g} and "
            f"beta={beta:g}. Take for example alpha=2, beta=1, or alpha=1, beta=0."
        )
    return Rule(f"alpha {alpha:g} beta {beta:g}", _alpha_beta_parts, (alpha, beta))


def w2() -> Rule:
    """LRP-w²: in proportion to the squared weights, regardless of the input values."""
    return Rule("w2", _squared_weights)


def flat() -> Rule:
    """LRP-flat: the same share for all inputs of an output, including those of zero weight; padding gets nothing."""
    return Rule("flat", _equal_shares)


def z_box() -> Rule:
    """LRP-z^B, for bounded pixels: the contribution of an input minus its smallest possible value.

    The bounds are an argument of the call (`bounds=` of `lrp`). Padding gets nothing.
    """
    return Rule("z_box", _z_box_parts, needs_bounds=True)


def passes() -> Rule:
    """Relevance passes unchanged to the input at the same place: for layers with one input of the output's shape."""
    return Rule("passes", None)


RULES = {rule.__name__: rule for rule in (zero, epsilon, gamma, alpha_beta, w2, flat, z_box, passes)}
"""{name: function that returns the rule}"""


def share_out(
    rule: Rule, linear: Linear, maps: tf.Tensor, relevance: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Redistribute relevance from the outputs of a layer to its inputs.

    Args:
        rule: A `Rule` with `shares`.
        linear: A `Linear`.
        maps: Tensor, its inputs.
        relevance: Tensor shaped like its sums.

    Returns:
        `(below, biases, lost)`: the relevance of the inputs, shaped like `maps`; that of the biases, `(n,)`; and the
        lost relevance, `(n,)`, due to an epsilon, an output without contributions, or contributions of one sign only.
        The given relevance is the sum of the three.
    """
    if rule.shares is None:
        raise ValueError(f"Rule '{rule}' has no shares: it passes relevance unchanged.")
    below, biases, accounted = 0.0, 0.0, 0.0
    for factor, parts in rule.shares(linear, maps, *rule.constants):
        sums = _sums(linear, parts)
        signal = tf.math.divide_no_nan(factor * relevance, _stabilised(sums, rule))
        below += sum(part.maps * linear.down(signal, part.kernel) for part in parts)
        biases += sum(_sum_per_image(signal * part.bias) for part in parts)
        accounted += _sum_per_image(signal * sums)
    return below, biases, _sum_per_image(relevance) - accounted


def _sums(linear, parts):
    return sum(linear.up(part.maps, part.kernel) + part.bias for part in parts)


def _stabilised(sums, rule):
    if not rule.epsilon:
        return sums
    size = tf.constant(rule.epsilon, sums.dtype)
    if rule.relative:
        size *= tf.sqrt(tf.reduce_mean(tf.square(sums), axis=range(1, len(sums.shape)), keepdims=True))
    return sums + tf.where(sums < 0, -size, size)


def _contributions(linear, maps):
    return [(1.0, [Part(maps, linear.kernel, linear.bias)])]


def _gamma_parts(linear, maps, share):
    positive, negative = _by_sign(linear, maps)
    above = tf.cast(_sums(linear, _contributions(linear, maps)[0][1]) > 0, maps.dtype)
    return [(above, _with_favoured(linear, share, positive)), (1 - above, _with_favoured(linear, share, negative))]


def _alpha_beta_parts(linear, maps, alpha, beta):
    positive, negative = _by_sign(linear, maps)
    return [(alpha, positive), (-beta, negative)] if beta else [(alpha, positive)]


def _squared_weights(linear, maps):
    return [(1.0, [Part(tf.ones_like(maps) * linear.inside, tf.square(linear.kernel))])]


def _equal_shares(linear, maps):
    return [(1.0, [Part(tf.ones_like(maps) * linear.inside, tf.ones_like(linear.kernel))])]


def _z_box_parts(linear, maps):
    (low, high), kernel = linear.bounds, linear.kernel
    return [(1.0, [Part(maps, kernel), Part(-low, tf.nn.relu(kernel)), Part(-high, -tf.nn.relu(-kernel))])]


def _by_sign(linear, maps):
    """Parts with the positive contributions, and parts with the negative contributions."""
    up, down = tf.nn.relu(linear.kernel), -tf.nn.relu(-linear.kernel)
    bias = tf.convert_to_tensor(linear.bias, maps.dtype)
    positive, negative = [Part(maps, up, tf.nn.relu(bias))], [Part(maps, down, -tf.nn.relu(-bias))]
    if linear.signed:
        over, under = tf.nn.relu(maps), -tf.nn.relu(-maps)
        positive = [positive[0]._replace(maps=over), Part(under, down)]
        negative = [negative[0]._replace(maps=over), Part(under, up)]
    return positive, negative


def _with_favoured(linear, share, favoured):
    """All contributions, plus `share` times the favoured ones, which are split by the sign of the inputs."""
    return [
        Part(part.maps, linear.kernel + share * part.kernel, (0.0 if place else linear.bias) + share * part.bias)
        for place, part in enumerate(favoured)
    ]


def _sum_per_image(maps):
    return tf.reduce_sum(maps, axis=range(1, len(maps.shape)))


def _check(name, value):
    if not isinstance(value, Real) or isinstance(value, bool) or not np.isfinite(value) or value < 0:
        raise ValueError(f"{name} must be a number of at least 0; received {value!r}.")
    return float(value)
