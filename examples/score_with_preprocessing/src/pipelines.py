"""The pipeline as a Prefect flow."""

from pathlib import Path
from typing import Literal

import pandas as pd
from predict import write_scores
from prefect import flow, task
from prepare import prepare

from prefect_batch.flows.data import InputFolder, OutputFolder, folder
from prefect_batch.flows.score import score

TRANSFORMATIONS = Path(__file__).parent / "transformations"


@flow
def score_with_preprocessing(
    input_data: InputFolder,
    scores: OutputFolder,
    score_mode: Literal["append", "prediction_only"] = "append",
) -> None:
    """Predict heart disease for patients as they come from the clinic.

    Args:
        input_data: CSV files with the columns age, sex, cp and so on.
        scores: Gets scores.csv.
        score_mode: Whether the rows stand in front of their predictions.
    """
    prepared = folder("prepared")
    preprocess.submit(input_data, prepared).result()
    predictions = score("classifier", prepared.input)  # a model deployment behind the same endpoint
    collect.submit(input_data, predictions, scores, score_mode).result()


@task
def preprocess(data: InputFolder, prepared: OutputFolder) -> None:
    prepare(data, TRANSFORMATIONS, prepared)


@task
def collect(data: InputFolder, predictions: InputFolder, scores: OutputFolder, score_mode: str) -> None:
    found = pd.read_csv(predictions / "predictions.csv")["prediction"]
    write_scores(data, found.tolist(), scores, score_mode)
