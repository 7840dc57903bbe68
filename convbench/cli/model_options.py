"""The options that describe a model to capture; several verbs share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convbench.errors import RequestError

if TYPE_CHECKING:
    from convbench.workloads.request import Request

_MODEL_HELP = "Measure the convolutions of this model: package.module:Model or file.py:Net."
ModelOption = Annotated[str | None, typer.Option("--model", metavar="MODEL", help=_MODEL_HELP)]
_INPUT_HELP = "An input of the model: 8x3x224x224, or ids=1x77:int64 for an argument with a name."
InputOption = Annotated[list[str] | None, typer.Option("--input", metavar="SHAPE", help=_INPUT_HELP)]
_INPUTS_HELP = "What makes the inputs instead: a function file.py:batch. It returns a tensor, a tuple or a dictionary."
InputsOption = Annotated[str | None, typer.Option("--inputs", metavar="FUNCTION", help=_INPUTS_HELP)]
_ARGUMENT_HELP = "An argument of what builds the model, with its value as in YAML: depth=50."
ArgumentOption = Annotated[list[str] | None, typer.Option("--arg", metavar="NAME=VALUE", help=_ARGUMENT_HELP)]
_TRAIN_HELP = "Run a training step, forward and backward, or the forward pass in evaluation mode. [default: --eval]"
TrainOption = Annotated[bool, typer.Option("--train/--eval", help=_TRAIN_HELP, show_default=False)]
_AUTOCAST_HELP = "Run the model inside torch.autocast of this dtype: bfloat16 or float16."
AutocastOption = Annotated[str | None, typer.Option("--autocast", metavar="DTYPE", help=_AUTOCAST_HELP)]
_CHANNELS_LAST_HELP = "Convert the model and its inputs to channels_last."
ChannelsLastOption = Annotated[bool, typer.Option("--channels-last", help=_CHANNELS_LAST_HELP)]
_REAL_HELP = "Run the model on real numbers, for one that decides on them. It needs memory and time."
RealOption = Annotated[bool, typer.Option("--real", help=_REAL_HELP)]

_BUDGET_HELP = "Seconds that the run of a model may take, the most costly layers first. [default: 150]"
BudgetOption = Annotated[
    float | None, typer.Option("--budget", metavar="SECONDS", help=_BUDGET_HELP, show_default=False)
]

#: The dtypes of `--autocast`.
AUTOCASTS = ("bfloat16", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """The options as they were given."""

    inputs: list[str] | None
    inputs_from: str | None
    arguments: list[str] | None
    train: bool
    autocast: str | None
    channels_last: bool
    real: bool

    def request(self, model: str | None) -> Request | None:
        """What to capture; None without a model. Raises RequestError for wrong options, and for some without a model.

        An autocast of `none` is none, as in a sweep.
        """
        from convbench.workloads.request import request_of

        if model is None:
            self._refuse_without_model()
            return None
        autocast = None if self.autocast == "none" else self.autocast
        if autocast not in (None, *AUTOCASTS):
            raise RequestError(f"--autocast {autocast}: expected {' or '.join(AUTOCASTS)}")
        return request_of(
            model,
            inputs=self.inputs or (),
            inputs_from=self.inputs_from,
            arguments=self.arguments or (),
            train=self.train,
            autocast=autocast,
            channels_last=self.channels_last,
            real=self.real,
        )

    def _refuse_without_model(self) -> None:
        given: dict[str, Any] = {
            "--input": self.inputs,
            "--inputs": self.inputs_from,
            "--arg": self.arguments,
            "--train": self.train,
            "--autocast": self.autocast,
            "--channels-last": self.channels_last,
            "--real": self.real,
        }
        for option, value in given.items():
            if value:
                raise RequestError(f"{option} is for a model", hint="name one with --model")
