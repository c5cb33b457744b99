"""How skorch trains a twin network: its data, its mini-batches, and what an error leaves."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from sklearn_rdm._network._accelerator import reside
from sklearn_rdm._network._batch_orders import ImageBatches, OrderedBatches, PairBatches
from sklearn_rdm._network._batches import NetworkInputs, PatternDataset, ReadAhead
from sklearn_rdm._network._checkpoint import NoCheckpoint
from sklearn_rdm._network._datasets import gives_validation, make_dataset, own_validation
from sklearn_rdm._network._epochs import EpochLoop
from sklearn_rdm._network._forward import Photographs
from sklearn_rdm._network._frozen import Decoded, Kept
from sklearn_rdm._network._image_reader import open_images
from sklearn_rdm._network._loader_options import loader_options
from sklearn_rdm._network._network_building import NetworkBuilding
from sklearn_rdm._network._pair_training import split_pairs
from sklearn_rdm._network._pattern_training import batches_of_patterns, split_patterns
from sklearn_rdm._network._processes import check_processes
from sklearn_rdm._network._references import mean_of_images
from sklearn_rdm._network._shards import shard_threads
from sklearn_rdm._network._training_loss import TrainingLoss
from sklearn_rdm._network._untrained import untrained_features
from sklearn_rdm._pairs import ImagePairs, ResponsePatterns
from sklearn_rdm._pairs._leaks import TrainingPairs
from sklearn_rdm._pairs._progress import showing_progress
from sklearn_rdm._pairs._weights import keep_weighted

__all__ = ["TwinTraining"]


class TwinTraining(NetworkBuilding, TrainingLoss, EpochLoop):
    """The training of :class:`SiameseRDMRegressor`, in the hooks that skorch offers."""

    batchings: Mapping[str, Any] = MappingProxyType({"images": ImageBatches, "pairs": PairBatches})
    _weights_of_pairs: np.ndarray | None = None

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

    def get_split_datasets(self, X: Any, y: Any = None, **_: Any) -> tuple[Any, Any]:
        """Split into training and validation pairs by image, or take the latter as given."""
        if self.train_split is None:
            self._check_monitored()
        make_validation = own_validation(self, X, y)
        split = split_patterns if isinstance(y, ResponsePatterns) else split_pairs
        train, valid = split(self, X, y)
        return train, valid if make_validation is None else make_validation()

    @property
    def _splitter(self) -> Any:
        """What splits the given data; None if all are trained on."""
        return None if gives_validation(self.train_split) else self.train_split

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Compute the frozen layers' activations of each image, and pool the subjects of y."""
        return make_dataset(self, X, y)

    def _network_inputs(self, X: ImagePairs, rows: np.ndarray) -> tuple[Any, ...]:
        """What :class:`NetworkInputs` holds of some images."""
        with showing_progress(self.verbose):
            reader = open_images(self.module_, X, rows, memory=self.memory, device=self.device)
        assert reader.kept is not None
        self.module_.trunk.note_kept()
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

    def _settle_pooling(self, fit: Any, y: Any, learned: Any, *more: Any) -> None:
        """Learn, in the first call, how subjects are pooled, of the rows that are trained on."""
        if not hasattr(self, "subject_pooling_"):
            self.subject_pooling_ = fit(self.subject_pooling, y[learned], *more)

    def _settle_mean_image(self, pairs: ImagePairs, rows: np.ndarray) -> None:
        """Learn the mean image, if it is the reference, of the images that are trained on."""
        if self.module_.mean_image is not None and not self.module_.is_settled:
            load = Photographs(pairs, self.module_.preprocessing).load
            self.module_.mean_image.copy_(mean_of_images(load, rows))

    def _settle(self, dataset: Any, pairs: ImagePairs, rows: np.ndarray) -> None:
        """Learn what else is learned of the images that are trained on, before training.

        That is done once: not by the next call of ``partial_fit``, nor if weights were loaded.
        """
        if not self.module_.is_settled:
            if self.module_.learns_lengths:
                self._settle_lengths(dataset.kept, pairs, rows)
            self.module_.settle(pairs)
        if self.pretrained_penalty:
            dataset.kept.untrained = untrained_features(
                self._build_network(), self.module_, pairs, dataset.kept
            )

    def _settle_lengths(self, kept: NetworkInputs, pairs: ImagePairs, rows: np.ndarray) -> None:
        """Learn what layers that are joined, and noise, are scaled by."""
        reader = open_images(self.module_, pairs, keep=False, device=self.device)
        reader = replace(reader, kept=Kept(kept.inputs, kept.images, kept.places))
        self.module_.set_lengths(reader.mean_squared_lengths(rows))

    def check_data(self, X: Any, y: Any) -> None:
        """Do nothing: ``fit`` and ``partial_fit`` checked before anything was changed."""

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


def _as_it_is(batch: Any) -> Any:
    return batch
