"""How an export is used, as a few lines of code for each format."""

from tltool.reporting.card.card_facts import CardFacts

_TIMM = """import timm
from PIL import Image, ImageOps

model = timm.create_model("local-dir:{name}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("{mode}")  # the right way up
outputs = model(transform(image)[None])
print(outputs, model.pretrained_cfg["label_names"])
"""
_TLTOOL = """import tltool

print(tltool.load("{name}").predict("image.jpg"))
"""
_TORCH = """import torch

facts = {{"tltool.json": ""}}  # preprocessing and names of the classes, as JSON
model = torch.export.load("{name}", extra_files=facts).module()
outputs = model(images)  # (B, {shape}), prepared as facts["tltool.json"] says
"""
_ONNX = """import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("{name}")
image = ImageOps.exif_transpose(Image.open("image.jpg"))  # the right way up
pixels = np.asarray(image.convert("{mode}"))
pixels = pixels.reshape(1, *pixels.shape[:2], -1)  # (B, H, W, C), 8 bits
names = [each.name for each in session.get_outputs()]
print(dict(zip(names, session.run(names, {{"images": pixels}}))))
"""
_CODE = {"timm": _TIMM, "safetensors": _TLTOOL, "torch-export": _TORCH, "onnx": _ONNX}


def usage_code(facts: CardFacts) -> str:
    """Return code that loads the export and predicts an image."""
    channels, height, width = facts.task.data_config["input_size"]
    mode = "L" if channels == 1 else "RGB"
    shape = f"{channels}, {height}, {width}"
    return _CODE[facts.to].format(name=facts.name, mode=mode, shape=shape)


def meaning_of_outputs(facts: CardFacts) -> str:
    """Return the sentences that say what the outputs are."""
    task = facts.task
    if facts.to == "safetensors":
        return "tltool gives probabilities, or the numbers of a regression, and prepares images."
    if facts.to == "onnx":
        return "It takes 8-bit images, and gives logits and calibrated probabilities."
    if task.objective == "regression":
        return "The output is the number itself, in the units of the training data."
    scaled = ""
    if facts.temperature != 1:
        scaled = f" Divide them by the temperature {facts.temperature:.4g} first."
    if task.objective == "multi_label":
        chosen = "the thresholds below" if task.thresholds else "0.5"
        return (
            "The outputs are logits: their sigmoid is the probability of each class, which an "
            f"image is said to have from {chosen} on.{scaled}"
        )
    return f"The outputs are logits: their softmax gives the probabilities of the classes.{scaled}"
