"""Which nets the persistent kernels train and measure, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.backend import Backend, Compiler
from kernels.fused_source import LossProgram
from kernels.persistent import PersistentPlan, fits
from kernels.persistent_source import Rules
from kernels.updates import UpdateRule
from nets.fused import program_of
from nets.losses import LOSSES
from nets.member import Member
from nets.network import activations_of
from nets.optimizers import OPTIMIZERS


@dataclass(frozen=True, eq=False)
class Program:
    """A plan, the optimizer's rule and the loss: what all models of a stack share; and what compiles them."""

    plan: PersistentPlan
    rule: UpdateRule
    loss: LossProgram
    compiler: Compiler

    def rules(self, member: Member, *, row_weights: bool = False) -> Rules:
        """What the kernels compute for stacks of models like this one."""
        spec = member.spec
        return Rules(
            activations=activations_of(spec.net.activation),
            loss=self.loss,
            loss_is_mean=LOSSES[spec.loss.name].is_mean(spec.loss.options),
            update=self.rule,
            row_weights=row_weights,
        )


def program_for(member: Member, backend: Backend) -> Program | None:
    """The program for stacks of models like this one; None where the kernel cannot train them on this backend."""
    spec = member.spec
    optimizer = OPTIMIZERS[spec.optimizer.name]
    rule = optimizer.rule_for(spec.optimizer.options)
    loss = program_of(LOSSES[spec.loss.name], spec.loss.options)
    if backend.compiler is None or optimizer.searches or loss is None:
        return None
    if spec.net.dropout or spec.net.batch_norm or spec.training.clip_norm is not None:
        return None
    plan = fits(
        member.layout,
        spec.training.batch_size,
        member.dtype,
        n_slots=len(rule.slots),
        n_targets=1 if loss.by_class else member.layout.widths[-1],
        shared_bytes=backend.compiler.shared_bytes,
    )
    if plan is None or plan.parameters != member.layout.count:  # a layer keeps more than [W; b]
        return None
    return Program(plan, rule, loss, backend.compiler)
