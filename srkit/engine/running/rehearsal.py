"""A small sample or two through a recipe's network and losses, before anything is trained."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import attrs
import numpy as np
import torch
from torch import nn

from srkit.engine.builder import Loaded
from srkit.engine.data import sampling
from srkit.engine.data.batches import Batch
from srkit.engine.data.sampling import stream
from srkit.engine.learning.learner import make_learners
from srkit.engine.learning.mixing import mixing
from srkit.engine.learning.objective import Term, make_term, make_terms
from srkit.engine.learning.prediction import Prediction, hr_at, split, words_of
from srkit.engine.learning.trainer import Options, Trainer
from srkit.engine.memory import lacks_memory
from srkit.engine.networks.calling import enlarge, scaled, scales_of, takes, takes_size
from srkit.engine.running import checkpoint
from srkit.errors import RecipeError, SrkitError, located, own_words
from srkit.recipe.layers import Problem
from srkit.recipe.recipe import LossPart, Recipe

log = logging.getLogger("srkit")

SHOWN = 3  # names of parameters in a line


def rehearse(loaded: Loaded, device: torch.device) -> None:
    """Take a small sample or two through a network and losses that are made for this and thrown away.

    What a plugin's network or loss gets wrong is reported now, in the recipe's terms. Raises RecipeError.
    """
    recipe = loaded.recipe
    name = f"architecture '{recipe.architecture.type}'"
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(recipe.seed)
        network, batch, prediction, has_extras = _predicted(loaded, device)
        _warn_of_points(recipe)
        problems, values, terms = _losses(loaded, device, prediction, has_extras=has_extras)
        if not problems:
            problems = _backward(name, torch.stack(values).sum())
            if not problems:
                _warn_of_unreached(loaded, network)
        # After the network's gradients, as in training: a loss may clip its adversary's weights where that learns.
        problems += _opposed(recipe, prediction, terms)
        with_average = prediction.has_computed_ema
        if not problems:
            problems = _updates(loaded, device, batch, with_average=with_average)
        if not problems and recipe.train.deterministic == "elastic":
            problems = _problems_of_elastic(loaded, device, with_average=with_average)
    if problems:
        raise loaded.error(*problems)


def _predicted(loaded: Loaded, device: torch.device) -> tuple[nn.Module, Batch, Prediction, bool]:
    """Return the network, a small batch, what it makes of that in training, and whether it returns anything beside SR
    there, be it none at this scale. Raises RecipeError."""
    recipe, builder = loaded.recipe, loaded.builder
    name = f"architecture '{recipe.architecture.type}'"
    # In training two where there are two: statistics of a batch may want more than one.
    several = min(2, recipe.data.batch // recipe.train.accumulate)
    scale = recipe.scale if recipe.data.scales is None else recipe.data.scales[1]
    small, large = recipe.data.patch, scaled(recipe.data.patch, scale)
    for count, when in ((1, ""), (several, " in training")):
        lr = torch.rand(count, 3, small, small, device=device)
        batch = _batch(recipe.seed, lr, torch.rand(count, 3, large, large, device=device))
        if when and recipe.data.points is not None:
            points = sampling.points(0, 0, np.arange(count), large * large, recipe.data.points)
            batch = attrs.evolve(batch, points=torch.from_numpy(points).to(device))
        try:
            if not when:
                network = builder.make(recipe.architecture, scale=recipe.scale).to(device)
                if problems := _problems_of_scale(loaded, network):
                    raise loaded.error(*problems)
                network.eval()
                if problems := _problems_of_size(loaded, network, lr):
                    raise loaded.error(*problems)
            network.train(bool(when))
            output = network(lr, **words_of(network, batch))
        except RecipeError:
            raise
        except SrkitError as error:
            raise loaded.error(Problem(("architecture",), str(error))) from error
        except (Exception, SystemExit) as error:
            _pass_on(error)
            raise loaded.error(Problem(("architecture",), _failure(name, error, when))) from error
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise loaded.error(Problem(("architecture",), f"{name} has nothing to train"))
        sr, extras = split(output) if when else (output, {})
        hr = hr_at(batch)
        if not isinstance(sr, torch.Tensor) or sr.shape != hr.shape:
            must = f"at scale {scale:g} it must return {list(hr.shape)}"
            text = f"{name} returns {_shape(sr)} for {list(lr.shape)}{when}; {must}"
            raise loaded.error(Problem(("architecture",), text))
        odd = {key: extra for key, extra in extras.items() if not isinstance(cast("object", extra), torch.Tensor)}
        for key, extra in odd.items():
            text = f"{name} returns {_shape(extra)} as '{key}' beside SR; it must be a tensor"
            raise loaded.error(Problem(("architecture",), text))
    if not sr.requires_grad:
        text = f"{name} cannot learn: no gradient reaches its weights (is something detached?)"
        raise loaded.error(Problem(("architecture",), text))
    average = (lambda: sr.detach()) if _has_average(loaded) else None
    return network, batch, Prediction(lr, hr, sr, extras, average=average), isinstance(output, tuple)


def _has_average(loaded: Loaded) -> bool:
    """Say whether there is an average of the weights: a moving one, or the optimizer's own."""
    if loaded.recipe.train.ema:
        return True
    optimizer = loaded.builder.optimizer(loaded.recipe.optimizer, [("", nn.Parameter(torch.zeros(1)))])
    return callable(getattr(optimizer, "averaged", None))


def _problems_of_scale(loaded: Loaded, network: nn.Module) -> list[Problem]:
    """Return which scales of the recipe its network does not serve, and whether points can be sampled."""
    recipe = loaded.recipe
    name = f"architecture '{recipe.architecture.type}'"
    facts = loaded.builder.component(recipe.architecture).facts_of(network)
    served = scales_of(network, facts, recipe.scale)
    asked: list[tuple[tuple[str | int, ...], float]] = [(("scale",), recipe.scale)]
    asked += [(("validate", i, "scale"), part.scale) for i, part in enumerate(recipe.validate) if part.scale]
    drawn, problems = recipe.data.scales, []
    if drawn is not None and served.some:
        text = f"{name} {served.line}, and data.scales draws any of a range"
        cure = "" if takes_size(network) else ": a network serves it whose forward declares 'size'"
        problems.append(Problem(("data", "scales"), text + cure))
    elif drawn is not None:
        asked += [(("data", "scales"), scale) for scale in drawn]
    problems += [Problem(path, f"{name} {fault}") for path, scale in asked if (fault := served.fault(scale))]
    if recipe.data.points is not None and not takes(network.forward, "points"):
        text = f"{name} makes whole images: data.points needs a network whose forward declares 'points'"
        problems.append(Problem(("data", "points"), text))
    return problems


def _problems_of_size(loaded: Loaded, network: nn.Module, lr: torch.Tensor) -> list[Problem]:
    """Return at which scales of the validation sets a network makes no SR of the size that it is asked for."""
    problems = []
    for i, part in enumerate(loaded.recipe.validate):
        if part.scale is None or not takes_size(network):
            continue
        size = scaled(lr.shape[2], part.scale), scaled(lr.shape[3], part.scale)
        with torch.no_grad():
            sr = enlarge(network, lr, size)
        if list(sr.shape) != (must := [*lr.shape[:2], *size]):
            text = (
                f"architecture '{loaded.recipe.architecture.type}' returns {list(sr.shape)} for {list(lr.shape)} at "
                f"scale {part.scale:g}, not {must}; one that serves some scales alone says which: self.scales = (2, 4)"
            )
            problems.append(Problem(("validate", i, "scale"), text))
    return problems


def _warn_of_points(recipe: Recipe) -> None:
    """Say that at some scale a window has fewer pixels than are to be sampled of it."""
    least = recipe.scale if recipe.data.scales is None else recipe.data.scales[0]
    pixels = scaled(recipe.data.patch, least) ** 2
    if recipe.data.points is not None and recipe.data.points > pixels:
        text = "data.points is %d, and a patch of HR at scale %g has %d pixels: there all of them count"
        log.warning(text, recipe.data.points, least, pixels)


def _warn_of_unreached(loaded: Loaded, network: nn.Module) -> None:
    """Say which parameters no loss reaches; at several scales some may be those of another scale."""
    stated = loaded.builder.component(loaded.recipe.architecture).facts.get("deviations", {})
    if loaded.recipe.data.scales is not None or "every_parameter_learns" in stated:
        return
    names = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    if names:
        shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        text = "architecture '%s': no gradient reaches %s, so training does not change %s"
        log.warning(text, loaded.recipe.architecture.type, shown, "it" if len(names) == 1 else "them")


def _losses(
    loaded: Loaded, device: torch.device, prediction: Prediction, *, has_extras: bool
) -> tuple[list[Problem], list[torch.Tensor], dict[int, Term]]:
    """Return what is wrong with the recipe's losses, the values of those that are right, and the losses, by place."""
    recipe, builder = loaded.recipe, loaded.builder
    problems: list[Problem] = []
    values, terms = [], {}
    for i, part in enumerate(recipe.loss):
        what = f"loss '{part.type}'"

        if part.from_step >= recipe.train.steps:
            log.warning("%s never counts: from_step is %d, train.steps %d", what, part.from_step, recipe.train.steps)

        def wrong(text: str, *below: str, i: int = i) -> None:
            problems.append(Problem(("loss", i, *below), text))

        try:
            term = make_term(builder, part, part.type, recipe.words)
            if isinstance(term.loss, nn.Module):
                term.loss.to(device)
            if "ema" in term.words and not _has_average(loaded):
                wrong(f"{what} needs SR of the moving average of the weights: set train.ema, to 0.999, say")
                continue
            if "extras" in term.words and not has_extras:
                wrong(
                    f"{what} needs what a network returns beside SR, and '{recipe.architecture.type}' returns nothing"
                )
                continue
            if part.adversary is not None and term.adversary is None:
                wrong(f"{what} has no adversary", "adversary")
            value = term.returned(prediction, part.from_step)
            terms[i] = term
        except SrkitError as error:
            wrong(str(error))
            continue
        except (Exception, SystemExit) as error:
            _pass_on(error)
            wrong(_failure(what, error))
            continue
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            wrong(f"{what} returns {_shape(value)}; it must return a tensor of one value")
        elif not value.requires_grad:
            wrong(f"{what} has no gradient with respect to SR (is something detached?)")
        elif recipe.data.points is not None and _looks_around(term, prediction, part.from_step):
            wrong(
                f"{what} looks at neighbouring pixels, and data.points samples single ones: leave out data.points, so "
                "that whole patches are compared, or this loss"
            )
        else:
            values.append(value.reshape(()))
    return problems, values, terms


def _opposed(recipe: Recipe, prediction: Prediction, terms: dict[int, Term]) -> list[Problem]:
    """Return what is wrong with the adversaries of losses."""
    problems = []
    for i, term in terms.items():
        what = f"loss '{term.name}'"
        if term.adversary is None:
            continue
        try:
            value = term.returned_to_adversary(prediction, recipe.loss[i].from_step)
            fault = _fault_of_adversary(term.adversary, value)
            text = f"{what}: {fault}" if fault else ""
        except SrkitError as error:
            text = str(error)
        except (Exception, SystemExit) as error:
            _pass_on(error)
            text = _failure(what, error)
        if text:
            problems.append(Problem(("loss", i), text))
        elif recipe.train.accumulate > 1 and _has_spectral_norm(term.adversary):
            log.warning("%s: with train.accumulate the spectral norm of its adversary is estimated once a part", what)
    return problems


def _looks_around(term: Term, prediction: Prediction, step: int) -> bool:
    """Say whether a loss of sampled pixels depends on their order: on which of them lie beside each other."""
    order = torch.randperm(prediction.sr.shape[2], device=prediction.sr.device)

    def value(images: Callable[[torch.Tensor], torch.Tensor]) -> float:
        torch.manual_seed(0)  # for a loss with chance in it
        extras = {name: images(extra) for name, extra in prediction.extras.items()}
        ema = prediction.ema if "ema" in term.words else None
        average = None if ema is None else lambda: images(ema)
        seen = Prediction(prediction.lr, images(prediction.hr), images(prediction.sr), extras, average=average)
        return float(term.returned(seen, step).detach())

    def mixed(images: torch.Tensor) -> torch.Tensor:
        return images[:, :, order] if images.shape[2:] == prediction.sr.shape[2:] else images

    in_order, out_of_order = value(lambda images: images), value(mixed)
    return not abs(in_order - out_of_order) <= 1e-4 * abs(in_order)  # also where neighbours are missing: not a number


def _fault_of_adversary(adversary: nn.Module, value: object) -> str:
    """Return why an adversary cannot learn, or nothing."""
    parameters = [p for p in adversary.parameters() if p.requires_grad]
    if not parameters:
        return "its adversary has nothing to train"
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        return f"adversary_loss returns {_shape(value)}; it must return a tensor of one value"
    if not value.requires_grad or not any(
        gradient is not None for gradient in torch.autograd.grad(value.sum(), parameters, allow_unused=True)
    ):
        return "its adversary cannot learn: no gradient of adversary_loss reaches its weights (is something detached?)"
    return ""


def _has_spectral_norm(network: nn.Module) -> bool:
    return any(name.endswith(("weight_u", ".0._u")) for name, _ in network.named_buffers())


def _backward(name: str, loss: torch.Tensor) -> list[Problem]:
    try:
        torch.autograd.backward(loss)
    except Exception as error:
        _pass_on(error)
        return [Problem(("architecture",), f"{name} fails when its gradients are computed: {located(error)}")]
    return []


def _updates(loaded: Loaded, device: torch.device, batch: Batch, *, with_average: bool) -> list[Problem]:
    """Make all that a run makes, with plain options first, and update and save it once; return what fails first.

    `with_average`: a loss asks for SR of the moving average, so that there is none without.
    """
    recipe, builder = attrs.evolve(loaded.recipe, loss=tuple(map(_at_once, loaded.recipe.loss))), loaded.builder
    name = f"architecture '{recipe.architecture.type}'"
    options = Options.of(recipe)
    least = options.ema if with_average else 0.0
    plain = attrs.evolve(options, accumulate=1, ema=least, precision=torch.float32, compile=False)
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
            terms = make_terms(builder, recipe)
            for term in terms:
                if isinstance(term.loss, nn.Module):
                    term.loss.to(device)
            trainer = Trainer(network, terms, make_learners(builder, recipe, network, terms), device, tried)
            trainer.network.train()
            trainer.step(batch)
        except Exception as error:
            _pass_on(error)
            reason = str(error) if isinstance(error, SrkitError) else located(error)
            return [Problem(path, f"{text}: {reason}")]
    try:
        progress = checkpoint.contents(trainer, {})
        checkpoint.restore(progress, trainer)
    except Exception as error:
        _pass_on(error)
        return [Problem(("architecture",), f"what is trained of {name} cannot be saved: {located(error)}")]
    return []


def _problems_of_elastic(loaded: Loaded, device: torch.device, *, with_average: bool) -> list[Problem]:
    """Return why a run cannot end with the same bits whatever number of processes trains it."""
    recipe, builder = attrs.evolve(loaded.recipe, loss=tuple(map(_at_once, loaded.recipe.loss))), loaded.builder
    if device.type == "cpu" and not recipe.train.threads:
        text = "on the CPU the number of threads decides the last bits: with deterministic 'elastic', give it, as 1"
        return [Problem(("train", "threads"), text)]
    network, terms = builder.network(recipe.architecture, recipe.scale).to(device), make_terms(builder, recipe)
    for term in terms:
        if isinstance(term.loss, nn.Module):
            term.loss.to(device)
    options = attrs.evolve(Options.of(recipe), accumulate=1, ema=recipe.train.ema if with_average else 0.0)
    options = attrs.evolve(options, precision=torch.float32, compile=False)
    trainer = Trainer(network, terms, make_learners(builder, recipe, network, terms), device, options)
    scale = recipe.scale if recipe.data.scales is None else recipe.data.scales[1]
    large = scaled(recipe.data.patch, scale)
    lr = torch.rand(2, 3, recipe.data.patch, recipe.data.patch, device=device)
    batch = _batch(recipe.seed, lr, torch.rand(2, 3, large, large, device=device))
    if recipe.data.points is not None:
        points = sampling.points(0, 0, np.arange(2), large * large, recipe.data.points)
        batch = attrs.evolve(batch, points=torch.from_numpy(points).to(device))
    if reason := mixing(trainer, terms, batch):
        return [Problem(("train", "deterministic"), f"'elastic' cannot be: {reason}; give 'run'")]
    return []


def _at_once(part: LossPart) -> LossPart:
    """Return a loss that counts from the first step on, and so does its adversary's."""
    adversary = None if part.adversary is None else attrs.evolve(part.adversary, from_step=0, every=1)
    return attrs.evolve(part, from_step=0, every=1, adversary=adversary)


def _batch(seed: int, lr: torch.Tensor, hr: torch.Tensor) -> Batch:
    return Batch(lr, hr, draws=stream(seed, "network", 0, np.arange(len(lr)), lr.device))


def _failure(what: str, error: BaseException, when: str = "") -> str:
    """Return why a component fails: in its own words where it has some for people, or else with the place."""
    words = own_words(error)
    return f"{what}: {words}" if words else f"{what} fails{when}: {located(error)}"


def _pass_on(error: BaseException) -> None:
    """Raise what is no fault of a component: too little memory."""
    if lacks_memory(error):
        raise error


def _shape(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return str(list(value.shape))
    return "None" if value is None else f"a {type(value).__name__}"
