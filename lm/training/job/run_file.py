"""Files between the worker and its caller: the job as JSON, and the result as JSON beside it."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lm.checkpoint.durable import write_json
from lm.training.job.job import TrainJob, TrainResult


def write_job(path: Path, job: TrainJob) -> None:
    """Write a job for `python -m lm.training.worker` to read."""
    write_json(path, TypeAdapter(TrainJob).dump_python(job, mode="json"))


def read_job(path: Path) -> TrainJob:
    """Read what `write_job` wrote.

    Raises:
        ValueError: The file is not there, is no JSON, or has missing or unknown fields.
    """
    try:
        return TypeAdapter(TrainJob).validate_json(path.read_bytes(), extra="forbid")
    except (OSError, ValidationError) as error:
        raise ValueError(f"{path} is not a file of write_job: {error}") from error


def result_path(job_file: Path) -> Path:
    """Name the file in which the worker leaves its result: beside the job."""
    return job_file.with_suffix(".result.json")


def write_result(job_file: Path, result: TrainResult) -> None:
    """Leave a result for the process that started the worker."""
    write_json(result_path(job_file), TypeAdapter(TrainResult).dump_python(result, mode="json"))


def read_result(job_file: Path) -> TrainResult:
    """Read the result of a worker that has ended well."""
    return TypeAdapter(TrainResult).validate_json(result_path(job_file).read_bytes())
