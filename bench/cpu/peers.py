"""The peers, written as their users write them for speed; each is imported only where it is installed.

A peer is made for a workload and trains one job: `load(layers, learning_rate)`, then `epoch(order) -> loss` with the
rows' order of one epoch. JAX on many jobs takes them all at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from bench.cpu.workloads import Layer, Workload, initial, rows_of
from kernels.random import permutation

ADAM = (0.9, 0.999, 1e-8)


class Peer(ABC):
    """Jobs one after the other, rows shuffled by counter-based orders, which every implementation shares."""

    note = ""

    def __init__(self, w: Workload) -> None:
        self.w = w
        x, y = rows_of(w)
        self.x, self.y = x[: w.rows], y[: w.rows]
        self.setup()

    @abstractmethod
    def setup(self) -> None:
        """Prepare what does not depend on the job."""

    @abstractmethod
    def load(self, layers: list[Layer], learning_rate: float) -> None:
        """Begin a job with these weights."""

    @abstractmethod
    def epoch(self, order: np.ndarray) -> float:
        """Train one epoch with the rows in this order; its mean loss, or something that float() makes it."""

    def order(self, seed: int, epoch: int) -> np.ndarray:
        return np.arange(self.w.rows) if self.w.steps_per_epoch == 1 else permutation(seed, epoch, self.w.rows)

    def run(self, epochs: int) -> list[list[float]]:
        """Train all jobs; the loss of every epoch of every job."""
        found = []
        for seed, rate in enumerate(self.w.learning_rates(), start=1):
            self.load(initial(self.w, seed), rate)
            found.append([self.epoch(self.order(seed, epoch)) for epoch in range(epochs)])
        return [[float(loss) for loss in losses] for losses in found]


class TorchEager(Peer):
    """torch.nn, autograd and torch.optim."""

    fused = False

    def setup(self) -> None:
        import torch

        torch.set_default_dtype(getattr(torch, self.w.precision))
        self.torch, nn = torch, torch.nn
        self.note = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
        kinds = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU, "gelu": lambda: nn.GELU(approximate="tanh")}
        layers: list[Any] = []
        for i, o in zip(self.w.widths, self.w.widths[1:], strict=False):
            layers += [nn.Linear(i, o, bias=self.w.bias), kinds[self.w.activation]()]
        self.net = nn.Sequential(*layers[:-1])
        self.rows, self.targets = torch.from_numpy(self.x), torch.from_numpy(self.y)
        self.loss = nn.MSELoss(reduction="sum") if self.w.regression else nn.CrossEntropyLoss()

    def load(self, layers: list[Layer], learning_rate: float) -> None:
        torch = self.torch
        linear = [layer for layer in self.net if isinstance(layer, torch.nn.Linear)]
        with torch.no_grad():
            for layer, (weights, bias) in zip(linear, layers, strict=True):
                layer.weight.copy_(torch.from_numpy(weights.T.copy()))
                if bias is not None:
                    layer.bias.copy_(torch.from_numpy(bias))
        groups = [{"params": [one.weight for one in linear], "weight_decay": self.w.decay}]
        if self.w.bias:
            groups.append({"params": [one.bias for one in linear], "weight_decay": 0.0})
        fused = {"fused": True} if self.fused else {}
        if self.w.optimizer == "adam":
            self.optimizer = torch.optim.Adam(groups, lr=learning_rate, **fused)
        else:
            self.optimizer = torch.optim.SGD(groups, lr=learning_rate, momentum=self.w.momentum, **fused)

    def epoch(self, order: np.ndarray) -> float:
        w, chosen, total = self.w, self.torch.from_numpy(order), 0.0
        for start in range(0, w.rows, w.batch_size):
            rows = chosen[start : start + w.batch_size]
            x, y = (self.rows, self.targets) if w.batch == 0 else (self.rows[rows], self.targets[rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.net(x), y)
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * (1 if w.regression else len(rows) / w.rows)
        return float(total)


class TorchFused(TorchEager):
    """The same with torch's fused optimizers."""

    fused = True


class TorchManual(Peer):
    """torch without autograd: products into buffers, one flat buffer of parameters."""

    def setup(self) -> None:
        import torch

        torch.set_default_dtype(getattr(torch, self.w.precision))
        self.torch, w = torch, self.w
        self.note = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
        self.rows, self.targets = torch.from_numpy(self.x), torch.from_numpy(self.y)
        self.shapes = [(i, o) for i, o in zip(w.widths, w.widths[1:], strict=False)]
        self.count = sum(i * o + (o if w.bias else 0) for i, o in self.shapes)
        self.p, self.g, self.v, self.s, self.decay = (torch.zeros(self.count) for _ in range(5))
        self.params, self.grads = self._views(self.p), self._views(self.g)
        for weights, _ in self._views(self.decay):
            weights.fill_(w.decay)
        self.buffers: dict[int, Any] = {}

    def _views(self, flat: Any) -> list[tuple[Any, Any]]:
        views, at = [], 0
        for i, o in self.shapes:
            weights, bias = flat[at : at + i * o].view(i, o), None
            at += i * o
            if self.w.bias:
                bias, at = flat[at : at + o], at + o
            views.append((weights, bias))
        return views

    def load(self, layers: list[Layer], learning_rate: float) -> None:
        for (weights, bias), (w, b) in zip(self.params, layers, strict=True):
            weights.copy_(self.torch.from_numpy(w))
            if b is not None:
                bias.copy_(self.torch.from_numpy(b))
        self.v.zero_()
        self.s.zero_()
        self.rate, self.t = learning_rate, 0

    def _buffers(self, n: int) -> tuple[Any, Any, Any, Any]:
        if n not in self.buffers:
            make = self.torch.empty
            outputs = [make(n, o) for _, o in self.shapes]
            hidden = [make(n, o) for _, o in self.shapes[:-1]]
            self.buffers[n] = make(n, self.w.widths[0]), outputs, hidden, [make(n, o) for _, o in self.shapes[:-1]]
        return self.buffers[n]

    def _activate(self, z: Any, out: Any) -> Any:
        torch = self.torch
        if self.w.activation == "gelu":
            return torch.nn.functional.gelu(z, approximate="tanh")
        kinds = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}
        return torch.clamp_min(z, 0, out=out) if self.w.activation == "relu" else kinds[self.w.activation](z, out=out)

    def _back(self, d: Any, z: Any, a: Any) -> Any:
        aten = self.torch.ops.aten
        if self.w.activation == "gelu":
            return aten.gelu_backward(d, z, approximate="tanh")
        if self.w.activation == "relu":
            return aten.threshold_backward(d, a, 0)
        return aten.tanh_backward(d, a) if self.w.activation == "tanh" else aten.sigmoid_backward(d, a)

    def _step(self, rows: Any) -> Any:
        torch, n = self.torch, len(rows)
        x, outputs, hidden, upstream = self._buffers(n)
        if self.w.batch == 0:
            x, y = self.rows, self.targets
        else:
            torch.index_select(self.rows, 0, rows, out=x)
            y = self.targets[rows]
        below = [x]
        for k, (weights, bias) in enumerate(self.params):
            z = outputs[k]
            torch.mm(below[-1], weights, out=z) if bias is None else torch.addmm(bias, below[-1], weights, out=z)
            if k < len(hidden):
                below.append(self._activate(z, hidden[k]))
        if self.w.regression:
            d = outputs[-1] - y
            loss = (d * d).sum()
            d *= 2
        else:
            logs = torch.log_softmax(outputs[-1], 1)
            loss = -logs.gather(1, y[:, None]).sum()
            d = logs.exp_()
            d.scatter_add_(1, y[:, None], torch.full((n, 1), -1.0))
            d /= n
        for k in range(len(self.params) - 1, -1, -1):
            weights, bias = self.grads[k]
            torch.mm(below[k].t(), d, out=weights)
            if bias is not None:
                torch.sum(d, 0, out=bias)
            if k:
                torch.mm(d, self.params[k][0].t(), out=upstream[k - 1])
                d = self._back(upstream[k - 1], outputs[k - 1], below[k])
        return loss

    def _update(self) -> None:
        p, g, v, s = self.p, self.g, self.v, self.s
        self.t += 1
        if self.w.decay:
            g.addcmul_(self.decay, p)
        if self.w.optimizer == "adam":
            one, two, epsilon = ADAM
            v.lerp_(g, 1 - one)
            s.mul_(two).addcmul_(g, g, value=1 - two)
            root = math.sqrt(1 - two**self.t)
            p.addcdiv_(v, s.sqrt().add_(epsilon * root), value=-self.rate * root / (1 - one**self.t))
        elif self.w.momentum:
            v.mul_(self.w.momentum).add_(g)
            p.add_(v, alpha=-self.rate)
        else:
            p.add_(g, alpha=-self.rate)

    def epoch(self, order: np.ndarray) -> float:
        chosen, total = self.torch.from_numpy(order), 0.0
        with self.torch.no_grad():
            for start in range(0, self.w.rows, self.w.batch_size):
                total += self._step(chosen[start : start + self.w.batch_size])
                self._update()
        return float(total) / (1 if self.w.regression else self.w.rows)


class Jax(Peer):
    """JAX: an epoch is one jitted scan."""

    def setup(self) -> None:
        import jax

        jax.config.update("jax_enable_x64", self.w.precision == "float64")
        self.jax, self.jnp = jax, jax.numpy
        self.note = f"jax {jax.__version__}"
        self.rows, self.targets = self.jnp.asarray(self.x), self.jnp.asarray(self.y)
        self.compiled = jax.jit(self._epoch, donate_argnums=0)

    def _loss(self, layers: Any, x: Any, y: Any) -> Any:
        jax, jnp = self.jax, self.jnp
        kinds = {"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu, "gelu": jax.nn.gelu}
        for k, (weights, bias) in enumerate(layers):
            x = x @ weights if bias is None else x @ weights + bias
            x = kinds[self.w.activation](x) if k < len(layers) - 1 else x
        if self.w.regression:
            return ((x - y) ** 2).sum()
        return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], 1).mean()

    def _step(self, state: Any, x: Any, y: Any, rate: Any) -> tuple[Any, Any]:
        layers, v, s, t = state
        each, w = self.jax.tree_util.tree_map, self.w
        loss, gradient = self.jax.value_and_grad(self._loss)(layers, x, y)
        if w.decay:
            gradient = each(lambda g, p: g + w.decay * p if p.ndim == 2 else g, gradient, layers)
        t = t + 1
        if w.optimizer == "adam":
            one, two, epsilon = ADAM
            v = each(lambda v, g: one * v + (1 - one) * g, v, gradient)
            s = each(lambda s, g: two * s + (1 - two) * g * g, s, gradient)
            layers = each(
                lambda p, v, s: p - rate * (v / (1 - one**t)) / (self.jnp.sqrt(s / (1 - two**t)) + epsilon),
                layers,
                v,
                s,
            )
        else:
            v = each(lambda v, g: w.momentum * v + g, v, gradient) if w.momentum else gradient
            layers = each(lambda p, v: p - rate * v, layers, v)
        return (layers, v, s, t), loss

    def _epoch(self, state: Any, order: Any, rate: Any) -> tuple[Any, Any]:
        w, B = self.w, self.w.batch_size
        if w.batch == 0:
            return self._step(state, self.rows, self.targets, rate)
        whole = w.rows // B

        def step(state: Any, rows: Any) -> tuple[Any, Any]:
            return self._step(state, self.rows[rows], self.targets[rows], rate)

        state, losses = self.jax.lax.scan(step, state, order[: whole * B].reshape(whole, B))
        total = losses.sum() * B
        if w.rows % B:
            state, loss = step(state, order[whole * B :])
            total += loss * (w.rows % B)
        return state, total / w.rows

    def _state(self, layers: list[Layer]) -> Any:
        jnp = self.jnp
        here = [(jnp.asarray(w), None if b is None else jnp.asarray(b)) for w, b in layers]
        zeros = self.jax.tree_util.tree_map(jnp.zeros_like, here)
        return here, zeros, self.jax.tree_util.tree_map(jnp.zeros_like, here), jnp.zeros((), self.w.dtype)

    def load(self, layers: list[Layer], learning_rate: float) -> None:
        self.state, self.rate = self._state(layers), self.jnp.asarray(learning_rate, self.w.dtype)

    def run(self, epochs: int) -> list[list[float]]:
        if self.w.steps_per_epoch > 1:
            return super().run(epochs)
        self.load(initial(self.w, 1), self.w.learning_rate)  # every epoch is one step: scan over epochs
        if not hasattr(self, "whole"):
            scan = self.jax.lax.scan
            body = lambda state, _: self._epoch(state, None, self.rate)  # noqa: E731
            self.whole = self.jax.jit(lambda state, n: scan(body, state, None, length=n), static_argnums=1)
        self.state, losses = self.whole(self.state, epochs)
        return [np.asarray(losses, np.float64).tolist()]

    def epoch(self, order: np.ndarray) -> float:
        self.state, loss = self.compiled(self.state, order, self.rate)
        return loss


class JaxStacked(Jax):
    """JAX: all jobs at once by vmap."""

    def run(self, epochs: int) -> list[list[float]]:
        if not hasattr(self, "stacked"):
            self.stacked = self.jax.jit(self.jax.vmap(self._epoch), donate_argnums=0)
        rates = self.w.learning_rates()
        seeds = range(1, len(rates) + 1)
        states = [self._state(initial(self.w, seed)) for seed in seeds]
        state = self.jax.tree_util.tree_map(lambda *parts: self.jnp.stack(parts), *states)
        curves = []
        for epoch in range(epochs):
            orders = np.stack([self.order(seed, epoch) for seed in seeds])
            state, losses = self.stacked(state, orders, self.jnp.asarray(rates, self.w.dtype))
            curves.append(losses)
        return np.array([np.asarray(one, np.float64) for one in curves]).T.tolist()


PEERS: dict[str, type[Peer]] = {
    "torch eager": TorchEager,
    "torch fused": TorchFused,
    "torch manual": TorchManual,
    "jax scan": Jax,
    "jax vmap": JaxStacked,
}


def fits(name: str, w: Workload) -> bool:
    """The stacked peer is for many jobs."""
    return w.jobs > 1 or name != "jax vmap"
