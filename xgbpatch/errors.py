"""Every failure a user can meet, one class an exit code; only `xgbpatch.cli` turns them into exits."""

from __future__ import annotations

import os


class XgbpatchError(Exception):
    """What failed, on what, and what to do next. This class itself, and its code 1, is for what nobody foresaw.

    `message` names the operand in quotes; `next_step` is an instruction, or empty when the message already is one.
    """

    exit_code = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class ConfigurationError(XgbpatchError):
    """A flag, variable, key or path that cannot be accepted."""

    exit_code = 2


class EngineError(XgbpatchError):
    """The Docker Engine is not there, or refused."""

    exit_code = 3


class BaseImageError(XgbpatchError):
    """An image or its base is missing, is no SageMaker XGBoost image, or does not fit the spec."""

    exit_code = 4


class RegistryError(XgbpatchError):
    """A registry did not answer, or refused."""

    exit_code = 5


class AwsError(XgbpatchError):
    """AWS credentials, permissions or service calls."""

    exit_code = 6


class BuildError(XgbpatchError):
    """The build itself failed, or the context could not be made."""

    exit_code = 7


class ContractError(XgbpatchError):
    """An image does not keep SageMaker's contract, or differs from its base where it must not."""

    exit_code = 8


class PackageError(XgbpatchError):
    """A package cannot be put beside the base without moving one of the base's distributions."""

    exit_code = 9


class ReplacementError(XgbpatchError):
    """A replaced base module has changed, or the replacement lacks a name that the base needs."""

    exit_code = 11


class ExtraMissingError(XgbpatchError):
    """A command needs an optional extra of xgbpatch that is not installed."""

    exit_code = 12

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs the extra "{extra}"', f"pip install 'xgbpatch[{extra}]'")
        self.extra = extra


class SandboxError(XgbpatchError):
    """The AWS on loopback could not be started or stopped."""

    exit_code = 13


class ScanError(XgbpatchError):
    """The scan of the image has a finding that its base's has not, or the two could not be compared."""

    exit_code = 14


class SigningError(XgbpatchError):
    """cosign is not installed, or did not sign."""

    exit_code = 15


class FileError(XgbpatchError):
    """A file or a stream could not be read or written: a full disk, a missing permission, a path that is gone."""

    exit_code = 16

    @classmethod
    def of(cls, error: OSError) -> FileError:
        """The system's refusal as a sentence: its reason, and the path where the system names one."""
        names = [name for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
        paths = " and ".join(f'"{os.fsdecode(name)}"' for name in names)
        reason = error.strerror or str(error) or type(error).__name__
        return cls(f"the system refused {paths}: {reason}" if paths else f"the system refused: {reason}")


class ConversionError(XgbpatchError):
    """An xgboost cannot read a model that is to be converted, or cannot write it."""

    exit_code = 17


class UnequalModelError(XgbpatchError):
    """A converted model predicts other numbers than the original, or lost something: it was not written."""

    exit_code = 18


class DriftError(XgbpatchError):
    """The new base differs in what the patch relies on: a person is needed."""

    exit_code = 20
