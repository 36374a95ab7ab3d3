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
        return sorted((int(found.group(1)) for found in map(pattern.fullmatch, names) if found), reverse=True)

    def keep(self, booster: Booster, number: int) -> None:
        """Write the model after round `number` and remove old ones; a folder that cannot be written costs a warning."""
        try:
            self._write(booster, self.path(number))
        except Exception as error:  # the base would finish the job
            logger.warning('The checkpoint "%s" could not be written: %s', self.path(number), error)
        else:
            self.written.append(number)
            self._remove_old()

    def _write(self, booster: Booster, path: str) -> None:
        """SageMaker's uploader and a restarted job find the whole file or none."""
        os.makedirs(self.folder, exist_ok=True)
        unfinished = path + checkpointing.TEMP_FILE_SUFFIX
        booster.save_model(unfinished)
        os.replace(unfinished, path)

    def _remove_old(self) -> None:
        """What an earlier process left stays, as with the base's helper; what is being uploaded stays for now."""
        for number in self.written[:-KEPT]:
            path = self.path(number)
            if _is_uploading(path):
                continue
            self.written.remove(number)
            if os.path.exists(path):
                os.remove(path)


def _is_uploading(path: str) -> bool:
    locked, safe = (path + suffix for suffix in (checkpointing.FILE_LOCK_SUFFIX, checkpointing.FILE_SAFE_SUFFIX))
    return os.path.isfile(locked) and not os.path.isfile(safe)
