"""Whether the parts of a batch know nothing of each other, so that any number of processes may share them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from srkit.engine.data.batches import Batch
from srkit.engine.learning.objective import Term
from srkit.engine.learning.prediction import Prediction
from srkit.engine.learning.trainer import Trainer

SEEDS = (0, 1)


def mixing(trainer: Trainer, terms: list[Term], batch: Batch) -> str:
    """Return why the gradients of a batch of two samples are not those of its samples, or nothing.

    What draws at random is compared in nothing, since each sample of its own would be given other numbers.
    """
    modules = {"the network": trainer.network, **{f"loss '{term.name}'": term.loss for term in terms}}
    before = dict(_buffers(modules))
    trainer.network.train()
    predictions = [_seeded(lambda: trainer.predict(batch), seed) for seed in SEEDS]
    found = _of_network(trainer, batch, predictions) or _of_losses(terms, predictions[0])
    changed = [place for place, tensor in _buffers(modules) if not torch.equal(tensor, before[place])]
    if changed:
        return f"each part of a batch changes {changed[0]}, as batch norm and spectral norm do"
    return found


def _of_network(trainer: Trainer, batch: Batch, predictions: list[Prediction]) -> str:
    whole, again = (prediction.sr for prediction in predictions)
    alone = [_seeded(lambda part=part: trainer.predict(part).sr, SEEDS[0]) for part in batch.parts(2)]  # type: ignore[misc]
    if torch.equal(whole, again) and not _alike(whole, torch.cat(alone)):
        return "SR of a sample depends on the other samples of its batch"
    return ""


def _of_losses(terms: list[Term], prediction: Prediction) -> str:
    for term in terms:
        for what, loss in (("loss", term.returned), ("the adversary of loss", term.returned_to_adversary)):
            if what != "loss" and term.adversary is None:
                continue
            whole, again = (_seeded(lambda: _value(loss(prediction, term.from_step)), seed) for seed in SEEDS)  # noqa: B023
            alone = [_seeded(lambda: _value(loss(part, term.from_step)), SEEDS[0]) for part in _samples(prediction)]  # noqa: B023
            both = torch.stack(alone).sum() if term.is_sum else torch.stack(alone).mean()
            if torch.equal(whole, again) and not _alike(whole, both):
                return (
                    f"{what} '{term.name}' looks at a batch as a whole: of two samples it is not the mean of each alone"
                )
    return ""


def _samples(prediction: Prediction) -> Iterator[Prediction]:
    """Yield a prediction of each sample alone."""
    ema = prediction.ema
    for i in range(len(prediction.sr)):
        one = slice(i, i + 1)
        extras = {name: extra[one] if extra.dim() else extra for name, extra in prediction.extras.items()}
        average = None if ema is None else lambda one=one: ema[one]
        yield Prediction(
            *(prediction.lr[one], prediction.hr[one], prediction.sr[one], extras),
            autocast=prediction.autocast,
            average=average,
        )


def _value(value: Any) -> Tensor:
    return torch.as_tensor(value).detach().double().reshape(())


def _seeded(function: Callable[[], Any], seed: int) -> Any:
    torch.manual_seed(seed)
    return function()


def _alike(first: Tensor, second: Tensor) -> bool:
    """Say whether two are the same but for rounding: kernels for one sample may add in another order."""
    return torch.allclose(first, second, rtol=1e-3, atol=1e-3 * float(first.detach().abs().mean()))


def _buffers(modules: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    for what, module in modules.items():
        if isinstance(module, torch.nn.Module):
            yield from ((f"'{name}' of {what}", buffer.clone()) for name, buffer in module.named_buffers())
