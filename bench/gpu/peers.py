"""The same training by PyTorch and JAX, each as its documentation says it is fastest; needs NumPy and one of them.

Every class has `curve(steps)` on the given rows and `run(epochs)` on its own shuffles, all data on the device.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from bench.gpu.workloads import Array, Workload, split


def installed() -> list[str]:
    """Names of the peers whose library can be imported here."""
    torch, jax = (importlib.util.find_spec(name) is not None for name in ("torch", "jax"))
    return [name for name in PEERS if (torch if name.startswith("torch") else jax)]


class TorchEager:
    """PyTorch, one kernel after another: fused SGD for one model, one elementwise update for a stack."""

    def __init__(self, workload: Workload, inputs: dict[str, Array], device: str) -> None:
        import torch

        torch.backends.cuda.matmul.allow_tf32 = workload.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = False
        self.torch, self.workload, self.device = torch, workload, torch.device("cpu" if device == "cpu" else device)
        x, y = workload.data()
        self.x, self.y = torch.tensor(x, device=self.device), torch.tensor(y, device=self.device)
        self._weights, self._rows = inputs["weights"], inputs["rows"]
        rates = torch.tensor(inputs["learning_rates"], dtype=torch.float32, device=self.device)
        self.rates = rates[:, None, None]
        self.order = torch.zeros(self._rows.shape[1:], dtype=torch.long, device=self.device)
        self.cursor = torch.zeros((), dtype=torch.long, device=self.device)
        self.losses = torch.zeros((workload.steps_per_epoch, workload.models), device=self.device)
        self.activation = {
            "tanh": torch.tanh,
            "relu": torch.relu,
            "gelu": lambda z: torch.nn.functional.gelu(z, approximate="tanh"),
        }[workload.activation]
        self._reset()
        self.prepare()

    def _reset(self) -> None:
        torch, single = self.torch, self.workload.models == 1
        tensors = [part for layer in split(self.workload.widths, self._weights) for part in layer]
        values = [torch.tensor(t[0] if single else t, device=self.device) for t in tensors]
        if hasattr(self, "parameters"):
            with torch.no_grad():
                for parameter, value in zip(self.parameters, values, strict=True):
                    parameter.copy_(value)
                for velocity in self._velocities():
                    velocity.zero_()
            return
        self.parameters = [value.requires_grad_() for value in values]
        self.velocity = [torch.zeros_like(p) for p in self.parameters]
        self.optimizer = torch.optim.SGD(
            self.parameters, lr=float(self.rates[0]), momentum=self.workload.momentum, fused=self.device.type == "cuda"
        )

    def _velocities(self) -> list[Any]:
        own = [state.get("momentum_buffer") for state in self.optimizer.state.values()]
        return [*self.velocity, *(one for one in own if one is not None)]

    def prepare(self) -> None:
        """Make what runs one step."""
        self.loss = self._cast(self.loss_of)

    def _cast(self, loss: Any) -> Any:
        """The loss with its products in the workload's precision: by autocast for bfloat16."""
        if self.workload.precision != "bfloat16":
            return loss

        def cast(*tensors: Any) -> Any:
            with self.torch.autocast(self.device.type, dtype=self.torch.bfloat16):
                return loss(*tensors)

        return cast

    def loss_of(self, a: Any, targets: Any, *parameters: Any) -> Any:
        """(M,) mean losses of a batch."""
        last = len(parameters) // 2 - 1
        for layer in range(last + 1):
            z = a @ parameters[2 * layer] + parameters[2 * layer + 1]
            a = z if layer == last else self.activation(z)
        flat = self.torch.nn.functional.cross_entropy(a.flatten(0, -2), targets.flatten(), reduction="none")
        return flat.view(self.workload.models, -1).mean(-1)

    def step(self) -> None:
        """One update on the batch that the cursor shows."""
        rows = self.order.index_select(1, self.cursor[None]).squeeze(1)
        rows = rows[0] if self.workload.models == 1 else rows
        loss = self.loss(self.x[rows], self.y[rows], *self.parameters)
        for parameter in self.parameters:
            parameter.grad = None
        loss.sum().backward()
        if self.workload.models == 1:
            self.optimizer.step()
        else:
            with self.torch.no_grad():
                for p, v in zip(self.parameters, self.velocity, strict=True):
                    v.mul_(self.workload.momentum).add_(p.grad)
                    p.sub_(self.rates * v)
        self.losses.index_copy_(0, self.cursor[None], loss.detach()[None])
        self.cursor.add_(1)

    def epoch(self, steps: int) -> None:
        """Steps 0..steps-1 of the present order."""
        self.cursor.zero_()
        for _ in range(steps):
            self.step()

    def curve(self, steps: int) -> Array:
        """(steps, M) losses from the initial weights, on the given rows."""
        self._reset()
        found, left = [], steps
        for rows in self._rows:
            self.order.copy_(self.torch.tensor(rows))
            count = min(left, self.workload.steps_per_epoch)
            self.epoch(count)
            found.append(self.losses[:count].cpu().numpy().copy())
            left -= count
        return np.concatenate(found)

    def run(self, epochs: int) -> None:
        """Train on, with new orders for each epoch; all losses are read at the end, so that nothing waits before."""
        losses = []
        for _ in range(epochs):
            keys = self.torch.rand((self.workload.models, self.workload.rows), device=self.device)
            self.order.copy_(keys.argsort(dim=1)[:, : self.order[0].numel()].view(self.order.shape))
            self.epoch(self.workload.steps_per_epoch)
            losses.append(self.losses.clone())
        self.torch.stack(losses).cpu()

    def about(self) -> dict[str, str]:
        """Version and device."""
        cuda = self.device.type == "cuda"
        return {"torch": self.torch.__version__, "device": self.torch.cuda.get_device_name() if cuda else "cpu"}

    def peak_mb(self) -> float | None:
        """Most memory that tensors took."""
        return self.torch.cuda.max_memory_allocated() / 2**20 if self.device.type == "cuda" else None


class TorchCompile(TorchEager):
    """PyTorch with forward and backward compiled."""

    def prepare(self) -> None:
        """See TorchEager."""
        self.loss = self._cast(self.torch.compile(self.loss_of, dynamic=False))


class TorchGraph(TorchEager):
    """PyTorch with one whole step captured in a CUDA graph and replayed."""

    def prepare(self) -> None:
        """See TorchEager."""
        super().prepare()
        side = self.torch.cuda.Stream()
        side.wait_stream(self.torch.cuda.current_stream())
        with self.torch.cuda.stream(side):
            self.epoch(min(3, self.workload.steps_per_epoch))
        self.torch.cuda.current_stream().wait_stream(side)
        self.cursor.zero_()
        self.graph = self.torch.cuda.CUDAGraph()
        with self.torch.cuda.graph(self.graph):
            self.step()

    def epoch(self, steps: int) -> None:
        """See TorchEager."""
        if not hasattr(self, "graph"):
            super().epoch(steps)
            return
        self.cursor.zero_()
        for _ in range(steps):
            self.graph.replay()


class JaxScan:
    """JAX: an epoch is one compiled scan over its batches, models mapped by vmap, buffers donated."""

    def __init__(self, workload: Workload, inputs: dict[str, Array], device: str) -> None:
        import jax

        precisions = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "bfloat16"}
        jax.config.update("jax_default_matmul_precision", precisions[workload.precision])
        self.jax, self.np, self.workload = jax, jax.numpy, workload
        self.device = jax.devices("cpu" if device == "cpu" else "gpu")[0]
        jax.config.update("jax_default_device", self.device)
        x, y = workload.data()
        self.x, self.y = self.np.asarray(x), self.np.asarray(y)
        self._weights, self._rows = inputs["weights"], inputs["rows"]
        self.rates = self.np.asarray(inputs["learning_rates"], self.np.float32)
        self.activation = {
            "tanh": self.np.tanh,
            "relu": jax.nn.relu,
            "gelu": lambda z: jax.nn.gelu(z, approximate=True),
        }[workload.activation]
        epoch = jax.jit(jax.vmap(self._epoch, in_axes=(0, 0, 0, None, None)), donate_argnums=0)
        self.train = lambda state, batches: epoch(state, self.rates, batches, self.x, self.y)
        self.shuffle = jax.jit(self._orders)
        self.key = jax.random.key(0)
        self.state = self._fresh()

    def _fresh(self) -> Any:
        tensors = [self.np.asarray(part) for layer in split(self.workload.widths, self._weights) for part in layer]
        return tensors, [self.np.zeros_like(tensor) for tensor in tensors]

    def _loss(self, parameters: Any, a: Any, targets: Any) -> Any:
        last = len(parameters) // 2 - 1
        for layer in range(last + 1):
            z = a @ parameters[2 * layer] + parameters[2 * layer + 1]
            a = z if layer == last else self.activation(z)
        own = self.np.take_along_axis(a, targets[:, None], axis=1)[:, 0]
        return (self.jax.nn.logsumexp(a, axis=1) - own).mean()

    def _epoch(self, state: Any, rate: Any, batches: Any, x: Any, y: Any) -> Any:
        # data are arguments: what a function closes over is compiled into it
        def step(carried: Any, rows: Any) -> Any:
            parameters, velocity = carried
            loss, gradient = self.jax.value_and_grad(self._loss)(parameters, x[rows], y[rows])
            velocity = [self.workload.momentum * v + g for v, g in zip(velocity, gradient, strict=True)]
            return ([p - rate * v for p, v in zip(parameters, velocity, strict=True)], velocity), loss

        return self.jax.lax.scan(step, state, batches)

    def _orders(self, key: Any) -> Any:
        keys = self.jax.random.split(key, self.workload.models)
        orders = self.jax.vmap(lambda one: self.jax.random.permutation(one, self.workload.rows))(keys)
        return orders[:, : self._rows[0, 0].size].reshape(self._rows.shape[1:])

    def curve(self, steps: int) -> Array:
        """See TorchEager."""
        self.state, found = self._fresh(), []
        for rows in self._rows:
            self.state, losses = self.train(self.state, self.np.asarray(rows))
            found.append(np.asarray(losses).T)
        return np.concatenate(found)[:steps]

    def run(self, epochs: int) -> None:
        """See TorchEager."""
        found = []
        for _ in range(epochs):
            self.key, own = self.jax.random.split(self.key)
            self.state, losses = self.train(self.state, self.shuffle(own))
            found.append(losses)
        for losses in found:
            np.asarray(losses)

    def about(self) -> dict[str, str]:
        """Version and device."""
        return {"jax": self.jax.__version__, "device": self.device.device_kind}

    def peak_mb(self) -> float | None:
        """Most memory that arrays took."""
        statistics = self.device.memory_stats()
        return statistics["peak_bytes_in_use"] / 2**20 if statistics else None


PEERS: dict[str, Any] = {
    "torch_eager": TorchEager,
    "torch_compile": TorchCompile,
    "torch_graph": TorchGraph,
    "jax_scan": JaxScan,
}
NEED_CUDA = frozenset({"torch_graph"})
