"""From what was asked to what is run: defaults by data set, impossible combinations refused.

The default rules were chosen by measurement on the built-in sets; they depend only on what is known before
training, task and rows, and the resolved spec writes them out. Lowest / mean score on validation rows over
5 seeds with nothing but the data set given (accuracy; R² for diabetes):

    digits  .975 / .979   iris   .933 / .953   wine    .944 / .978    breast_cancer .956 / .967
    spiral  .967 / .980   moons  .975 / .990   circles 1.00 / 1.00    blobs         .963 / .988
    xor     .975 / .995   diabetes .380 / .471
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

from kernels.errors import InvalidInput
from kernels.precisions import PRECISIONS, needs_gpu
from nets.choices import ActivationSpec, FeatureSpec, InitSpec, LossSpec, OptimizerSpec, ScheduleSpec
from nets.losses import LOSSES, default_loss
from nets.net_spec import NetSpec, ResolvedNet
from nets.optimizers import OPTIMIZERS
from nets.parameters import Layout
from nets.parts import Sizes, inputs_of, sizes_of
from nets.spec import ResolvedSpec, TrainingSpec
from nets.table import TableInfo
from nets.training_spec import MAX_BATCH, ResolvedTraining, TrainingOptions

DEFAULT_BATCH = 32
L2_AT_MOST = {"classification": 1e-3, "regression": 0.03}
L2_OF_ALL_ROWS = {"classification": 1.5, "regression": 8.0}
"""What l2 weighs beside the sum over all training rows: the more rows, the less of it falls on each. At .01 for every
regression, diabetes lost .06 of R² on held-out rows and 2 400 rows of Friedman's first function lost .01."""
MANY_ROWS = 10_000
"""From here on twice the units and smaller steps pay: on Fashion-MNIST .895 of the test images instead of .890."""
DEFAULT_UPDATES = 4_000
"""Updates that a run makes by default: small sets get more epochs, within the limits below."""
MIN_DEFAULT_EPOCHS, MAX_DEFAULT_EPOCHS = 20, 200
DEFAULT_TRIES = 1_000
"""Draws of a random search by default, as in the lecture; each is one epoch of one step."""
EVALUATION_BLOCK = 128
"""Least rows of a validation block."""
MAX_BYTES = 1 << 40
_WRITTEN = {"epochs", "batch_size", "early_stopping", "split", "validation_fraction"}
MEMORY_SHARE = 0.9
"""A run may be estimated to take this share of the memory, no more."""


def default_epochs(n_train: int, batch_size: int) -> int:
    """Enough epochs for DEFAULT_UPDATES updates, but 20..200."""
    wanted = math.ceil(DEFAULT_UPDATES / math.ceil(n_train / batch_size))
    return min(max(wanted, MIN_DEFAULT_EPOCHS), MAX_DEFAULT_EPOCHS)


def default_hidden(n_train: int) -> list[int]:
    """One hidden layer, wider for many rows."""
    return [256] if n_train >= MANY_ROWS else [128]


def default_optimizer(task: str, n_train: int) -> OptimizerSpec:
    """Adam with the task's l2; an optimizer that is named without settings has those of its registry."""
    settings: dict[str, str | float] = {"name": "adam", "l2": min(L2_AT_MOST[task], L2_OF_ALL_ROWS[task] / n_train)}
    if n_train >= MANY_ROWS:
        settings["learning_rate"] = 1e-3
    return OptimizerSpec.model_validate(settings)


def resolve(spec: TrainingSpec, about: TableInfo, sizes: Sizes | None = None) -> ResolvedSpec:
    """The spec with every default written out for this data set; resolving again changes nothing.

    `sizes` of the parts are needed where they do not follow from the number of rows.
    Raises InvalidInput where the combination cannot be trained, pointing at the field.
    """
    about = inputs_of(about, spec.training)
    features = _features(spec, about)
    _check_data(spec, about)
    _check_precision(spec.training)
    n_train, n_val, n_test = sizes or sizes_of(about.n_rows, spec.training)
    _check_stopping(spec, about, n_val)
    loss = (spec.loss or LossSpec(name=default_loss(about.task))).resolved()
    _check_loss(loss, about)
    net = _net(spec.net, n_train)
    optimizer = (spec.optimizer or default_optimizer(about.task, n_train)).resolved()
    searches = OPTIMIZERS[optimizer.name].searches
    if searches:
        _check_search(spec, n_train)
    _check_folds(spec, about.n_rows - n_test, n_val, searches=searches)
    training = _training(spec.training, n_train, searches=searches)
    if net.batch_norm and training.batch_size == 1:
        raise InvalidInput.at("/training/batch_size", "is 1; batch_norm needs at least 2 rows to compare")
    schedule = (spec.schedule or ScheduleSpec(name="cosine")).resolved()
    resolved = ResolvedSpec(
        features=features, net=net, loss=loss, optimizer=optimizer, schedule=schedule, training=training
    )
    _check_memory(resolved, about, n_train + n_val)
    return resolved


def _net(net: NetSpec, n_train: int) -> ResolvedNet:
    """The net with a width and an activation for each of its layers."""
    hidden = default_hidden(n_train) if net.hidden is None else net.hidden
    given = net.activation or ActivationSpec(name="relu")
    activation = given if isinstance(given, list) else [given] * len(hidden)
    if len(activation) != len(hidden):
        detail = (
            f"has {len(activation)} entries; must be one activation, or one for each of {len(hidden)} hidden layers"
        )
        raise InvalidInput.at("/net/activation", detail)
    _check_layers(net, hidden)
    return ResolvedNet(
        hidden=list(hidden),
        activation=[one.resolved() for one in activation],
        init=(net.init or InitSpec(name="he")).resolved(),
        dropout=net.dropout,
        bias=net.bias,
        batch_norm=net.batch_norm,
    )


def _training(training: TrainingOptions, n_train: int, *, searches: bool) -> ResolvedTraining:
    """Training with its epochs and batch size; a random search has one batch of all rows, whose draws are epochs."""
    batch_size = min(training.batch_size or (n_train if searches else DEFAULT_BATCH), n_train)
    return ResolvedTraining(
        **training.model_dump(exclude=_WRITTEN),
        early_stopping=training.early_stopping,
        split=training.split,
        validation_fraction=0.0 if training.validation_named else training.validation_fraction,
        epochs=training.epochs or (DEFAULT_TRIES if searches else default_epochs(n_train, batch_size)),
        batch_size=batch_size,
    )


def _features(spec: TrainingSpec, about: TableInfo) -> list[FeatureSpec]:
    """The featurisers with every default. Raises InvalidInput where they do not fit the data set."""
    resolved = [one.resolved() for one in spec.features]
    for place, one in enumerate(resolved):
        if one in resolved[:place]:
            raise InvalidInput.at(f"/features/{place}", f"is {one.name} with the same settings again")
        if one.row.measure is None:
            continue
        if about.image is None:
            detail = f"is {one.name}, which is made of images; the rows of this data set are none: use raw"
            raise InvalidInput.at(f"/features/{place}", detail)
        refused = one.row.refuses(about.image, one.options)
        if refused:
            raise InvalidInput.at(f"/features/{place}/{refused[0]}", refused[1])
    return resolved


def input_count(features: Sequence[FeatureSpec], about: TableInfo) -> int:
    """Inputs of a net that these featurisers make of a row."""
    widths = [
        about.n_inputs if one.row.measure is None or about.image is None else one.row.width(about.image, one.options)
        for one in features
    ]
    return sum(widths)


def _check_data(spec: TrainingSpec, about: TableInfo) -> None:
    training = spec.training
    if about.n_rows < 1 or about.n_inputs < 1:
        raise InvalidInput.at("/dataset", f"has {about.n_rows} rows and {about.n_inputs} inputs; must have 1 of each")
    if about.task == "classification" and len(about.classes) < 2:
        raise InvalidInput.at("/dataset", f"has {len(about.classes)} classes; must have at least 2")
    if training.stratify is True and about.task == "regression":
        raise InvalidInput.at("/training/stratify", "is true; the task is regression: there are no classes to keep")
    if training.class_weight is not None:
        if about.task != "classification":
            raise InvalidInput.at("/training/class_weight", f"is given; the task is {about.task}")
        given = training.class_weight if isinstance(training.class_weight, dict) else {}
        unknown = set(given) - set(about.classes)
        if unknown:
            known = ", ".join(about.classes[:20])
            raise InvalidInput.at(f"/training/class_weight/{min(unknown)}", f"is not a class; classes are {known}")
        if not any(given.get(name, 1.0) for name in about.classes):
            raise InvalidInput.at("/training/class_weight", "gives weight 0 to every class")


def _check_precision(training: TrainingOptions) -> None:
    if training.device == "cpu" and needs_gpu(training.precision):
        anywhere = " or ".join(name for name, row in PRECISIONS.items() if not row.needs_gpu)
        detail = f'is {training.precision}, which needs a GPU; with the device "cpu" it must be {anywhere}'
        raise InvalidInput.at("/training/precision", detail)


def _check_stopping(spec: TrainingSpec, about: TableInfo, n_val: int) -> None:
    stopping = spec.training.early_stopping
    if stopping is None:
        return
    if stopping.metric.startswith("val_") and n_val == 0:
        raise InvalidInput.at("/training/early_stopping/metric", "needs a validation_fraction above 0")
    if stopping.metric == "val_r2" and n_val == 1:
        raise InvalidInput.at("/training/early_stopping/metric", "is val_r2, which takes 2 validation rows; there is 1")
    wrong = "val_accuracy" if about.task == "regression" else "val_r2"
    if stopping.metric == wrong:
        raise InvalidInput.at("/training/early_stopping/metric", f"is {wrong}; the task is {about.task}")


def _check_loss(loss: LossSpec, about: TableInfo) -> None:
    row = LOSSES[loss.name]
    if about.task not in row.tasks:
        usable = ", ".join(name for name, other in LOSSES.items() if about.task in other.tasks)
        raise InvalidInput.at("/loss", f"is {loss.name}; must be one of {usable} for {about.task}")
    if row.one_output and len(about.classes) != 2:
        detail = f"is {loss.name}, which tells 2 classes apart; the data set has {len(about.classes)}: use softmax"
        raise InvalidInput.at("/loss", detail)


def _check_layers(net: NetSpec, hidden: list[int]) -> None:
    for name in ("dropout", "batch_norm"):
        if getattr(net, name) and not hidden:
            raise InvalidInput.at(
                f"/net/{name}", f"is {getattr(net, name)}; the net has no hidden layer to apply it to"
            )


def _check_search(spec: TrainingSpec, n_train: int) -> None:
    """Draws are compared on all training rows, without a gradient."""
    given = spec.training.batch_size
    if given is not None and given < n_train:
        detail = f"is {given}; random_search judges every draw on all {n_train} training rows: leave it out"
        raise InvalidInput.at("/training/batch_size", detail)
    if n_train > MAX_BATCH:
        raise InvalidInput.at("/optimizer/name", f"is random_search, for at most {MAX_BATCH} training rows")
    if spec.training.clip_norm is not None:
        raise InvalidInput.at("/training/clip_norm", "is given; random_search has no gradient to clip")
    for name in ("dropout", "batch_norm"):
        if getattr(spec.net, name):
            raise InvalidInput.at(
                f"/net/{name}", "is on; random_search draws plain weights and judges them as they are"
            )


def _check_folds(spec: TrainingSpec, n_rows: int, n_val: int, *, searches: bool) -> None:
    folds = spec.training.folds
    if folds is None:
        return
    if folds > n_rows:
        raise InvalidInput.at("/training/folds", f"is {folds}; the data set has {n_rows} rows")
    if n_val == 0:
        raise InvalidInput.at("/training/folds", "needs a validation_fraction above 0: all models are measured alike")
    if searches:
        raise InvalidInput.at("/training/folds", f"is {folds}; random_search has one batch, which is all rows")


def _check_memory(resolved: ResolvedSpec, about: TableInfo, rows: int) -> None:
    estimate = memory_estimate_bytes(resolved, about, rows)
    if estimate > MAX_BYTES:
        raise InvalidInput.at("/net/hidden", f"needs about {estimate / 2**30:.0f} GiB; must be under 1024")


def layout_of(resolved: ResolvedSpec, n_inputs: int, n_outputs: int) -> Layout:
    """The flat buffer's layout of a resolved spec; `n_outputs` counts classes, of which a loss may need one score."""
    outputs = 1 if LOSSES[resolved.loss.name].one_output else n_outputs
    return Layout((n_inputs, *resolved.net.hidden, outputs), resolved.net.bias, resolved.net.batch_norm)


def parameter_count(resolved: ResolvedSpec, n_inputs: int, n_outputs: int) -> int:
    """Weights, biases and other trained parameters of one model."""
    return layout_of(resolved, n_inputs, n_outputs).trained


def memory_estimate_bytes(resolved: ResolvedSpec, about: TableInfo, rows: int | None = None) -> int:
    """Bytes that one run holds on its device: parameters, gradient, state, activations, resident data.

    `rows` train and validate; default all. Those that test are read in blocks when training has ended.
    """
    n_inputs = input_count(resolved.features, about)
    layout = layout_of(resolved, n_inputs, about.n_outputs)
    batch = evaluation_block(resolved) + (resolved.training.batch_size)
    # parameters, gradient, scratch of clipping, decay, the last good copy, and the optimizer's slots twice
    copies = 5 + 2 * len(OPTIMIZERS[resolved.optimizer.name].slots)
    activations = batch * 4 * sum(layout.widths)
    resident = about.n_rows if rows is None else rows
    data = _data_copies(resolved) * resident * (n_inputs + 2)
    models = 1 + (resolved.training.folds or 0)
    numbers = models * (copies * layout.count + activations + data) * resolved.training.dtype.itemsize
    rounded = PRECISIONS[resolved.training.precision].copy_bytes * models * (layout.count + activations)
    return numbers + rounded


def _data_copies(resolved: ResolvedSpec) -> int:
    """How often a device holds the prepared rows: once more where several models' or a column of ones join them."""
    layered = resolved.net.batch_norm or OPTIMIZERS[resolved.optimizer.name].searches
    return 2 if layered or resolved.training.folds else 1


def evaluation_block(resolved: ResolvedSpec) -> int:
    """Rows of one validation block: the batch size within 128..1024, equal for all models of a stack."""
    return min(max(resolved.training.batch_size, EVALUATION_BLOCK), 1024)


def stack_key(resolved: ResolvedSpec, n_inputs: int, n_outputs: int, task: str) -> Hashable:
    """Models may be trained in one stack if and only if their keys are equal.

    Learning rate, momentum and the other hyperparameters of the optimizer, l2, seed, initialiser, schedule,
    epochs, rows, class weights, early stopping and the rate of dropout may differ. Everything else must agree.
    """
    net, training, optimizer = resolved.net, resolved.training, OPTIMIZERS[resolved.optimizer.name]
    return (
        layout_of(resolved, n_inputs, n_outputs),
        net.dropout > 0,
        tuple((one.name, *sorted(one.options.items())) for one in net.activation),
        (resolved.loss.name, *sorted(resolved.loss.options.items())),
        (optimizer.name, *(resolved.optimizer.options[name] for name in optimizer.switches)),
        (training.batch_size, training.precision, training.device, task),
    )
