"""Checkpoints of algorithm mode: `xgboost-checkpoint.N` is the model after round N, in the folder that SageMaker keeps.

The names are those that the base's own loader and its helper for scripts know (`checkpointing.load_checkpoint`).
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from typing import List

from sagemaker_xgboost_container import checkpointing
from xgboost import Booster

from ..silence import silence

KEPT = 5  # newest rounds, as the base's helper keeps

logger = logging.getLogger(__name__)


@dataclass
class Checkpoints:
    """The checkpoints in `folder`; `written` are the rounds of this process that are still there."""

    folder: str
    written: List[int] = field(default_factory=list)

    def path(self, number: int) -> str:
        """The file of round `number`."""
        return os.path.join(self.folder, "{}.{}".format(checkpointing.CHECKPOINT_FILENAME, number))

    def rounds(self) -> List[int]:
        """Rounds that have a file, whole or not, the newest first; of an earlier process too."""
        pattern = re.compile(r"{}\.([0-9]+)".format(re.escape(checkpointing.CHECKPOINT_FILENAME)))
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        return sorted((int(match.group(1)) for match in map(pattern.fullmatch, names) if match), reverse=True)

    def keep(self, booster: Booster, number: int) -> None:
        """Write the model after round `number` and remove old ones; a folder that cannot be written costs a warning."""
        path = self.path(number)
        try:  # SageMaker's uploader and a restarted job find the whole file or none
            os.makedirs(self.folder, exist_ok=True)
            with silence():  # xgboost 3 warns of a name without .json or .ubj
                booster.save_model(path + checkpointing.TEMP_FILE_SUFFIX)
            os.replace(path + checkpointing.TEMP_FILE_SUFFIX, path)
        except Exception as error:  # the base would finish the job
            logger.warning('The checkpoint "%s" could not be written: %s', path, error)
        else:
            self.written.append(number)
            self._remove_old()

    def _remove_old(self) -> None:
        """What an earlier process left stays, as with the base's helper; what is being uploaded stays for now."""
        for number in self.written[:-KEPT]:
            path = self.path(number)
            uploading = os.path.isfile(path + checkpointing.FILE_LOCK_SUFFIX)
            if uploading and not os.path.isfile(path + checkpointing.FILE_SAFE_SUFFIX):
                continue
            self.written.remove(number)
            if os.path.exists(path):
                os.remove(path)
