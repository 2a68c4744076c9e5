"""What runs on Prefect and Dask: the flows `endpoint`, `pipeline-job`, `model` and `pipeline`, and the verbs around."""
