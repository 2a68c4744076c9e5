"""Spark: MLflow's own UDF on two local threads' workers. `python spark_udf.py KIND DATA MODEL OUT`"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow.pyfunc
import pandas as pd
from pyspark.sql import SparkSession

sys.path.insert(0, str(Path(__file__).parent))


def main(kind: str, data: Path, model: Path, out: Path) -> None:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").appName("score").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.memory", "4g").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    if kind == "images":
        here, where = str(Path(__file__).parent), str(model)

        def classified(tables: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            sys.path.insert(0, here)
            from images import classify, session

            network = session(Path(where))
            for table in tables:
                found = [classify(network, content) for content in table["content"]]
                names = [path.rsplit("/", 1)[1] for path in table["path"]]
                yield pd.DataFrame({"file": names, "class": found}).dropna().astype({"class": int})

        files = spark.read.format("binaryFile").load(str(data))
        scored = files.mapInPandas(classified, "file string, class int")
    else:
        if kind == "csv":
            table = spark.read.csv(str(data), header=True, inferSchema=True)
        else:
            table = spark.read.parquet(str(data))
        predict = mlflow.pyfunc.spark_udf(spark, str(model), env_manager="local", result_type="double")
        scored = table.withColumn("prediction", predict(*table.columns)).select("prediction")
    scored.write.csv(str(out / "predictions"), header=True)
    spark.stop()


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
