"""A small sample or two through a recipe's network and losses, before anything is trained."""

from __future__ import annotations

import attrs
import torch
from torch import nn

from srkit.engine.builder import Loaded
from srkit.engine.data.batches import Batch
from srkit.engine.learning.objective import make_losses, trainable
from srkit.engine.learning.trainer import Options, Trainer
from srkit.engine.memory import lacks_memory
from srkit.engine.running import checkpoint
from srkit.errors import SrkitError, located
from srkit.recipe.layers import Problem


def rehearse(loaded: Loaded, device: torch.device) -> None:
    """Take a small sample or two through a network and losses that are made for this and thrown away.

    What a plugin's network or loss gets wrong is reported now, in the recipe's terms. Raises RecipeError.
    """
    recipe, builder = loaded.recipe, loaded.builder
    problems: list[Problem] = []
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(recipe.seed)
        # In training two where there are two: statistics of a batch may want more than one.
        several = min(2, recipe.data.batch // recipe.train.accumulate)
        small, large = recipe.data.patch, recipe.data.patch * recipe.scale
        name = f"architecture '{recipe.architecture.type}'"
        for count, when in ((1, ""), (several, " in training")):
            lr = torch.rand(count, 3, small, small, device=device)
            hr = torch.rand(count, 3, large, large, device=device)
            try:
                if not when:
                    network = builder.make(recipe.architecture, scale=recipe.scale).to(device)
                sr = network.train(bool(when))(lr)
            except SrkitError as error:
                raise loaded.error(Problem(("architecture",), str(error))) from error
            except (Exception, SystemExit) as error:
                _pass_on(error)
                raise loaded.error(Problem(("architecture",), f"{name} fails{when}: {located(error)}")) from error
            if not any(parameter.requires_grad for parameter in network.parameters()):
                raise loaded.error(Problem(("architecture",), f"{name} has nothing to train"))
            if not isinstance(sr, torch.Tensor) or sr.shape != hr.shape:
                must = f"at scale {recipe.scale} it must return {list(hr.shape)}"
                text = f"{name} returns {_shape(sr)} for {list(lr.shape)}{when}; {must}"
                raise loaded.error(Problem(("architecture",), text))
        if not sr.requires_grad:
            text = f"{name} cannot learn: no gradient reaches its weights (is something detached?)"
            raise loaded.error(Problem(("architecture",), text))
        values = []
        for i, part in enumerate(recipe.loss):
            try:
                loss = builder.make(part)
                value = (loss.to(device) if isinstance(loss, nn.Module) else loss)(sr, hr)
            except SrkitError as error:
                problems.append(Problem(("loss", i), str(error)))
                continue
            except (Exception, SystemExit) as error:
                _pass_on(error)
                problems.append(Problem(("loss", i), f"loss '{part.type}' fails: {located(error)}"))
                continue
            if not isinstance(value, torch.Tensor) or value.numel() != 1:
                text = f"loss '{part.type}' returns {_shape(value)}; it must return a tensor of one value"
                problems.append(Problem(("loss", i), text))
            elif not value.requires_grad:
                text = f"loss '{part.type}' has no gradient with respect to SR (is something detached?)"
                problems.append(Problem(("loss", i), text))
            else:
                values.append(value.reshape(()))
        if not problems:
            problems += _backward(name, torch.stack(values).sum()) or _updates(loaded, device, lr, hr)
    if problems:
        raise loaded.error(*problems)


def _backward(name: str, loss: torch.Tensor) -> list[Problem]:
    try:
        torch.autograd.backward(loss)
    except Exception as error:
        _pass_on(error)
        return [Problem(("architecture",), f"{name} fails when its gradients are computed: {located(error)}")]
    return []


def _updates(loaded: Loaded, device: torch.device, lr: torch.Tensor, hr: torch.Tensor) -> list[Problem]:
    """Make all that a run makes, with plain options first, and update and save it once; return what fails first."""
    recipe, builder = loaded.recipe, loaded.builder
    name = f"architecture '{recipe.architecture.type}'"
    options = Options.of(recipe)
    plain = attrs.evolve(options, accumulate=1, ema=0.0, precision=torch.float32, compile=False)
    with_ema = attrs.evolve(plain, ema=options.ema)
    with_precision = attrs.evolve(with_ema, precision=options.precision)
    # Each has one option more than the one before it, so that what fails has a name.
    tries = [
        (("optimizer",), f"an update of {name} by optimizer '{recipe.optimizer.type}' fails", plain),
        (("train", "ema"), f"a moving average of {name} fails", with_ema),
        (("train", "precision"), f"an update of {name} in {recipe.train.precision} fails", with_precision),
        (("train", "compile"), f"torch.compile of {name} fails", attrs.evolve(with_precision, compile=options.compile)),
    ]
    done: list[Options] = []
    for path, text, tried in tries:
        if tried in done:
            continue
        done.append(tried)
        try:
            network = builder.network(recipe.architecture, recipe.scale).to(device)
            losses = make_losses(builder, recipe.loss)
            for loss in losses:
                if isinstance(loss.function, nn.Module):
                    loss.function.to(device)
            trainer = Trainer(
                network,
                losses,
                builder.make(recipe.optimizer, parameters=trainable(network, losses)),
                builder.make(recipe.schedule, steps=recipe.train.steps),
                device,
                tried,
            )
            trainer.network.train()
            trainer.step(Batch(lr, hr))
        except Exception as error:
            _pass_on(error)
            return [Problem(path, f"{text}: {located(error)}")]
    try:
        progress = checkpoint.contents(trainer, {})
        checkpoint.restore(progress, trainer)
    except Exception as error:
        _pass_on(error)
        return [Problem(("architecture",), f"what is trained of {name} cannot be saved: {located(error)}")]
    return []


def _pass_on(error: BaseException) -> None:
    """Raise what is no fault of a component: too little memory."""
    if lacks_memory(error):
        raise error


def _shape(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return str(list(value.shape))
    return "None" if value is None else f"a {type(value).__name__}"
