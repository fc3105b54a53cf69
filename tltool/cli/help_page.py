"""The short help of `tltool fit`, and what other programs call its options; without torch.

The parser knows all options (``--help_all``). The page has those that most runs need, in the
order in which a user needs them; a test compares it with the parser.
"""

import re
from collections.abc import Sequence

PAGE = """\
usage: tltool fit images [options]

What stands behind an option is its default. In YAML each dot begins a level.

data: images/CLASS/*.jpg, or images/train/CLASS/*.jpg and images/val/CLASS/*.jpg
  --data.root DIR                  the same as a bare DIR, or --data DIR
  --data.batch_size 32             images in a step, over all devices
  --data.val_fraction 0.2          share that validates, if there is no val/
  --data.augmentation none         random changes: flip, crop, color_jitter, ...
  --data.mixup 0.0                 how strongly two images are blended
  --data.preprocessing backbone    dataset, center, mean_image, none
  --data.broken_files stop         or skip them
  --data.num_workers N             processes that decode; else from the cores
  --data ImageFolderDataModule     ManifestDataModule (a table),
                                   TorchvisionDataModule, ..., or your own

model: a pretrained backbone and a new head
  --model.backbone.name tf_efficientnet_lite0
                                   see tltool backbones; or --model.backbone
  --model.backbone.weights auto    pretrained, random, a file, package:NAME
  --model.backbone.img_size PX     else that of the weights
  --model.backbone.stop_at LAYER   put the head on an earlier layer
  --model.backbone.surgery []      edits, such as [{swap_activations: gelu}]
  --model.backbone.grad_checkpointing false
                                   less memory, more time
  --model.head.hidden_features []  widths of hidden layers, [256]; none: linear
  --model.head.activation relu     see tltool activations
  --model.head.norm NAME           batch, layer, ...
  --model.head.dropout 0.0         probability
  --model.head.initializer auto    of the hidden weights
  --model.head.input_norm NAME     standardize, center, whiten, ...
  --model.head CLASS               your own, such as mymodule.MyHead
  --model.class_weights NAME       balanced, effective_number, or numbers
  --model.label_smoothing 0.0      share of the target spread over all classes
  --model.log_prior false          start from the class frequencies

optimizer
  --optimizer AdamW                a class of torch.optim or timm.optim
  --optimizer.lr 0.001             tltool plan --lr_range finds one
  --optimizer.weight_decay 0.05

finetuning: what trains when; tltool plan shows it
  --finetuning LinearProbe         LPFT, FullFinetuning, GradualUnfreezing,
                                   LastBlocks, LayerwiseDecay, BitFit, ...

trainer: Lightning's
  --trainer.max_epochs 10          passes over the training images
  --trainer.accelerator auto       cpu, gpu, mps, ...
  --trainer.devices auto           how many, or which: [0, 2]
  --trainer.strategy auto          ddp, fsdp, ...
  --trainer.num_nodes 1            machines
  --trainer.precision NAME         bf16-mixed, 16-mixed, ...; else 32-true
  --trainer.accumulate_grad_batches 1
                                   batches in one optimizer step
  --trainer.gradient_clip_val NORM
  --trainer.callbacks CLASS        one more, such as EarlyStopping, with
                                   --trainer.callbacks.monitor val/loss
  --trainer.logger CLASS           one more, such as TensorBoardLogger
  --trainer.fast_dev_run false     one batch of everything, to see if it runs

features: what a frozen backbone computes, once
  --features.enabled true
  --features.views N               augmented views of each image to keep
  --features.cache_dir DIR         else TLTOOL_CACHE or ~/.cache/tltool/features

health: what the network does while it trains
  --health.enabled true            dead units, saturation, size of updates, ...
  --health.backbone false          watch the backbone too, where it trains

wandb: Weights & Biases
  --wandb.project NAME             project to log to; nothing is sent without
  --wandb.entity NAME              user or team
  --wandb.tags LIST                labels to filter by, such as [a, b]
  --wandb.offline BOOL             keep the run here, for wandb sync

run
  --config FILE                    YAML with these keys; several: later ones win
  --print_config                   print all keys as YAML, and do nothing else
  --name NAME                      of the run; else that of the data
  --runs_dir runs                  the run lies in runs/NAME/NUMBER
  --seed_everything 0              seed of all random numbers
  --ckpt_path FILE                 resume from it, such as .../last.ckpt
  --save_every_n_steps N           write last.ckpt within an epoch too

more: --help data (or trainer, model, ...) for all options of a section,
      --finetuning.help LPFT for those of a class, --help_all for everything"""

USUAL_WORDS = {
    "lr": "optimizer.lr",
    "learning_rate": "optimizer.lr",
    "weight_decay": "optimizer.weight_decay",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "steps": "trainer.max_steps",
    "batch_size": "data.batch_size",
    "workers": "data.num_workers",
    "folder": "data.root",
    "images": "data.root",
    "backbone": "model.backbone.name",
    "arch": "model.backbone.name",
    "head": "model.head",
    "weights": "model.backbone.weights",
    "pretrained": "model.backbone.weights",
    "img_size": "model.backbone.img_size",
    "image_size": "model.backbone.img_size",
    "seed": "seed_everything",
    "gpus": "trainer.devices",
    "resume": "ckpt_path",
    "output": "runs_dir",
    "output_dir": "runs_dir",
    "freeze": "finetuning",
}
"""What other programs call an option, and its name here."""


def usual_word(name: str) -> str | None:
    """Return the option that other programs call so.

    Example:
        >>> usual_word("epoch"), usual_word("batch-size")
        ('trainer.max_epochs', 'data.batch_size')
    """
    name = name.replace("-", "_")
    return USUAL_WORDS.get(name) or USUAL_WORDS.get(f"{name}s")


def foreign_flag(words: Sequence[str]) -> str | None:
    """Return an error that offers the right option for the first flag of another program.

    Example:
        >>> foreign_flag(["images", "--epochs=3"])
        'There is no --epochs. Did you mean --trainer.max_epochs?'
        >>> foreign_flag(["images", "--trainer.max_epochs=3"])
    """
    for word in words:
        name = word[2:].partition("=")[0]
        near = usual_word(name) if word.startswith("--") else None
        if near is not None:
            return f"There is no --{name}. Did you mean --{near}?"
    return None


def page_options() -> dict[str, str]:
    """Return what stands behind each option of the page: its default, or a word for a value.

    Example:
        >>> page_options()["data.batch_size"]
        '32'
    """
    lines = re.findall(r"^  --([\w.]+)((?: \S+)?)", PAGE, flags=re.MULTILINE)
    return {key: behind.strip() for key, behind in lines}
