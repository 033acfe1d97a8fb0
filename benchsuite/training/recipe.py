"""From a model to the table: fine-tune a classifier, quantize it from scratch and with bitsandbytes, compare all.

Each step leaves one directory of OUT and needs only that of the baseline:

    baseline-MODEL-full/   the fine-tuned classifier, checkpoints, report, metrics_baseline.json, pictures
    ptq-scratch-int8/      report, metrics_ptq_scratch.json, ptq_scratch_summary.json, quantized_model/
    bnb-quantized/         reports, metrics_quant_bnb.json, MODEL-int8/, MODEL-nf4/
    qat-PRECISION/         with `qat`: trained on for one epoch under that precision at a tenth of the learning rate,
                           quantized/; beside it
    ptq-scratch-PRECISION/ the baseline in that precision, untrained
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import transformers
from safetensors.torch import save

from benchsuite.device import resolve_device
from benchsuite.errors import UnavailableError, UsageError
from benchsuite.files import atomic_write, new_directory, read_object, write_json
from benchsuite.models.resolve import fingerprint
from benchsuite.quant.apply import is_conv1d
from benchsuite.quant.external import transformers_config
from benchsuite.quant.layers import QuantizedLinear
from benchsuite.quant.precision import precisions
from benchsuite.record import Record, from_json, to_json
from benchsuite.report.bar import bar
from benchsuite.report.track import track_matrix
from benchsuite.training import classify
from benchsuite.training.features import class_features
from benchsuite.training.loop import require_runnable
from benchsuite.training.run_directory import require_same
from benchsuite.training.settings import Settings
from benchsuite.training.splits import Splits
from benchsuite.training.start import Start, classifier, quiet_transformers, weights_of
from benchsuite.training.summary import write_summary

STEPS = ("baseline", "ptq", "bnb")
INT8 = "absmax8-row"
METRICS = {
    "baseline": "metrics_baseline.json",
    "ptq": "metrics_ptq_scratch.json",
    "bnb": "metrics_quant_bnb.json",
    "qat": "metrics_qat.json",
}


@dataclass(frozen=True)
class Recipe:
    """What is done with which data, and where it goes. `qat` adds training under that precision to the table."""

    model: str
    splits: Splits
    settings: Settings
    output: Path
    qat: str | None = None
    resume: bool = False

    @property
    def baseline(self) -> Path:
        """The directory of the fine-tuned classifier."""
        return baseline_of(self.model, self.output)


def name_of(model: str) -> str:
    """A model's name as part of a directory's."""
    return model.rstrip("/").rpartition("/")[2].replace(":", "-")


def baseline_of(model: str, output: Path) -> Path:
    """The directory of the classifier that is fine-tuned first."""
    return output / f"baseline-{name_of(model)}-full"


def run(recipe: Recipe, steps: tuple[str, ...] = STEPS) -> str:
    """Do the steps in order, then write summary.json and summary.md of all that is there; returns the table."""
    require_runnable(recipe.settings)
    if "baseline" in steps:
        _once(recipe, recipe.baseline / METRICS["baseline"], lambda: _train(recipe))
    require_baseline(recipe.baseline)
    settings = recipe.settings.to_json()
    if "baseline" in steps:  # it may have been finished before
        began = {"data": recipe.splits.fingerprint(), "weights": weights_of(recipe.model)}
        require_same(recipe.baseline, settings | began)
    else:
        require_same(recipe.baseline, {"context": settings["context"]})
    if "ptq" in steps:
        _scratch(recipe, recipe.baseline, INT8, recipe.output / "ptq-scratch-int8")
    if "bnb" in steps:
        _once(recipe, recipe.output / "bnb-quantized" / METRICS["bnb"], lambda: _bnb(recipe))
    if recipe.qat:
        _scratch(recipe, recipe.baseline, recipe.qat, recipe.output / f"ptq-scratch-{recipe.qat}")
        trained = recipe.output / f"qat-{recipe.qat}"
        _once(recipe, trained / METRICS["qat"], lambda: _train_under(recipe, trained))
        _scratch(recipe, trained, recipe.qat, trained / "quantized")
    records = _finished(recipe)
    table = write_summary(records, "baseline", recipe.output)
    for tracker in recipe.settings.track:
        track_matrix(tracker, list(records.values()), recipe.output.name, recipe.output / "runs")
    return table


def require_baseline(directory: Path) -> None:
    """UsageError where the step baseline has not finished in `directory`."""
    if not (directory / METRICS["baseline"]).is_file():
        raise UsageError(f"{directory} holds no finished baseline; run the step baseline first")


def _once(recipe: Recipe, metrics: Path, step: Callable[[], None]) -> None:
    """Do a step unless it is finished and the recipe is resumed."""
    if not (recipe.resume and metrics.is_file()):
        step()


def _train(recipe: Recipe) -> None:
    settings = recipe.settings
    start = classifier(recipe.model, recipe.splits.train.labels, attention=settings.attention, seed=settings.seed)
    classify.run(
        start, recipe.splits, settings, recipe.baseline, resume=recipe.resume, metrics_file=METRICS["baseline"]
    )


def _train_under(recipe: Recipe, directory: Path) -> None:
    # the weights are trained already: they are moved onto the grid, not learned anew
    rate = recipe.settings.learning_rate / 10
    settings = replace(recipe.settings, qat=recipe.qat, epochs=1, learning_rate=rate, early_stopping=None)
    start = classifier(str(recipe.baseline), recipe.splits.train.labels, seed=settings.seed)
    classify.run(start, recipe.splits, settings, directory, resume=recipe.resume, metrics_file=METRICS["qat"])


def _scratch(recipe: Recipe, source: Path, precision: str, directory: Path) -> None:
    """Quantize the classifier in `source` with this project's own grids, measure it and write it in two forms."""

    def step() -> None:
        bits = "int8" if precision == INT8 else precision
        with new_directory(directory) as new:
            start = classifier(str(source), recipe.splits.test.labels)
            device = resolve_device(recipe.settings.device)
            # the head of a few rows stays in full precision, as bitsandbytes leaves it too
            coverage = precisions[precision].apply(start.module.base_model, device=device)
            start.module.to(device)
            record, text = _measured(recipe, start, precision)
            _write_quantized(start, source, precision, new / "quantized_model", f"model_{bits}.safetensors")
            record = _with_weights(record, new / "quantized_model")
            atomic_write(new / "classification_report_ptq.txt", text)
            write_json(new / "ptq_scratch_summary.json", {"precision": precision, **asdict(coverage)})
            write_json(new / METRICS["ptq"], to_json(record))

    _once(recipe, directory / METRICS["ptq"], step)


def _write_quantized(start: Start, source: Path, precision: str, directory: Path, packed: str) -> None:
    """The packed codes and scales in the file `packed`, and what they stand for as plain weights for transformers."""
    plain = classifier(str(source), list(start.module.config.label2id))
    for name, layer in start.module.named_modules():
        if isinstance(layer, QuantizedLinear):
            target = plain.module.get_submodule(name)
            weight = layer.dequantize().cpu()  # (out, in)
            target.weight.data.copy_(weight.t() if is_conv1d(target) else weight)
    plain.save(directory)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in start.module.state_dict().items()}
    atomic_write(directory / packed, save(tensors, metadata={"format": "pt", "precision": precision}))


def _bnb(recipe: Recipe) -> None:
    with new_directory(recipe.output / "bnb-quantized") as new:
        records = {}
        for form in ("int8", "nf4"):
            try:
                start = _bnb_start(recipe, f"bnb-{form}")
                record, text = _measured(recipe, start, f"bnb-{form}")
            except (ImportError, RuntimeError, ValueError) as error:
                raise UnavailableError(f"bitsandbytes cannot run this model in {form} here: {error}") from error
            directory = new / f"{name_of(recipe.model)}-{form}"
            start.save(directory)
            records[form] = to_json(_with_weights(record, directory))
            atomic_write(new / f"classification_report_{form}.txt", text)
        write_json(new / METRICS["bnb"], records)


def _bnb_start(recipe: Recipe, name: str) -> Start:
    """The baseline as transformers and bitsandbytes load it."""
    plain = classifier(str(recipe.baseline), recipe.splits.test.labels)
    with quiet_transformers():
        module = transformers.AutoModelForSequenceClassification.from_pretrained(
            recipe.baseline,
            quantization_config=transformers_config(name),
            device_map=resolve_device(recipe.settings.device),
            dtype=torch.float32,
        )
    return replace(plain, module=module)


def _measured(recipe: Recipe, start: Start, precision: str) -> tuple[Record, str]:
    """The record and the report of a classifier on the test split."""
    test, batch_size = recipe.splits.test, recipe.settings.batch_size
    rows = class_features(test, start.encode, context=recipe.settings.context).rows
    with bar(f"testing {precision}") as progress:
        pad = int(start.tokenizer.pad_token_id)
        found = classify.classify(start.module, rows, test, pad=pad, batch_size=batch_size, progress=progress)
    start = replace(start, name=name_of(recipe.model))
    return classify.record_of(start, found, test, precision, batch_size), found.text()


def _with_weights(record: Record, directory: Path) -> Record:
    return replace(record, fingerprints={**record.fingerprints, "weights": fingerprint(directory)})


def _finished(recipe: Recipe) -> dict[str, Record]:
    """The records of all steps that are finished, by their row in the table, baseline first."""
    out = recipe.output
    files = {
        "baseline": recipe.baseline / METRICS["baseline"],
        f"{INT8} from scratch": out / "ptq-scratch-int8" / METRICS["ptq"],
        "int8": out / "bnb-quantized" / METRICS["bnb"],
        "nf4": out / "bnb-quantized" / METRICS["bnb"],
    }
    if recipe.qat:
        files[f"{recipe.qat} after training"] = out / f"ptq-scratch-{recipe.qat}" / METRICS["ptq"]
        files[f"{recipe.qat} trained for (QAT)"] = out / f"qat-{recipe.qat}" / "quantized" / METRICS["ptq"]
    records = {}
    for row, file in files.items():
        if file.is_file():
            held = read_object(file, "remove its directory and run that step again")
            bnb = file.name == METRICS["bnb"]
            record = from_json(held.get(row, {}) if bnb else held, str(file))
            if record.fingerprints.get("data") != recipe.splits.test.fingerprint():
                raise UsageError(f"{file} was measured on other test texts; use the same data and seed, or begin anew")
            records[f"bnb {row}" if bnb else row] = record
    return records
