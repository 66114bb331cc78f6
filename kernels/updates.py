"""Update rules: what an optimizer does to one parameter, as assignments in the expression language.

The layered engine's NumPy calls, the compiled engine's loops and the CUDA kernels are all written from these; the rows
of `nets.optimizers` hold them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from kernels.expressions import parse
from kernels.tape import Expression


@dataclass(frozen=True)
class UpdateRule:
    """Assignments in order, over the parameter, its gradient, the slots and numbers of the model.

    `slots` are state of the parameter's shape, zero at the start. `rates` change from step to step, `hyper` do
    not; `decay` is the optimizer's own at weights, e.g. 2·l2, and 0 at biases. All of them belong to one model.
    `switches` are 0 or 1 and must be `known`, as other numbers may be, before the assignments are compiled.
    """

    slots: tuple[str, ...]
    rates: tuple[str, ...]
    hyper: tuple[str, ...]
    assignments: tuple[tuple[str, str], ...]
    switches: tuple[str, ...] = ()
    known: tuple[tuple[str, float], ...] = ()

    @property
    def numbers(self) -> tuple[str, ...]:
        """The model's numbers in the order in which kernels get them; `decay` is the last."""
        return (*self.rates, *self.hyper, "decay")

    def given(self, known: Mapping[str, float]) -> UpdateRule:
        """The rule where these numbers are known: its steps do without what they make needless."""
        return replace(self, known=tuple(sorted({**dict(self.known), **known}.items())))

    @cached_property
    def steps(self) -> tuple[tuple[str, Expression], ...]:
        """(what is assigned, its tape), in order; a slot that would only hold a copy is neither read nor written."""
        names = ("parameter", "gradient", *self.slots, *self.numbers, *self.switches)
        numbers, copies = dict(self.known), dict[str, str]()
        found: list[tuple[str, Expression]] = []
        for place, (target, text) in enumerate(self.assignments):
            expression = parse(text, names, pointer=f"/{target}").given(numbers, copies)
            source = expression.steps[0].name if len(expression.steps) == 1 else ""
            read = any(target in step.names for _, step in found)
            lasting = source not in {later for later, _ in self.assignments[place + 1 :]}
            if source and target in self.slots and not read and lasting:
                copies[target] = source
            elif source != target:
                found.append((target, expression))
        return tuple(found)

    @property
    def assigned(self) -> tuple[str, ...]:
        """The slots that the steps write, in the order of `slots`."""
        targets = {target for target, _ in self.steps}
        return tuple(slot for slot in self.slots if slot in targets)
