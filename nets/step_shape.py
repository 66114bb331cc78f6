"""What the models of a stack share of a training step: all that a plan of recorded steps depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from kernels.c_source import Real
from kernels.fused_source import LossProgram
from kernels.precisions import PRECISIONS, Arithmetic
from kernels.tail_source import MAX_OUTPUTS
from kernels.updates import UpdateRule
from nets.fused import program_of, real_of
from nets.losses import LOSSES
from nets.member import Member
from nets.network import Activation, activations_of
from nets.optimizers import OPTIMIZERS
from nets.parameters import Layout

WORD: Final = 8
"""Numbers in bfloat16 that a product reads at once."""


def is_thin(layout: Layout) -> bool:
    """Whether two programs of our own stand for the last layer's products, its loss and the derivative below."""
    return layout.n_layers > 1 and layout.widths[-1] <= MAX_OUTPUTS


@dataclass(frozen=True, eq=False)
class StepShape:
    """What the models of a stack share of a step: all that a plan depends on, beside how many there are."""

    layout: Layout
    batch: int
    arithmetic: Arithmetic
    dtype: np.dtype[Any]
    activations: Sequence[Activation]
    loss: LossProgram
    rule: UpdateRule
    dropout: bool
    clips: bool
    decays: bool

    @property
    def real(self) -> Real:
        """C's name of the numbers that are kept."""
        return real_of(self.dtype)

    @property
    def width(self) -> int:
        """W: weights of the batch's rows, the optimizer's rates, the factor of the loss."""
        return self.batch + len(self.rule.rates) + 1

    @property
    def targets(self) -> int:
        """Numbers of one row's target."""
        return 1 if self.loss.by_class else self.layout.widths[-1]

    @property
    def bias_apart(self) -> bool:
        """Whether the first layer's biases stay out of its products: the column of ones that meets them would make
        rows of the inputs end within a word, for which bfloat16 products take twice as long."""
        whole = self.layout.bias and self.layout.widths[0] % WORD == 0
        return whole and self.arithmetic == "bfloat16" and self.layout.n_layers > 1

    def product_rows(self, layer: int) -> int:
        """Rows of [W; b], and of what the layer reads, that its products have."""
        return self.layout.widths[0] if layer == 1 and self.bias_apart else self.layout.rows[layer - 1]


def shape_of(members: Sequence[Member]) -> StepShape | None:
    """What these models share; None where a plan lacks something that their spec asks for."""
    first = members[0]
    spec, optimizer = first.spec, OPTIMIZERS[first.spec.optimizer.name]
    loss = program_of(LOSSES[spec.loss.name], spec.loss.options)
    if loss is None or optimizer.searches or spec.net.batch_norm:
        return None
    options = [member.spec.optimizer.options for member in members]
    return StepShape(
        first.layout,
        spec.training.batch_size,
        PRECISIONS[spec.training.precision].name,
        first.dtype,
        activations_of(spec.net.activation),
        loss,
        optimizer.rule_for(spec.optimizer.options),
        dropout=any(member.spec.net.dropout for member in members),
        clips=any(member.spec.training.clip_norm is not None for member in members),
        decays=any(optimizer.decay(one) for one in options),
    )
