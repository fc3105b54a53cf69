"""jsonargparse words its errors as our explanations expect; a new version may not."""

import pytest

from tltool.__main__ import main
from tltool.cli.parser import Parser
from tltool.cli.parser_errors import (
    MISSING,
    UNKNOWN_CLASS,
    UNKNOWN_KEY,
    WRONG_CHOICE,
    WRONG_CLASS,
    WRONG_TYPE,
)
from tltool.cli.sections import add_data, add_finetuning


class RawParser(Parser):
    """A parser that raises what jsonargparse says."""

    def error(self, message, ex=None):
        raise SystemExit(message)


@pytest.fixture(scope="module")
def parser():
    parser = RawParser(prog="test")
    parser.add_argument("--config", action="config")
    parser.add_argument("--known", type=int, required=True)
    add_data(parser)
    add_finetuning(parser)
    return parser


DATA = ["--data", "ImageFolderDataModule", "--data.root", "images"]
KNOWN = ["--known", "1"]


@pytest.mark.parametrize(
    ("words", "pattern", "found"),
    [
        ([*KNOWN, *DATA, "--unknown", "2"], UNKNOWN_KEY, "unknown"),
        ([*KNOWN, *DATA, "--config", "{unknown: 1}"], UNKNOWN_KEY, "unknown"),
        ([*KNOWN, *DATA, "--data.batch_sise", "2"], UNKNOWN_KEY, "batch_sise"),
        ([*KNOWN, "--config", "{data: {batch_sise: 2}}", *DATA], UNKNOWN_KEY, "batch_sise"),
        ([*KNOWN, *DATA, "--finetuning", "LPTF"], UNKNOWN_CLASS, "LPTF"),
        ([*KNOWN, *DATA, "--data.preprocessing", "centre"], WRONG_CHOICE, "centre"),
        ([*KNOWN, "--data", "torch.nn.Linear"], WRONG_CLASS, "torch.nn.Linear"),
        ([*KNOWN, *DATA, "--data.batch_size", "big"], WRONG_TYPE, "big"),
        ([*DATA, "--known", "some"], WRONG_TYPE, "some"),
        (DATA, MISSING, "known"),
    ],
)
def test_a_message_of_jsonargparse_is_understood(parser, words, pattern, found):
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(words)
    match = pattern.search(str(caught.value))
    assert match is not None, str(caught.value)
    assert found in "".join(group for group in match.groups() if group)


def test_what_a_named_class_needs_is_asked_for_with_a_flag(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "images", "--trainer.logger", "TensorBoardLogger"])
    assert "--trainer.logger.save_dir" in capsys.readouterr().err
