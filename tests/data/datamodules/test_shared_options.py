import inspect
from typing import get_type_hints

import pytest
from jsonargparse import ArgumentError, ArgumentParser

from tltool.data.datamodules.digits import DigitsDataModule
from tltool.data.datamodules.elpv import ELPVDataModule
from tltool.data.datamodules.hf_dataset import HFDataModule
from tltool.data.datamodules.image_datamodule import ImageDataModule
from tltool.data.datamodules.image_folder import ImageFolderDataModule
from tltool.data.datamodules.manifest import ManifestDataModule
from tltool.data.datamodules.shared_options import FileOptions
from tltool.data.datamodules.torchvision_datasets import TorchvisionDataModule

OF_FILES = [ImageFolderDataModule, ManifestDataModule, ELPVDataModule, HFDataModule]
ALL = [*OF_FILES, DigitsDataModule, TorchvisionDataModule]


@pytest.fixture
def parse():
    def run(cls, *args):
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(cls, as_positional=False)
        return parser.parse_args(list(args)), parser.format_help()

    return run


def test_the_shared_options_are_those_of_the_base():
    hints = get_type_hints(ImageDataModule.__init__)
    assert get_type_hints(FileOptions) == {n: hints[n] for n in hints if n != "return"}


@pytest.mark.parametrize("cls", ALL)
def test_shared_arguments_have_one_default(cls):
    # The command line keeps them when another class is named.
    base = inspect.signature(ImageDataModule).parameters
    own = inspect.signature(cls).parameters
    missing = set() if cls in OF_FILES else {"broken_files"}
    assert {n: own[n].default for n in own if n in base} == {
        n: base[n].default for n in base if n not in missing
    }


def test_the_command_line_knows_type_default_and_meaning_of_shared_options(parse):
    parsed, shown = parse(DigitsDataModule, "--batch_size", "16")
    assert (parsed.batch_size, parsed.val_fraction, parsed.crop_area) == (16, 0.2, 0.5)
    assert "Seed of the split. (type: int, default: 0)" in shown


@pytest.mark.parametrize(
    "flags", [["--batch_size", "many"], ["--augmentation", "crp"], ["--batch_sizee", "3"]]
)
def test_a_typing_error_in_a_shared_option_is_refused(parse, flags):
    with pytest.raises(ArgumentError):
        parse(DigitsDataModule, *flags)


def test_data_without_files_of_their_own_have_no_broken_files(parse):
    with pytest.raises(ArgumentError, match="broken_files"):
        parse(DigitsDataModule, "--broken_files", "skip")


def test_a_child_without_shared_options_has_its_own_signature():
    class Child(ImageFolderDataModule):
        def __init__(self, number: int) -> None:
            super().__init__("nowhere", seed=number)

    assert list(inspect.signature(Child).parameters) == ["number"]
