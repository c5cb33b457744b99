"""How skorch trains a twin network: images and pairs as its data, one shard a thread."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNetRegressor
from skorch.callbacks import ProgressBar
from skorch.utils import to_device
from torch import Tensor
from torch.utils.data import Subset

from sklearn_rdm._network._accelerator import reside
from sklearn_rdm._network._batches import (
    ImageBatches,
    OrderedBatches,
    PairBatch,
    PairBatches,
    PatternDataset,
    ReadAhead,
)
from sklearn_rdm._network._checkpoint import NoCheckpoint
from sklearn_rdm._network._datasets import (
    gives_validation,
    make_dataset,
    own_validation,
    pairs_to_predict,
)
from sklearn_rdm._network._forward import Photographs
from sklearn_rdm._network._frozen import Decoded, Kept
from sklearn_rdm._network._image_reader import open_images
from sklearn_rdm._network._loader_options import loader_options
from sklearn_rdm._network._param_groups import expand_param_groups
from sklearn_rdm._network._pattern_training import (
    batches_of_patterns,
    in_unit_scale,
    split_patterns,
)
from sklearn_rdm._network._processes import agreed, check_processes
from sklearn_rdm._network._references import mean_of_images
from sklearn_rdm._network._shards import shard_threads
from sklearn_rdm._network._twin_network import TwinNetwork
from sklearn_rdm._network._untrained import departure, untrained_features
from sklearn_rdm._network._weighted_loss import check_takes_weights, weighted_loss
from sklearn_rdm._pairs import ImagePairs, ResponsePatterns
from sklearn_rdm._pairs._leaks import TrainingPairs
from sklearn_rdm._pairs._process import ONE_AT_A_TIME
from sklearn_rdm._pairs._progress import showing_progress
from sklearn_rdm._pairs._weights import keep_weighted, take_weights
from sklearn_rdm.model_selection._image_splits import as_rows, leaks
from sklearn_rdm.preprocessing._pooling import fit_pooling

__all__ = ["TwinTraining", "name_constant"]

FREEZING = ("freeze_up_to", "freeze_from")  # may change between calls of partial_fit
# Parameters that are the network's: read off it, so that they are listed once.
NETWORK_OPTIONS = [
    name for name in signature(TwinNetwork).parameters if name not in ("random_state", "candidates")
]


class TwinTraining(NeuralNetRegressor):
    """The training of :class:`SiameseRDMRegressor`, in the hooks that skorch offers."""

    batchings: Mapping[str, Any] = MappingProxyType({"images": ImageBatches, "pairs": PairBatches})
    pretrained_penalty: float
    _weights_of_pairs: np.ndarray | None = None
    _checkpoint_: NoCheckpoint = NoCheckpoint()  # of a training that goes on now

    def _train(
        self,
        X: ImagePairs,
        y: np.ndarray,
        sample_weight: Any = None,
        epochs: int | None = None,
        checkpoint: NoCheckpoint = NoCheckpoint(),  # noqa: B008  # it has no state
    ) -> TwinTraining:
        """Train for some epochs, or those of them that are not in the checkpoint."""
        # Kept here, as skorch would hand on fit_params only without scikit-learn's routing.
        self._weights_of_pairs = sample_weight
        check_processes(X, y, self.module_.trunk.is_deterministic)
        checkpoint.open(self)
        if not checkpoint.is_finished(self):
            self._checkpoint_ = checkpoint
            with checkpoint, shard_threads(), torch.random.fork_rng(self._gpus()):
                self.notify("on_train_begin", X=X, y=y)
                n_before = len(self.history)
                checkpoint.go_on(self)
                n_epochs = self.max_epochs if epochs is None else epochs
                is_whole = self._loop(X, y, n_before, n_before + n_epochs)
                self.notify("on_train_end", X=X, y=y)
                if is_whole:
                    checkpoint.finish(self)
            del self._checkpoint_
        self._weights_of_pairs = None
        self._training_pairs_ = TrainingPairs(keep_weighted(sample_weight, X)[0])
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave out scikit-learn's context of a fit that goes on: a copy is another training."""
        state = dict(super().__getstate__())
        state.pop("_callback_fit_ctx", None)
        return state

    def _loop(self, X: ImagePairs, y: np.ndarray, n_before: int, n_epochs: int) -> bool:
        """Train up to a number of epochs; if the user interrupts one, keep the weights at hand."""
        try:
            self.fit_loop(X, y, epochs=max(0, n_epochs - len(self.history)))
        except _StoppedByCallback:
            pass
        except KeyboardInterrupt:
            if len(self.history) == n_before:
                raise
            warnings.warn(
                f"training was interrupted in epoch {len(self.history) - n_before}: the "
                f"weights at hand are kept. {self._checkpoint_.advice}",
                stacklevel=4,
            )
            return False
        return True

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call a method of all callbacks, as skorch does.

        A callback that ends training after an epoch, as :class:`skorch.callbacks.EarlyStopping`
        does, raises KeyboardInterrupt. That is no interruption: the callbacks after it still see
        the end of this epoch.

        Raises
        ------
        KeyboardInterrupt
            If the user interrupts.
        """
        if method_name == "on_epoch_begin":
            with self._counted_batches(**cb_kwargs):
                super().notify(method_name, **cb_kwargs)
            return
        if method_name != "on_epoch_end":
            super().notify(method_name, **cb_kwargs)
            return
        stopped = self._end_epoch_task()
        self.on_epoch_end(self, **cb_kwargs)
        for _, callback in self.callbacks_:
            try:
                callback.on_epoch_end(self, **cb_kwargs)
            except KeyboardInterrupt as interrupt:
                if not _is_raised_by(interrupt, callback.on_epoch_end):
                    raise
                stopped = True
        if stopped:
            raise _StoppedByCallback
        self._checkpoint_.end_epoch(self)

    def initialize(self) -> TwinTraining:
        """Load the network and start the random numbers anew (called by ``fit``)."""
        self.rng_ = agreed(check_random_state(self.random_state))
        with ONE_AT_A_TIME:
            super().initialize()
        self.__dict__.pop("subject_pooling_", None)
        return self

    def initialize_module(self) -> TwinTraining:
        """Build the twin network from the estimator's parameters (called by ``initialize``)."""
        options = {name: getattr(self, name) for name in NETWORK_OPTIONS if hasattr(self, name)}
        self.network_options_ = options | self.get_params_for("module")
        self._seed_of_network = self.rng_.randint(2**31)
        self.module_ = self._build_network()
        return self

    def _build_network(self) -> TwinNetwork:
        """The untrained network, the same each time until the estimator is initialized anew."""
        return self.module(**{"random_state": self._seed_of_network} | self.network_options_)

    def run_single_epoch(self, iterator: Any, training: bool, *args: Any, **kwargs: Any) -> None:
        """Refuse to train on kept activations of layers that a callback has unfrozen."""
        if training:
            self.module_.trunk.check_frozen()
        super().run_single_epoch(iterator, training, *args, **kwargs)

    def get_params_for(self, prefix: str) -> dict[str, Any]:
        """Let ``optimizer__param_groups`` name layers (called by skorch)."""
        params = super().get_params_for(prefix)
        if prefix == "optimizer" and params.get("param_groups"):
            trunk = self.module_.trunk
            groups = expand_param_groups(self.module_, trunk, params["param_groups"])
            params["param_groups"] = groups
        return params

    def get_split_datasets(self, X: Any, y: Any = None, **_: Any) -> tuple[Any, Any]:
        """Split into training and validation pairs by image, or take the latter as given."""
        if self.train_split is None:
            self._check_monitored()
        make_validation = own_validation(self, X, y)
        train, valid = self._split_datasets(X, y)
        return train, valid if make_validation is None else make_validation()

    @property
    def _splitter(self) -> Any:
        """What splits the given data; None if all are trained on."""
        return None if gives_validation(self.train_split) else self.train_split

    def _split_datasets(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Split by image, pool subjects by the training pairs."""
        if isinstance(y, ResponsePatterns):
            return split_patterns(self, X, y)
        train, valid = self._split_by_image(X, y)
        weights = self._weights_of_pairs
        learned = self._weighted_rows(train)
        if not hasattr(self, "subject_pooling_"):
            of_learned = take_weights(weights, learned)
            self.subject_pooling_ = fit_pooling(self.subject_pooling, y[learned], of_learned)
        is_settled = self.module_.is_settled  # not if its weights are new, but if they were loaded
        if not is_settled:
            self._settle_mean_image(X, X[learned].used_images)
        target = self.subject_pooling_.transform(y)
        pooled = ~np.isnan(target) if weights is None else ~np.isnan(target) & (weights > 0)
        _check_pooled(pooled, train, valid)
        if getattr(self.criterion, "any_unit", False):
            target = in_unit_scale(target, train)
        labelled = slice(None) if pooled.all() else pooled  # which copies nothing
        dataset = make_dataset(self, X[labelled], target[labelled])
        dataset.weights = None if weights is None else np.float32(weights[labelled])
        if not is_settled:
            trained = dataset.X if valid is None else X[train[pooled[train]]]
            self._settle_lengths(dataset, trained, trained.used_images)
            self.module_.settle(X)
        self._keep_untrained(dataset, X)
        if valid is None:
            return dataset, None
        place = np.cumsum(pooled) - 1
        parts = (place[rows[pooled[rows]]].tolist() for rows in (train, valid))
        train_part, valid_part = parts
        return Subset(dataset, train_part), Subset(dataset, valid_part)

    def _split_by_image(self, X: ImagePairs, y: np.ndarray) -> tuple[Any, np.ndarray | None]:
        """Rows of the pairs to train on, all without copying any, and to validate on, if any."""
        if self._splitter is None:
            return slice(None), None
        split = next(iter(self._splitter.split(X, y)))
        train, valid = (as_rows(part, len(X)) for part in split)
        _check_no_leak(X, train, valid)
        return train, valid

    def _weighted_rows(self, train: Any) -> Any:
        """Those of the training pairs that have a weight."""
        weights = self._weights_of_pairs
        if weights is None:
            return train
        check_takes_weights(self.criterion_)
        rows = np.arange(len(weights))[train]
        return rows[weights[rows] > 0]

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Compute the frozen layers' activations of each image, and pool the subjects of y."""
        return make_dataset(self, X, y)

    def _network_inputs(self, X: ImagePairs, rows: np.ndarray) -> tuple[Any, ...]:
        """What :class:`NetworkInputs` holds of some images."""
        with showing_progress(self.verbose):
            reader = open_images(self.module_, X, rows, memory=self.memory, device=self.device)
        assert reader.kept is not None
        inputs, places = reader.kept.values, reader.kept.places
        if not self.get_params_for("iterator_train").get("num_workers"):  # they fork: no GPU there
            inputs, places = reside(inputs, places, self.device)
        references, reference_of = reader.references_at_cut(rows)
        if references is not None:
            where = inputs.device if isinstance(inputs, Tensor) else "cpu"
            references = references.to(where)
        return inputs, places, references, reference_of

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Iterate over mini-batches, as ``batching`` and ``batch_size`` say when training."""
        name = "iterator_train" if training else "iterator_valid"
        given = self.get_params_for(name)
        batch_size = given.get("batch_size", self.batch_size) if training else None
        of_pairs = self.batchings[self.batching] is PairBatches
        options, drop_last = loader_options(name, given, training=training, of_pairs=of_pairs)
        if torch.device(self.device).type == "cuda":
            options.setdefault("pin_memory", True)
        batches = self._batches(dataset, batch_size, drop_last)
        loader = getattr(self, name)(
            dataset, batch_sampler=batches, collate_fn=_as_it_is, **options
        )
        whole: Any = dataset.dataset if isinstance(dataset, Subset) else dataset
        reads = isinstance(whole.kept.inputs, Decoded) and not options.get("num_workers")
        return ReadAhead(loader) if reads else loader

    def _batches(self, dataset: Any, batch_size: int | None, drop_last: bool) -> Any:
        """Random mini-batches of a size, -1 for one of all, or all in order for None."""
        is_part = isinstance(dataset, Subset)
        whole: Any = dataset.dataset if is_part else dataset
        if isinstance(whole, PatternDataset):
            return batches_of_patterns(dataset, batch_size, self.rng_)
        index = whole.index[np.asarray(dataset.indices)] if is_part else whole.index
        if batch_size is None:
            return OrderedBatches(index)
        size = len(index) if batch_size == -1 else batch_size
        if drop_last:
            return PairBatches(index, size, self.rng_, drop_last)
        return self.batchings[self.batching](index, size, self.rng_)

    def on_epoch_begin(self, net: Any, *datasets: Any, **kwargs: Any) -> None:
        """Seed dropout epoch by epoch: ``partial_fit`` then goes on as a longer ``fit`` would."""
        super().on_epoch_begin(net, *datasets, **kwargs)
        seed = self.rng_.randint(2**31)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
        for gpu in self._gpus():
            torch.cuda.default_generators[gpu].manual_seed(seed)

    @contextmanager
    def _counted_batches(
        self, dataset_train: Any = None, dataset_valid: Any = None, **_: Any
    ) -> Iterator[None]:
        """Tell skorch's bars how many batches there are: they would divide the number of pairs."""
        bars = [c for _, c in self.callbacks_ if isinstance(c, ProgressBar)]
        bars = [bar for bar in bars if bar.batches_per_epoch == "auto"]
        datasets = ((dataset_train, True), (dataset_valid, False)) if bars else ()
        iterators = [self.get_iterator(d, training=t) for d, t in datasets if d is not None]
        for bar in bars:
            bar.batches_per_epoch = sum(len(iterator) for iterator in iterators)
        try:
            yield
        finally:
            for bar in bars:
                bar.batches_per_epoch = "auto"

    def _end_epoch_task(self) -> bool:
        """Tell scikit-learn's callbacks that an epoch is over; whether one of them stops."""
        context = getattr(self, "_callback_fit_ctx", None)
        if context is None:
            return False
        epoch = context.subcontext(task_name="epoch").call_on_fit_task_begin(estimator=self)
        return epoch.call_on_fit_task_end(estimator=self)

    def _check_monitored(self) -> None:
        """Refuse callbacks that watch a validation loss where there is none."""
        for _, callback in self.callbacks_:
            if getattr(callback, "monitor", None) in ("valid_loss", "valid_loss_best"):
                raise ValueError(
                    f"the callback {type(callback).__name__} watches {callback.monitor!r}, but "
                    "there are no validation pairs: give train_split=ImageShuffleSplit(1, "
                    "test_size=0.2), or another splitter of sklearn_rdm.model_selection, or "
                    "monitor='train_loss'."
                )

    def check_data(self, X: Any, y: Any) -> None:
        """Do nothing: ``fit`` and ``partial_fit`` checked before anything was changed."""

    def forward_iter(self, X: Any, training: bool = False, device: Any = "cpu") -> Iterator[Tensor]:
        """Predict pairs in their order, mini-batch by mini-batch.

        ``predict`` gives the same numbers, and computes each image once, also where there are more
        pairs than fit a mini-batch.

        Parameters
        ----------
        X : ImagePairs or what makes them, or a dataset of pairs
            As in ``predict``.
        training : bool, default=False
            Whether the network is in training mode: read out at ``layer``, with gradients.
        device : str, default="cpu"
            Where the predictions are put.

        Yields
        ------
        dissim : Tensor of float32, shape (n_pairs_of_batch,)
            Correlation distances, 0 to 2.

        Raises
        ------
        ValueError
            If an image has constant activations.
        """
        check_is_fitted(self)
        for batch in self._batches_to_predict(X):
            with shard_threads():
                predicted = self.evaluation_step(batch, training=training)
            if torch.isnan(predicted).any():
                self._raise_constant(batch[0])
            yield to_device(predicted, device=device)

    def _batches_to_predict(self, X: Any) -> Any:
        if isinstance(X, PairBatch):  # skorch's BatchScoring
            return [(X, None)]
        return self.get_iterator(self.get_dataset(pairs_to_predict(X)))

    def infer(self, x: PairBatch, **_: Any) -> Tensor:
        """Predict the pairs of one mini-batch.

        Parameters
        ----------
        x : mini-batch
            The first item of what ``net.get_iterator(net.get_dataset(pairs, dissim))`` yields.
        **_ : dict
            Ignored.

        Returns
        -------
        dissim : Tensor of float32, shape (n_pairs,)
            Correlation distances, 0 to 2.

        Raises
        ------
        TypeError
            If it is no mini-batch.
        """
        if not isinstance(x, PairBatch):
            raise TypeError(
                "infer takes the first item of a mini-batch, as net.get_iterator(net.get_dataset("
                f"pairs, dissim)) gives them, got a {type(x).__name__}. Of pairs, call predict."
            )
        return self.module_(x.to(self.device))

    def get_loss(
        self, y_pred: Tensor, y_true: Any, X: Any = None, training: bool = False
    ) -> Tensor:
        """Compute the loss, and stop before a loss that is not finite spoils the weights.

        Parameters
        ----------
        y_pred : Tensor of shape (n_pairs,)
            Predictions.
        y_true : Tensor or ndarray of shape (n_pairs,)
            Pooled dissimilarities.
        X : mini-batch, default=None
            Where the pairs are; a loss that looks at the images of each pair needs it.
        training : bool, default=False
            Ignored.

        Returns
        -------
        loss : Tensor of shape ()
            What ``criterion`` makes of them.

        Raises
        ------
        ValueError
            If the loss is not finite, if an image has constant activations, if dissimilarities are
            missing, or if ``criterion`` needs ``X``.
        """
        loss = self._loss_of_targets(y_pred, y_true, X, training)
        if training and X is not None and X.untrained is not None:
            loss = loss + self.pretrained_penalty * departure(y_pred, X)
        if not torch.isfinite(loss):
            self._raise_not_finite(X, loss, y_true)
        return loss

    def _loss_of_targets(self, y_pred: Tensor, y_true: Any, X: Any, training: bool) -> Any:
        """What the criterion makes of predictions and targets."""
        y_true = torch.as_tensor(y_true).to(y_pred.device, non_blocking=True)
        more = []
        if getattr(self.criterion_, "needs_index", False):
            if X is None:
                raise ValueError(
                    f"{type(self.criterion_).__name__} needs the images of each pair: give the "
                    "mini-batch as X."
                )
            more = [X.index.to(y_pred.device, non_blocking=True)]
        if X is not None and X.weights is not None:
            weights = X.weights.to(y_pred.device, non_blocking=True)
            return weighted_loss(self.criterion_, weights, y_pred, y_true, *more)
        if more:
            return self.criterion_(y_pred, y_true, *more)
        return super().get_loss(y_pred, y_true, X=X, training=training)

    def _check_built(self) -> None:
        """Refuse to train on a network that the parameters no longer describe; move its cut."""
        changed = self._changed_options()
        for name, (built, given) in changed.items():
            if name not in FREEZING:
                raise ValueError(
                    f"{name} was {built!r} when the network was built and is {given!r} now: "
                    "training cannot go on with another network. Set it back, or fit anew "
                    "(warm_start=False)."
                )
        if changed:
            self._move_cut()

    def _changed_options(self) -> dict[str, tuple[Any, Any]]:
        """Options of the network that are not what it was built with, and both values."""
        now = self.get_params_for("module")
        changed = {}
        for name, built in self.network_options_.items():
            given = now[name] if name in now else getattr(self, name, None)
            if given is not built and repr(given) != repr(built):
                changed[name] = built, given
        return changed

    def _move_cut(self) -> None:
        """Keep the weights, freeze as the parameters say now; the optimizer begins anew."""
        weights = self.module_.state_dict()
        self.network_options_ |= {name: getattr(self, name) for name in FREEZING}
        with ONE_AT_A_TIME, self._current_init_context("module"):
            network = to_device(self._build_network(), self.device)
            self.module_ = self.torch_compile(network, name="module")
        self.module_.load_state_dict(weights)
        self._initialize_optimizer()

    def _settle_mean_image(self, pairs: ImagePairs, rows: np.ndarray) -> None:
        if self.module_.mean_image is not None:
            load = Photographs(pairs, self.module_.preprocessing).load
            self.module_.mean_image.copy_(mean_of_images(load, rows))

    def _settle_lengths(self, dataset: Any, pairs: ImagePairs, rows: np.ndarray) -> None:
        """Learn from activations before training what layers joined and noise are scaled by."""
        if self.module_.learns_lengths:
            reader = open_images(self.module_, pairs, keep=False, device=self.device)
            kept = Kept(dataset.kept.inputs, dataset.kept.images, dataset.kept.places)
            reader = replace(reader, kept=kept)
            self.module_.set_lengths(reader.mean_squared_lengths(rows))

    def _keep_untrained(self, dataset: Any, pairs: ImagePairs) -> None:
        """Compute once what the untrained network makes of the images, if it is to stay near."""
        if self.pretrained_penalty:
            dataset.kept.untrained = untrained_features(
                self._build_network(), self.module_, pairs, dataset.kept
            )

    def _raise_not_finite(self, batch: PairBatch | None, loss: Tensor, y_true: Tensor) -> None:
        if torch.isnan(torch.as_tensor(y_true)).any():
            raise ValueError("the pairs have no dissimilarities: give y to get_dataset.")
        if batch is not None:
            self._raise_constant(batch)
        raise ValueError(
            f"the loss became {loss.item()} in epoch {len(self.history)}: training diverged. Use "
            f"a lower lr than {self.lr}."
        )

    def _raise_constant(self, batch: PairBatch) -> None:
        """Raise an error if an image of a mini-batch has constant activations."""
        with torch.no_grad():
            features = self.module_.features(batch.to(self.device))
        read_out = self.module_.read_out
        finite = torch.isfinite(features).all(dim=1)
        constant = finite & torch.isnan(read_out.normalise(features)[:, 0])
        if constant.any():
            image = batch.images[int(constant.int().argmax())]
            raise ValueError(name_constant(image, read_out.name))

    def _gpus(self) -> list[int]:
        device = torch.device(self.device)
        if device.type != "cuda":
            return []
        return [torch.cuda.current_device() if device.index is None else device.index]

    @contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        """Put the estimator back as it was if the block fails: no trained weights are lost."""
        before = self.__dict__.copy()
        before |= {k: copy.deepcopy(before[k]) for k in ("history_", "rng_") if k in before}
        trained = [] if not self._has_learned() else [self.module_, self.optimizer_]
        states = [copy.deepcopy(part.state_dict()) for part in trained]
        try:
            yield
        except BaseException:  # also if the user interrupts it
            self.__dict__.clear()
            self.__dict__.update(before)
            for part, state in zip(trained, states, strict=True):
                part.load_state_dict(state)
            raise

    def _has_learned(self) -> bool:
        """Whether weights were trained or loaded, which training on would change in place."""
        return self.initialized_ and bool(self.history or self.module_.is_settled)


class _StoppedByCallback(Exception):
    """A callback ended the training after an epoch."""


def _is_raised_by(interrupt: BaseException, function: Any) -> bool:
    """Whether the function itself raised this: Ctrl-C is raised wherever Python is just then."""
    innermost = interrupt.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    return innermost is not None and innermost.tb_frame.f_code is function.__func__.__code__


def _check_no_leak(pairs: ImagePairs, train: np.ndarray, valid: np.ndarray) -> None:
    leaked = leaks(pairs, train, valid)
    if leaked.any():
        *others, last = pairs.index[valid[leaked.argmax()]].tolist()
        sample, both = ("pair", "both") if len(others) == 1 else ("triplet", "all")
        raise ValueError(
            f"train_split validates on the {sample} of images {', '.join(map(str, others))} and "
            f"{last}, which {both} occur in its training {sample}s: it holds out {sample}s, not "
            "images. Use ImageShuffleSplit or another splitter of sklearn_rdm.model_selection."
        )


def _check_pooled(pooled: np.ndarray, train: Any, valid: np.ndarray | None) -> None:
    for part, rows in (("training", train), ("validation", train if valid is None else valid)):
        if not pooled[rows].any():
            raise ValueError(
                f"no {part} pair was measured by a subject that the pooling has learned: these "
                "have two training pairs or more. Give more pairs, or another train_split."
            )


def name_constant(image: int, layer: str) -> str:
    return (
        f"image {image} has constant activations at layer {layer!r}, so that its correlation with "
        "other images is not defined. Leave the image out if it is blank; otherwise read out "
        "another layer, or train with a lower lr."
    )


def _as_it_is(batch: Any) -> Any:
    return batch
