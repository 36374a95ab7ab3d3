"""Hyperparameters as an algorithm declares them, and the check of those that a job brings (all of them text)."""

import ast
import sys

from sagemaker_algorithm_toolkit import exceptions as exc


class Range:
    """Values that a hyperparameter may take: anything with `in`."""

    def __contains__(self, value):
        raise NotImplementedError

    def format(self):
        return str(self)


class Interval(Range):
    """Numbers between two bounds, each open or closed; a bound that is not given does not limit."""

    LINEAR_SCALE = "Linear"
    LOGARITHMIC_SCALE = "Logarithmic"
    REVERSE_LOGARITHMIC_SCALE = "ReverseLogarithmic"

    def __init__(self, min_open=None, min_closed=None, max_open=None, max_closed=None, scale=None):
        if None not in (min_open, min_closed) or None not in (max_open, max_closed):
            raise exc.AlgorithmError("an interval has one lower and one upper bound at the most")
        self.min_open = min_open
        self.min_closed = min_closed
        self.max_open = max_open
        self.max_closed = max_closed
        self.scale = scale or self.LINEAR_SCALE

    def __contains__(self, value):
        return (
            (self.min_open is None or value > self.min_open)
            and (self.min_closed is None or value >= self.min_closed)
            and (self.max_open is None or value < self.max_open)
            and (self.max_closed is None or value <= self.max_closed)
        )

    def __str__(self):
        lower = "(-inf" if self._lower is None else ("(" if self.min_closed is None else "[") + str(self._lower)
        upper = "inf)" if self._upper is None else str(self._upper) + (")" if self.max_closed is None else "]")
        return "{}, {}".format(lower, upper)

    @property
    def _lower(self):
        return self.min_open if self.min_closed is None else self.min_closed

    @property
    def _upper(self):
        return self.max_open if self.max_closed is None else self.max_closed

    def format_as_integer(self):
        return self._bounds(-(2**31), 2**31 - 1)

    def format_as_continuous(self):
        return self._bounds(-sys.float_info.max, sys.float_info.max)

    def _bounds(self, lowest, highest):
        lower = lowest if self._lower is None else self._lower
        upper = highest if self._upper is None else self._upper
        return str(lower), str(upper)


class _Predicate(Range):
    def __init__(self, described, function):
        self.described = described
        self.function = function

    def __contains__(self, value):
        return self.function(self.described, value)

    def __str__(self):
        return str(self.described)


class range_validator:  # noqa: N801 - the name is the contract
    """Decorator: makes a Range of `function(range, value) -> bool`."""

    def __init__(self, range):
        self.range = range

    def __call__(self, f):
        return _Predicate(self.range, f)


class _Dependent:
    def __init__(self, names, function):
        self.names = names
        self.function = function

    def __call__(self, value, dependencies):
        return self.function(value, dependencies)


class dependencies_validator:  # noqa: N801 - the name is the contract
    """Decorator: `function(value, {name: value})` is told the named hyperparameters, those that the job gave."""

    def __init__(self, dependencies):
        self.dependencies = dependencies

    def __call__(self, f):
        return _Dependent(self.dependencies, f)


class Hyperparameter:
    """One hyperparameter, free text unless a subclass says otherwise."""

    TYPE = "FreeText"

    def __init__(
        self,
        name,
        range=None,
        dependencies=None,
        required=None,
        default=None,
        tunable=False,
        tunable_recommended_range=None,
    ):
        self.name = name
        self.range = range
        self.dependencies = dependencies
        self.required = required
        self.default = default
        self.tunable = tunable
        self.tunable_recommended_range = tunable_recommended_range

    @property
    def type(self):
        return self.TYPE

    def parse(self, value):
        """The value of the text; any exception means that it is not one of this kind."""
        return value

    def validate_range(self, value):
        if self.range is not None and value not in self.range:
            self._refuse(value)

    def _refuse(self, value):
        raise exc.UserError("Hyperparameter '{}' is {}, but must be in {}".format(self.name, value, _text(self.range)))

    def validate_dependencies(self, value, dependencies):
        if self.dependencies is not None:
            self.dependencies(
                value, {name: dependencies[name] for name in self.dependencies.names if name in dependencies}
            )

    def format_range(self):
        return None

    def format_tunable_range(self):
        return None

    def format(self):
        """This hyperparameter as CreateAlgorithm describes one."""
        described = {
            "Name": self.name,
            "Description": self.name,
            "Type": self.type,
            "IsTunable": self.tunable,
            "IsRequired": bool(self.required),
        }
        if self.range is not None and self.format_range() is not None:
            described["Range"] = self.format_range()
        if self.default is not None:
            described["DefaultValue"] = str(self.default)
        return described


class _NumericHyperparameter(Hyperparameter):
    def _bounds(self, interval):
        raise NotImplementedError

    def format_range(self):
        lower, upper = self._bounds(self.range)
        return {self.TYPE + "ParameterRangeSpecification": {"MinValue": lower, "MaxValue": upper}}

    def format_tunable_range(self):
        recommended = self.tunable_recommended_range
        if not (self.tunable and recommended):
            return None
        lower, upper = self._bounds(recommended)
        range_ = {"Name": self.name, "MinValue": lower, "MaxValue": upper, "ScalingType": recommended.scale}
        return {self.TYPE + "ParameterRanges": [range_]}


class IntegerHyperparameter(_NumericHyperparameter):
    TYPE = "Integer"

    def parse(self, value):
        return int(value)

    def _bounds(self, interval):
        return interval.format_as_integer()


class ContinuousHyperparameter(_NumericHyperparameter):
    TYPE = "Continuous"

    def parse(self, value):
        return float(value)

    def _bounds(self, interval):
        return interval.format_as_continuous()


class CategoricalHyperparameter(Hyperparameter):
    TYPE = "Categorical"

    def format_range(self):
        return {"CategoricalParameterRangeSpecification": {"Values": list(self.range)}}

    def format_tunable_range(self):
        if not (self.tunable and self.tunable_recommended_range):
            return None
        range_ = {"Name": self.name, "Values": list(self.tunable_recommended_range)}
        return {"CategoricalParameterRanges": [range_]}


class _SeveralHyperparameter(Hyperparameter):
    """A hyperparameter of which every element has to be in the range."""

    def _elements(self, value):
        return value

    def validate_range(self, value):
        if self.range is not None and any(element not in self.range for element in self._elements(value)):
            self._refuse(value)


class CommaSeparatedListHyperparameter(_SeveralHyperparameter):
    def parse(self, value):
        return value.split(",")


class NestedListHyperparameter(_SeveralHyperparameter):
    def parse(self, value):
        return ast.literal_eval(value)

    def _elements(self, value):
        return [element for inner in value for element in inner]


class TupleHyperparameter(_SeveralHyperparameter):
    def parse(self, value):
        return ast.literal_eval(value)


class Hyperparameters:
    """All hyperparameters of an algorithm, with their aliases."""

    def __init__(self, *hyperparameters):
        self.hyperparameters = {hyperparameter.name: hyperparameter for hyperparameter in hyperparameters}
        self.aliases = {}

    def __getitem__(self, name):
        return self.hyperparameters[name]

    def declare_alias(self, key_name, alias_name):
        if key_name not in self.hyperparameters:
            raise exc.AlgorithmError("'{}' cannot be an alias of the unknown '{}'".format(alias_name, key_name))
        self.aliases[alias_name] = key_name

    def format(self):
        return [hyperparameter.format() for hyperparameter in self.hyperparameters.values()]

    def validate(self, user_hyperparameters):
        """Typed values by name, defaults included; raises UserError on the first fault."""
        texts = {self.aliases.get(name, name): value for name, value in user_hyperparameters.items()}
        for name in texts:
            if name not in self.hyperparameters:
                raise exc.UserError("Extraneous hyperparameter found: {}".format(name))
        for name, hyperparameter in self.hyperparameters.items():
            if hyperparameter.required and name not in texts:
                raise exc.UserError("Hyperparameter '{}' is required".format(name))
        return self._check_dependencies(self._parse(texts))

    def _parse(self, texts):
        parsed = {}
        for name, text in texts.items():
            parsed[name] = _checked(self.hyperparameters[name], text)
        for name, hyperparameter in self.hyperparameters.items():
            if name not in parsed and hyperparameter.default is not None:
                parsed[name] = hyperparameter.default
        return parsed

    def _check_dependencies(self, values):
        for name, value in values.items():
            self.hyperparameters[name].validate_dependencies(value, values)
        return values


def _checked(hyperparameter, text):
    message = "Hyperparameter '{}' is '{}', which cannot be {}"
    try:
        value = hyperparameter.parse(text)
    except Exception as error:
        raise exc.UserError(message.format(hyperparameter.name, text, "read"), caused_by=error) from error
    try:
        hyperparameter.validate_range(value)
    except exc.BaseToolkitError:
        raise
    except Exception as error:
        raise exc.AlgorithmError(message.format(hyperparameter.name, text, "checked"), caused_by=error) from error
    return value


def _text(range_):
    return str(range_) if isinstance(range_, Range) else list(range_)
