"""The scoring process and what it reads and writes. Imports no Prefect, no Dask and no other floor."""
