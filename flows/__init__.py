"""What runs on Prefect and Dask: the flows `endpoint` and `model`, and the verbs around them."""
