"""One job of a comparison: validate, choose, test once, and write the result to a file that appears complete."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import h5py
import numpy as np
import yaml

from rnnlimits.classify import protocol
from rnnlimits.classify.datasets import Numbers
from rnnlimits.classify.jobs import VERSION, Job
from rnnlimits.classify.methods import stretched
from rnnlimits.classify.protocol import COSTS, SEED, Choice
from rnnlimits.files.provenance import software
from rnnlimits.files.store import atomic_h5, open_complete, put
from rnnlimits.kernels.rntk import Batch

NORMALISATION = "each input by mean and deviation of its training values; kernel to unit diagonal and unit spread"


@dataclass(frozen=True)
class Validated:
    """correct (candidate, C): number of correctly classified held-out series; seconds: the time this took."""

    correct: Numbers
    seconds: float


def validate_part(job: Job, number: int) -> None:
    """Write the validation of part `number` of a job's grid."""
    first, last = job.parts[number]
    validated = _validated(job, first, last)
    attrs = {**_attributes(job), "first": first, "count": last - first}
    with atomic_h5(job.part(number), "classification-part", attrs) as file:
        put(file, "candidate", np.arange(first, last), ("candidate",), "1", "index in the grid")
        put(file, "C", np.array(COSTS), ("C",), "1", "C of the support-vector machine")
        _put_validation(file, validated)


def run(job: Job) -> None:
    """Write the result of a job; its parts, if it has any, must exist."""
    begun = time.process_time()
    validated = _joined(job) if job.part_paths else _validated(job, 0, len(job.candidates))
    choice = protocol.choose(validated.correct)
    train, test = _inputs(job)
    chosen = job.candidates[choice.candidate]
    predicted = protocol.predict(job.method, chosen, COSTS[choice.cost], train, job.data.train_classes, test)
    seconds = time.process_time() - begun + (validated.seconds if job.part_paths else 0.0)
    _write(job, validated, choice, predicted, seconds)


def _validated(job: Job, first: int, last: int) -> Validated:
    begun, train = time.process_time(), _inputs(job)[0]
    correct = protocol.validate(job.method, job.candidates[first:last], train, job.data.train_classes, job.folds)
    return Validated(correct, time.process_time() - begun)


def _inputs(job: Job) -> tuple[Batch, Batch]:
    """Training and test part in the form that the method takes."""
    train, test = job.data.standardised()
    if not job.method.reads_vectors:
        return train, test
    steps = int(train.lengths.max())
    return stretched(train, steps), stretched(test, steps)


def _joined(job: Job) -> Validated:
    parts = []
    for path in job.part_paths:
        with open_complete(path, "classification-part", classification_id=job.identity) as file:
            parts.append(Validated(file["validation_correct"][()], float(file["seconds"][()])))
    return Validated(np.concatenate([part.correct for part in parts]), sum(part.seconds for part in parts))


def _write(job: Job, validated: Validated, choice: Choice, predicted: Numbers, seconds: float) -> None:
    chosen = {**job.candidates[choice.candidate], "C": COSTS[choice.cost]}
    attrs = {**_attributes(job), "chosen": json.dumps(chosen)}
    with atomic_h5(job.result, "classification", attrs) as file:
        points = np.array([json.dumps(candidate) for candidate in job.candidates], dtype=object)
        put(file, "parameters", points, ("candidate",), "1", "parameters of the kernel, JSON")
        put(file, "C", np.array(COSTS), ("C",), "1", "C of the support-vector machine")
        _put_validation(file, Validated(validated.correct, seconds))
        labels = np.array(job.data.classes, dtype=object)
        put(file, "label", labels, ("class",), "1", "label of each class in the data")
        put(file, "truth", job.data.test_classes, ("series",), "1", "class of each test series")
        put(file, "prediction", predicted.astype(np.int64), ("series",), "1", "class that was predicted")


def _put_validation(file: h5py.File, validated: Validated) -> None:
    words = "held-out training series given their class"
    put(file, "validation_correct", validated.correct, ("candidate", "C"), "1", words)
    put(file, "seconds", np.array(validated.seconds), (), "s", "time of validation and test on one core", volatile=True)


def _attributes(job: Job) -> dict[str, object]:
    data, about = job.data, _settings(job)
    return {
        "study": f"classification of {data.name}",
        "study_id": job.identity,
        "study_yaml": yaml.safe_dump(about, sort_keys=False),
        "precision": "float64",
        "seed": SEED,
        **software(),
        "classification_id": job.identity,
        **{key: about[key] for key in ("data_set", "source", "method", "grid", "folds")},
        "train_count": len(data.train),
        "test_count": len(data.test),
        "dimension": data.dimension,
        "shortest": data.lengths[0],
        "longest": data.lengths[1],
    }


def _settings(job: Job) -> dict[str, object]:
    return {
        "data_set": job.data.name,
        "source": job.data.source,
        "data_digest": job.data.digest,
        "method": job.method.name,
        "grid": job.level,
        "folds": job.folds,
        "normalisation": NORMALISATION,
        "protocol_version": VERSION,
    }
