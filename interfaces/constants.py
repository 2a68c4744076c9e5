"""Words that entities take, by the names that Azure ML's Python SDK gives them."""

from __future__ import annotations


class AssetTypes:
    """What an input, an output or an asset is."""

    URI_FILE = "uri_file"
    URI_FOLDER = "uri_folder"
    MLFLOW_MODEL = "mlflow_model"
    CUSTOM_MODEL = "custom_model"
    TRITON_MODEL = "triton_model"


class InputOutputModes:
    """How a step gets its data; jobs of models take them and always stage files."""

    RO_MOUNT = "ro_mount"
    RW_MOUNT = "rw_mount"
    DOWNLOAD = "download"
    UPLOAD = "upload"
    DIRECT = "direct"
    EVAL_MOUNT = "eval_mount"
    EVAL_DOWNLOAD = "eval_download"


class BatchDeploymentOutputAction:
    """What becomes of the rows that a scoring script returns."""

    APPEND_ROW = "append_row"
    SUMMARY_ONLY = "summary_only"
